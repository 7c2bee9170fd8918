//! `/ui/held/contact`: one held contact with its candidates, as both products show them now, and
//! the buttons that decide about it.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;

use super::door::see_other;
use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::contact::{IntercomId, KeapId};
use crate::http::code::Code;
use crate::http::decide::{Asked, TAKE_BACK, refused};
use crate::http::held_users::UserKey;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::{Decided, HoldReason, offered};
use crate::report::words::{count, stamp};
use crate::report::{People, Shown, decision_in_words};
use crate::store::{DecidedBy, Explained, HeldFilter};

/// A button that decides.
pub(super) struct Button {
    /// The stored word.
    pub word: &'static str,
    pub label: &'static str,
    pub effect: &'static str,
}

impl Button {
    pub(super) fn of(decided: Decided) -> Self {
        let label = match decided {
            Decided::Use => "Use this one",
            Decided::Create => "Create a new one",
            Decided::IgnoreUntilChanged => "Ignore until it changes",
            Decided::Ignore => "Ignore for good",
            Decided::Retry => "Try again",
        };
        Self { word: decided.code(), label, effect: decided.effect() }
    }
}

/// An Intercom contact that may be the right one.
struct Candidate {
    id: IntercomId,
    shown: Shown,
    /// It can be chosen.
    is_offered: bool,
    /// Why it cannot.
    note: Option<String>,
}

/// A contact that waits for a person.
struct Held {
    code: String,
    since: String,
    reason: String,
    meaning: &'static str,
    remedy: &'static str,
    keap: Shown,
    candidates: Vec<Candidate>,
    buttons: Vec<Button>,
}

#[derive(Template)]
#[template(path = "decide.html", config = "src/http/ui/templates/askama.toml")]
struct DecidePage {
    frame: Frame,
    id: KeapId,
    /// What the last button did.
    done: Option<String>,
    held: Option<Held>,
    /// The decision in force can be taken back.
    can_take_back: bool,
    decisions: Vec<String>,
}

/// What the last button did, by the query to which it leads.
pub(super) fn done(query: &Fields) -> Result<Option<String>, Problem> {
    let contacts: Option<i64> = query.parsed("decided")?;
    let word = query.word("decision")?.unwrap_or_default();
    Ok(contacts.map(|contacts| match (contacts, Decided::parse(word)) {
        (0, _) => "No contact was held any more, so nothing was done.".to_owned(),
        (1, Some(Decided::Retry)) => {
            "1 contact is due again; the daemon looks at it now.".to_owned()
        }
        (_, Some(Decided::Retry)) => {
            format!("{} are due again; the daemon looks at them now.", count(contacts, "contact"))
        }
        (_, Some(decided)) => {
            format!("Decided about {}. {}", count(contacts, "contact"), decided.effect())
        }
        (_, None) => format!("The decision about {} is taken back.", count(contacts, "contact")),
    }))
}

pub(super) async fn show(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let id = query.contact_of_address()?;
    let known = state.store.explain(id, 1).await?;
    let can_take_back = known.decisions.iter().any(|decision| decision.ended_at.is_none());
    let decisions = known.decisions.iter().map(decision_in_words).collect();
    page(&DecidePage {
        frame: Frame::new(&state, session, Place::Held, "Decide about one contact"),
        id,
        done: done(&query)?,
        held: held(&state, id, known).await?,
        can_take_back,
        decisions,
    })
}

/// The contact with its people; `None` if it does not wait for a person.
async fn held(state: &HttpState, id: KeapId, known: Explained) -> Result<Option<Held>, Problem> {
    let Some(due) = known.due.filter(|due| due.held) else {
        return Ok(None);
    };
    let is_linked = known.link.is_some_and(|link| link.intercom_contact_id.is_some());
    let code = due.code.unwrap_or_default();
    let offered = offered(&code, is_linked);
    let ids: Vec<IntercomId> = due.candidates.into_iter().filter_map(IntercomId::new).collect();
    let owners = state.store.linked_owners(&ids).await?;
    // No transaction is open while the products are asked.
    let People { keap, candidates } = (state.people)(id, ids).await;
    let reason = HoldReason::of_code(&code);
    Ok(Some(Held {
        since: stamp(due.held_since.unwrap_or(due.created_at)),
        reason: due.last_error.unwrap_or_default(),
        meaning: reason.as_ref().map(HoldReason::meaning).unwrap_or_default(),
        remedy: reason.as_ref().map(HoldReason::remedy).unwrap_or_default(),
        keap,
        candidates: with_owners(candidates, &owners, offered.contains(&Decided::Use)),
        buttons: offered
            .iter()
            .filter(|decided| decided.is_for_many())
            .map(|decided| Button::of(*decided))
            .collect(),
        code,
    }))
}

/// `is_offered`: the reason offers to use a candidate.
fn with_owners(
    candidates: Vec<(IntercomId, Shown)>,
    owners: &HashMap<IntercomId, KeapId>,
    is_offered: bool,
) -> Vec<Candidate> {
    let candidate = |(id, shown): (IntercomId, Shown)| {
        let owner = owners.get(&id);
        Candidate {
            note: owner.map(|owner| format!("linked to the Keap contact {owner}")),
            is_offered: is_offered && owner.is_none(),
            id,
            shown,
        }
    };
    candidates.into_iter().map(candidate).collect()
}

/// Decides about one contact, or about all of a reason, or takes a decision back.
pub(super) async fn decide(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let id: Option<KeapId> = fields.parsed("id")?;
    let word = fields.word("decision")?.unwrap_or_default();
    if let Some(user) = fields.parsed::<UserKey>("user")? {
        return retry_user(&state, word, &user.0).await;
    }
    let reason = fields.word("reason")?;
    let is_retry_of_all = id.is_none() && word == Decided::Retry.code();
    let users = match reason.filter(|_| is_retry_of_all) {
        Some(reason) => {
            let filter = HeldFilter { reason: Some(reason), ..HeldFilter::default() };
            state.store.retry_newcomers(None, filter).await?.len()
        }
        None => 0,
    };
    let asked = Asked {
        decision: word,
        ids: id.as_ref().map(std::slice::from_ref),
        reason,
        intercom: fields.get("intercom"),
        by: DecidedBy::Page,
    };
    let taken = asked.take(&state).await?;
    if let (Some(_), Some((id, why))) = (id, taken.refused.first()) {
        return Err(refused(*id, why));
    }
    // Only what is read back is repeated in an address.
    let word = Decided::parse(word).map_or(TAKE_BACK, Decided::code);
    let contacts = taken.decided.len() + users;
    let back = match (id, fields.word("from")?) {
        (Some(id), Some("contact")) => format!("/ui/held/contact?id={id}&"),
        (_, Some("ignored")) => "/ui/held/ignored?".to_owned(),
        _ => "/ui/held?".to_owned(),
    };
    Ok(see_other(&format!("{back}decided={contacts}&decision={word}")))
}

/// A user of Intercom without a contact in Keap can only be tried again.
async fn retry_user(state: &HttpState, word: &str, user: &IntercomId) -> Result<Response, Problem> {
    if word != Decided::Retry.code() {
        let why = "a user of Intercom without a contact in Keap can only be tried again";
        return Err(Problem::new(Code::InvalidBody, why));
    }
    let retried = state
        .store
        .retry_newcomers(Some(std::slice::from_ref(user)), HeldFilter::default())
        .await?
        .len();
    state.urgent.fire("decision");
    Ok(see_other(&format!("/ui/held?decided={retried}&decision={word}")))
}
