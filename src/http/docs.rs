//! `GET /openapi.json` and `GET /docs`: the document that the handlers make, and a page for people, without any script.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};

use super::HttpState;

/// The document before any route is added.
pub fn empty() -> OpenApi {
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("API_TOKEN"))
        .build();
    let secret =
        ApiKeyValue::with_description("X-Webhook-Secret", "A secret of KEAP_WEBHOOK_SECRET");
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("keap-intercom-sync")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(env!("CARGO_PKG_DESCRIPTION")))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme("apiToken", SecurityScheme::Http(token))
                .security_scheme(
                    "webhookSecret",
                    SecurityScheme::ApiKey(ApiKey::Header(secret)),
                )
                .build(),
        ))
        .build()
}

/// The texts that are served.
pub struct Docs {
    pub json: String,
    pub page: String,
}

impl Docs {
    pub fn new(document: &OpenApi) -> Self {
        let json = serde_json::to_value(document).unwrap_or_default();
        Self {
            page: page(&json),
            json: json.to_string(),
        }
    }
}

/// Shows this document
#[utoipa::path(get, path = "/openapi.json", tag = "docs", responses(
    (status = 200, description = "An OpenAPI 3.1 document", body = Value)))]
pub async fn openapi(State(state): State<Arc<HttpState>>) -> Response {
    let json = state.docs().json.clone();
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

/// Shows this document to people
#[utoipa::path(get, path = "/docs", tag = "docs", responses(
    (status = 200, description = "A page without scripts", body = String, content_type = "text/html")))]
pub async fn docs(State(state): State<Arc<HttpState>>) -> Response {
    let policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, state.docs().page.clone()).into_response()
}

/// The style of the page
#[utoipa::path(get, path = "/docs.css", tag = "docs", responses(
    (status = 200, description = "A style sheet", body = String, content_type = "text/css")))]
pub async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

const STYLE: &str = "\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
h2 { margin-top: 2.5rem; font-size: 1.1rem }
h2 code { font-size: 1.1rem }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { background: #f4f4f4; padding: .75rem; overflow-x: auto }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ddd }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } pre { background: #242424 } td, th { border-color: #444 } a { color: #8bf } }
";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn each(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// The page of a document. Writing to a text cannot fail.
fn page(document: &Value) -> String {
    let mut page = String::new();
    let title = escaped(text(&document["info"], "title"));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<link rel=\"stylesheet\" href=\"docs.css\">\n</head>\n<body>\n<h1>{title} {}</h1>\n<p>{}</p>\n\
         <p>For programs: <a href=\"openapi.json\">openapi.json</a></p>\n",
        escaped(text(&document["info"], "version")),
        escaped(text(&document["info"], "description")),
    );
    for (path, item) in each(&document["paths"]) {
        for (method, operation) in each(item) {
            route(&mut page, path, method, operation);
        }
    }
    page.push_str("<h2>Bodies</h2>\n");
    for (name, schema) in each(&document["components"]["schemas"]) {
        let json = serde_json::to_string_pretty(schema).unwrap_or_default();
        let _ = writeln!(
            page,
            "<details id=\"{0}\"><summary><code>{0}</code></summary><pre>{1}</pre></details>",
            escaped(name),
            escaped(&json)
        );
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn route(page: &mut String, path: &str, method: &str, operation: &Value) {
    let who = operation["security"]
        .as_array()
        .and_then(|all| each(all.first()?).next())
        .map_or("", |(name, _)| match name.as_str() {
            "apiToken" => " Needs the API token.",
            _ => " Needs the webhook secret.",
        });
    let _ = write!(
        page,
        "<h2><code>{} {}</code></h2>\n<p>{}.{who}</p>\n<p>{}</p>\n",
        method.to_uppercase(),
        escaped(path),
        escaped(text(operation, "summary")),
        escaped(text(operation, "description")),
    );
    let parameters = operation["parameters"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if !parameters.is_empty() || operation["requestBody"].is_object() {
        page.push_str("<table>\n<tr><th>takes</th><th></th></tr>\n");
        for parameter in parameters {
            let _ = writeln!(
                page,
                "<tr><td><code>{}</code> ({})</td><td>{}</td></tr>",
                escaped(text(&parameter, "name")),
                escaped(text(&parameter, "in")),
                escaped(text(&parameter, "description")),
            );
        }
        for (form, content) in each(&operation["requestBody"]["content"]) {
            let _ = writeln!(
                page,
                "<tr><td>body ({})</td><td>{} {}</td></tr>",
                escaped(form),
                link(content),
                escaped(text(&operation["requestBody"], "description")),
            );
        }
        page.push_str("</table>\n");
    }
    page.push_str("<table>\n<tr><th>answers</th><th></th><th></th></tr>\n");
    for (status, response) in each(&operation["responses"]) {
        let body = each(&response["content"])
            .next()
            .map(|(_, content)| link(content));
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(status),
            escaped(text(response, "description")),
            body.unwrap_or_default(),
        );
    }
    page.push_str("</table>\n");
}

/// A link to the schema of a body, where it has a name.
fn link(content: &Value) -> String {
    let name = text(&content["schema"], "$ref")
        .rsplit('/')
        .next()
        .unwrap_or_default();
    if name.is_empty() {
        return String::new();
    }
    format!("<a href=\"#{0}\"><code>{0}</code></a>", escaped(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_text_of_the_page_is_escaped() {
        let evil = "<img src=x onerror=alert(1)>\"&";
        let document = json!({
            "info": { "title": evil, "version": evil, "description": evil },
            "paths": { evil: { "get": {
                "summary": evil, "description": evil,
                "parameters": [{ "name": evil, "in": evil, "description": evil }],
                "requestBody": { "description": evil, "content": { evil: { "schema": { "$ref": evil } } } },
                "responses": { evil: { "description": evil, "content": { "x": { "schema": { "$ref": format!("#/{evil}") } } } } },
            } } },
            "components": { "schemas": { evil: { "x": evil } } },
        });
        let page = page(&document);
        assert!(!page.contains("<img"), "{page}");
        assert!(!page.contains("<script"));
    }
}
