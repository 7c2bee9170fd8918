//! `POST /sync/contact` and `POST /sync/batch`: contacts that somebody asks for are stored as due and waited for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::openapi::Array;
use utoipa::{IntoParams, ToSchema};

use super::guard::digest;
use super::problem::{Problem, ProblemBody};
use super::{HttpState, json};
use crate::contact::KeapId;
use crate::store::{DueReason, LogRow, SyncStatus};

/// The most contacts that one batch may name.
const BATCH: usize = 1000;
/// How long a caller waits who does not say.
const WAIT_SECONDS: u64 = 20;
/// Nobody waits longer: a request ends after 30 s.
const LONGEST_WAIT_SECONDS: u64 = 25;

/// How long to wait for outcomes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wait {
    /// Seconds to wait for the outcome; 0 does not wait, more than 25 counts as 25.
    #[param(value_type = Option<i64>, minimum = 0, default = 20)]
    #[serde(default, deserialize_with = "seconds")]
    wait: Option<u64>,
}

/// No more than the document allows.
fn seconds<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    let seconds = i64::deserialize(value)?;
    u64::try_from(seconds).map(Some).map_err(D::Error::custom)
}

impl Wait {
    fn time(&self) -> Duration {
        Duration::from_secs(self.wait.unwrap_or(WAIT_SECONDS).min(LONGEST_WAIT_SECONDS))
    }
}

/// One contact to be synced.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ContactRequest {
    /// A Keap contact id: a positive whole number, also as text.
    #[schema(schema_with = json::keap_id_schema)]
    keap_contact_id: Value,
}

/// The contact in Intercom, by its ids: nothing else of it is stored here.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct IntercomContact {
    #[schema(value_type = String, example = "contact")]
    r#type: &'static str,
    id: String,
    /// The Keap contact id.
    external_id: String,
}

/// What came of a contact.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    success: bool,
    /// `created`, `updated`, `linked`, `unchanged`, or `queued` when the wait was over first.
    #[schema(value_type = String, example = "updated")]
    action: &'static str,
    keap_contact_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    intercom_contact_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intercom_contact: Option<IntercomContact>,
    /// Where to look for the outcome of a queued contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_url: Option<String>,
}

/// An outcome in the words of the replies.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Done {
        action: &'static str,
        intercom: Option<String>,
    },
    Skipped(String),
    NotInKeap(String),
    Held(String),
    /// This try failed; another one follows by itself.
    Failed(String),
    Queued,
}

impl Told {
    /// `None`: no outcome is known, so it is still to come.
    pub fn of(row: Option<&LogRow>) -> Self {
        let Some(row) = row else { return Self::Queued };
        let why = row.error_message.clone().unwrap_or_default();
        let action = ["created", "updated", "linked", "unchanged"]
            .into_iter()
            .find(|action| *action == row.action);
        match (row.status, action) {
            (SyncStatus::Synced, Some(action)) => Self::Done {
                action,
                intercom: row.intercom_contact_id.clone(),
            },
            (SyncStatus::Synced, None) => Self::Queued,
            (SyncStatus::Skipped, _) if why.starts_with("not_in_keap") => Self::NotInKeap(why),
            (SyncStatus::Skipped, _) => Self::Skipped(why),
            (SyncStatus::Failed, _) if row.action == "held" => Self::Held(why),
            (SyncStatus::Failed, _) => Self::Failed(why),
        }
    }
}

pub fn status_url(id: KeapId) -> String {
    format!("/sync/contacts/{id}")
}

