//! `GET /sync/cursor` and `POST /sync/cursor`: how far the feeds have come, and the cursor of the
//! polls by hand.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::code::Code;
use super::json::{self, Field};
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use super::status::AskedRun;
use crate::feed::{Feed, RunReason};
use crate::report::lag_seconds;
use crate::store::IntercomFeed;

/// How far the feeds have come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CursorReply {
    success: bool,
    /// Feeds that have never begun are missing.
    feeds: Vec<FeedBody>,
    /// Every user that changed in Intercom up to here was seen; null while the second direction has
    /// not read its list.
    intercom_position: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeedBody {
    #[schema(value_type = String, example = "changed")]
    feed: &'static str,
    /// Every contact with a stamp up to here is recorded. Only for `changed`.
    position: Option<DateTime<Utc>>,
    /// The next poll reads from here, because contacts may become visible late. Only for `changed`.
    settled: Option<DateTime<Utc>>,
    /// How many seconds ago the last whole walk succeeded.
    age_seconds: Option<u64>,
    /// A walk is under way.
    walking: bool,
    /// It has passed this id.
    last_id: Option<i64>,
}

/// Where the next poll begins.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CursorRequest {
    /// A time in the past.
    position: DateTime<Utc>,
}

/// Shows how far each feed has come
#[utoipa::path(get, path = "/sync/cursor", tag = "walks", operation_id = "showCursor", security(("apiToken" = [])),
    responses(
        (status = 200, description = "The feeds", body = CursorReply, example = json!({
            "success": true, "intercomPosition": null,
            "feeds": [{ "feed": "changed", "position": "2026-11-25T04:05:52Z", "settled": "2026-11-25T04:03:50Z", "ageSeconds": 12, "walking": false, "lastId": null }] })),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn cursor(
    State(state): State<Arc<HttpState>>,
) -> Result<Json<CursorReply>, Problem> {
    let mut feeds = Vec::new();
    for feed in [Feed::Changed, Feed::Backfill, Feed::Sweep] {
        let Some(cursor) = state.store.cursor(feed).await? else {
            continue;
        };
        let has_place = feed == Feed::Changed;
        feeds.push(FeedBody {
            feed: feed.as_str(),
            position: has_place.then_some(cursor.position),
            settled: has_place.then_some(cursor.settled),
            age_seconds: lag_seconds(&cursor),
            walking: cursor.walk.is_some(),
            last_id: cursor.walk.and_then(|walk| walk.last_id).map(|id| id.get()),
        });
    }
    let intercom = state.store.intercom_cursor(IntercomFeed::Changed).await?;
    Ok(Json(CursorReply { success: true, feeds, intercom_position: intercom.position }))
}

/// Sets where the next poll begins
///
/// Back: the poll reads again what has changed since then, one call to Keap for each page. Forward:
/// polls never read what has changed in between; the next sweep finds it.
#[utoipa::path(post, path = "/sync/cursor", tag = "walks", operation_id = "setCursor", security(("apiToken" = [])),
    request_body(content = CursorRequest, example = json!({ "position": "2026-11-24T00:00:00Z" })),
    responses(
        (status = 202, description = "The poll that begins there is queued", body = AskedRun, example = json!({ "success": true, "action": "queued", "runId": "b89b5e77-aba6-47ba-b8cf-84a078cfab29", "statusUrl": "/sync/runs/b89b5e77-aba6-47ba-b8cf-84a078cfab29" })),
        (status = 400, description = "The body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The time lies in the future, or no poll has happened yet", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn set_cursor(
    State(state): State<Arc<HttpState>>,
    body: Bytes,
) -> Result<(StatusCode, Json<AskedRun>), Problem> {
    let expected = "{\"position\": \"2026-01-31T00:00:00Z\"}";
    let fields = [Field { name: "position", former: None }];
    let CursorRequest { position } = json::body(&body, &fields, expected)?;
    let refused = |why: &str| Problem::new(Code::CursorRefused, why);
    if position > Utc::now() {
        return Err(refused("the time lies in the future, and would hide every change until then"));
    }
    if position < DateTime::UNIX_EPOCH {
        return Err(refused("nothing in Keap is that old; expected 1970-01-01T00:00:00Z or later"));
    }
    if state.store.cursor(Feed::Changed).await?.is_none() {
        return Err(refused("no poll has happened yet, so there is no cursor to set"));
    }
    let run_id = state.store.request_run(Feed::Changed, RunReason::Manual, Some(position)).await?;
    state.bulk.fire("cursor");
    tracing::info!(run.id = %run_id, %position, "A caller sets the cursor of the polls.");
    Ok((StatusCode::ACCEPTED, Json(AskedRun::queued(run_id))))
}
