//! `POST /sync/batch`: syncs up to 1,000 contacts now.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::Array;

use super::code::Code;
use super::json;
use super::keys::{SecretDigest, digest};
use super::problem::{Problem, ProblemBody};
use super::requests::{Reply, Wait, query, request, status_url, wait_for_outcomes};
use super::start::Arrived;
use super::state::HttpState;
use crate::contact::KeapId;
use crate::feed::DueReason;

/// The most contacts that one batch may name.
pub(super) const MAX_BATCH_CONTACTS: usize = 1000;

/// The contacts to sync.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchRequest {
    /// 1 to 1,000 Keap contact ids; repeats count once. `keap_contact_ids` is accepted too.
    #[schema(schema_with = keap_ids_schema)]
    #[serde(alias = "keap_contact_ids")]
    keap_contact_ids: Vec<Value>,
}

/// Both spellings of its field.
const BATCH_FIELDS: [json::Field; 1] =
    [json::Field { name: "keapContactIds", former: Some("keap_contact_ids") }];

pub(super) fn keap_ids_schema() -> Array {
    Array::builder()
        .items(json::keap_id_schema())
        .min_items(Some(1))
        .max_items(Some(MAX_BATCH_CONTACTS))
        .examples([serde_json::json!([12345, 67890])])
        .build()
}

/// What came of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchReply {
    success: bool,
    total: usize,
    succeeded: usize,
    failed: usize,
    /// Not done within the wait. The daemon goes on with them.
    queued: usize,
    /// In the order of the request.
    results: Vec<BatchResult>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchResult {
    keap_contact_id: i64,
    success: bool,
    /// `created`, `updated`, `linked`, `unchanged`, `queued`, `skipped`, `held` or `failed`.
    #[schema(value_type = String, example = "updated")]
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    intercom_contact_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_url: Option<String>,
}

impl BatchResult {
    fn new(id: KeapId, reply: Reply) -> Self {
        let (action, intercom, error) = match reply {
            Reply::Done { action, intercom, .. } => (action, intercom, None),
            Reply::Queued => ("queued", None, None),
            Reply::Skipped(why) | Reply::NotInKeap(why) => ("skipped", None, Some(why)),
            Reply::Held(why) => ("held", None, Some(why)),
            Reply::Failed(why) => ("failed", None, Some(why)),
        };
        Self {
            keap_contact_id: id.get(),
            success: error.is_none(),
            action,
            intercom_contact_id: intercom,
            error,
            status_url: (action == "queued").then(|| status_url(id)),
        }
    }
}

impl BatchReply {
    fn new(results: Vec<BatchResult>) -> Self {
        let count = |wanted: fn(&BatchResult) -> bool| {
            results.iter().filter(|result| wanted(result)).count()
        };
        let queued = count(|result| result.action == "queued");
        Self {
            success: true,
            total: results.len(),
            succeeded: count(|result| result.success) - queued,
            failed: count(|result| !result.success),
            queued,
            results,
        }
    }
}

