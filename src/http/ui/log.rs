//! `/ui/log`: the recorded outcomes, filtered and page by page.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use chrono::{TimeDelta, Utc};
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::runs::short;
use super::sessions::Session;
use crate::contact::KeapId;
use crate::feed::Feed;
use crate::http::list::After;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::Action;
use crate::report::words::stamp;
use crate::store::{LogEntry, LogFilter};

/// Rows of a page.
const ROWS: usize = 50;

struct LogRow {
    at: String,
    /// Rows of another program may hold any text.
    contact: String,
    id: Option<KeapId>,
    status: String,
    action: String,
    feed: String,
    reason: String,
    intercom: String,
    run: Option<(Uuid, String)>,
}

impl From<LogEntry> for LogRow {
    fn from(entry: LogEntry) -> Self {
        Self {
            at: stamp(entry.at),
            id: entry.keap_contact_id.parse().ok(),
            contact: entry.keap_contact_id,
            status: entry.status,
            action: entry.action.unwrap_or_default(),
            feed: entry.feed.unwrap_or_default(),
            reason: entry.reason.unwrap_or_default(),
            intercom: entry.intercom_contact_id.unwrap_or_default(),
            run: entry.run_id.map(|id| (id, short(id))),
        }
    }
}

/// One value of a list to choose from.
struct Choice {
    value: &'static str,
    is_chosen: bool,
}

fn choices<const N: usize>(values: [&'static str; N], chosen: Option<&str>) -> Vec<Choice> {
    let choice = |value| Choice { value, is_chosen: chosen == Some(value) };
    values.map(choice).into()
}

#[derive(Template)]
#[template(path = "log.html", config = "src/http/ui/templates/askama.toml")]
struct LogPage {
    frame: Frame,
    contact: String,
    reason: String,
    run: String,
    actions: Vec<Choice>,
    feeds: Vec<Choice>,
    rows: Vec<LogRow>,
    /// The address of the next page.
    older: Option<String>,
}

pub(super) async fn log(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let mut filter = LogFilter {
        contact: query.parsed("contact")?,
        action: query.word("action")?.map(str::to_owned),
        feed: query.word("feed")?.map(str::to_owned),
        run_id: query.parsed("run")?,
        reason: query.word("reason")?.map(str::to_owned),
        since: None,
    };
    let after = query.get("after").map(After::<Uuid>::read).transpose()?;
    let mut before = after.map(|after| (after.at, after.id));
    // The rows of a run lie between its beginning and its end.
    if let Some(id) = filter.run_id
        && let Some(run) = state.store.run(id).await?
    {
        filter.since = Some(run.created_at);
        let end = run.finished_at.unwrap_or_else(Utc::now) + TimeDelta::seconds(1);
        before = before.or(Some((end, Uuid::max())));
    }
    let stretch = state.store.log_stretch(&filter, before, ROWS).await?;
    let older = stretch.next.map(|(at, id)| address(&query, &After::text(at, &id)));
    page(&LogPage {
        frame: Frame::new(&state, session, Place::Log, "Log"),
        contact: filter.contact.map(|id| id.to_string()).unwrap_or_default(),
        actions: choices(Action::ALL.map(Action::code), filter.action.as_deref()),
        feeds: choices(Feed::ALL.map(Feed::as_str), filter.feed.as_deref()),
        reason: filter.reason.unwrap_or_default(),
        run: filter.run_id.map(|id| id.to_string()).unwrap_or_default(),
        rows: stretch.entries.into_iter().map(LogRow::from).collect(),
        older,
    })
}

/// The address of the same list behind a place.
fn address(query: &Fields, after: &str) -> String {
    let path = "/ui/log?";
    let mut address = Serializer::for_suffix(path.to_owned(), path.len());
    for name in ["contact", "action", "feed", "reason", "run"] {
        if let Some(value) = query.get(name) {
            address.append_pair(name, value);
        }
    }
    address.append_pair("after", after).finish()
}
