//! Refusals as problem documents (RFC 9457). `success` and `error` are kept for callers of the
//! original worker.

use axum::Json;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::code::{self, Code};
use crate::store::StoreError;

/// Why a request was not served. The text may name settings, ids and limits, never a person or a
/// secret.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    error: String,
    action: Option<&'static str>,
    keap_contact_id: Option<i64>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The document of a refusal, `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProblemBody {
    /// The kind of the problem as a URI. It never changes.
    #[schema(value_type = String, example = "urn:keap-intercom-sync:problem:unauthorized")]
    r#type: &'static str,
    /// The same kind as a word, for programs.
    #[schema(schema_with = code::schema)]
    code: &'static str,
    #[schema(value_type = String, example = "Unauthorized")]
    title: &'static str,
    #[schema(example = 401)]
    status: u16,
    #[schema(example = "the API token is missing or wrong")]
    detail: String,
    /// Always false.
    #[schema(example = false)]
    success: bool,
    /// The same as `detail`, for callers of the original worker.
    #[schema(example = "the API token is missing or wrong")]
    error: String,
    /// The outcome of the contact, if that is the reason: `skipped`, `held` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keap_contact_id: Option<i64>,
}

impl Problem {
    pub(super) fn new(code: Code, error: impl Into<String>) -> Self {
        Self { code, error: error.into(), action: None, keap_contact_id: None, headers: Vec::new() }
    }

    /// The credential is missing or wrong; the answer does not say which.
    pub(super) fn unauthorized(error: impl Into<String>) -> Self {
        Self::new(Code::Unauthorized, error)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The caller may try again after this many seconds.
    pub(super) fn later(code: Code, error: impl Into<String>, seconds: u64) -> Self {
        Self::new(code, error).with(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// The outcome of a contact.
    pub(super) fn of_contact(mut self, id: i64, action: &'static str) -> Self {
        self.keap_contact_id = Some(id);
        self.action = Some(action);
        self
    }

    /// Also closes the connection: the rest of the request is not read.
    pub(super) fn closing(self) -> Self {
        self.with(CONNECTION, HeaderValue::from_static("close"))
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// The database failed. If the failure passes, nothing was stored and the same request may succeed
/// soon.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "A request could not be served: the database did not answer in time."
            );
            return Self::later(
                Code::DatabaseDown,
                "the database does not answer; nothing was stored",
                5,
            );
        }
        tracing::error!(error = &error as &dyn std::error::Error, "A request could not be served.");
        Self::new(
            Code::DatabaseRefused,
            "the database refused what this program asked for; its log says more",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemBody {
            r#type: self.code.uri(),
            code: self.code.as_str(),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.error.clone(),
            success: false,
            error: self.error,
            action: self.action,
            keap_contact_id: self.keap_contact_id,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        response
    }
}
