//! `/ui/pause` and `/ui/resume`: the buttons of the overview that stop the sync for a while.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::Response;

use super::door::see_other;
use super::form::Fields;
use super::sessions::Session;
use crate::http::pause::by;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::pause::{Pause, PauseScope, Pauses};
use crate::report::capital;

/// Who pauses if the person gives no name.
const NAMELESS: &str = "the operator's page";

/// A pause with its button.
pub(super) struct PauseRow {
    pub scope: &'static str,
    pub what: String,
    pub text: String,
}

impl From<&Pause> for PauseRow {
    fn from(pause: &Pause) -> Self {
        Self {
            scope: pause.scope.as_str(),
            what: pause.scope.in_words(),
            text: capital(&pause.in_words()),
        }
    }
}

impl PauseRow {
    pub(super) fn of(pauses: &Pauses) -> Vec<Self> {
        pauses.0.iter().map(Self::from).collect()
    }
}

/// Pauses.
pub(super) async fn pause(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let scope = fields.parsed("scope")?.unwrap_or(PauseScope::All);
    let by = by(fields.get("by"), NAMELESS)?;
    state.store.pause(scope, fields.get("lets_requests").is_some(), &by).await?;
    Ok(see_other("/ui"))
}

/// Ends one pause.
pub(super) async fn resume(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let by = by(fields.get("by"), NAMELESS)?;
    state.store.resume(fields.parsed("scope")?, &by).await?;
    Ok(see_other("/ui"))
}
