//! `/ui/held`: the contacts and users that need a person, by reason, and the buttons that try them
//! again.

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
use crate::http::held::{Named, ReasonCount, Shown, reasons, retry_of};
use crate::http::held_users::UserKey;
use crate::http::list::DEFAULT_LIMIT;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::HoldReason;
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
}

pub(super) async fn held(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let only = query.word("reason")?.map(str::to_owned);
    let retried: Option<i64> = query.parsed("retried")?;
    let limit = if only.is_some() { DEFAULT_LIMIT } else { OF_EACH_REASON };
    let shown = Shown::read(query.get("after"), query.get("afterUsers"), limit)?;
    let mut groups = Vec::new();
    for counted in reasons(&state).await? {
        if only.as_ref().is_none_or(|only| *only == counted.code) {
            groups.push(group(&state, counted, &shown).await?);
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
    ReasonCount { code, contacts, users }: ReasonCount,
    shown: &Shown,
) -> Result<Group, Problem> {
    let (held, next) = shown.contacts(state, Some(&code)).await?;
    let (waiting, next_users) = shown.users(state, Some(&code)).await?;
    let reason = HoldReason::of_code(&code);
    let totals = [(contacts, "contact"), (users, "user")].into_iter();
    let totals = totals.filter(|(total, _)| *total > 0).map(|(total, what)| count(total, what));
    Ok(Group {
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

/// Makes one contact or user due again, or all of a reason.
pub(super) async fn retry(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let id: Option<KeapId> = fields.parsed("id")?;
    let user: Option<UserKey> = fields.parsed("user")?;
    let named = (id.is_some() || user.is_some()).then(|| Named {
        contacts: id.into_iter().collect(),
        users: user.into_iter().map(|user| user.0).collect(),
    });
    let (contacts, users) = match (named, fields.word("reason")?) {
        (Some(named), None) => retry_of(&state, Some(&named), None).await?,
        (None, Some(reason)) => retry_of(&state, None, Some(reason)).await?,
        _ => {
            let why = "the form names no contact and no reason";
            return Err(Problem::new(Code::InvalidBody, why));
        }
    };
    Ok(see_other(&format!("/ui/held?retried={}", contacts.len() + users.len())))
}
