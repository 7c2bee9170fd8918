//! What every request gets: an id, a time limit, an answer after a panic, a log line, metrics, and
//! headers for browsers.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::code::Code;
use super::problem::Problem;

/// No request takes longer. Keap gives up after the same time (`docs/api/keap.md`, "Hooks:
/// deliveries").
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Runs a request within the time limit. What it has stored stays, even if the caller goes away.
pub(super) async fn trace_and_limit(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    // The pattern of the route, because the path itself may hold a secret.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", request.id = id, %method, route);
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, answer).instrument(span.clone());
    let mut response = match answer.await {
        Ok(Ok(response)) => response,
        // The panic hook has printed the place. The panic's own text may hold anything, so nobody
        // gets it.
        Ok(Err(_)) => Problem::new(Code::Bug, "a bug in keap-intercom-sync; its log says where")
            .into_response(),
        Err(_) => Problem::later(Code::RequestTimeout, "the request took too long", 5)
            .closing()
            .into_response(),
    };
    let status = response.status().as_u16();
    let took = started.elapsed();
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        if status >= 500 && status != 503 {
            tracing::error!(status, duration_ms, "A request failed.");
        } else {
            tracing::debug!(status, duration_ms, "A request was answered.");
        }
    });
    metrics::counter!("keap_intercom_sync_requests_total", "route" => route.clone(), "status" => status.to_string()).increment(1);
    metrics::histogram!("keap_intercom_sync_request_seconds", "route" => route).record(took);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    add_browser_headers(headers);
    response
}

/// The caller's own id if it is a plain word, otherwise a new one.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    headers
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(plain)
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// Headers for the case that somebody opens an answer in a browser.
fn add_browser_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_of_a_caller_become_request_ids() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(text));
            request_id(&headers)
        };
        assert_eq!(of("abc-1.2_3"), "abc-1.2_3");
        for odd in ["", "a b", "a\tb", "\"", "{}"] {
            assert!(Uuid::parse_str(&of(odd)).is_ok(), "{odd:?} was taken over");
        }
    }
}
