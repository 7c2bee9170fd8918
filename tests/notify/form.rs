//! The exact bodies, against what each product documents (`docs/notify.md`).

use serde_json::{Value, json};
use sqlx::PgPool;
use wiremock::ResponseTemplate;

use super::Hook;
use crate::cli::quiet_world;
use crate::loopback_proxy::LoopbackProxy;
use crate::process::command;

const TITLE: &str = "[production] this is a test: alarms arrive here";
const LINK: &str = "https://sync.example.com/ui";

/// The form that each product takes, filled with a test.
fn expected(kind: &str) -> Value {
    match kind {
        "json" => json!({
            "program": "keap-intercom-sync", "version": env!("CARGO_PKG_VERSION"), "environment": "production",
            "event": "test", "title": TITLE, "link": LINK, "troubles": [],
        }),
        "slack" => json!({ "text": format!("{TITLE}\n\n{LINK}") }),
        "teams" => json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
                    "body": [{ "type": "TextBlock", "text": TITLE, "wrap": true, "weight": "Bolder", "size": "Medium" }],
                    "actions": [{ "type": "Action.OpenUrl", "title": "Open the page", "url": LINK }],
                },
            }],
        }),
        _ => {
            json!({ "content": format!("{TITLE}\n\n{LINK}"), "allowed_mentions": { "parse": [] } })
        }
    }
}

const KINDS: [(&str, u16); 4] = [("json", 200), ("slack", 200), ("teams", 202), ("discord", 204)];

#[sqlx::test]
async fn each_product_gets_the_form_that_it_documents(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    world.set("NOTIFY__PAGE_URL", LINK);
    let mut hooks = Vec::new();
    for (kind, status) in KINDS {
        let hook = Hook::start(status).await;
        world.set(&format!("NOTIFY__{}_URL", kind.to_uppercase()), hook.url());
        hooks.push((kind, status, hook));
    }

    let ended = command(&world, &["notify", "test"]).await.expect(0);

    for (kind, status, hook) in hooks {
        let line = ended.stdout.lines().find(|line| line.contains(kind)).unwrap();
        assert_eq!(line, format!("✓ {kind:<7}  127.0.0.1: answered {status}"));
        let requests = hook.server.received_requests().await.unwrap();
        let [request] = requests.as_slice() else { panic!("{kind}: {requests:?}") };
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.url.path(), "/canary-hook-token");
        assert_eq!(request.url.query(), Some("sig=canary-signature"));
        assert_eq!(hook.bodies().await, [expected(kind)], "{kind}");
    }
    let check = command(&world, &["check"]).await.expect(0).stdout;
    for (kind, _) in KINDS {
        assert!(check.contains(&format!("alarms     {kind} at 127.0.0.1")), "{check}");
    }
    assert!(check.contains(&format!("messages lead to {LINK}")), "{check}");
    let config = command(&world, &["config"]).await.expect(0).stdout;
    assert!(config.contains("notify.slack_url"), "{config}");
}

#[sqlx::test]
async fn a_refusal_is_told_without_the_token_and_a_redirect_is_not_followed(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    let (hook, elsewhere) = (Hook::start(200).await, Hook::start(200).await);
    world.set("NOTIFY__SLACK_URL", hook.url()).set("NOTIFY__TIMEOUT_MS", 1500);
    let long = "canary".repeat(2000);
    for (template, says) in [
        (
            ResponseTemplate::new(403).set_body_string("invalid_token"),
            "answered 403, invalid_token",
        ),
        (ResponseTemplate::new(404).set_body_string("canary@example.org"), "answered 404"),
        (ResponseTemplate::new(500).set_body_string(long), "answered 500"),
        (
            ResponseTemplate::new(307).insert_header("location", elsewhere.url()),
            "answered 307, a redirect, which is not followed",
        ),
        (
            ResponseTemplate::new(200).set_delay(std::time::Duration::from_secs(30)),
            "no answer within 1500 ms",
        ),
    ] {
        hook.answer(template).await;

        let ended = command(&world, &["notify", "test"]).await.expect(1);

        assert_eq!(ended.stdout, format!("✗ slack    127.0.0.1: {says}\n"));
    }
    assert_eq!(elsewhere.bodies().await.len(), 0);
    // Nobody listens on this port.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.set("NOTIFY__SLACK_URL", format!("http://127.0.0.1:{dead}/canary"));
    let ended = command(&world, &["notify", "test"]).await.expect(1);
    assert!(ended.stdout.contains("127.0.0.1: cannot be reached"), "{}", ended.stdout);
}

#[sqlx::test]
async fn webhooks_go_through_the_proxy(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    let hook = Hook::start(200).await;
    let port = hook.server.address().port();
    let proxy = LoopbackProxy::start(&[("alarms.test", port)], None).await;
    world
        .set("NOTIFY__JSON_URL", "http://alarms.test/canary-hook-token")
        .set("NOTIFY__ALLOW_PLAIN", true)
        .set("NETWORK__PROXY", format!("http://canary:canary-secret@127.0.0.1:{}", proxy.port))
        .set("NO_PROXY", "");

    let ended = command(&world, &["notify", "test"]).await.expect(0);

    let through =
        format!("alarms.test, through the proxy http://127.0.0.1:{} (NETWORK__PROXY)", proxy.port);
    assert!(ended.stdout.contains(&through), "{}", ended.stdout);
    assert_eq!(hook.bodies().await.len(), 1);
    assert_eq!(proxy.asked().len(), 1);
}
