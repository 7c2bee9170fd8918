//! Intercom's error bodies (`docs/api/intercom.md`, "Statuses and errors").

use serde_json::json;

use super::contact::{Slot, Standing, id_of};
use super::knobs::{IntercomKnobs, RefusalForm};
use crate::sim::message::Answer;

/// Stands for the request id, which is filled in when the answer is sent.
pub(super) const REQUEST_ID: &str = "REQUEST-ID-OF-THIS-CALL";

pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({
        "type": "error.list", "request_id": REQUEST_ID, "errors": [{"code": code, "message": message}],
    });
    Answer::json(status, body.to_string())
}

pub(super) fn invalid(message: &str) -> Answer {
    error(400, "parameter_invalid", message)
}

/// A refusal that names the field and quotes nothing.
pub(super) fn refused_field(field: &str) -> Answer {
    let error = json!({"code": "parameter_invalid", "field": field});
    let body = json!({"type": "error.list", "request_id": REQUEST_ID, "errors": [error]});
    Answer::json(400, body.to_string())
}

pub(super) fn refused_email(email: &str, knobs: &IntercomKnobs) -> Answer {
    match knobs.refusal_form {
        RefusalForm::Text => invalid(&format!("Email {email} is invalid")),
        RefusalForm::Field => refused_field("email"),
        RefusalForm::Bare => {
            let error = json!({"code": "data_invalid"});
            Answer::json(422, json!({"type": "error.list", "errors": [error]}).to_string())
        }
    }
}

pub(super) fn unauthorized() -> Answer {
    error(401, "unauthorized", "Access Token Invalid")
}

pub(super) fn user_not_found() -> Answer {
    error(404, "not_found", "User Not Found")
}

pub(super) fn resource_not_found() -> Answer {
    error(404, "not_found", "Resource Not Found")
}

pub(super) fn merged(into: Slot) -> Answer {
    let message = "This contact has been merged. See the 'Link' header for the canonical contact.";
    error(410, "contact_merged", message)
        .header("link", format!("</contacts/{}>; rel=\"canonical\"", id_of(into)))
}

/// 409 for an identifier that this contact holds (`docs/api/intercom.md`, "Conflicts").
pub(super) fn conflict(holder: Slot, standing: Standing, knobs: &IntercomKnobs) -> Answer {
    let archived = standing != Standing::Live && knobs.conflict_archived_text;
    let who = if archived { "An archived contact" } else { "A contact" };
    let which = if knobs.conflict_without_id {
        String::new()
    } else {
        format!(" with id={}", id_of(holder))
    };
    error(409, "conflict", &format!("{who} matching those details already exists{which}"))
}

pub(super) fn several_match() -> Answer {
    let message =
        "Multiple existing users match this email address - must be more specific using user_id";
    error(409, "conflict", message)
}
