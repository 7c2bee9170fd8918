//! `/ui/contacts`: the story of one contact, found by one of its ids, and *sync now*.

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
use crate::contact::{IntercomId, KeapId};
use crate::feed::DueReason;
use crate::http::code::Code;
use crate::http::problem::Problem;
use crate::http::requests;
use crate::http::state::HttpState;
use crate::report::words::stamp;
use crate::report::{Fact, Story};
use crate::store::ExplainedOutcome;

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
    /// It is erased, or is about to be.
    is_erased: bool,
    facts: Vec<Fact>,
    outcomes: Vec<OutcomeRow>,
}

impl From<Story> for Shown {
    fn from(story: Story) -> Self {
        Self {
            id: story.id,
            next: pieces(&story.next),
            is_held: story.known.due.as_ref().is_some_and(|due| due.held),
            is_erased: story.known.erasure.is_some(),
            facts: story.facts(),
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
    let id: KeapId = fields
        .parsed("id")?
        .ok_or_else(|| Problem::new(Code::InvalidBody, "the form names no contact"))?;
    requests::request(&state, &[id], DueReason::Manual).await?;
    Ok(see_other(&format!("/ui/contacts?id={id}&requested=1")))
}
