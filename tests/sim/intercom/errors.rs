//! Intercom's error lists.

use serde_json::json;

use super::contact::{Slot, Standing, id_of};
use super::knobs::IntercomKnobs;
use crate::sim::message::Answer;

/// The request id is filled in when the answer leaves.
pub const REQUEST_ID: &str = "REQUEST-ID-OF-THIS-CALL";

pub fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({
        "type": "error.list", "request_id": REQUEST_ID, "errors": [{"code": code, "message": message}],
    });
    Answer::json(status, body.to_string())
}

pub fn invalid(message: &str) -> Answer {
    error(400, "parameter_invalid", message)
}

pub fn unauthorized() -> Answer {
    error(401, "unauthorized", "Access Token Invalid")
}

pub fn user_not_found() -> Answer {
    error(404, "not_found", "User Not Found")
}

pub fn merged(into: Slot) -> Answer {
    let message = "This contact has been merged. See the 'Link' header for the canonical contact.";
    error(410, "contact_merged", message).header(
        "link",
        format!("</contacts/{}>; rel=\"canonical\"", id_of(into)),
    )
}

/// 409 for identifiers that this contact holds.
pub fn conflict(holder: Slot, standing: Standing, knobs: &IntercomKnobs) -> Answer {
    let archived = standing != Standing::Live && knobs.conflict_archived_text;
    let who = if archived {
        "An archived contact"
    } else {
        "A contact"
    };
    let which = if knobs.conflict_without_id {
        String::new()
    } else {
        format!(" with id={}", id_of(holder))
    };
    error(
        409,
        "conflict",
        &format!("{who} matching those details already exists{which}"),
    )
}

pub fn several_match() -> Answer {
    let message =
        "Multiple existing users match this email address - must be more specific using user_id";
    error(409, "conflict", message)
}
