//! Keap's hooks: the handshake, and events as hints. Only ids are read from a body. A body that is
//! not understood is no error, because a refusal would switch the hook off.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::code::Code;
use super::guard::WEBHOOK_SECRET;
use super::json;
use super::keys::digest;
use super::problem::{Problem, ProblemBody};
use super::requests::{Reply, request, wait_for_outcomes};
use super::state::HttpState;
use crate::contact::KeapId;
use crate::feed::DueReason;

/// Keap puts at most this many contacts into one delivery (`docs/api/keap.md`, "Hooks:
/// deliveries").
const MAX_DELIVERY_CONTACTS: usize = 1000;
/// The answer to a delivery of one contact waits this long for its outcome.
const DELIVERY_WAIT: Duration = Duration::from_secs(2);

const HOOK_SECRET: HeaderName = HeaderName::from_static("x-hook-secret");

/// What came of a delivery.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delivered {
    /// Always true: the delivery is accepted.
    success: bool,
    /// `created`, `updated`, `linked`, `unchanged` or `skipped` for a single contact that is done
    /// within 2 s, otherwise `queued`. A delivery without contacts is `skipped`, too.
    #[schema(value_type = String, example = "queued")]
    action: &'static str,
    /// How many contacts are stored as due.
    contacts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    intercom_contact_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keap_contact_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Delivered {
    fn new(action: &'static str, contacts: usize) -> Self {
        Self {
            success: true,
            action,
            contacts,
            intercom_contact_id: None,
            keap_contact_id: None,
            reason: None,
        }
    }
}

