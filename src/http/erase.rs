//! `POST /sync/erase` and `POST /sync/erase/forget`: deletes a person for good, and takes that
//! back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::code::Code;
use super::json::{self, Field};
use super::problem::{Problem, ProblemBody};
use super::requests::{Wait, query};
use super::start::Arrived;
use super::state::HttpState;
use crate::contact::KeapId;
use crate::outcome::Proof;
use crate::store::{Door, Erasure};

/// How often it is looked whether the erasure is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Whom to erase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EraseRequest {
    /// A Keap contact id: a positive whole number, also as text. `keap_contact_id` is accepted too.
    #[schema(schema_with = json::keap_id_schema)]
    #[serde(alias = "keap_contact_id")]
    keap_contact_id: Value,
    /// Accept that Intercom does not have the contact, although no record explains it.
    #[serde(default)]
    absent: bool,
}

/// Whose erasure to take back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ForgetRequest {
    /// A Keap contact id: a positive whole number, also as text. `keap_contact_id` is accepted too.
    #[schema(schema_with = json::keap_id_schema)]
    #[serde(alias = "keap_contact_id")]
    keap_contact_id: Value,
}

const ID: Field = Field { name: "keapContactId", former: Some("keap_contact_id") };
const ERASE_FIELDS: [Field; 2] = [ID, Field { name: "absent", former: None }];

/// What came of the request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EraseReply {
    success: bool,
    keap_contact_id: i64,
    /// `erased`, or `queued` if the wait ended first.
    #[schema(value_type = String, example = "erased")]
    action: &'static str,
    erasure: ErasureBody,
    /// Linked contacts with an address of the erased one. They are not synced any more.
    same_address: Vec<i64>,
}

/// An erasure. It names no person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErasureBody {
    /// The keyed digest of the Keap id, in hexadecimal.
    digest: String,
    /// `command`, `http` or `page`.
    asked_by: String,
    requested_at: DateTime<Utc>,
    /// When it was done and proved; null while it is open.
    erased_at: Option<DateTime<Utc>>,
    /// `delete` or `archive`; null while it is open.
    mode: Option<String>,
    proof: Vec<ProofBody>,
    attempts: i32,
    /// It waits for a person.
    waits: bool,
    /// Why the last attempt failed.
    error: Option<String>,
}

/// What proves that one Intercom contact is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProofBody {
    #[schema(example = "deleted")]
    code: String,
    meaning: Option<&'static str>,
}

impl From<Erasure> for ErasureBody {
    fn from(erasure: Erasure) -> Self {
        let proof = |code: String| {
            let meaning = Proof::parse(&code).map(Proof::meaning);
            ProofBody { code, meaning }
        };
        Self {
            digest: erasure.digest,
            asked_by: erasure.asked_by,
            requested_at: erasure.requested_at,
            erased_at: erasure.done_at,
            mode: erasure.mode,
            proof: erasure.proof.into_iter().map(proof).collect(),
            attempts: erasure.attempts,
            waits: erasure.waits,
            error: erasure.last_error,
        }
    }
}

