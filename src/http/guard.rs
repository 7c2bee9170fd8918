//! Who may call a route, how often, and with how large a body: checked before any body is read.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;

use super::HttpState;
use super::problem::Problem;
use crate::bucket::Bucket;

/// A sender gets this long for its body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The header that carries the webhook secret where a proxy keeps it out of the path.
pub const WEBHOOK_SECRET: &str = "x-webhook-secret";

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Anyone,
    /// `Authorization: Bearer $API_TOKEN`.
    ApiToken,
    /// One of the secrets of `KEAP_WEBHOOK_SECRET`, in the path or in the header.
    WebhookSecret,
}

/// A digest of a secret: all of one length, so that comparing them tells nothing about the secret.
pub type SecretDigest = [u8; 32];

pub fn digest(secret: &[u8]) -> SecretDigest {
    Sha256::digest(secret).into()
}

/// The secrets that open routes, as digests.
#[derive(Default)]
pub struct Keys {
    api: Vec<SecretDigest>,
    webhook: Vec<SecretDigest>,
}

impl Keys {
    pub fn new(api_token: Option<&SecretString>, webhook_secrets: &[SecretString]) -> Self {
        let of = |secret: &SecretString| digest(secret.expose_secret().as_bytes());
        Self {
            api: api_token.map(of).into_iter().collect(),
            webhook: webhook_secrets.iter().map(of).collect(),
        }
    }

    pub fn has_webhook_secret(&self) -> bool {
        !self.webhook.is_empty()
    }
}

/// Whether a secret is one of those, in a time that does not depend on where it differs.
fn is_one_of(presented: &[u8], known: &[SecretDigest]) -> bool {
    let presented = digest(presented);
    known
        .iter()
        .fold(Choice::from(0), |found, one| found | one.ct_eq(&presented))
        .into()
}

/// What stands before one route.
#[derive(Clone)]
pub struct Guard {
    pub who: Who,
    /// The largest body that is read; none is for the methods without one.
    pub body_bytes: usize,
    pub bucket: Option<Arc<Bucket>>,
    pub state: Arc<HttpState>,
}

pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Err(problem) = guard.admit(&mut parts).await {
        return problem.closing().into_response();
    }
    let body = match guard.read(&parts, body).await {
        Ok(body) => body,
        Err(problem) => return problem.closing().into_response(),
    };
    next.run(Request::from_parts(parts, Body::from(body))).await
}

impl Guard {
    async fn admit(&self, parts: &mut Parts) -> Result<(), Problem> {
        let keys = &self.state.keys;
        match self.who {
            Who::Anyone => {}
            Who::ApiToken => {
                if keys.api.is_empty() {
                    return Err(Problem::not_configured("not configured: set API_TOKEN"));
                }
                let token = parts
                    .headers
                    .get(AUTHORIZATION)
                    .and_then(|value| bearer(value.as_bytes()));
                if !is_one_of(token.unwrap_or_default(), &keys.api) {
                    return Err(Problem::unauthorized("the API token is missing or wrong"));
                }
            }
            Who::WebhookSecret => {
                if keys.webhook.is_empty() {
                    return Err(Problem::not_configured(
                        "not configured: set KEAP_WEBHOOK_SECRET",
                    ));
                }
                let wrong = || Problem::unauthorized("the webhook secret is missing or wrong");
                // A path that is no text holds no secret, whatever the header says.
                let path = RawPathParams::from_request_parts(parts, &())
                    .await
                    .map_err(|_| wrong())?;
                let path = path
                    .iter()
                    .find(|(name, _)| *name == "secret")
                    .map(|(_, secret)| secret.as_bytes());
                let header = parts
                    .headers
                    .get(WEBHOOK_SECRET)
                    .map(|value| value.as_bytes());
                let presented = path.or(header).unwrap_or_default();
                if !is_one_of(presented, &keys.webhook) {
                    return Err(wrong());
                }
            }
        }
        match &self.bucket {
            Some(bucket) if bucket.take_some(1, Instant::now()) == 0 => Err(Problem::later(
                StatusCode::TOO_MANY_REQUESTS,
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
                StatusCode::PAYLOAD_TOO_LARGE,
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
        match tokio::time::timeout(BODY_TIME, body).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if is_limit(&error) => Err(too_large()),
            Ok(Err(_)) => Err(Problem::bad_request("the body broke off")),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not come in time",
            )),
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

/// The token of an `Authorization` header; the scheme's name is written in any case (RFC 9110).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_when_it_is_whole() {
        let known = [digest(b"correct horse"), digest(b"battery staple")];
        assert!(is_one_of(b"correct horse", &known));
        assert!(
            is_one_of(b"battery staple", &known),
            "two are valid at once"
        );
        for wrong in [
            &b""[..],
            b"correct hors",
            b"correct horse ",
            b"Correct horse",
            b"\xff\xfe",
        ] {
            assert!(!is_one_of(wrong, &known));
        }
        assert!(!is_one_of(b"", &[]));
    }

    #[test]
    fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        for wrong in [&b"abc"[..], b"Basic abc", b"Bearer", b""] {
            assert_eq!(bearer(wrong), None);
        }
    }
}
