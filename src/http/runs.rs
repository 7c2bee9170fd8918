//! `GET /sync/runs` and `GET /sync/runs/{id}`: shows walks with their counts.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::code::Code;
use super::list::{self, After, DEFAULT_LIMIT};
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::store::Run;

/// A walk with its counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunBody {
    run_id: Uuid,
    #[schema(example = "backfill")]
    feed: String,
    #[schema(example = "manual")]
    reason: String,
    /// `requested`, `running`, `done` or `failed`.
    #[schema(example = "done")]
    state: String,
    since: Option<DateTime<Utc>>,
    counts: CountsBody,
    error: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

/// A walk, alone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunReply {
    success: bool,
    #[serde(flatten)]
    run: RunBody,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CountsBody {
    seen: i64,
    created: i64,
    linked: i64,
    updated: i64,
    /// They got their owner's value back in Intercom. Of an audit, those that it has found.
    restored: i64,
    unchanged: i64,
    skipped: i64,
    held: i64,
    failed: i64,
    archived: i64,
    unlinked: i64,
    late: i64,
    /// They have a field that was edited on both sides. They count among the others, too.
    conflicts: i64,
    /// They were made in Keap for users that this audit has found; also after its end.
    created_in_keap: i64,
    keap_calls: i64,
    intercom_calls: i64,
}

impl From<Run> for RunBody {
    fn from(run: Run) -> Self {
        let Run { id, feed, reason, state, since, counts, failure, created_at, finished_at } = run;
        Self {
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
                restored: counts.restored,
                unchanged: counts.unchanged,
                skipped: counts.skipped,
                held: counts.held,
                failed: counts.failed,
                archived: counts.archived,
                unlinked: counts.unlinked,
                late: counts.late,
                conflicts: counts.conflicts,
                created_in_keap: counts.created_in_keap,
                keap_calls: counts.keap_calls,
                intercom_calls: counts.intercom_calls,
            },
            error: failure.map(|failure| failure.to_string()),
            created_at,
            finished_at,
        }
    }
}

/// Shows a walk with its counts
#[utoipa::path(get, path = "/sync/runs/{id}", tag = "walks", operation_id = "showRun",
    params(("id" = Uuid, Path, description = "The id of a run", example = "b89b5e77-aba6-47ba-b8cf-84a078cfab29")),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "The run", body = RunReply, example = json!({
            "success": true, "runId": "b89b5e77-aba6-47ba-b8cf-84a078cfab29", "feed": "backfill", "reason": "manual", "state": "done", "since": null,
            "counts": { "seen": 3, "created": 1, "linked": 0, "updated": 0, "restored": 0, "unchanged": 2, "skipped": 0, "held": 0, "failed": 0, "archived": 0, "unlinked": 0, "late": 0, "conflicts": 0, "createdInKeap": 0, "keapCalls": 2, "intercomCalls": 2 },
            "error": null, "createdAt": "2026-11-25T04:05:54.528648Z", "finishedAt": "2026-11-25T04:05:54.560060Z" })),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn run(
    State(state): State<Arc<HttpState>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<RunReply>, Problem> {
    let unknown = || Problem::new(Code::NoRun, "there is no such run");
    let Path(id) = path.map_err(|_| unknown())?;
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let run = state.store.run(id).await?.ok_or_else(unknown)?;
    Ok(Json(RunReply { success: true, run: run.into() }))
}

/// Which runs are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsQuery {
    /// Only runs of this feed: `changed`, `backfill` or `sweep`.
    #[param(value_type = Option<String>, example = "sweep", pattern = "^[A-Za-z0-9_]{1,64}$")]
    #[serde(default, deserialize_with = "list::word")]
    feed: Option<String>,
    /// The most runs of the page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "list::limit")]
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Runs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunsReply {
    success: bool,
    runs: Vec<RunBody>,
    /// The key of the next page; null on the last one.
    next: Option<String>,
}

/// Lists polls and walks, the newest first
#[utoipa::path(get, path = "/sync/runs", tag = "walks", operation_id = "listRuns", params(RunsQuery),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "A page of runs", body = RunsReply, example = json!({
            "success": true, "next": "2026-11-25T04:05:54.528648Z_b89b5e77-aba6-47ba-b8cf-84a078cfab29",
            "runs": [{ "runId": "b89b5e77-aba6-47ba-b8cf-84a078cfab29", "feed": "sweep", "reason": "schedule", "state": "done", "since": null,
                "counts": { "seen": 1040, "created": 0, "linked": 0, "updated": 0, "restored": 0, "unchanged": 0, "skipped": 0, "held": 0, "failed": 0, "archived": 2, "unlinked": 0, "late": 0, "conflicts": 0, "createdInKeap": 0, "keapCalls": 4, "intercomCalls": 2 },
                "error": null, "createdAt": "2026-11-25T04:05:54.528648Z", "finishedAt": "2026-11-25T04:05:57.560060Z" }] })),
        (status = 400, description = "The query is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn runs(
    State(state): State<Arc<HttpState>>,
    query: Result<Query<RunsQuery>, QueryRejection>,
) -> Result<Json<RunsReply>, Problem> {
    let RunsQuery { feed, limit, after } = list::query(query, "feed")?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let after = after.as_deref().map(After::<Uuid>::read).transpose()?;
    let before = after.map(|after| (after.at, after.id));
    let mut runs = state.store.runs_before(feed.as_deref(), before, limit + 1).await?;
    let next = list::next(&mut runs, limit, |run| After::text(run.created_at, &run.id));
    let runs = runs.into_iter().map(RunBody::from).collect();
    Ok(Json(RunsReply { success: true, runs, next }))
}
