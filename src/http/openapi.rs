//! The OpenAPI document that the handlers make, completed with what no handler knows of itself:
//! groups, the server, and an example of every refusal.

use serde_json::{Map, Value, json};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, ServerBuilder};

use super::code::Code;
use super::page::page;

/// The groups of routes, in the order in which a caller wants them.
const TAGS: [(&str, &str); 8] = [
    ("contacts", "Sync contacts, and see what is known of them."),
    ("walks", "Ask for walks over Keap's contacts, and follow them."),
    ("held", "The contacts that need a person."),
    ("plans", "Look at what would be written, and approve it."),
    ("erasure", "Delete a person for good, with a proof."),
    ("watch", "Whether it is alive, whether contacts flow, and numbers."),
    ("webhook", "What Keap and Intercom call."),
    ("docs", "This surface described."),
];

/// The document before any route is added.
pub(super) fn empty() -> OpenApi {
    let token =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("API_TOKEN")).build();
    let secret =
        ApiKeyValue::with_description("X-Webhook-Secret", "A secret of KEAP_WEBHOOK_SECRET");
    let signature = ApiKeyValue::with_description(
        "X-Hub-Signature",
        "`sha1=` and the HMAC-SHA1 of the body, with INTERCOM_CLIENT_SECRET as the key",
    );
    let tags =
        TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("keap-intercom-sync")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(env!("CARGO_PKG_DESCRIPTION")))
                .build(),
        )
        .servers(Some([ServerBuilder::new()
            .url("/")
            .description(Some("The daemon that serves this document"))
            .build()]))
        .tags(Some(tags))
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme("apiToken", SecurityScheme::Http(token))
                .security_scheme("webhookSecret", SecurityScheme::ApiKey(ApiKey::Header(secret)))
                .security_scheme("hubSignature", SecurityScheme::ApiKey(ApiKey::Header(signature)))
                .build(),
        ))
        .build()
}

/// The document, in both forms.
pub(super) struct Docs {
    pub json: String,
    pub page: String,
}

impl Docs {
    pub(super) fn new(document: &OpenApi) -> Self {
        let mut json = serde_json::to_value(document).unwrap_or_default();
        add_examples_of_problems(&mut json);
        Self { page: page(&json), json: json.to_string() }
    }
}

/// Gives every refusal an example. Its status says what it can be.
fn add_examples_of_problems(document: &mut Value) {
    for item in values(&mut document["paths"]) {
        for operation in values(item) {
            let Some(responses) = operation["responses"].as_object_mut() else { continue };
            for (status, response) in responses {
                let Some(body) = response.pointer_mut("/content/application~1problem+json") else {
                    continue;
                };
                let code = Code::ALL.iter().find(|code| code.status().as_str() == status);
                if let (Some(code), None) = (code, body.get("example")) {
                    body["example"] = example(*code);
                }
            }
        }
    }
}

fn values(object: &mut Value) -> impl Iterator<Item = &mut Value> {
    object.as_object_mut().into_iter().flat_map(Map::values_mut)
}

fn example(code: Code) -> Value {
    let meaning = code.meaning();
    let status = code.status();
    json!({
        "type": code.uri(), "code": code.as_str(), "title": status.canonical_reason(), "status": status.as_u16(),
        "detail": meaning, "success": false, "error": meaning,
    })
}
