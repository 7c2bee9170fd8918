//! What every request to the page passes: only who is signed in goes on, a form of another site is
//! refused, and each answer is a page with a strict policy.

use std::sync::Arc;

use askama::Template;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::form::is_own;
use super::frame::HTML;
use crate::http::code::Code;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// A page may load our style and our pictures, and send forms to us. Nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Larger than any problem document.
const PROBLEM_BYTES: usize = 64 * 1024;

/// Where people sign in.
pub(super) const SIGN_IN: &str = "/ui/sign-in";

/// An answer that leads to another page.
pub(super) fn see_other(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(path) => (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Lets a request on with its session. Everybody else is led to the sign-in, whatever the request
/// is, so nothing of its body is read.
pub(super) async fn signed_in(
    State(state): State<Arc<HttpState>>,
    mut request: Request,
    next: Next,
) -> Response {
    match state.entrance.session(request.headers()) {
        Some(session) => {
            request.extensions_mut().insert(session);
            next.run(request).await
        }
        None => see_other(SIGN_IN),
    }
}

#[derive(Template)]
#[template(path = "problem.html", config = "src/http/ui/templates/askama.toml")]
struct ProblemPage {
    title: String,
    detail: String,
}

/// Refuses forms of other sites, and makes each answer a page with our policy.
pub(super) async fn as_page(request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    let response = if is_read || is_own(request.headers()) {
        next.run(request).await
    } else {
        Problem::new(Code::ForgedForm, "this form was sent by another site, so nothing was done")
            .closing()
            .into_response()
    };
    let mut response = readable(response).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// A problem document as a page: a person reads it.
async fn readable(response: Response) -> Response {
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind != Some(b"application/problem+json") {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let document = to_bytes(body, PROBLEM_BYTES).await.unwrap_or_default();
    let document: Value = serde_json::from_slice(&document).unwrap_or_default();
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let page = ProblemPage { title: text("title"), detail: text("detail") };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(HTML));
    Response::from_parts(parts, Body::from(page.render().unwrap_or_default()))
}