/// Erases a person: for good
///
/// The Intercom contact is deleted, or archived by `erase.mode`, and every row of the contact goes.
/// A read proves it. Keyed digests of the Keap id and of the addresses stay, so that nothing brings
/// the person back before `/sync/erase/forget`. The contact in Keap is not touched. A repeated
/// request answers the same proof.
#[utoipa::path(post, path = "/sync/erase", tag = "erasure", operation_id = "erase", params(Wait),
    request_body(content = EraseRequest, example = json!({ "keapContactId": 12345 })), security(("apiToken" = [])),
    responses(
        (status = 200, description = "Erased and proved", body = EraseReply, example = json!({
            "success": true, "keapContactId": 12345, "action": "erased", "sameAddress": [],
            "erasure": { "digest": "5f0c4a2b9d7e8f10a1b2c3d4e5f60718", "askedBy": "http", "requestedAt": "2026-11-30T18:02:11.480219Z", "erasedAt": "2026-11-30T18:02:12.193384Z",
                "mode": "delete", "proof": [{ "code": "deleted", "meaning": "Intercom showed the contact, took its deletion, and answers 404 for it since" }], "attempts": 0, "waits": false, "error": null } })),
        (status = 202, description = "Stored, but not done within the wait; nobody writes the contact any more", body = EraseReply, example = json!({
            "success": true, "keapContactId": 12345, "action": "queued", "sameAddress": [],
            "erasure": { "digest": "5f0c4a2b9d7e8f10a1b2c3d4e5f60718", "askedBy": "http", "requestedAt": "2026-11-30T18:02:11.480219Z", "erasedAt": null, "mode": null, "proof": [], "attempts": 0, "waits": false, "error": null } })),
        (status = 400, description = "The body names no contact", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The erasure waits for a person; `error` says why", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn erase(
    State(state): State<Arc<HttpState>>,
    Extension(arrived): Extension<Arrived>,
    wait: Result<Query<Wait>, QueryRejection>,
    body: Bytes,
) -> Result<(StatusCode, Json<EraseReply>), Problem> {
    let wait = query(wait)?;
    let body: EraseRequest = json::body(&body, &ERASE_FIELDS, "{\"keapContactId\": 12345}")?;
    let id = given(&body.keap_contact_id)?;
    let asked = request(&state, id, Door::Http, body.absent).await?;
    let erasure = wait_for(&state, id, asked, arrived.left_of(wait.time())).await?;
    if erasure.waits {
        let why = erasure.last_error.unwrap_or_default();
        return Err(Problem::new(Code::ErasureWaits, why).of_contact(id.get(), "held"));
    }
    let (status, action) = match erasure.done_at {
        Some(_) => (StatusCode::OK, "erased"),
        None => (StatusCode::ACCEPTED, "queued"),
    };
    let neighbours = state.store.erased_neighbours(id).await?;
    let reply = EraseReply {
        success: true,
        keap_contact_id: id.get(),
        action,
        erasure: erasure.into(),
        same_address: neighbours.into_iter().map(KeapId::get).collect(),
    };
    Ok((status, Json(reply)))
}

/// Stores the request, and wakes the lane that carries it out.
pub(super) async fn request(
    state: &HttpState,
    id: KeapId,
    door: Door,
    accepts_absence: bool,
) -> Result<Erasure, Problem> {
    let erasure = state.store.request_erasure(id, door, accepts_absence).await?;
    state.urgent.fire("erase");
    Ok(erasure)
}

/// Waits until the erasure is done, or waits for a person.
async fn wait_for(
    state: &HttpState,
    id: KeapId,
    asked: Erasure,
    time: Duration,
) -> Result<Erasure, Problem> {
    let (deadline, mut last) = (Instant::now() + time, asked);
    while last.done_at.is_none() && !last.waits {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(LOOK_EVERY.min(left)).await;
        // Somebody may have taken it back meanwhile.
        match state.store.erasure(id).await? {
            Some(erasure) => last = erasure,
            None => return Err(not_erased()),
        }
    }
    Ok(last)
}

fn given(id: &Value) -> Result<KeapId, Problem> {
    json::keap_id(id).ok_or_else(|| {
        let why = "keapContactId is not a Keap contact id: expected a positive whole number, for example 12345";
        Problem::new(Code::InvalidId, why)
    })
}

fn not_erased() -> Problem {
    Problem::new(Code::NotErased, "this contact is not erased")
}

/// What came of taking an erasure back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForgetReply {
    success: bool,
    keap_contact_id: i64,
}

/// Lets an erased person come back
///
/// The digests go, and the contact is synced at once, if Keap has it. Its Intercom contact is not
/// restored: a deleted one never comes back. An erasure that is not done yet is called off.
#[utoipa::path(post, path = "/sync/erase/forget", tag = "erasure", operation_id = "forgetErasure",
    request_body(content = ForgetRequest, example = json!({ "keapContactId": 12345 })), security(("apiToken" = [])),
    responses(
        (status = 200, description = "The contact is due", body = ForgetReply, example = json!({ "success": true, "keapContactId": 12345 })),
        (status = 400, description = "The body names no contact", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "The contact is not erased", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn forget(
    State(state): State<Arc<HttpState>>,
    body: Bytes,
) -> Result<Json<ForgetReply>, Problem> {
    let body: ForgetRequest = json::body(&body, &[ID], "{\"keapContactId\": 12345}")?;
    let id = given(&body.keap_contact_id)?;
    take_back(&state, id).await?;
    Ok(Json(ForgetReply { success: true, keap_contact_id: id.get() }))
}

/// Takes an erasure back, and wakes the lane that looks at the contact.
pub(super) async fn take_back(state: &HttpState, id: KeapId) -> Result<(), Problem> {
    if !state.store.forget_erasure(id).await? {
        return Err(not_erased());
    }
    state.urgent.fire("forget");
    Ok(())
}
