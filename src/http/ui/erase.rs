//! `/ui/contacts/erase`: says what an erasure does, asks for the number once more, and carries it
//! out; and takes an erasure back.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;

use super::door::see_other;
use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::contact::KeapId;
use crate::http::code::Code;
use crate::http::erase;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::store::Door;

/// What stands in the way of an erasure that waits.
struct Waiting {
    why: String,
}

#[derive(Template)]
#[template(path = "erase.html", config = "src/http/ui/templates/askama.toml")]
struct ErasePage {
    frame: Frame,
    /// Whom to erase; without it, the page asks.
    id: Option<KeapId>,
    is_done: bool,
    waiting: Option<Waiting>,
}

/// The confirming step.
pub(super) async fn confirm(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let id: Option<KeapId> = query.parsed("id")?;
    let erasure = match id {
        Some(id) => state.store.erasure(id).await?,
        None => None,
    };
    page(&ErasePage {
        frame: Frame::new(&state, session, Place::Contacts, "Erase a person"),
        id,
        is_done: erasure.as_ref().is_some_and(|erasure| erasure.done_at.is_some()),
        waiting: erasure
            .filter(|erasure| erasure.waits)
            .map(|erasure| Waiting { why: erasure.last_error.unwrap_or_default() }),
    })
}

/// Asks for the erasure, if the number was typed once more.
pub(super) async fn erase(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let id = fields.contact_of_form()?;
    let typed: Option<KeapId> = fields.get("typed").and_then(|typed| typed.trim().parse().ok());
    if typed != Some(id) {
        let why = "the typed number is not the Keap id of this contact, so nothing was erased; go back and type it as it stands on the page";
        return Err(Problem::new(Code::InvalidBody, why));
    }
    erase::request(&state, id, Door::Page, fields.get("absent").is_some()).await?;
    Ok(see_other(&format!("/ui/contacts?id={id}")))
}

/// Takes an erasure back.
pub(super) async fn forget(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let id = fields.contact_of_form()?;
    erase::take_back(&state, id).await?;
    Ok(see_other(&format!("/ui/contacts?id={id}&requested=1")))
}
