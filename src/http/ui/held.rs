//! `/ui/held`: the contacts and users that need a person, by reason, and the buttons that decide
//! about all of a reason.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;

use super::decide::{self, Button};
use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::http::held::{ReasonCount, Shown, reasons};
use crate::http::list::DEFAULT_LIMIT;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::{Decided, HoldReason, offered};
use crate::report::words::{count, stamp};
use crate::store::{Held, HeldNewcomer};

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

/// A user of Intercom without a contact in Keap.
struct UserRow {
    id: String,
    since: String,
    reason: String,
}

impl From<HeldNewcomer> for UserRow {
    fn from(user: HeldNewcomer) -> Self {
        Self { id: user.intercom_contact_id, since: stamp(user.since), reason: user.reason }
    }
}

/// The contacts and users of one reason.
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
    users: Vec<UserRow>,
    /// The key of the next users of this reason.
    next_users: Option<String>,
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
    let done = decide::done(&query)?;
    let limit = if only.is_some() { DEFAULT_LIMIT } else { OF_EACH_REASON };
    let shown = Shown::read(query.get("after"), query.get("afterUsers"), limit)?;
    let mut groups = Vec::new();
    for counted in reasons(&state).await? {
        if only.as_ref().is_none_or(|only| *only == counted.code) {
            groups.push(group(&state, counted, &shown, only.is_some()).await?);
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
    ReasonCount { code, contacts, users }: ReasonCount,
    shown: &Shown,
    is_alone: bool,
) -> Result<Group, Problem> {
    let (held, next) = shown.contacts(state, Some(&code)).await?;
    let (waiting, next_users) = shown.users(state, Some(&code)).await?;
    let reason = HoldReason::of_code(&code);
    // All of a reason can be tried again at once. For the rest, somebody looks at the reason first.
    let offered = offered(&code, false).iter().filter(|decided| decided.is_for_many());
    let is_shown = |decided: &&Decided| is_alone && contacts > 0 || **decided == Decided::Retry;
    let totals = [(contacts, "contact"), (users, "user")].into_iter();
    let totals = totals.filter(|(total, _)| *total > 0).map(|(total, what)| count(total, what));
    Ok(Group {
        buttons: offered.filter(is_shown).map(|decided| Button::of(*decided)).collect(),
        total: totals.collect::<Vec<_>>().join(" and "),
        meaning: reason.as_ref().map(HoldReason::meaning).unwrap_or_default(),
        remedy: reason.as_ref().map(HoldReason::remedy).unwrap_or_default(),
        rows: held.into_iter().map(HeldRow::from).collect(),
        next,
        users: waiting.into_iter().map(UserRow::from).collect(),
        next_users,
        code,
    })
}
