//! `/ui/held/retry`: tries contacts again that are held for a reason or within some days. First
//! says how many there are.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::door::see_other;
use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::http::code::Code;
use crate::http::decide;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::Decided;
use crate::report::words::count;
use crate::store::{DecidedBy, HeldFilter, NewDecision, Whose};

#[derive(Template)]
#[template(path = "retry.html", config = "src/http/ui/templates/askama.toml")]
struct RetryPage {
    frame: Frame,
    asked: Asked,
    /// How many there are; without it, the page asks for whom.
    found: Option<String>,
    is_none: bool,
}

/// The fields as the person gave them.
struct Asked {
    reason: String,
    since: String,
    until: String,
}

impl Asked {
    fn of(fields: &Fields) -> Self {
        let text = |name: &str| fields.get(name).unwrap_or_default().trim().to_owned();
        Self { reason: text("reason"), since: text("since"), until: text("until") }
    }

    fn is_empty(&self) -> bool {
        self.reason.is_empty() && self.since.is_empty() && self.until.is_empty()
    }

    /// From the beginning of the first day to the end of the last one.
    fn filter(&self) -> Result<HeldFilter<'_>, Problem> {
        let until = day("until", &self.until)?.map(|day| day + TimeDelta::days(1));
        Ok(HeldFilter {
            reason: (!self.reason.is_empty()).then_some(self.reason.as_str()),
            since: day("since", &self.since)?,
            until: until.map(|end| end - TimeDelta::microseconds(1)),
        })
    }
}

fn day(name: &str, text: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| {
        let why = format!("the field {name} is no day; expected one such as 2026-01-31");
        Problem::new(Code::InvalidQuery, why)
    })?;
    Ok(Some(day.and_time(NaiveTime::MIN).and_utc()))
}

/// Asks for whom, and says how many there are.
pub(super) async fn show(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    fields.word("reason")?;
    let asked = Asked::of(&fields);
    let filter = asked.filter()?;
    let (contacts, users) = if asked.is_empty() {
        (0, 0)
    } else {
        (state.store.count_held(filter).await?, state.store.count_held_newcomers(filter).await?)
    };
    let found = match users {
        0 => count(contacts, "contact"),
        users => format!("{} and {}", count(contacts, "contact"), count(users, "user of Intercom")),
    };
    page(&RetryPage {
        frame: Frame::new(&state, session, Place::Held, "Try again by reason and time"),
        found: (!asked.is_empty()).then_some(found),
        is_none: contacts + users == 0,
        asked,
    })
}

/// Tries them again.
pub(super) async fn retry(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    fields.word("reason")?;
    let asked = Asked::of(&fields);
    if asked.is_empty() {
        let why = "the form names neither a reason nor a day";
        return Err(Problem::new(Code::InvalidBody, why));
    }
    let filter = asked.filter()?;
    let users = state.store.retry_newcomers(None, filter).await?.len();
    let (whose, decided) = (Whose::Held(filter), Decided::Retry);
    let new = NewDecision { whose, decided, intercom: None, by: DecidedBy::Page };
    let contacts = decide::take(&state, &new).await?.decided.len() + users;
    Ok(see_other(&format!("/ui/held?decided={contacts}&decision={}", decided.code())))
}