/// Syncs up to 1,000 contacts now
///
/// With an `Idempotency-Key` (kept for a day), a repeated request starts nothing new and gets the
/// same answer.
#[utoipa::path(post, path = "/sync/batch", tag = "contacts", operation_id = "syncBatch",
    params(Wait, ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = r"^[!-~]([ -~]*[!-~])?$",
        description = "1 to 255 ASCII characters that stand for this batch")),
    request_body(content = BatchRequest, example = json!({ "keapContactIds": [67890, 12345] })), security(("apiToken" = [])),
    responses(
        (status = 200, description = "Every contact has an outcome", body = BatchReply, example = json!({ "success": true, "total": 1, "succeeded": 1, "failed": 0, "queued": 0, "results": [{ "keapContactId": 67890, "success": true, "action": "created", "intercomContactId": "6762f0dd1bb69f9f00000001" }] })),
        (status = 202, description = "Stored, but some contacts have no outcome yet", body = BatchReply, example = json!({ "success": true, "total": 1, "succeeded": 0, "failed": 0, "queued": 1, "results": [{ "keapContactId": 67890, "success": true, "action": "queued", "statusUrl": "/sync/contacts/67890" }] })),
        (status = 400, description = "The body names no contacts", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "More than 1,000 contacts", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key stands for another body", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn batch(
    State(state): State<Arc<HttpState>>,
    Extension(arrived): Extension<Arrived>,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let wait = query(wait)?;
    let body: BatchRequest =
        json::body(&body, &BATCH_FIELDS, "{\"keapContactIds\": [12345, 67890]}")?;
    let ids = ids(&body.keap_contact_ids)?;
    let key = idempotency_key(&headers)?;
    let since = match key {
        None => request(&state, &ids, DueReason::Manual).await?,
        Some(key) => {
            let batch = state.store.request_batch(key, digest_of(&ids), &ids).await?;
            let batch = batch.ok_or_else(|| {
                Problem::new(Code::KeyReused, "this Idempotency-Key stands for another body")
            })?;
            if let Some(answer) = batch.answer {
                return Ok(([(CONTENT_TYPE, "application/json")], answer).into_response());
            }
            state.urgent.fire("batch");
            batch.requested_at
        }
    };
    let mut replies = wait_for_outcomes(&state, &ids, since, arrived.left_of(wait.time())).await?;
    let result = |id: &KeapId| BatchResult::new(*id, replies.remove(id).unwrap_or(Reply::Queued));
    let reply = BatchReply::new(ids.iter().map(result).collect());
    let status = if reply.queued == 0 { StatusCode::OK } else { StatusCode::ACCEPTED };
    if let Some(key) = key.filter(|_| reply.queued == 0)
        && let Ok(answer) = serde_json::to_string(&reply)
        && let Err(error) = state.store.answer_batch(key, &answer).await
    {
        // A repeated request finds the same outcomes in the log.
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "The answer of a batch could not be stored."
        );
    }
    Ok((status, Json(reply)).into_response())
}

/// Reads ids that are given. A list that is null names nobody, and is refused.
pub(super) fn given<'de, T, D>(value: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Vec::deserialize(value).map(Some)
}

/// The ids of a batch in the order of the request, each once.
pub(super) fn ids(values: &[Value]) -> Result<Vec<KeapId>, Problem> {
    if values.is_empty() {
        return Err(Problem::new(Code::InvalidBody, "keapContactIds is empty"));
    }
    if values.len() > MAX_BATCH_CONTACTS {
        return Err(Problem::new(
            Code::TooLarge,
            format!("a batch holds at most {MAX_BATCH_CONTACTS} contacts"),
        ));
    }
    let mut seen = HashSet::new();
    let mut ids = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let id = json::keap_id(value).ok_or_else(|| {
            Problem::new(Code::InvalidId, format!(
                "keapContactIds[{at}] is not a Keap contact id: expected a positive whole number, for example 12345"
            ))
        })?;
        if seen.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Distinguishes one batch from another.
fn digest_of(ids: &[KeapId]) -> SecretDigest {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    digest(ids.join(",").as_bytes())
}

/// The digest of the caller's Idempotency-Key, if there is one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<SecretDigest>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = key.as_bytes().trim_ascii();
    if !(1..=255).contains(&key.len()) || !key.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Err(Problem::new(
            Code::InvalidKey,
            "Idempotency-Key is not 1 to 255 characters of ASCII",
        ));
    }
    Ok(Some(digest(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_batch_names_each_contact_once_in_the_order_asked() {
        let values = [json!(3), json!("1"), json!(3), json!(2)];
        let found: Vec<i64> = ids(&values).unwrap().iter().map(|id| id.get()).collect();
        assert_eq!(found, [3, 1, 2]);
        for wrong in
            [json!(0), json!(-1), json!(1.5), json!("x"), json!(null), json!([1]), json!(u64::MAX)]
        {
            assert!(ids(&[json!(1), wrong.clone()]).is_err(), "{wrong}");
        }
        assert!(ids(&[]).is_err());
        assert!(ids(&vec![json!(1); MAX_BATCH_CONTACTS + 1]).is_err());
    }
}
