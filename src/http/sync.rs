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
use super::newcomer::{self, Brought};
use super::problem::{Problem, ProblemBody};
use super::requests::{Reply, Wait, query, request, status_url, wait_for_outcomes};
use super::start::Arrived;
use super::state::HttpState;
use crate::contact::{IntercomId, KeapId};
use crate::feed::DueReason;

/// The contact to sync, by one of the two ids. If both are given, they must be linked to each
/// other.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", try_from = "Given")]
pub(super) struct ContactRequest {
    /// A Keap contact id: a positive whole number, also as text. `keap_contact_id` is accepted too.
    #[schema(schema_with = json::keap_id_schema, required = false)]
    keap_contact_id: Value,
    /// Instead: the id of a linked contact in Intercom, or of a user whom `intercom_to_keap.create`
    /// brings into Keap. `intercom_contact_id` is accepted too.
    #[schema(example = "6762f0dd1bb69f9f00000000")]
    intercom_contact_id: Option<String>,
}

/// The body as it comes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    #[serde(alias = "keap_contact_id", default)]
    keap_contact_id: Option<Value>,
    #[serde(alias = "intercom_contact_id", default)]
    intercom_contact_id: Option<String>,
}

impl TryFrom<Given> for ContactRequest {
    type Error = &'static str;

    fn try_from(given: Given) -> Result<Self, Self::Error> {
        if given.keap_contact_id.is_none() && given.intercom_contact_id.is_none() {
            return Err("no id is given");
        }
        Ok(Self {
            keap_contact_id: given.keap_contact_id.unwrap_or_default(),
            intercom_contact_id: given.intercom_contact_id,
        })
    }
}

/// Both spellings of its fields.
const CONTACT_FIELDS: [json::Field; 2] = [
    json::Field { name: "keapContactId", former: Some("keap_contact_id") },
    json::Field { name: "intercomContactId", former: Some("intercom_contact_id") },
];

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
    /// Missing while a user of Intercom is queued that has no contact in Keap yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    keap_contact_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intercom_contact_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intercom_contact: Option<IntercomContact>,
    /// `intercom_to_keap` if Intercom's value was written to Keap, else `keap_to_intercom`. Missing
    /// where the first is not possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "intercom_to_keap")]
    direction: Option<&'static str>,
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
        (status = 404, description = "Keap does not have the contact, or the ids are not linked", body = ProblemBody, content_type = "application/problem+json"),
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
    let by_intercom = body.intercom_contact_id.is_some();
    let linked = match &body.intercom_contact_id {
        Some(intercom) => match linked(&state, intercom).await? {
            Linked::To(keap) => Some(keap),
            Linked::Newcomer(intercom) if body.keap_contact_id.is_null() => {
                let time = arrived.left_of(wait.time());
                return brought(newcomer::bring(&state, &intercom, time).await?, &intercom);
            }
            Linked::Newcomer(_) => return Err(not_linked()),
        },
        None => None,
    };
    let given = json::keap_id(&body.keap_contact_id);
    let id = match (given, linked) {
        (None, Some(linked)) if body.keap_contact_id.is_null() => linked,
        (None, _) => {
            let why = "keapContactId is not a Keap contact id: expected a positive whole number, for example 12345";
            return Err(Problem::new(Code::InvalidId, why));
        }
        (Some(given), Some(linked)) if given != linked => {
            let why = "keapContactId and intercomContactId are not linked to each other; give one of them";
            return Err(Problem::new(Code::UnknownContact, why));
        }
        (Some(given), _) => given,
    };
    let since = request(&state, &[id], DueReason::Manual).await?;
    let mut replies = wait_for_outcomes(&state, &[id], since, arrived.left_of(wait.time())).await?;
    respond(id, replies.remove(&id).unwrap_or(Reply::Queued), by_intercom)
}

/// What an Intercom contact is to us.
enum Linked {
    To(KeapId),
    /// It has no link, and may be brought into Keap.
    Newcomer(IntercomId),
}

fn not_linked() -> Problem {
    Problem::new(Code::UnknownContact, "no contact in Keap is linked to this Intercom contact")
}

/// The Keap contact that is linked to an Intercom contact.
async fn linked(state: &HttpState, intercom: &str) -> Result<Linked, Problem> {
    let id = IntercomId::new(intercom).ok_or_else(|| {
        Problem::new(Code::InvalidId, "intercomContactId is not an Intercom contact id")
    })?;
    let links = state.store.linked_owners(std::slice::from_ref(&id)).await?;
    match links.get(&id) {
        Some(keap) => Ok(Linked::To(*keap)),
        None if state.brings_newcomers => Ok(Linked::Newcomer(id)),
        None => Err(not_linked()),
    }
}

/// The answer about a user that had no link.
fn brought(brought: Brought, intercom: &IntercomId) -> Result<Response, Problem> {
    match brought {
        Brought::Contact(keap, reply) => respond(keap, reply, true),
        Brought::Queued => {
            let queued = Synced {
                keap_contact_id: None,
                intercom_contact_id: Some(intercom.to_string()),
                ..Synced::queued()
            };
            Ok((StatusCode::ACCEPTED, Json(queued)).into_response())
        }
    }
}

impl Synced {
    /// No outcome yet.
    fn queued() -> Self {
        Self {
            success: true,
            action: "queued",
            keap_contact_id: None,
            intercom_contact_id: None,
            intercom_contact: None,
            direction: None,
            status_url: None,
        }
    }
}

fn respond(id: KeapId, reply: Reply, by_intercom: bool) -> Result<Response, Problem> {
    let refused =
        |code, why: String, action| Err(Problem::new(code, why).of_contact(id.get(), action));
    let mut synced = Synced { keap_contact_id: Some(id.get()), ..Synced::queued() };
    match reply {
        Reply::Done { action, intercom, to_keap } => {
            synced.action = action;
            synced.direction = match (to_keap, by_intercom) {
                (true, _) => Some("intercom_to_keap"),
                (false, true) => Some("keap_to_intercom"),
                (false, false) => None,
            };
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
