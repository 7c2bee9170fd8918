//! `GET /openapi.json` and `GET /docs`: the OpenAPI document for programs, and for people.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::state::HttpState;

/// A page may load its style and nothing else.
pub(super) const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Shows this document
#[utoipa::path(get, path = "/openapi.json", tag = "docs", operation_id = "showOpenApi", responses(
    (status = 200, description = "An OpenAPI 3.1 document", body = Value, example = json!({ "openapi": "3.1.0" }))))]
pub(super) async fn openapi(State(state): State<Arc<HttpState>>) -> Response {
    let json = state.docs().json.clone();
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

/// Shows this document as a page for people
#[utoipa::path(get, path = "/docs", tag = "docs", operation_id = "showDocs", responses(
    (status = 200, description = "A page without scripts", body = String, content_type = "text/html", example = "<!doctype html>")))]
pub(super) async fn docs(State(state): State<Arc<HttpState>>) -> Response {
    let headers =
        [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, PAGE_POLICY)];
    (headers, state.docs().page.clone()).into_response()
}

/// The style of the page
#[utoipa::path(get, path = "/docs.css", tag = "docs", operation_id = "showDocsStyle", responses(
    (status = 200, description = "A style sheet", body = String, content_type = "text/css", example = "body { margin: 0 }")))]
pub(super) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

const STYLE: &str = "\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
h2 { margin-top: 3rem; border-bottom: 1px solid #ddd }
h3 { margin-top: 2rem; font-size: 1.1rem }
h3 code { font-size: 1.1rem }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { background: #f4f4f4; padding: .75rem; overflow-x: auto }
table { border-collapse: collapse; width: 100%; table-layout: fixed }
td:first-child { width: 25% }
td:nth-child(2) { width: 20% }
td { overflow-wrap: anywhere }
.contents ul { margin-bottom: .75rem }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ddd }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } pre { background: #242424 } td, th { border-color: #444 } a { color: #8bf } }
";