/// Syncs one contact now
///
/// The contact goes before all others. A contact that cannot be synced answers 422 with the reason, one that Keap does not
/// have 404, one whose first try failed 502 (it is tried again by itself).
#[utoipa::path(post, path = "/sync/contact", tag = "sync", params(Wait), request_body = ContactRequest,
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "Synced", body = Synced),
        (status = 202, description = "Stored; not done within the wait", body = Synced),
        (status = 400, description = "The body names no contact", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "Keap does not have the contact", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The contact cannot be synced", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, description = "The first try failed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn contact(
    State(state): State<Arc<HttpState>>,
    wait: Result<Query<Wait>, axum::extract::rejection::QueryRejection>,
    body: Bytes,
) -> Result<Response, Problem> {
    let wait = query(wait)?;
    let body: ContactRequest = json::body(&body, "{\"keap_contact_id\": 12345}")?;
    let id = json::keap_id(&body.keap_contact_id).ok_or_else(|| {
        Problem::bad_request("keap_contact_id is not a Keap contact id: expected a positive whole number, for example 12345")
    })?;
    let since = request(&state, &[id], DueReason::Manual).await?;
    let told = outcomes(&state, &[id], since, wait.time()).await?;
    let told = told.get(&id).cloned().unwrap_or(Told::Queued);
    reply(id, told)
}

fn reply(id: KeapId, told: Told) -> Result<Response, Problem> {
    let refused =
        |status, why: String, action| Err(Problem::new(status, why).of_contact(id.get(), action));
    let mut synced = Synced {
        success: true,
        action: "queued",
        keap_contact_id: id.get(),
        intercom_contact_id: None,
        intercom_contact: None,
        status_url: None,
    };
    match told {
        Told::Done { action, intercom } => {
            synced.action = action;
            synced.intercom_contact = intercom.clone().map(|intercom| IntercomContact {
                r#type: "contact",
                id: intercom,
                external_id: id.to_string(),
            });
            synced.intercom_contact_id = intercom;
            Ok(Json(synced).into_response())
        }
        Told::Queued => {
            synced.status_url = Some(status_url(id));
            Ok((StatusCode::ACCEPTED, Json(synced)).into_response())
        }
        Told::NotInKeap(why) => refused(StatusCode::NOT_FOUND, why, "skipped"),
        Told::Skipped(why) => refused(StatusCode::UNPROCESSABLE_ENTITY, why, "skipped"),
        Told::Held(why) => refused(StatusCode::UNPROCESSABLE_ENTITY, why, "held"),
        Told::Failed(why) => refused(StatusCode::BAD_GATEWAY, why, "failed"),
    }
}

/// Contacts to be synced.
#[derive(Debug, Deserialize, ToSchema)]
pub struct BatchRequest {
    /// 1 to 1,000 Keap contact ids; repeats count once.
    #[schema(schema_with = keap_ids_schema)]
    keap_contact_ids: Vec<Value>,
}

fn keap_ids_schema() -> Array {
    Array::builder()
        .items(json::keap_id_schema())
        .min_items(Some(1))
        .max_items(Some(BATCH))
        .examples([serde_json::json!([12345, 67890])])
        .build()
}

/// What came of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchReply {
    success: bool,
    total: usize,
    succeeded: usize,
    failed: usize,
    /// Not done within the wait; they go on by themselves.
    queued: usize,
    /// In the order in which they were asked for.
    results: Vec<BatchResult>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchResult {
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
    fn new(id: KeapId, told: Told) -> Self {
        let (action, intercom, error) = match told {
            Told::Done { action, intercom } => (action, intercom, None),
            Told::Queued => ("queued", None, None),
            Told::Skipped(why) | Told::NotInKeap(why) => ("skipped", None, Some(why)),
            Told::Held(why) => ("held", None, Some(why)),
            Told::Failed(why) => ("failed", None, Some(why)),
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
/// With an `Idempotency-Key` (kept for a day) a repeat asks for nothing again and gets the same answer.
#[utoipa::path(post, path = "/sync/batch", tag = "sync",
    params(Wait, ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = r"^[!-~]([ -~]*[!-~])?$",
        description = "Any text of 1 to 255 characters of ASCII that stands for this batch")),
    request_body = BatchRequest, security(("apiToken" = [])),
    responses(
        (status = 200, description = "Every contact has an outcome", body = BatchReply),
        (status = 202, description = "Stored; some contacts have no outcome yet", body = BatchReply),
        (status = 400, description = "The body names no contacts", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "More than 1,000 contacts", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key stands for another body", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub async fn batch(
    State(state): State<Arc<HttpState>>,
    wait: Result<Query<Wait>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let wait = query(wait)?;
    let body: BatchRequest = json::body(&body, "{\"keap_contact_ids\": [12345, 67890]}")?;
    let ids = ids(&body.keap_contact_ids)?;
    let key = idempotency_key(&headers)?;
    let since = match key {
        None => request(&state, &ids, DueReason::Manual).await?,
        Some(key) => {
            let joined: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let batch = state
                .store
                .request_batch(key, digest(joined.join(",").as_bytes()), &ids)
                .await?
                .ok_or_else(|| {
                    Problem::new(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        "this Idempotency-Key stands for another body",
                    )
                })?;
            if let Some(answer) = batch.answer {
                return Ok(([(CONTENT_TYPE, "application/json")], answer).into_response());
            }
            state.urgent.fire("batch");
            batch.requested_at
        }
    };
    let told = outcomes(&state, &ids, since, wait.time()).await?;
    let result = |id: &KeapId| BatchResult::new(*id, told.get(id).cloned().unwrap_or(Told::Queued));
    let reply = BatchReply::new(ids.iter().map(result).collect());
    let status = if reply.queued == 0 {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    if let Some(key) = key.filter(|_| reply.queued == 0)
        && let Ok(answer) = serde_json::to_string(&reply)
        && let Err(error) = state.store.answer_batch(key, &answer).await
    {
        // A repeat finds the same outcomes in the log.
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "The answer of a batch was not kept."
        );
    }
    Ok((status, Json(reply)).into_response())
}

fn query<T>(
    query: Result<Query<T>, axum::extract::rejection::QueryRejection>,
) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|_| {
        Problem::bad_request("the query is not understood; expected ?wait= and whole seconds")
    })
}

/// The ids of a batch in the order asked, each once.
fn ids(values: &[Value]) -> Result<Vec<KeapId>, Problem> {
    if values.is_empty() {
        return Err(Problem::bad_request("keap_contact_ids is empty"));
    }
    if values.len() > BATCH {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a batch holds at most {BATCH} contacts"),
        ));
    }
    let mut seen = HashSet::new();
    let mut ids = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let id = json::keap_id(value).ok_or_else(|| {
            Problem::bad_request(format!(
                "keap_contact_ids[{at}] is not a Keap contact id: expected a positive whole number, for example 12345"
            ))
        })?;
        if seen.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = key.as_bytes().trim_ascii();
    if !(1..=255).contains(&key.len()) || !key.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Err(Problem::bad_request(
            "Idempotency-Key is not 1 to 255 characters of ASCII",
        ));
    }
    Ok(Some(digest(key)))
}