/// Accepts a delivery or a handshake of Keap; the secret is in the path
#[utoipa::path(post, path = "/webhook/keap/{secret}", tag = "webhook", operation_id = "deliverByPath",
    params(("secret" = String, Path, description = "A secret of KEAP_WEBHOOK_SECRET"),
        ("X-Hook-Secret" = Option<String>, Header, description = "Handshake: echoed while this program waits for a handshake")),
    request_body(content = Option<Value>, description = "`event_key` and `object_keys[].id`; anything else is accepted and ignored",
        example = json!({ "event_key": "contact.edit", "object_type": "contact", "object_keys": [{ "id": 12345 }] })),
    responses(
        (status = 200, description = "Stored, or ignored because no contact is found in it", body = Delivered, example = json!({ "success": true, "action": "updated", "contacts": 1, "intercomContactId": "6762f0dd1bb69f9f00000000", "keapContactId": 12345 })),
        (status = 401, description = "The secret is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "A handshake that this program has not asked for", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many deliveries", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down: send it again", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn by_path(
    State(state): State<Arc<HttpState>>,
    Path(secret): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    accept(&state, digest(secret.as_bytes()), &headers, &body).await
}

/// Accepts a delivery or a handshake of Keap; the secret is in a header that a proxy adds
#[utoipa::path(post, path = "/webhook/keap", tag = "webhook", operation_id = "deliverByHeader", security(("webhookSecret" = [])),
    params(("X-Hook-Secret" = Option<String>, Header, description = "Handshake: echoed while this program waits for a handshake")),
    request_body(content = Option<Value>, description = "`event_key` and `object_keys[].id`; anything else is accepted and ignored",
        example = json!({ "event_key": "contact.edit", "object_type": "contact", "object_keys": [{ "id": 12345 }] })),
    responses(
        (status = 200, description = "Stored, or ignored because no contact is found in it", body = Delivered, example = json!({ "success": true, "action": "updated", "contacts": 1, "intercomContactId": "6762f0dd1bb69f9f00000000", "keapContactId": 12345 })),
        (status = 401, description = "The secret is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "A handshake that this program has not asked for", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many deliveries", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down: send it again", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn by_header(
    State(state): State<Arc<HttpState>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let secret = headers.get(WEBHOOK_SECRET).map(HeaderValue::as_bytes);
    accept(&state, digest(secret.unwrap_or_default()), &headers, &body).await
}

async fn accept(
    state: &HttpState,
    secret: [u8; 32],
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    let delivery = Delivery::read(body);
    let echo = match headers.get(HOOK_SECRET) {
        Some(asked) if state.store.is_handshake_pending(secret).await? => {
            tracing::info!("A handshake of Keap is answered.");
            Some(asked.clone())
        }
        // A delivery may carry the header, too.
        Some(_) if delivery.ids.is_empty() => {
            tracing::warn!("A handshake is refused, because this program has not asked for one.");
            return Err(Problem::new(Code::NoHandshake, "no verification is pending"));
        }
        _ => None,
    };
    let delivered = store(state, delivery).await?;
    metrics::counter!("keap_intercom_sync_deliveries_total", "action" => delivered.action)
        .increment(1);
    let mut response = Json(delivered).into_response();
    if let Some(echo) = echo {
        response.headers_mut().insert(HOOK_SECRET, echo);
    }
    Ok(response)
}

/// Stores the contacts of a delivery, and says what came of them.
async fn store(state: &HttpState, mut delivery: Delivery) -> Result<Delivered, Problem> {
    if delivery.ids.is_empty() {
        return Ok(Delivered::new("skipped", 0));
    }
    // A caller who knows the secret could fill the table with ids that nobody has. The bucket
    // limits that.
    let wanted = u32::try_from(delivery.ids.len()).unwrap_or(u32::MAX);
    let room = state.hinted.take_some(wanted, Instant::now()) as usize;
    if room < delivery.ids.len() {
        tracing::warn!(
            dropped = delivery.ids.len() - room,
            "Webhooks ask for too many contacts; some are dropped, and the next poll finds them."
        );
        delivery.ids.truncate(room);
        if room == 0 {
            return Ok(Delivered::new("skipped", 0));
        }
    }
    delivery.ids = state.store.without_ignored(&delivery.ids).await?;
    if delivery.ids.is_empty() {
        return Ok(Delivered::new("skipped", 0));
    }
    let ids = &delivery.ids;
    let since = request(state, ids, DueReason::Webhook).await?;
    let [id] = ids.as_slice() else {
        return Ok(Delivered::new("queued", ids.len()));
    };
    let mut replies = wait_for_outcomes(state, ids, since, DELIVERY_WAIT).await?;
    let mut delivered =
        Delivered { keap_contact_id: Some(id.get()), ..Delivered::new("queued", 1) };
    match replies.remove(id) {
        Some(Reply::Done { action, intercom, .. }) => {
            delivered.action = action;
            delivered.intercom_contact_id = intercom;
        }
        Some(Reply::Skipped(why) | Reply::NotInKeap(why) | Reply::Held(why)) => {
            delivered.action = "skipped";
            delivered.reason = Some(why);
        }
        // The daemon goes on with it.
        Some(Reply::Failed(_) | Reply::Queued) | None => {}
    }
    Ok(delivered)
}

/// What is read from a body: ids, each once.
#[derive(Debug, Default, PartialEq)]
struct Delivery {
    ids: Vec<KeapId>,
}

impl Delivery {
    /// Never fails: a body that is not understood holds no ids.
    fn read(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        // Keap does not document whether events about tags carry ids of contacts or of tags. An id
        // of a tag does no harm: Keap is asked for a contact with it.
        let event = text("event_key");
        let about_contacts = event.starts_with("contact.")
            || event.starts_with("contactGroup.")
            || text("object_type").eq_ignore_ascii_case("contact");
        let keys = body.get("object_keys").and_then(Value::as_array);
        let Some(keys) = keys.filter(|_| about_contacts) else {
            return Self::default();
        };
        let mut ids: Vec<KeapId> =
            keys.iter().filter_map(|key| json::keap_id(key.get("id")?)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(MAX_DELIVERY_CONTACTS);
        Self { ids }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ids(body: &Value) -> Vec<i64> {
        Delivery::read(body.to_string().as_bytes()).ids.iter().map(|id| id.get()).collect()
    }

    #[test]
    fn only_ids_are_taken_from_a_body() {
        let keys = json!([
            { "id": 4121, "apiUrl": "https://evil.example.com/contacts/1", "timestamp": "2026-08-19T16:20:31Z" },
            { "id": "4122" }, { "id": 4121 }, { "id": 0 }, { "id": -5 }, { "id": "x" }, { "id": 1.5 }, { "id": null }, {}, 7, "8",
        ]);
        assert_eq!(
            ids(
                &json!({ "event_key": "contact.edit", "object_type": "contact", "object_keys": keys })
            ),
            [4121, 4122]
        );
        assert_eq!(
            ids(&json!({ "event_key": "contactGroup.applied", "object_keys": [{ "id": 1 }] })),
            [1]
        );
        assert_eq!(ids(&json!({ "object_type": "contact", "object_keys": [{ "id": 1 }] })), [1]);
    }

    #[test]
    fn what_is_not_understood_holds_no_ids() {
        for body in [
            json!(null),
            json!([]),
            json!("contact.edit"),
            json!({ "event_key": "order.add", "object_type": "order", "object_keys": [{ "id": 1 }] }),
            json!({ "event_key": "contact.edit" }),
            json!({ "event_key": "contact.edit", "object_keys": { "id": 1 } }),
            json!({ "event_key": 7, "object_keys": [{ "id": 1 }] }),
        ] {
            assert_eq!(ids(&body), [0_i64; 0], "{body}");
        }
        for body in [&b""[..], b"{", b"\xff\xfe", b"\x1f\x8b", "[".repeat(100_000).as_bytes()] {
            assert_eq!(Delivery::read(body), Delivery::default());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_body_gives_positive_ids_and_no_panic(body: Vec<u8>) {
            let read = Delivery::read(&body);
            proptest::prop_assert!(read.ids.len() <= MAX_DELIVERY_CONTACTS);
        }
    }
}
