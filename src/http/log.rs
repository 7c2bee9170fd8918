//! `GET /sync/log`: the recorded outcomes, the newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::code::Code;
use super::list::{self, After, DEFAULT_LIMIT};
use super::log_csv;
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::store::{LogEntry, LogFilter};

/// Which outcomes are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Only outcomes of this Keap contact.
    #[param(value_type = Option<i64>, minimum = 1, example = 12345)]
    keap_contact_id: Option<String>,
    /// Only this action, for example `held`.
    #[param(value_type = Option<String>, example = "held", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    action: Option<String>,
    /// Only outcomes whose reason begins with this code.
    #[param(value_type = Option<String>, example = "no_email", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    reason: Option<String>,
    /// Only outcomes of this feed: `due`, `changed`, `backfill` or `sweep`.
    #[param(value_type = Option<String>, example = "due", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    feed: Option<String>,
    /// Only outcomes of this run.
    run_id: Option<Uuid>,
    /// Only outcomes of this status: `synced`, `failed`, `skipped` or `pending`.
    #[param(value_type = Option<String>, example = "failed", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    status: Option<String>,
    /// Only outcomes of this direction: `keap_to_intercom` or `intercom_to_keap`.
    #[param(value_type = Option<String>, example = "intercom_to_keap", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    direction: Option<String>,
    /// Only outcomes since this time.
    since: Option<DateTime<Utc>>,
    /// Only outcomes before this time.
    until: Option<DateTime<Utc>>,
    /// `csv`: all outcomes that fit, as a CSV that is streamed. `limit` does not count then. The
    /// header `Accept: text/csv` asks for the same.
    #[param(inline)]
    #[serde(default)]
    format: Format,
    /// The most outcomes of the page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "list::limit")]
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    #[default]
    Json,
    Csv,
}

/// Outcomes, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogReply {
    success: bool,
    log: Vec<EntryBody>,
    /// The key of the next page; null on the last one.
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryBody {
    at: DateTime<Utc>,
    /// Null: the row is of another program, and its id is no number.
    keap_contact_id: Option<i64>,
    #[schema(example = "synced")]
    status: String,
    #[schema(example = "created")]
    action: Option<String>,
    intercom_contact_id: Option<String>,
    error: Option<String>,
    feed: Option<String>,
    run_id: Option<Uuid>,
    #[schema(example = "keap_to_intercom")]
    direction: String,
}

impl From<LogEntry> for EntryBody {
    fn from(entry: LogEntry) -> Self {
        Self {
            at: entry.at,
            keap_contact_id: entry.keap_contact_id.parse().ok(),
            status: entry.status,
            action: entry.action,
            intercom_contact_id: entry.intercom_contact_id,
            error: entry.reason,
            feed: entry.feed,
            run_id: entry.run_id,
            direction: entry.direction,
        }
    }
}

/// Lists recorded outcomes, the newest first
///
/// An unchanged contact has no row; its run counts it. A page reads at most 20,000 rows of the log.
/// So where few rows fit, it may be short or empty and have a `next`.
#[utoipa::path(get, path = "/sync/log", tag = "contacts", operation_id = "listLog", params(LogQuery),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "A page of outcomes, or all of them as CSV", content((LogReply = "application/json", example = json!({
            "success": true, "next": null, "log": [{ "at": "2026-11-25T04:05:54.313031Z", "keapContactId": 12345, "status": "synced", "action": "created",
                "intercomContactId": "6762f0dd1bb69f9f00000000", "error": null, "feed": "due", "runId": null, "direction": "keap_to_intercom" }] })), (String = "text/csv", example = "time,keap_contact_id,intercom_contact_id,status,action,direction,feed,reason,run_id"))),
        (status = 400, description = "The query is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn log(
    State(state): State<Arc<HttpState>>,
    headers: HeaderMap,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let query: LogQuery = list::query(
        query,
        "keapContactId, action, reason, feed, runId, status, direction, since and until (a time such as 2026-01-31T00:00:00Z), format (json or csv)",
    )?;
    let contact = query.keap_contact_id.map(|id| id.parse()).transpose().map_err(|_| {
        Problem::new(
            Code::InvalidQuery,
            "keapContactId is not a Keap contact id, for example 12345",
        )
    })?;
    let mut filter = LogFilter {
        contact,
        action: query.action,
        feed: query.feed,
        run_id: query.run_id,
        reason: query.reason,
        status: query.status,
        direction: query.direction,
        since: query.since,
        until: query.until,
    };
    within_run(&state, &mut filter).await?;
    let after = query.after.as_deref().map(After::<Uuid>::read).transpose()?;
    let before = after.map(|after| (after.at, after.id));
    if query.format == Format::Csv || asks_for_csv(&headers) {
        return Ok(log_csv::download(state.store.clone(), filter, before));
    }
    let limit = usize::try_from(query.limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(usize::MAX);
    let stretch = state.store.log_stretch(&filter, before, limit).await?;
    let next = stretch.next.map(|(at, id)| After::text(at, &id));
    let log = stretch.entries.into_iter().map(EntryBody::from).collect();
    Ok(Json(LogReply { success: true, log, next }).into_response())
}

/// The rows of a run lie between its beginning and its end, so no other part of the log is read.
pub(super) async fn within_run(state: &HttpState, filter: &mut LogFilter) -> Result<(), Problem> {
    if let Some(id) = filter.run_id
        && let Some(run) = state.store.run(id).await?
    {
        let end = run.finished_at.map(|end| end + TimeDelta::seconds(1));
        filter.since = filter.since.max(Some(run.created_at));
        filter.until = filter.until.into_iter().chain(end).min();
    }
    Ok(())
}

fn asks_for_csv(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepts.flat_map(|value| value.split(','));
    kinds.any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/csv"))
}
