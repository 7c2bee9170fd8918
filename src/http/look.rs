//! `POST /sync/run`, `GET /sync/runs/{id}` and `GET /sync/contacts/{id}`: walks that are asked for, and what came of things.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{Object, Type};
use uuid::Uuid;

use super::problem::{Problem, ProblemBody};
use super::{HttpState, json};
use crate::contact::KeapId;
use crate::store::{Feed, Run};

/// A walk to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// `changed`: what has changed since the last poll. `backfill`: everything, or all that changed since `since`. `sweep`: what is
    /// linked and not in Keap any more.
    #[schema(schema_with = feeds)]
    feed: String,
    /// With `backfill` only.
    #[serde(default)]
    since: Option<DateTime<Utc>>,
}

fn feeds() -> Object {
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(
            [Feed::Changed, Feed::Backfill, Feed::Sweep].map(Feed::as_str),
        ))
        .examples(["backfill"])
        .build()
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunReply {
    success: bool,
    #[schema(value_type = String, example = "queued")]
    action: &'static str,
    run_id: Uuid,
    status_url: String,
}

/// Asks for a walk over Keap's contacts
#[utoipa::path(post, path = "/sync/run", tag = "sync", request_body = RunRequest, security(("apiToken" = [])),
    responses(
        (status = 202, description = "The walk is asked for", body = RunReply),
        (status = 400, description = "The body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "There is no such feed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn ask_run(
    State(state): State<Arc<HttpState>>,
    body: Bytes,
) -> Result<(StatusCode, Json<RunReply>), Problem> {
    let expected = "{\"feed\": \"changed\"}, {\"feed\": \"sweep\"}, or {\"feed\": \"backfill\", \"since\": \"2026-01-31T00:00:00Z\"}";
    let body: RunRequest = json::body(&body, expected)?;
    let refused = |why: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    let feed = match (Feed::parse(&body.feed), body.since) {
        (Some(Feed::Changed), None) => Feed::Changed,
        (Some(Feed::Changed), Some(_)) => {
            return Err(refused(
                "since goes with the feed backfill only: changed goes on from its cursor",
            ));
        }
        (Some(Feed::Sweep), None) => Feed::Sweep,
        (Some(Feed::Sweep), Some(_)) => {
            return Err(refused(
                "since goes with the feed backfill only: a sweep looks at every contact",
            ));
        }
        (Some(Feed::Backfill), _) => Feed::Backfill,
        _ => return Err(refused("feed is one of changed, backfill, sweep")),
    };
    let run_id = state.store.request_run(feed, "manual", body.since).await?;
    state.bulk.fire("run");
    tracing::info!(run.id = %run_id, feed = feed.as_str(), "A walk was asked for.");
    let reply = RunReply {
        success: true,
        action: "queued",
        run_id,
        status_url: format!("/sync/runs/{run_id}"),
    };
    Ok((StatusCode::ACCEPTED, Json(reply)))
}

/// A walk with its counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunBody {
    success: bool,
    run_id: Uuid,
    feed: String,
    reason: String,
    /// `requested`, `running`, `done` or `failed`.
    state: String,
    since: Option<DateTime<Utc>>,
    counts: CountsBody,
    error: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountsBody {
    seen: i64,
    created: i64,
    linked: i64,
    updated: i64,
    unchanged: i64,
    skipped: i64,
    held: i64,
    failed: i64,
    archived: i64,
    unlinked: i64,
    late: i64,
    keap_calls: i64,
    intercom_calls: i64,
}

/// Shows a walk with its counts
#[utoipa::path(get, path = "/sync/runs/{id}", tag = "sync", params(("id" = Uuid, Path, description = "The id of a run")),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "The run", body = RunBody),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn run(
    State(state): State<Arc<HttpState>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<RunBody>, Problem> {
    let unknown = || Problem::not_found("there is no such run");
    let Path(id) = path.map_err(|_| unknown())?;
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let run = state.store.run(id).await?.ok_or_else(unknown)?;
    let Run {
        id,
        feed,
        reason,
        state,
        since,
        counts,
        error,
        created_at,
        finished_at,
    } = run;
    Ok(Json(RunBody {
        success: true,
        run_id: id,
        feed,
        reason,
        state: state.as_str().to_owned(),
        since,
        counts: CountsBody {
            seen: counts.seen,
            created: counts.created,
            linked: counts.linked,
            updated: counts.updated,
            unchanged: counts.unchanged,
            skipped: counts.skipped,
            held: counts.held,
            failed: counts.failed,
            archived: counts.archived,
            unlinked: counts.unlinked,
            late: counts.late,
            keap_calls: counts.keap_calls,
            intercom_calls: counts.intercom_calls,
        },
        error,
        created_at,
        finished_at,
    }))
}

/// A contact as it is known here: ids, stamps and reasons.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactBody {
    success: bool,
    keap_contact_id: i64,
    link: Option<LinkBody>,
    due: Option<DueBody>,
    /// The last ten outcomes, the latest first.
    log: Vec<LogBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkBody {
    /// None: the contact was looked at and left out.
    intercom_contact_id: Option<String>,
    keap_updated_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DueBody {
    /// `manual`, `webhook`, `retry` or `again`.
    reason: String,
    due_at: DateTime<Utc>,
    attempts: i32,
    /// The contact waits for a person.
    held: bool,
    error: Option<String>,
    /// Intercom contacts to choose from.
    candidates: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogBody {
    at: DateTime<Utc>,
    status: String,
    action: Option<String>,
    intercom_contact_id: Option<String>,
    error: Option<String>,
    feed: Option<String>,
    run_id: Option<Uuid>,
}

/// Shows what is known of a contact: its link, its due row, its last outcomes
#[utoipa::path(get, path = "/sync/contacts/{id}", tag = "sync",
    params(("id" = i64, Path, minimum = 1, description = "A Keap contact id")), security(("apiToken" = [])),
    responses(
        (status = 200, description = "What is known", body = ContactBody),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Nothing is known of such a contact", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn contact(
    State(state): State<Arc<HttpState>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<ContactBody>, Problem> {
    let unknown = || Problem::not_found("nothing is known of such a contact");
    let Path(id) = path.map_err(|_| unknown())?;
    let id: KeapId = id.parse().map_err(|_| unknown())?;
    let known = state.store.contact_state(id).await?;
    if known.link.is_none() && known.due.is_none() && known.log.is_empty() {
        return Err(unknown());
    }
    Ok(Json(ContactBody {
        success: true,
        keap_contact_id: id.get(),
        link: known.link.map(|link| LinkBody {
            intercom_contact_id: link.intercom_contact_id,
            keap_updated_at: link.keap_updated_at,
            updated_at: link.updated_at,
        }),
        due: known.due.map(|due| DueBody {
            reason: due.reason,
            due_at: due.due_at,
            attempts: due.attempts,
            held: due.held,
            error: due.error,
            candidates: due.candidates,
        }),
        log: known
            .log
            .into_iter()
            .map(|entry| LogBody {
                at: entry.at,
                status: entry.status,
                action: entry.action,
                intercom_contact_id: entry.intercom_contact_id,
                error: entry.error,
                feed: entry.feed,
                run_id: entry.run_id,
            })
            .collect(),
    }))
}
