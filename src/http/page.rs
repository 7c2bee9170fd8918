//! The OpenAPI document as a page for people, without any script: grouped, with a table of
//! contents, and with calls that run.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::code::Code;

/// The operations that stand first in their groups, in this order. The others follow by their
/// paths.
const FIRST: [&str; 4] = ["syncContact", "syncBatch", "showContact", "askForRun"];

/// An operation with its place.
struct Route<'a> {
    path: &'a str,
    method: &'a str,
    operation: &'a Value,
}

impl Route<'_> {
    fn id(&self) -> &str {
        text(self.operation, "operationId")
    }

    fn rank(&self) -> (usize, &str) {
        let first = FIRST.iter().position(|first| *first == self.id());
        (first.unwrap_or(FIRST.len()), self.path)
    }

    /// The scheme that opens the route, if one is needed.
    fn scheme(&self) -> Option<&str> {
        let all = self.operation["security"].as_array()?;
        each(all.first()?).next().map(|(name, _)| name.as_str())
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn each(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// The page of a document. Writing to a `String` cannot fail, so the results are dropped.
pub(super) fn page(document: &Value) -> String {
    let mut page = String::new();
    begin(&mut page, document);
    let groups = groups(document);
    contents(&mut page, &groups);
    for (tag, about, routes) in &groups {
        let _ = write!(page, "<h2 id=\"{0}\">{0}</h2>\n<p>{1}</p>\n", escaped(tag), escaped(about));
        for one in routes {
            route(&mut page, one);
        }
    }
    codes(&mut page);
    page.push_str("<h2 id=\"bodies\">Bodies</h2>\n");
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

fn begin(page: &mut String, document: &Value) {
    let title = escaped(text(&document["info"], "title"));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<link rel=\"stylesheet\" href=\"docs.css\">\n</head>\n<body>\n<h1>{title} {}</h1>\n<p>{}</p>\n\
         <p>For programs: <a href=\"openapi.json\">openapi.json</a>. The calls below run in a shell that has the token: \
         <code>export API_TOKEN=…</code></p>\n",
        escaped(text(&document["info"], "version")),
        escaped(text(&document["info"], "description")),
    );
}

/// The groups in the order of the document, each with its text and its routes.
fn groups(document: &Value) -> Vec<(&str, &str, Vec<Route<'_>>)> {
    let routes = || {
        each(&document["paths"]).flat_map(|(path, item)| {
            each(item).map(move |(method, operation)| Route { path, method, operation })
        })
    };
    let tags = document["tags"].as_array().map_or(&[][..], Vec::as_slice);
    let mut groups: Vec<(&str, &str, Vec<Route<'_>>)> =
        tags.iter().map(|tag| (text(tag, "name"), text(tag, "description"), Vec::new())).collect();
    for route in routes() {
        let tag = route.operation["tags"][0].as_str().unwrap_or("other");
        match groups.iter_mut().find(|(name, ..)| *name == tag) {
            Some((.., routes)) => routes.push(route),
            None => groups.push((tag, "", vec![route])),
        }
    }
    for (.., routes) in &mut groups {
        routes.sort_by(|a, b| a.rank().cmp(&b.rank()));
    }
    groups
}

fn contents(page: &mut String, groups: &[(&str, &str, Vec<Route<'_>>)]) {
    page.push_str("<ul class=\"contents\">\n");
    for (tag, _, routes) in groups {
        let _ = write!(page, "<li><a href=\"#{0}\">{0}</a>\n<ul>\n", escaped(tag));
        for route in routes {
            let _ = writeln!(
                page,
                "<li><a href=\"#{}\"><code>{} {}</code></a> {}</li>",
                escaped(route.id()),
                escaped(&route.method.to_uppercase()),
                escaped(route.path),
                escaped(text(route.operation, "summary")),
            );
        }
        page.push_str("</ul></li>\n");
    }
    page.push_str(
        "<li><a href=\"#codes\">Refusals</a></li>\n<li><a href=\"#bodies\">Bodies</a></li>\n</ul>\n",
    );
}

fn route(page: &mut String, route: &Route<'_>) {
    let Route { path, method, operation } = route;
    let who = match route.scheme() {
        None => "",
        Some("apiToken") => " Needs the API token.",
        Some(_) => " Needs the webhook secret.",
    };
    let _ = write!(
        page,
        "<h3 id=\"{}\"><code>{} {}</code></h3>\n<p>{}.{who} {}</p>\n<pre>{}</pre>\n",
        escaped(route.id()),
        escaped(&method.to_uppercase()),
        escaped(path),
        escaped(text(operation, "summary")),
        escaped(text(operation, "description")),
        escaped(&call(route)),
    );
    page.push_str("<table>\n");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        row(
            page,
            &format!("<code>{}</code>", escaped(text(parameter, "name"))),
            &escaped(text(parameter, "in")),
            &escaped(text(parameter, "description")),
        );
    }
    for (form, content) in each(&operation["requestBody"]["content"]) {
        let about = escaped(text(&operation["requestBody"], "description"));
        row(page, "body", &escaped(form), &format!("{} {about}", link(content)));
    }
    for (status, response) in each(&operation["responses"]) {
        let body = each(&response["content"]).next().map(|(_, content)| link(content));
        let about = escaped(text(response, "description"));
        row(page, &escaped(status), "answer", &format!("{about} {}", body.unwrap_or_default()));
    }
    page.push_str("</table>\n");
    if let Some(example) = answer(operation) {
        let json = serde_json::to_string_pretty(example).unwrap_or_default();
        let _ = writeln!(page, "<pre>{}</pre>", escaped(&json));
    }
}

/// A row of a table. All tables have the same three columns.
fn row(page: &mut String, name: &str, kind: &str, about: &str) {
    let _ = writeln!(page, "<tr><td>{name}</td><td>{kind}</td><td>{about}</td></tr>");
}

/// The call of a route, for a shell.
fn call(route: &Route<'_>) -> String {
    let mut path = route.path.to_owned();
    for parameter in route.operation["parameters"].as_array().into_iter().flatten() {
        if text(parameter, "in") == "path" {
            let example = match &parameter["example"] {
                Value::String(text) => text.clone(),
                Value::Null => "…".to_owned(),
                other => other.to_string(),
            };
            path = path.replace(&format!("{{{}}}", text(parameter, "name")), &example);
        }
    }
    let who = match route.scheme() {
        None => String::new(),
        Some("apiToken") => " -H \"Authorization: Bearer $API_TOKEN\"".to_owned(),
        Some(_) => " -H \"X-Webhook-Secret: $SECRET\"".to_owned(),
    };
    let body = each(&route.operation["requestBody"]["content"]).next();
    let body = body.and_then(|(_, content)| content.get("example"));
    let body = body.map(|example| format!(" -d '{example}'")).unwrap_or_default();
    // curl gets without a body, and posts with one.
    let method = match (route.method, body.is_empty()) {
        ("get", true) | ("post", false) => String::new(),
        ("head", _) => " -I".to_owned(),
        (method, _) => format!(" -X {}", method.to_uppercase()),
    };
    format!("curl{method}{who} localhost:8080{path}{body}")
}

/// The example of the first answer that is a success, if it is a document.
fn answer(operation: &Value) -> Option<&Value> {
    let (_, response) =
        each(&operation["responses"]).find(|(status, _)| status.starts_with('2'))?;
    let (_, content) = each(&response["content"]).next()?;
    content.get("example").filter(|example| example.is_object())
}

/// The kinds of refusals.
fn codes(page: &mut String) {
    page.push_str(
        "<h2 id=\"codes\">Refusals</h2>\n<p>Every refusal is a problem document (RFC 9457). Its \
         <code>code</code> and <code>type</code> never change.</p>\n<table>\n",
    );
    for code in Code::ALL {
        let name = format!("<code>{}</code>", code.as_str());
        row(page, &name, code.status().as_str(), &escaped(&code.meaning()));
    }
    page.push_str("</table>\n");
}

/// A link to the schema of a body, if it has a name.
fn link(content: &Value) -> String {
    let name = text(&content["schema"], "$ref").rsplit('/').next().unwrap_or_default();
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
            "tags": [{ "name": evil, "description": evil }],
            "paths": { evil: { "get": {
                "operationId": evil, "tags": [evil],
                "summary": evil, "description": evil,
                "parameters": [{ "name": evil, "in": evil, "description": evil }, { "name": evil, "in": "path", "example": evil }],
                "requestBody": { "description": evil, "content": { evil: { "schema": { "$ref": evil }, "example": { evil: evil } } } },
                "responses": { evil: { "description": evil, "content": { "x": { "schema": { "$ref": format!("#/{evil}") } } } } },
            } } },
            "components": { "schemas": { evil: { "x": evil } } },
        });
        let page = page(&document);
        assert!(!page.contains("<img"), "{page}");
        assert!(!page.contains("<script"));
    }
}
