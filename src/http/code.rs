//! The kinds of refusals. Callers may rely on the codes, so a code never changes.

use axum::http::StatusCode;
use utoipa::openapi::{Object, Type};

/// Declares the kinds of refusals: each with its word, its status, and what it means.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $name:ident = $word:literal, $status:ident;)+) => {
        /// A kind of refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code { $($(#[doc = $meaning])+ $name,)+ }

        impl Code {
            /// Every code, in the order of the statuses.
            pub(super) const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word that callers see.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            pub(super) fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// What it means, for the documents.
            pub(super) fn meaning(self) -> String {
                match self { $(Self::$name => concat!($($meaning),+).trim().to_owned(),)+ }
            }

            /// The stable `type` of a problem document.
            pub(super) fn uri(self) -> &'static str {
                match self { $(Self::$name => concat!("urn:keap-intercom-sync:problem:", $word),)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON, not an object, or lacks something.
    InvalidBody = "invalid_body", BAD_REQUEST;
    /// The body has a field that the route does not know. The text names it.
    UnknownField = "unknown_field", BAD_REQUEST;
    /// The body gives one field twice, in two spellings.
    DuplicateField = "duplicate_field", BAD_REQUEST;
    /// What should be a Keap contact id is none.
    InvalidId = "invalid_id", BAD_REQUEST;
    /// The query is not understood.
    InvalidQuery = "invalid_query", BAD_REQUEST;
    /// The Idempotency-Key is not 1 to 255 characters of ASCII.
    InvalidKey = "invalid_idempotency_key", BAD_REQUEST;
    /// The token or the webhook secret is missing or wrong.
    Unauthorized = "unauthorized", UNAUTHORIZED;
    /// A handshake of Keap that this program has not asked for.
    NoHandshake = "no_handshake_pending", FORBIDDEN;
    /// A form of the operator's page without the token of its session, or of another site.
    ForgedForm = "forged_form", FORBIDDEN;
    /// There is no such route.
    NoRoute = "no_such_route", NOT_FOUND;
    /// There is no such run.
    NoRun = "no_such_run", NOT_FOUND;
    /// There is no such plan.
    NoPlan = "no_such_plan", NOT_FOUND;
    /// Nothing is known of this contact.
    UnknownContact = "unknown_contact", NOT_FOUND;
    /// This contact is not erased.
    NotErased = "not_erased", NOT_FOUND;
    /// Keap does not have this contact.
    NotInKeap = "not_in_keap", NOT_FOUND;
    /// The route does not know this method.
    NoMethod = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The body did not come in time.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT;
    /// The body, or the batch, is too large.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE;
    /// There is no such feed.
    UnknownFeed = "unknown_feed", UNPROCESSABLE_ENTITY;
    /// `since` goes with the feed backfill only.
    SinceNotAllowed = "since_not_allowed", UNPROCESSABLE_ENTITY;
    /// The cursor of the polls cannot be set to this time.
    CursorRefused = "cursor_refused", UNPROCESSABLE_ENTITY;
    /// The Idempotency-Key stands for another body.
    KeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY;
    /// The contact cannot be synced, for example because it has no e-mail.
    ContactSkipped = "contact_skipped", UNPROCESSABLE_ENTITY;
    /// The contact waits for a person.
    ContactHeld = "contact_held", UNPROCESSABLE_ENTITY;
    /// The contact waits for a person for a reason that this decision does not settle.
    DecisionRefused = "decision_refused", UNPROCESSABLE_ENTITY;
    /// The plan does not wait for a person: it is carried out, dropped or replaced.
    PlanOver = "plan_over", UNPROCESSABLE_ENTITY;
    /// The erasure waits for a person.
    ErasureWaits = "erasure_waits", UNPROCESSABLE_ENTITY;
    /// Too many requests: call again after `Retry-After` seconds.
    TooMany = "too_many_requests", TOO_MANY_REQUESTS;
    /// A bug of this program. Its log says where.
    Bug = "internal_error", INTERNAL_SERVER_ERROR;
    /// The database refused what this program asked for.
    DatabaseRefused = "database_refused", INTERNAL_SERVER_ERROR;
    /// The first try failed. The daemon tries again by itself.
    ContactFailed = "contact_failed", BAD_GATEWAY;
    /// Keap or Intercom does not say where the page of a contact is (only on the operator's page).
    NoPage = "no_page", BAD_GATEWAY;
    /// The setting that opens the route is not set.
    NotConfigured = "not_configured", SERVICE_UNAVAILABLE;
    /// The program is starting: call again.
    Starting = "starting", SERVICE_UNAVAILABLE;
    /// The program is stopping: call again.
    Stopping = "stopping", SERVICE_UNAVAILABLE;
    /// The database does not answer: call again.
    DatabaseDown = "database_down", SERVICE_UNAVAILABLE;
    /// The request took too long: call again.
    RequestTimeout = "request_timeout", SERVICE_UNAVAILABLE;
}

/// The schema of the codes, for the OpenAPI document.
pub(super) fn schema() -> Object {
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(Code::ALL.iter().map(|code| code.as_str())))
        .examples([Code::Unauthorized.as_str()])
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_one_word_and_stands_once() {
        let mut words: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
        for code in Code::ALL {
            assert!(code.uri().ends_with(code.as_str()));
            assert!(code.meaning().ends_with('.'), "{code:?}");
            assert!(code.status().as_u16() >= 400);
        }
    }
}
