//! Keap's error bodies: v2, v1, gateway and HTML (`docs/api/keap.md`, "Statuses").

use serde_json::json;

use super::knobs::{ErrorBody, KeapKnobs};
use crate::sim::message::Answer;

pub(super) fn unauthorized(errorcode: &str) -> Answer {
    fault(401, "Invalid Access Token", errorcode)
}

fn fault(status: u16, text: &str, errorcode: &str) -> Answer {
    let body = json!({"fault": {"faultstring": text, "detail": {"errorcode": errorcode}}});
    Answer::json(status, body.to_string())
}

pub(super) fn bad_request(message: &str) -> Answer {
    v2(400, message, "INVALID_ARGUMENT", "request")
}

pub(super) fn not_found(id: &str) -> Answer {
    v2(404, "Contact not found", "NOT_FOUND", id)
}

fn v2(status: u16, message: &str, word: &str, resource: &str) -> Answer {
    let body = json!({
        "code": status, "message": message, "status": word,
        "details": [{"domain": "contacts", "resource": resource}],
    });
    Answer::json(status, body.to_string())
}

pub(super) fn v1(status: u16, message: &str) -> Answer {
    Answer::json(status, json!({"message": message}).to_string())
}

/// The answer of the front end to a request that it rejects.
pub(super) fn front_end_refusal() -> Answer {
    Answer::html(400, "Error 400 (Bad Request)!!1")
}

pub(super) fn page_not_found() -> Answer {
    Answer::html(404, "Keap - Page Not Found")
}

/// 500 for a contact that the server cannot serialise.
pub(super) fn broken(knobs: &KeapKnobs) -> Answer {
    match knobs.error_body {
        ErrorBody::V2 => v2(500, "Internal error", "INTERNAL", "contacts"),
        ErrorBody::Gateway => {
            fault(500, "Execution of service failed", "steps.servicecallout.ExecutionFailed")
        }
        ErrorBody::Html => Answer::html(500, "Keap - Something went wrong"),
    }
}

/// 403 for a contact that the user of the key may not see, or that a firewall does not let through.
pub(super) fn forbidden(knobs: &KeapKnobs) -> Answer {
    match knobs.error_body {
        ErrorBody::V2 => v2(403, "Permission denied", "PERMISSION_DENIED", "contacts"),
        ErrorBody::Gateway => fault(403, "Access denied", "accesscontrol.IPDeniedAccess"),
        ErrorBody::Html => Answer::html(403, "403 Forbidden"),
    }
}

/// 429 for a spike (`spike`) or an exhausted quota.
pub(super) fn too_many(knobs: &KeapKnobs, spike: bool) -> Answer {
    let answer = match knobs.error_body {
        ErrorBody::V2 => Answer::json(
            429,
            json!({"code": "429", "message": "Quota Exceeded", "status": "Request Throttled", "details": null})
                .to_string(),
        ),
        ErrorBody::Gateway if spike => {
            fault(429, "Spike arrest violation", "policies.ratelimit.SpikeArrestViolation")
        }
        ErrorBody::Gateway => fault(429, "Rate limit quota violation", "policies.ratelimit.QuotaViolation"),
        ErrorBody::Html => Answer::html(429, "Too Many Requests"),
    };
    match knobs.retry_after {
        Some(seconds) => answer.header("retry-after", seconds.to_string()),
        None => answer,
    }
}
