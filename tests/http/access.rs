//! Access: every route of the table, with the right credential, a wrong one, none, and one that is
//! being replaced.

use keap_intercom_sync::http::{Who, table};
use sqlx::PgPool;

use super::{NEW_SECRET, OLD_SECRET, TOKEN, assert_problem, url, world};
use crate::sim::client::{self, Reply};
use crate::world::Daemon;

/// Calls a route with an empty object.
async fn call(daemon: &Daemon, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    client::send(method, &url(daemon, path), headers, "{}").await.unwrap()
}

/// The path of a route with its parameters filled in.
fn filled(path: &str, secret: &str) -> String {
    path.replace("{secret}", secret).replace("{id}", "1")
}

fn is_refused(reply: &Reply) -> bool {
    reply.status == 401
}

// S10
#[sqlx::test]
async fn every_route_admits_the_callers_of_its_rule_and_nobody_else(pool: PgPool) {
    let world = world(pool).await;
    let daemon = world.daemon().await;

    let table = table();
    assert!(table.len() >= 6, "{table:?}");
    for (method, path, who) in table {
        let is_admitted = async |secret: &str, headers: &[(&str, &str)]| {
            let reply = call(&daemon, &method, &filled(&path, secret), headers).await;
            assert_ne!(reply.status, 404, "{method} {path}: {:?}", reply.json());
            !is_refused(&reply)
        };
        let right = format!("Bearer {TOKEN}");
        match who {
            Who::Anyone => assert!(is_admitted("", &[]).await, "{method} {path}"),
            Who::ApiToken => {
                let with = async |value: &str| is_admitted("", &[("authorization", value)]).await;
                let reply =
                    call(&daemon, &method, &filled(&path, ""), &[("authorization", &right)]).await;
                assert!(!is_refused(&reply), "{method} {path}");
                for wrong in [
                    "",
                    "Bearer",
                    "Bearer ",
                    "Bearer canary-api-token-012345678",
                    "Bearer canary-api-token-01234567890",
                    "Basic canary-api-token-0123456789",
                    "canary-api-token-0123456789",
                    &format!("Bearer {OLD_SECRET}"),
                ] {
                    assert!(!with(wrong).await, "{method} {path}: {wrong:?}");
                }
                assert!(!is_admitted("", &[]).await, "{method} {path} without a token");
            }
            // tests/two_way/webhook.rs sends what is signed.
            Who::IntercomSignature => {
                let zeros = format!("sha1={}", "0".repeat(40));
                for wrong in ["", "sha1=", &zeros, &zeros[..44]] {
                    assert!(!is_admitted("", &[("x-hub-signature", wrong)]).await, "{path}");
                }
                assert!(!is_admitted("", &[]).await, "{path} without a signature");
            }
            Who::WebhookSecret => {
                let in_path = path.contains("{secret}");
                let with = async |secret: &str| {
                    if in_path {
                        is_admitted(secret, &[]).await
                    } else {
                        is_admitted("", &[("x-webhook-secret", secret)]).await
                    }
                };
                assert!(with(OLD_SECRET).await, "{path}");
                assert!(with(NEW_SECRET).await, "{path}");
                for wrong in [
                    "0",
                    &OLD_SECRET[1..],
                    &format!("{OLD_SECRET}0"),
                    &OLD_SECRET.to_uppercase(),
                    &format!("{OLD_SECRET},{NEW_SECRET}"),
                    TOKEN,
                ] {
                    assert!(!with(wrong).await, "{path}: {wrong:?}");
                }
                if !in_path {
                    assert!(!is_admitted("", &[]).await, "{path} without a secret");
                    assert!(!is_admitted("", &[("authorization", &right)]).await, "{path}");
                }
            }
        }
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn routes_whose_credential_is_not_configured_are_closed(pool: PgPool) {
    let mut world = world(pool).await;
    world.env.remove("API_TOKEN");
    world.env.remove("KEAP_WEBHOOK_SECRET");
    world.env.remove("INTERCOM_CLIENT_SECRET");

    let daemon = world.daemon().await;
    for (method, path, who) in table() {
        let path = filled(&path, OLD_SECRET);
        let headers = [("authorization", "Bearer "), ("x-webhook-secret", OLD_SECRET)];
        let reply = call(&daemon, &method, &path, &headers).await;
        if who == Who::Anyone {
            assert_ne!(reply.status, 401, "{path}");
        } else {
            assert_problem(&reply, 503);
            let error = reply.json()["error"].as_str().unwrap().to_owned();
            assert!(error.starts_with("not configured: set "), "{error}");
        }
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn an_unknown_route_is_answered_with_a_problem_document(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;
    assert_problem(&call(&daemon, "GET", "/sync", &[]).await, 404);
    assert_problem(&call(&daemon, "PUT", "/sync/contact", &[]).await, 405);
    assert_problem(&call(&daemon, "DELETE", "/health", &[]).await, 405);
    let own = call(&daemon, "GET", "/health", &[("x-request-id", "mine-1")]).await;
    assert_eq!(own.header("x-request-id"), Some("mine-1"));
    let strange = call(&daemon, "GET", "/health", &[("x-request-id", "a b")]).await;
    assert_ne!(strange.header("x-request-id"), Some("a b"));
    daemon.stop().await.1.unwrap();
}
