//! `GET /sync/log`: the recorded outcomes, the newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::code::Code;
use super::list::{self, After, DEFAULT_LIMIT};
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
    /// Only outcomes since this time.
    since: Option<DateTime<Utc>>,
    /// The most outcomes of the page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "list::limit")]
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
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
        }
    }
}

/// Lists recorded outcomes, the newest first
///
/// An unchanged contact has no row; its run counts it.
#[utoipa::path(get, path = "/sync/log", tag = "contacts", operation_id = "listLog", params(LogQuery),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "A page of outcomes", body = LogReply, example = json!({
            "success": true, "next": null, "log": [{ "at": "2026-11-25T04:05:54.313031Z", "keapContactId": 12345, "status": "synced", "action": "created",
                "intercomContactId": "6762f0dd1bb69f9f00000000", "error": null, "feed": "due", "runId": null }] })),
        (status = 400, description = "The query is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn log(
    State(state): State<Arc<HttpState>>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Json<LogReply>, Problem> {
    let query: LogQuery = list::query(
        query,
        "keapContactId, action, reason, feed, runId, since (a time such as 2026-01-31T00:00:00Z)",
    )?;
    let contact = query.keap_contact_id.map(|id| id.parse()).transpose().map_err(|_| {
        Problem::new(
            Code::InvalidQuery,
            "keapContactId is not a Keap contact id, for example 12345",
        )
    })?;
    let filter = LogFilter {
        contact,
        action: query.action,
        feed: query.feed,
        run_id: query.run_id,
        reason: query.reason,
        since: query.since,
    };
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let after = query.after.as_deref().map(After::<Uuid>::read).transpose()?;
    let before = after.map(|after| (after.at, after.id));
    let mut log = state.store.log_before(&filter, before, limit + 1).await?;
    let next = list::next(&mut log, limit, |entry| After::text(entry.at, &entry.id));
    let log = log.into_iter().map(EntryBody::from).collect();
    Ok(Json(LogReply { success: true, log, next }))
}
