//! Refusals as problem documents (RFC 9457). `success` and `error` are kept for callers of the original worker.

use axum::Json;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::StoreError;

/// Why a request was not served. The text names settings, ids and limits, never a person or a secret.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    error: String,
    action: Option<&'static str>,
    keap_contact_id: Option<i64>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The document of a refusal, `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody {
    /// `about:blank`: the status says all there is to say about the kind.
    #[schema(value_type = String)]
    r#type: &'static str,
    #[schema(value_type = String)]
    title: &'static str,
    status: u16,
    detail: String,
    /// Always false.
    success: bool,
    /// The same as `detail`, for callers of the original worker.
    error: String,
    /// What came of the contact, where that is why: `skipped`, `held` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keap_contact_id: Option<i64>,
}

impl Problem {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
            action: None,
            keap_contact_id: None,
            headers: Vec::new(),
        }
    }

    pub fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub fn not_configured(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// The credential is missing or wrong; which of both is not said.
    pub fn unauthorized(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The caller is to come back after this many seconds.
    pub fn later(status: StatusCode, error: impl Into<String>, seconds: u64) -> Self {
        Self::new(status, error).with(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// What came of a contact.
    pub fn of_contact(mut self, id: i64, action: &'static str) -> Self {
        self.keap_contact_id = Some(id);
        self.action = Some(action);
        self
    }

    /// Ends the connection too: what the sender still wants to send is not read.
    pub fn closing(self) -> Self {
        self.with(CONNECTION, HeaderValue::from_static("close"))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// The database did not take or give what a request needs: nothing was stored, and the same request may succeed soon.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_passing() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "A request could not be served: the database did not answer in time."
            );
            return Self::later(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database does not answer; nothing was stored",
                5,
            );
        }
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "A request could not be served."
        );
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the database refused what this program asked for; its log says more",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.error.clone(),
            success: false,
            error: self.error,
            action: self.action,
            keap_contact_id: self.keap_contact_id,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.extend(self.headers);
        response
    }
}
