//! `/ui/contacts`: the story of one contact, found by an id or by its e-mail, and *sync now*.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use uuid::Uuid;

use super::door::see_other;
use super::form::Fields;
use super::frame::{Frame, Piece, Place, page, pieces};
use super::runs::short;
use super::sessions::Session;
use crate::contact::{Email, IntercomId, KeapId};
use crate::feed::DueReason;
use crate::http::problem::Problem;
use crate::http::requests;
use crate::http::state::HttpState;
use crate::report::words::stamp;
use crate::report::{Fact, Story};
use crate::store::ExplainedOutcome;

/// What is said where no contact has an address.
const NOBODY: &str = "No linked contact has this e-mail address.";

/// Outcomes that are shown, newest first.
const OUTCOMES: i64 = 20;

struct OutcomeRow {
    at: String,
    status: String,
    action: String,
    feed: String,
    reason: String,
    intercom: String,
    run: Option<(Uuid, String)>,
}

impl From<&ExplainedOutcome> for OutcomeRow {
    fn from(outcome: &ExplainedOutcome) -> Self {
        Self {
            at: stamp(outcome.at),
            status: outcome.status.clone(),
            action: outcome.action.clone().unwrap_or_default(),
            feed: outcome.feed.clone().unwrap_or_default(),
            reason: outcome.reason.clone().unwrap_or_default(),
            intercom: outcome.intercom_contact_id.clone().unwrap_or_default(),
            run: outcome.run_id.map(|id| (id, short(id))),
        }
    }
}

/// What the page says of a contact.
struct Shown {
    id: KeapId,
    verdict: String,
    next: Vec<Piece>,
    is_held: bool,
    /// A decision is in force.
    has_decision: bool,
    /// It is erased, or is about to be.
    is_erased: bool,
    /// Something is stored of it.
    is_known: bool,
    facts: Vec<Fact>,
    outcomes: Vec<OutcomeRow>,
    /// Its contacts in Intercom, or those among which a person must choose.
    intercom: Vec<String>,
}

impl From<Story> for Shown {
    fn from(story: Story) -> Self {
        Self {
            id: story.id,
            next: pieces(&story.next),
            is_held: story.known.due.as_ref().is_some_and(|due| due.held),
            has_decision: story.has_decision(),
            is_erased: story.known.erasure.is_some(),
            is_known: !story.is_empty(),
            facts: story.facts(),
            intercom: story.known.intercom_ids(),
            outcomes: story.known.outcomes.iter().map(OutcomeRow::from).collect(),
            verdict: story.verdict,
        }
    }
}

#[derive(Template)]
#[template(path = "contact.html", config = "src/http/ui/templates/askama.toml")]
struct ContactPage {
    frame: Frame,
    /// What was looked for.
    asked: String,
    /// Why nothing was found.
    nothing: Option<&'static str>,
    /// The contact was made due a moment ago.
    is_requested: bool,
    shown: Option<Shown>,
}

pub(super) async fn contact(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let asked = query.get("id").unwrap_or_default().trim().to_owned();
    let (nothing, shown) = match find(&state, &asked).await? {
        _ if query.get("nobody").is_some() => (Some(NOBODY), None),
        Ok(Some(id)) => {
            let story = Story::read(&state.store, id, state.max_attempts, OUTCOMES).await?;
            (None, Some(Shown::from(story)))
        }
        Ok(None) => (None, None),
        Err(why) => (Some(why), None),
    };
    page(&ContactPage {
        frame: Frame::new(&state, session, Place::Contacts, "One contact"),
        asked,
        nothing,
        is_requested: query.get("requested").is_some(),
        shown,
    })
}

/// Finds a contact by an id or by its e-mail address. An address comes in a form and goes no
/// further: it must not stand in the address of a page, which browsers and proxies keep.
pub(super) async fn search(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let asked = fields.get("who").unwrap_or_default().trim();
    let Some(email) = Email::new(asked).filter(|_| asked.contains('@')) else {
        let id = IntercomId::new(asked).map(|id| id.as_str().to_owned());
        let is_address = asked.contains('@');
        let page = match id {
            Some(id) => format!("/ui/contacts?id={id}"),
            None if is_address => "/ui/contacts?nobody=1".to_owned(),
            None => "/ui/contacts?id=!".to_owned(),
        };
        return Ok(see_other(&page));
    };
    let digest = state.store.digest_key().await?.email(&email);
    let owners = state.store.email_owners(&[digest]).await?;
    Ok(see_other(
        &owners.get(&digest).map_or_else(
            || "/ui/contacts?nobody=1".to_owned(),
            |id| format!("/ui/contacts?id={id}"),
        ),
    ))
}

/// The contact of an id of either side; `None` for an empty text. Else why there is none.
async fn find(
    state: &HttpState,
    asked: &str,
) -> Result<Result<Option<KeapId>, &'static str>, Problem> {
    if asked.is_empty() {
        return Ok(Ok(None));
    }
    if let Ok(id) = asked.parse() {
        return Ok(Ok(Some(id)));
    }
    let Some(id) = IntercomId::new(asked) else {
        return Ok(Err("That is neither a Keap id nor an Intercom id."));
    };
    let (linked, former) = state.store.owners(std::slice::from_ref(&id)).await?;
    let owner = linked.get(&id).or_else(|| former.get(&id)).copied();
    Ok(owner.map(Some).ok_or("No contact of Keap is linked to this Intercom contact."))
}

/// Makes the contact due, before all others.
pub(super) async fn sync(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let id = fields.contact_of_form()?;
    requests::request(&state, &[id], DueReason::Manual).await?;
    Ok(see_other(&format!("/ui/contacts?id={id}&requested=1")))
}
