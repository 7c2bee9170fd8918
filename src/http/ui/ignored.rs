//! `/ui/held/ignored`: the contacts that somebody has decided to ignore, and the buttons that take
//! that back.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;

use super::decide::done;
use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::http::decisions;
use crate::http::list::{After, DEFAULT_LIMIT};
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::Decided;
use crate::report::words::stamp;

struct IgnoredRow {
    id: i64,
    reason: String,
    until: &'static str,
    by: String,
    at: String,
}

#[derive(Template)]
#[template(path = "ignored.html", config = "src/http/ui/templates/askama.toml")]
struct IgnoredPage {
    frame: Frame,
    /// What the last button did.
    done: Option<String>,
    rows: Vec<IgnoredRow>,
    next: Option<String>,
}

pub(super) async fn ignored(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let after = query.get("after").map(After::<i64>::read).transpose()?;
    let words: Vec<&str> =
        Decided::ALL.into_iter().filter(|one| one.ignores()).map(Decided::code).collect();
    let (decisions, next) = decisions::page(&state, Some(&words), after, DEFAULT_LIMIT).await?;
    let rows = decisions.into_iter().map(|decision| IgnoredRow {
        id: decision.keap_contact_id,
        until: match Decided::parse(&decision.decision) {
            Some(Decided::IgnoreUntilChanged) => "until it changes",
            _ => "for good",
        },
        at: stamp(decision.decided_at),
        by: decision.decided_by,
        reason: decision.reason,
    });
    page(&IgnoredPage {
        frame: Frame::new(&state, session, Place::Held, "Ignored contacts"),
        done: done(&query)?,
        rows: rows.collect(),
        next,
    })
}
