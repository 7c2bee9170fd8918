//! `/ui/held`: the contacts that need a person, by reason, and the buttons that decide about all of
//! a reason.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;

use super::decide::{self, Button};
use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::http::list::{self, After, DEFAULT_LIMIT};
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::{Decided, HoldReason, offered};
use crate::report::words::{count, stamp};
use crate::store::Held;

/// Contacts of each reason, where all reasons are shown.
const OF_EACH_REASON: i64 = 20;

struct HeldRow {
    id: i64,
    since: String,
    reason: String,
    candidates: Vec<String>,
}

impl From<Held> for HeldRow {
    fn from(held: Held) -> Self {
        Self {
            id: held.keap_contact_id,
            since: stamp(held.since),
            reason: held.reason,
            candidates: held.candidates,
        }
    }
}

/// The contacts of one reason.
struct Group {
    code: String,
    total: String,
    meaning: &'static str,
    remedy: &'static str,
    /// What can be decided about all of them.
    buttons: Vec<Button>,
    rows: Vec<HeldRow>,
    /// The key of the next contacts of this reason.
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "held.html", config = "src/http/ui/templates/askama.toml")]
struct HeldPage {
    frame: Frame,
    /// What the last button did.
    done: Option<String>,
    groups: Vec<Group>,
    /// Only this reason is shown.
    only: Option<String>,
    /// How many contacts are ignored.
    ignored: Option<String>,
}

pub(super) async fn held(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let only = query.word("reason")?.map(str::to_owned);
    let after = query.get("after").map(After::<i64>::read).transpose()?;
    let done = decide::done(&query)?;
    let mut groups = Vec::new();
    for (code, total) in state.store.held_by_reason().await? {
        if only.as_ref().is_none_or(|only| *only == code) {
            groups.push(group(&state, code, total, after, only.is_some()).await?);
        }
    }
    let ignored = state.store.count_ignored().await?;
    page(&HeldPage {
        frame: Frame::new(&state, session, Place::Held, "Needs a person"),
        done,
        groups,
        only,
        ignored: (ignored > 0).then(|| count(ignored, "contact")),
    })
}

/// `is_alone`: only this reason is shown.
async fn group(
    state: &HttpState,
    code: String,
    total: i64,
    after: Option<After<i64>>,
    is_alone: bool,
) -> Result<Group, Problem> {
    let after = after.map(|after| (after.at, after.id));
    let limit = if is_alone { DEFAULT_LIMIT } else { OF_EACH_REASON };
    let mut held = state.store.held_after(Some(&code), after, Some(limit + 1)).await?;
    let next = list::next(&mut held, limit, |one| After::text(one.since, &one.keap_contact_id));
    let reason = HoldReason::of_code(&code);
    // All of a reason can be tried again at once. For the rest, somebody looks at the reason first.
    let offered = offered(&code, false).iter().filter(|decided| decided.is_for_many());
    let shown = offered.filter(|decided| is_alone || **decided == Decided::Retry);
    Ok(Group {
        buttons: shown.map(|decided| Button::of(*decided)).collect(),
        total: count(total, "contact"),
        meaning: reason.as_ref().map(HoldReason::meaning).unwrap_or_default(),
        remedy: reason.as_ref().map(HoldReason::remedy).unwrap_or_default(),
        rows: held.into_iter().map(HeldRow::from).collect(),
        next,
        code,
    })
}
