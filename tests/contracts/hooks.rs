//! Calls about hooks (`docs/api/keap.md`, "Hooks: subscriptions").

use keap_intercom_sync::keap::{HookState, KeapClient};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::keap::client;
use super::{class, header, only_request};

async fn answering(response: ResponseTemplate) -> (MockServer, KeapClient) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    let client = client(&server);
    (server, client)
}

const ADDRESS: &str = "https://sync.example.com/webhook/keap/canary-secret";

fn hook(key: serde_json::Value, status: &str) -> serde_json::Value {
    json!({ "key": key, "eventKey": "contact.edit", "hookUrl": ADDRESS, "status": status })
}

#[tokio::test]
async fn subscriptions_are_listed_with_their_states() {
    let all = json!([
        hook(json!("1"), "Verified"),
        hook(json!(2), "Inactive"),
        hook(json!("3"), "Unverified"),
        hook(json!("../x"), "Verified"),
        hook(json!(null), "Verified"),
        json!(null),
        json!({ "key": "4", "eventKey": "contact.add", "hookUrl": ADDRESS, "status": 7 }),
    ]);
    let (server, keap) = answering(ResponseTemplate::new(200).set_body_json(all)).await;

    let hooks = keap.hooks().await.unwrap();
    let states: Vec<_> = hooks.iter().map(|hook| (hook.key.as_str(), hook.state)).collect();
    assert_eq!(
        states,
        [
            ("1", HookState::Verified),
            ("2", HookState::Inactive),
            ("3", HookState::Unverified),
            ("4", HookState::Unverified)
        ]
    );
    assert!(!format!("{hooks:?}").contains("canary-secret"));
    let request = only_request(&server).await;
    assert_eq!((request.method.as_str(), request.url.path()), ("GET", "/crm/rest/v1/hooks"));
    assert_eq!(header(&request, "authorization"), "Bearer KeapAK-canary");
}

#[tokio::test]
async fn a_subscription_is_created_verified_and_removed_by_these_calls() {
    let (server, keap) =
        answering(ResponseTemplate::new(200).set_body_json(hook(json!("7"), "Verified"))).await;
    let made = keap.add_hook("contact.edit", ADDRESS).await.unwrap();
    assert_eq!((made.key.as_str(), made.state), ("7", HookState::Verified));
    let request = only_request(&server).await;
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/crm/rest/v1/hooks"));
    assert_eq!(
        request.body_json::<serde_json::Value>().unwrap(),
        json!({ "eventKey": "contact.edit", "hookUrl": ADDRESS })
    );

    let (server, keap) =
        answering(ResponseTemplate::new(200).set_body_json(hook(json!("7"), "Verified"))).await;
    keap.verify_hook("7").await.unwrap();
    let request = only_request(&server).await;
    assert_eq!(
        (request.method.as_str(), request.url.path()),
        ("POST", "/crm/rest/v1/hooks/7/verify")
    );

    let (server, keap) = answering(ResponseTemplate::new(204)).await;
    keap.remove_hook("7").await.unwrap();
    let request = only_request(&server).await;
    assert_eq!((request.method.as_str(), request.url.path()), ("DELETE", "/crm/rest/v1/hooks/7"));
}

#[tokio::test]
async fn a_key_that_may_not_manage_hooks_may_still_read_contacts() {
    for (status, expected) in [
        (400, "never"),
        (402, "never"),
        (403, "never"),
        (404, "never"),
        (401, "stop"),
        (500, "again"),
    ] {
        let (_server, keap) =
            answering(ResponseTemplate::new(status).set_body_json(json!({ "message": "no" })))
                .await;
        let failure = keap.hooks().await.unwrap_err();
        assert_eq!(class(&failure), expected, "{status}");
        assert!(!failure.to_string().contains("canary"));
        if expected == "never" {
            assert_eq!(keap.remote().standing(), keap_intercom_sync::remote::Standing::Ok);
        }
    }
    let (_server, keap) =
        answering(ResponseTemplate::new(404).set_body_json(json!({ "message": "no" }))).await;
    keap.remove_hook("7").await.unwrap();
}