/// Stores requests and wakes the urgent lane. Returns the time from which outcomes belong to them.
pub async fn request(
    state: &HttpState,
    ids: &[KeapId],
    reason: DueReason,
) -> Result<DateTime<Utc>, Problem> {
    let tickets = state.store.request(ids, reason).await?;
    state.urgent.fire(reason.as_str());
    tracing::debug!(
        contacts = tickets.len(),
        reason = reason.as_str(),
        "Contacts were asked for."
    );
    let since = tickets.iter().map(|ticket| ticket.requested_at).min();
    since.ok_or_else(|| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the database stored nothing",
        )
    })
}

/// Waits for outcomes and says what they are; contacts without one are left out.
pub async fn outcomes(
    state: &HttpState,
    ids: &[KeapId],
    since: DateTime<Utc>,
    time: Duration,
) -> Result<HashMap<KeapId, Told>, Problem> {
    let undone: HashSet<KeapId> = state.waits.wait(ids, time).await.into_iter().collect();
    let done: Vec<KeapId> = ids
        .iter()
        .copied()
        .filter(|id| !undone.contains(id))
        .collect();
    if done.is_empty() {
        return Ok(HashMap::new());
    }
    // Stored it is: a database that fails now makes a late answer, not a failed request.
    let rows = state
        .store
        .outcomes_since(&done, since)
        .await
        .unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|(id, row)| (id, Told::of(Some(&row))))
        .collect())
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
        for wrong in [
            json!(0),
            json!(-1),
            json!(1.5),
            json!("x"),
            json!(null),
            json!([1]),
            json!(u64::MAX),
        ] {
            assert!(ids(&[json!(1), wrong.clone()]).is_err(), "{wrong}");
        }
        assert!(ids(&[]).is_err());
        assert!(ids(&vec![json!(1); BATCH + 1]).is_err());
    }
}
