//! `/ui/log`: the recorded outcomes, filtered by links and page by page; and all that fit as a CSV.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::log_filter::{Group, WITHIN, address, groups};
use super::runs::short;
use super::sessions::Session;
use crate::contact::KeapId;
use crate::http::list::After;
use crate::http::log::within_run;
use crate::http::log_csv;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::Reason;
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
    direction: &'static str,
    feed: String,
    reason: String,
    /// The code of the reason, and the address of the same list with this reason alone.
    code: Option<(String, String)>,
    intercom: String,
    /// The run and its short id.
    run: Option<(Uuid, String)>,
}

impl LogRow {
    fn of(entry: LogEntry, query: &Fields) -> Self {
        let code = entry.reason.as_deref().and_then(Reason::code_of_text);
        Self {
            at: stamp(entry.at),
            id: entry.keap_contact_id.parse().ok(),
            contact: entry.keap_contact_id,
            status: entry.status,
            action: entry.action.unwrap_or_default(),
            direction: match entry.direction.as_str() {
                "intercom_to_keap" => "to Keap",
                _ => "to Intercom",
            },
            feed: entry.feed.unwrap_or_default(),
            code: code
                .map(|code| (code.to_owned(), address("/ui/log", query, &[("reason", code)]))),
            reason: entry.reason.unwrap_or_default(),
            intercom: entry.intercom_contact_id.unwrap_or_default(),
            run: entry.run_id.map(|id| (id, short(id))),
        }
    }
}

#[derive(Template)]
#[template(path = "log.html", config = "src/http/ui/templates/askama.toml")]
struct LogPage {
    frame: Frame,
    contact: String,
    reason: String,
    run: String,
    /// What the links choose, for the form.
    kept: Vec<(&'static str, String)>,
    groups: Vec<Group>,
    rows: Vec<LogRow>,
    /// The address of the CSV.
    csv: String,
    /// The address of the next page.
    older: Option<String>,
}

pub(super) async fn log(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let filter = filter(&state, &query).await?;
    let stretch = state.store.log_stretch(&filter, place(&query)?, ROWS).await?;
    let older = stretch
        .next
        .map(|(at, id)| address("/ui/log", &query, &[("after", After::text(at, &id).as_str())]));
    let kept = ["status", "action", "direction", "feed", "within", "since", "until"];
    let kept = kept.into_iter().filter_map(|name| Some((name, query.get(name)?.to_owned())));
    page(&LogPage {
        frame: Frame::new(&state, session, Place::Log, "Activity"),
        contact: filter.contact.map(|id| id.to_string()).unwrap_or_default(),
        reason: filter.reason.unwrap_or_default(),
        run: filter.run_id.map(|id| id.to_string()).unwrap_or_default(),
        kept: kept.collect(),
        groups: groups(&query),
        rows: stretch.entries.into_iter().map(|entry| LogRow::of(entry, &query)).collect(),
        csv: address("/ui/log/csv", &query, &[]),
        older,
    })
}

/// All outcomes that fit, as a CSV that is streamed.
pub(super) async fn download(
    State(state): State<Arc<HttpState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let filter = filter(&state, &query).await?;
    Ok(log_csv::download(state.store.clone(), filter, place(&query)?))
}

fn place(query: &Fields) -> Result<Option<(DateTime<Utc>, Uuid)>, Problem> {
    let after = query.get("after").map(After::<Uuid>::read).transpose()?;
    Ok(after.map(|after| (after.at, after.id)))
}

async fn filter(state: &HttpState, query: &Fields) -> Result<LogFilter, Problem> {
    let word = |name| Ok::<_, Problem>(query.word(name)?.map(str::to_owned));
    let within = word("within")?;
    let hours = WITHIN.iter().find(|(name, _, _)| Some(*name) == within.as_deref());
    let within = hours.map(|(_, _, hours)| Utc::now() - TimeDelta::hours(*hours));
    let mut filter = LogFilter {
        contact: query.parsed("contact")?,
        action: word("action")?,
        feed: word("feed")?,
        run_id: query.parsed("run")?,
        reason: word("reason")?,
        status: word("status")?,
        direction: word("direction")?,
        since: query.parsed("since")?.max(within),
        until: query.parsed("until")?,
    };
    within_run(state, &mut filter).await?;
    Ok(filter)
}
