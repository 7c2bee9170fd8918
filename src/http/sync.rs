//! `POST /sync/contact`: syncs one contact now.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::code::Code;
use super::json;
use super::problem::{Problem, ProblemBody};
use super::requests::{Reply, Wait, query, request, status_url, wait_for_outcomes};
use super::start::Arrived;
use super::state::HttpState;
use crate::contact::KeapId;
use crate::feed::DueReason;

/// The contact to sync.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContactRequest {
    /// A Keap contact id: a positive whole number, also as text. `keap_contact_id` is accepted too.
    #[schema(schema_with = json::keap_id_schema)]
    #[serde(alias = "keap_contact_id")]
    keap_contact_id: Value,
}

/// Both spellings of its field.
const CONTACT_FIELDS: [json::Field; 1] =
    [json::Field { name: "keapContactId", former: Some("keap_contact_id") }];

/// The contact in Intercom. Only its ids are known here.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct IntercomContact {
    #[schema(value_type = String, example = "contact")]
    r#type: &'static str,
    id: String,
    /// The Keap contact id.
    external_id: String,
}

/// What came of the contact.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Synced {
    success: bool,
    /// `created`, `updated`, `linked`, `unchanged`, or `queued` if the wait ended first.
    #[schema(value_type = String, example = "updated")]
    action: &'static str,
    keap_contact_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    intercom_contact_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intercom_contact: Option<IntercomContact>,
    /// Where a caller finds the outcome of a queued contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_url: Option<String>,
}

/// Syncs one contact now
///
/// The contact goes before all others. The answer is 422 with the reason if the contact cannot be
/// synced, 404 if Keap does not have it, and 502 if the first try failed; the daemon tries again by
/// itself.
#[utoipa::path(post, path = "/sync/contact", tag = "contacts", operation_id = "syncContact", params(Wait),
    request_body(content = ContactRequest, example = json!({ "keapContactId": 12345 })),
    security(("apiToken" = [])),
    responses(
        (status = 200, description = "Synced", body = Synced, example = json!({ "success": true, "action": "created", "keapContactId": 12345, "intercomContactId": "6762f0dd1bb69f9f00000000", "intercomContact": { "type": "contact", "id": "6762f0dd1bb69f9f00000000", "external_id": "12345" } })),
        (status = 202, description = "Stored, but not done within the wait", body = Synced, example = json!({ "success": true, "action": "queued", "keapContactId": 12345, "statusUrl": "/sync/contacts/12345" })),
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
pub(super) async fn contact(
    State(state): State<Arc<HttpState>>,
    Extension(arrived): Extension<Arrived>,
    wait: Result<Query<Wait>, QueryRejection>,
    body: Bytes,
) -> Result<Response, Problem> {
    let wait = query(wait)?;
    let body: ContactRequest = json::body(&body, &CONTACT_FIELDS, "{\"keapContactId\": 12345}")?;
    let id = json::keap_id(&body.keap_contact_id).ok_or_else(|| {
        Problem::new(Code::InvalidId, "keapContactId is not a Keap contact id: expected a positive whole number, for example 12345")
    })?;
    let since = request(&state, &[id], DueReason::Manual).await?;
    let mut replies = wait_for_outcomes(&state, &[id], since, arrived.left_of(wait.time())).await?;
    respond(id, replies.remove(&id).unwrap_or(Reply::Queued))
}

fn respond(id: KeapId, reply: Reply) -> Result<Response, Problem> {
    let refused =
        |code, why: String, action| Err(Problem::new(code, why).of_contact(id.get(), action));
    let mut synced = Synced {
        success: true,
        action: "queued",
        keap_contact_id: id.get(),
        intercom_contact_id: None,
        intercom_contact: None,
        status_url: None,
    };
    match reply {
        Reply::Done { action, intercom } => {
            synced.action = action;
            synced.intercom_contact = intercom.clone().map(|intercom| IntercomContact {
                r#type: "contact",
                id: intercom,
                external_id: id.to_string(),
            });
            synced.intercom_contact_id = intercom;
            Ok(Json(synced).into_response())
        }
        Reply::Queued => {
            synced.status_url = Some(status_url(id));
            Ok((StatusCode::ACCEPTED, Json(synced)).into_response())
        }
        Reply::NotInKeap(why) => refused(Code::NotInKeap, why, "skipped"),
        Reply::Skipped(why) => refused(Code::ContactSkipped, why, "skipped"),
        Reply::Held(why) => refused(Code::ContactHeld, why, "held"),
        Reply::Failed(why) => refused(Code::ContactFailed, why, "failed"),
    }
}
