//! Intercom's refusals in words, and whom each may be about (`docs/api/intercom.md`, "Statuses and
//! errors").

use super::wire;
use crate::remote::{Failure, Reply, Says};

/// Codes of a failing Intercom, whatever the status beside them.
const FAILING: [&str; 4] =
    ["too_many_requests", "service_unavailable", "request_timeout", "server_error"];

/// Whether the content of an answer says more than its status: that Intercom failed, or that it may
/// refuse all of our calls.
pub(super) fn says(reply: &Reply) -> Says {
    if reply.status < 400 {
        return Says::Nothing;
    }
    let errors = wire::Errors::of(&reply.body);
    let details = details(reply, &errors);
    if errors.has_code("intercom_version_invalid") {
        return Says::Refused(format!(
            "does not know the version asked for {details}; check INTERCOM_VERSION"
        ));
    }
    if FAILING.iter().any(|code| errors.has_code(code)) {
        return Says::Failed(format!("failed {details}"));
    }
    match reply.status {
        // About a contact that is blocked or deleted.
        403 if errors.has_code("not_restorable") => Says::Nothing,
        402 => Says::Refused(format!("does not offer this in the workspace's plan {details}")),
        403 if errors.has_code("api_plan_restricted") => {
            Says::Refused(format!("does not offer this in the workspace's plan {details}"))
        }
        403 => Says::Refused(format!(
            "does not allow this token to do that {details}; check the permissions of INTERCOM_ACCESS_TOKEN's app"
        )),
        406 | 415 => Says::Refused(format!(
            "refuses the form of our calls {details}; check INTERCOM_VERSION and INTERCOM_BASE_URL"
        )),
        _ => Says::Nothing,
    }
}

/// A success, or the refusal of what was asked for.
pub(super) fn accepted(reply: Reply) -> Result<Reply, Failure> {
    if reply.is_success() { Ok(reply) } else { Err(of_contact(&reply)) }
}

/// The refusal of one contact. [`says`] has let the answer through, so it is about nothing else.
pub(super) fn of_contact(reply: &Reply) -> Failure {
    let details = details(reply, &wire::Errors::of(&reply.body));
    Failure::never(format!("Intercom refuses the contact {details}"))
}

fn details(reply: &Reply, errors: &wire::Errors) -> String {
    let status = reply.status;
    let request = request_id(reply).map(|id| format!(", request {id}")).unwrap_or_default();
    match errors.in_words() {
        words if words.is_empty() => format!("({status}{request})"),
        words => format!("({status} {words}{request})"),
    }
}

/// Intercom's id of a call, for its support. Kept only if it is plainly an id.
pub(super) fn request_id(reply: &Reply) -> Option<String> {
    let id = reply.header("x-request-id")?;
    (id.len() <= 100 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .then(|| id.to_owned())
}
