//! `GET /`: says what this is, and where to go on.

use axum::Json;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::docs::PAGE_POLICY;

/// What answers here, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Root {
    #[schema(value_type = String, example = "keap-intercom-sync")]
    name: &'static str,
    #[schema(value_type = String, example = "0.1.0")]
    version: &'static str,
    #[schema(value_type = String)]
    description: &'static str,
    links: Links,
}

/// Where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Links {
    #[schema(value_type = String, example = "/docs")]
    docs: &'static str,
    #[schema(value_type = String, example = "/openapi.json")]
    openapi: &'static str,
    /// The operator's page. It answers where a password or a token is set.
    #[schema(value_type = String, example = "/ui")]
    ui: &'static str,
    #[schema(value_type = String, example = "/health")]
    health: &'static str,
    #[schema(value_type = String, example = "/ready")]
    ready: &'static str,
}

const ROOT: Root = Root {
    name: "keap-intercom-sync",
    version: env!("CARGO_PKG_VERSION"),
    description: env!("CARGO_PKG_DESCRIPTION"),
    links: Links {
        docs: "/docs",
        openapi: "/openapi.json",
        ui: "/ui",
        health: "/health",
        ready: "/ready",
    },
};

const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width\">\n<title>keap-intercom-sync</title>\n",
    "<link rel=\"stylesheet\" href=\"docs.css\">\n</head>\n<body>\n<h1>keap-intercom-sync ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n<p>",
    env!("CARGO_PKG_DESCRIPTION"),
    "</p>\n<ul>\n<li><a href=\"docs\">docs</a>: how to call it</li>\n",
    "<li><a href=\"openapi.json\">openapi.json</a>: the same for programs</li>\n",
    "<li><a href=\"ui\">ui</a>: the operator's page, where a password or a token is set</li>\n",
    "<li><a href=\"ready\">ready</a>: whether contacts flow</li>\n",
    "<li><a href=\"health\">health</a>: whether the process is alive</li>\n</ul>\n</body>\n</html>\n",
);

/// Says what this is
///
/// A browser gets a page, and a program gets JSON.
#[utoipa::path(get, path = "/", tag = "watch", operation_id = "showRoot", responses(
    (status = 200, description = "What answers here, and where to go on", content(
        (Root = "application/json", example = json!({ "name": "keap-intercom-sync", "version": "0.1.0", "description": "Keeps Intercom in step with Keap",
            "links": { "docs": "/docs", "openapi": "/openapi.json", "ui": "/ui", "health": "/health", "ready": "/ready" } })),
        (String = "text/html", example = "<!doctype html>")))))]
pub(super) async fn root(headers: HeaderMap) -> Response {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") {
        let kind = (CONTENT_TYPE, "text/html; charset=utf-8");
        return ([kind, (CONTENT_SECURITY_POLICY, PAGE_POLICY)], PAGE).into_response();
    }
    Json(ROOT).into_response()
}
