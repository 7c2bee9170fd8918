//! Intercom's webhooks: hints that a contact has changed. The signature is checked before anything
//! is parsed, and what has changed is read by id later (`docs/api/intercom.md`, "Webhooks").

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::code::Code;
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature");

/// What came of a notification.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Noticed {
    /// Always true: the notification is accepted.
    success: bool,
    /// `queued`: the contact is looked at. `skipped`: it shows what is known, or is not linked.
    #[schema(value_type = String, example = "queued")]
    action: &'static str,
}

/// Accepts a notification of Intercom, signed with the client secret of its app
#[utoipa::path(post, path = "/webhook/intercom", tag = "webhook", operation_id = "deliverByIntercom", security(("hubSignature" = [])),
    request_body(content = Option<Value>, description = "A notification; only the contact in it counts",
        example = json!({ "type": "notification_event", "topic": "contact.user.updated", "data": { "item": { "type": "contact", "id": "6762f0dd1bb69f9f00000000" } } })),
    responses(
        (status = 200, description = "Stored, or of no concern", body = Noticed, example = json!({ "success": true, "action": "queued" })),
        (status = 401, description = "The signature is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down: send it again", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn deliver(
    State(state): State<Arc<HttpState>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Noticed>, Problem> {
    if !state.keys.has_client_secret() {
        let why = "not configured: set INTERCOM_CLIENT_SECRET";
        return Err(Problem::new(Code::NotConfigured, why));
    }
    let signature = headers.get(SIGNATURE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !state.keys.is_signed(signature, &body) {
        return Err(Problem::unauthorized("the signature is missing or wrong"));
    }
    state.store.notified().await?;
    let is_news = match item(&body) {
        Some(item) => (state.changed_in_intercom)(item).await?.ok_or_else(|| {
            let why = "keap-intercom-sync is starting and does not know its mapping yet; nothing was stored";
            Problem::later(Code::Starting, why, 60)
        })?,
        None => false,
    };
    let action = if is_news { "queued" } else { "skipped" };
    metrics::counter!("keap_intercom_sync_notifications_total", "action" => action).increment(1);
    if is_news {
        state.urgent.fire("intercom");
    }
    Ok(Json(Noticed { success: true, action }))
}

/// Tells Intercom that the address is right: it asks so when the address is saved
#[utoipa::path(head, path = "/webhook/intercom", tag = "webhook", operation_id = "probeByIntercom",
    responses((status = 200, description = "The address is right")))]
pub(super) async fn probe() -> StatusCode {
    StatusCode::OK
}

/// The contact of a notification, as its JSON. Topics about tags and subscriptions wrap it.
fn item(body: &[u8]) -> Option<Value> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    let mut item = body.pointer_mut("/data/item")?.take();
    let inner = item.get_mut("contact").map(Value::take).filter(Value::is_object);
    Some(inner.unwrap_or(item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id_in(body: &Value) -> Option<String> {
        let item = item(body.to_string().as_bytes())?;
        item.get("id")?.as_str().map(str::to_owned)
    }

    #[test]
    fn the_contact_is_found_in_every_topic() {
        let contact = json!({ "type": "contact", "id": "a1" });
        for item in [
            contact.clone(),
            json!({ "type": "contact_tag", "tag": { "id": "9" }, "contact": contact }),
            json!({ "type": "contact_unsubscribe", "id": "b", "contact": contact }),
            json!({ "id": "a1", "external_id": "7", "type": "contact", "archived": true }),
        ] {
            let body = json!({ "topic": "contact.any", "data": { "item": item } });
            assert_eq!(id_in(&body).as_deref(), Some("a1"), "{body}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_contact() {
        for body in [
            json!(null),
            json!([]),
            json!({ "topic": "ping", "data": { "item": { "type": "ping", "message": "hello" } } }),
            json!({ "data": {} }),
            json!({ "data": { "item": { "contact": { "id": 7 } } } }),
        ] {
            assert_eq!(id_in(&body), None, "{body}");
        }
        for body in [&b""[..], b"{", b"\xff\xfe", "[".repeat(100_000).as_bytes()] {
            assert_eq!(item(body), None);
        }
    }
}
