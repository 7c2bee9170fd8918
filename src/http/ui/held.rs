//! `/ui/held`: the contacts that need a person, by reason, and the buttons that try them again.

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
use crate::http::held::retry_of;
use crate::http::list::{self, After, DEFAULT_LIMIT};
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::HoldReason;
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
}

pub(super) async fn held(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let only = query.word("reason")?.map(str::to_owned);
    let after = query.get("after").map(After::<i64>::read).transpose()?;
    let retried: Option<i64> = query.parsed("retried")?;
    let limit = if only.is_some() { DEFAULT_LIMIT } else { OF_EACH_REASON };
    let mut groups = Vec::new();
    for (code, total) in state.store.held_by_reason().await? {
        if only.as_ref().is_none_or(|only| *only == code) {
            groups.push(group(&state, code, total, after, limit).await?);
        }
    }
    page(&HeldPage {
        frame: Frame::new(&state, session, Place::Held, "Needs a person"),
        done: retried.map(|contacts| match contacts {
            0 => "No contact was held any more, so nothing was done.".to_owned(),
            1 => "1 contact is due again; the daemon looks at it now.".to_owned(),
            _ => format!(
                "{} are due again; the daemon looks at them now.",
                count(contacts, "contact")
            ),
        }),
        groups,
        only,
    })
}

async fn group(
    state: &HttpState,
    code: String,
    total: i64,
    after: Option<After<i64>>,
    limit: i64,
) -> Result<Group, Problem> {
    let after = after.map(|after| (after.at, after.id));
    let mut held = state.store.held_after(Some(&code), after, Some(limit + 1)).await?;
    let next = list::next(&mut held, limit, |one| After::text(one.since, &one.keap_contact_id));
    let reason = HoldReason::of_code(&code);
    Ok(Group {
        total: count(total, "contact"),
        meaning: reason.as_ref().map(HoldReason::meaning).unwrap_or_default(),
        remedy: reason.as_ref().map(HoldReason::remedy).unwrap_or_default(),
        rows: held.into_iter().map(HeldRow::from).collect(),
        next,
        code,
    })
}

/// Makes one contact due again, or all of a reason.
pub(super) async fn retry(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let id: Option<KeapId> = fields.parsed("id")?;
    let retried = match (id, fields.word("reason")?) {
        (Some(id), None) => retry_of(&state, Some(&[id]), None).await?,
        (None, Some(reason)) => retry_of(&state, None, Some(reason)).await?,
        _ => {
            let why = "the form names no contact and no reason";
            return Err(Problem::new(Code::InvalidBody, why));
        }
    };
    Ok(see_other(&format!("/ui/held?retried={}", retried.len())))
}
