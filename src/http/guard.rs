//! Checks who calls a route, how often, and how large the body is, before it reads any body.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::code::Code;
use super::problem::Problem;
use super::start::Arrived;
use super::state::HttpState;
use crate::bucket::{Bucket, Standing};

/// A sender gets this long for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The header with the webhook secret, for a proxy that keeps the secret out of the path.
pub(super) const WEBHOOK_SECRET: &str = "x-webhook-secret";

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Anyone,
    /// `Authorization: Bearer $API_TOKEN`.
    ApiToken,
    /// One of the secrets of `KEAP_WEBHOOK_SECRET`, in the path or in the header.
    WebhookSecret,
    /// Intercom, by the signature of the body. The route itself checks it.
    IntercomSignature,
}

/// What is checked before one route.
#[derive(Clone)]
pub(super) struct Guard {
    pub who: Who,
    /// The largest body. Methods without a body read none.
    pub body_bytes: usize,
    pub bucket: Option<Arc<Bucket>>,
    /// While the daemon starts, requests wait for the database.
    pub needs_database: bool,
    pub state: Arc<HttpState>,
}

/// The limit of a route's callers, in the words of the usual headers.
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let bucket = guard.bucket.clone();
    let mut response = guarded(&guard, request, next).await;
    // Who has no credential learns nothing of the others.
    if let Some(bucket) = bucket.filter(|_| response.status() != StatusCode::UNAUTHORIZED) {
        let Standing { most, left, full_in_seconds } = bucket.standing(Instant::now());
        let headers = response.headers_mut();
        headers.insert(LIMIT, HeaderValue::from(most));
        headers.insert(REMAINING, HeaderValue::from(left));
        headers.insert(RESET, HeaderValue::from(full_in_seconds));
    }
    response
}

async fn guarded(guard: &Guard, request: Request, next: Next) -> Response {
    let arrived = Arrived::now();
    let (mut parts, body) = request.into_parts();
    if let Err(problem) = guard.admit(&mut parts).await {
        return problem.closing().into_response();
    }
    let body = match guard.read(&parts, body).await {
        Ok(body) => body,
        Err(problem) => return problem.closing().into_response(),
    };
    if guard.needs_database
        && let Err(problem) = guard.state.start.wait(arrived, &parts.uri).await
    {
        return problem.into_response();
    }
    parts.extensions.insert(arrived);
    next.run(Request::from_parts(parts, Body::from(body))).await
}

impl Guard {
    async fn admit(&self, parts: &mut Parts) -> Result<(), Problem> {
        let keys = &self.state.keys;
        match self.who {
            Who::Anyone | Who::IntercomSignature => {}
            Who::ApiToken => {
                if !keys.has_api_token() {
                    return Err(Problem::new(Code::NotConfigured, "not configured: set API_TOKEN"));
                }
                let token =
                    parts.headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
                if !keys.is_api_token(token.unwrap_or_default()) {
                    return Err(Problem::unauthorized("the API token is missing or wrong"));
                }
            }
            Who::WebhookSecret => {
                if !keys.has_webhook_secret() {
                    return Err(Problem::new(
                        Code::NotConfigured,
                        "not configured: set KEAP_WEBHOOK_SECRET",
                    ));
                }
                let wrong = || Problem::unauthorized("the webhook secret is missing or wrong");
                // A path that is not UTF-8 holds no secret, whatever the header says.
                let path =
                    RawPathParams::from_request_parts(parts, &()).await.map_err(|_| wrong())?;
                let path = path
                    .iter()
                    .find(|(name, _)| *name == "secret")
                    .map(|(_, secret)| secret.as_bytes());
                let header =
                    parts.headers.get(WEBHOOK_SECRET).map(axum::http::HeaderValue::as_bytes);
                let presented = path.or(header).unwrap_or_default();
                if !keys.is_webhook_secret(presented) {
                    return Err(wrong());
                }
            }
        }
        match &self.bucket {
            Some(bucket) if bucket.take_some(1, Instant::now()) == 0 => Err(Problem::later(
                Code::TooMany,
                "too many requests on this route",
                bucket.seconds_for_one(),
            )),
            _ => Ok(()),
        }
    }

    async fn read(&self, parts: &Parts, body: Body) -> Result<Bytes, Problem> {
        if parts.method == Method::GET || parts.method == Method::HEAD {
            return Ok(Bytes::new());
        }
        let too_large = || {
            Problem::new(
                Code::TooLarge,
                format!("the body is larger than {} bytes", self.body_bytes),
            )
        };
        let announced = parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.body_bytes) {
            return Err(too_large());
        }
        let body = to_bytes(body, self.body_bytes);
        match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if is_limit(&error) => Err(too_large()),
            Ok(Err(_)) => {
                let why = "the connection broke before the body was complete";
                Err(Problem::new(Code::InvalidBody, why))
            }
            Err(_) => Err(Problem::new(Code::BodyTimeout, "the body did not come in time")),
        }
    }
}

fn is_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The token of an `Authorization` header. The case of the scheme's name is free (RFC 9110).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        for wrong in [&b"abc"[..], b"Basic abc", b"Bearer", b""] {
            assert_eq!(bearer(wrong), None);
        }
    }
}
