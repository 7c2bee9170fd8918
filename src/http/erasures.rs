//! `GET /sync/erasures`: the erasures with their proofs.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::erase::ErasureBody;
use super::list::{self, After, DEFAULT_LIMIT};
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;

/// Which erasures are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ErasuresQuery {
    /// The most erasures of the page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "list::limit")]
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Erasures, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErasuresReply {
    success: bool,
    erasures: Vec<ErasureBody>,
    /// The key of the next page; null on the last one.
    next: Option<String>,
}

/// Lists the erasures with their proofs, the latest first
#[utoipa::path(get, path = "/sync/erasures", tag = "erasure", operation_id = "listErasures", params(ErasuresQuery),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "A page of erasures", body = ErasuresReply, example = json!({
            "success": true, "next": null,
            "erasures": [{ "digest": "5f0c4a2b9d7e8f10a1b2c3d4e5f60718", "askedBy": "http", "requestedAt": "2026-11-30T18:02:11.480219Z", "erasedAt": "2026-11-30T18:02:12.193384Z",
                "mode": "delete", "proof": [{ "code": "deleted", "meaning": "Intercom showed the contact, took its deletion, and answers 404 for it since" }], "attempts": 0, "waits": false, "error": null }] })),
        (status = 400, description = "The query is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn erasures(
    State(state): State<Arc<HttpState>>,
    query: Result<Query<ErasuresQuery>, QueryRejection>,
) -> Result<Json<ErasuresReply>, Problem> {
    let ErasuresQuery { limit, after } = list::query(query, "nothing else")?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let after = after.as_deref().map(After::<String>::read).transpose()?;
    let after = after.as_ref().map(|after| (after.at, after.id.as_str()));
    let mut erasures = state.store.erasures(after, limit + 1).await?;
    let next = list::next(&mut erasures, limit, |one| After::text(one.requested_at, &one.digest));
    let erasures = erasures.into_iter().map(ErasureBody::from).collect();
    Ok(Json(ErasuresReply { success: true, erasures, next }))
}
