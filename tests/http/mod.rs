//! The HTTP surface over real HTTP, in front of the real application and a database of its own.

mod document;
mod doors;
mod hooks;
mod hostile;
mod outages;
mod sync;
mod watch;
mod webhook;

use std::time::Duration;

use serde_json::Value;
use sqlx::PgPool;

use crate::sim::client::{self, Reply};
use crate::world::{Daemon, World, until};

pub const TOKEN: &str = "canary-api-token-0123456789";
pub const OLD_SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const NEW_SECRET: &str = "fedcba9876543210fedcba9876543210";

/// A world whose daemon has a token and two webhook secrets, and polls but once a year: what happens is what was asked for.
pub async fn world(pool: PgPool) -> World {
    let mut world = World::new(pool).await;
    world
        .set("API_TOKEN", TOKEN)
        .set("KEAP_WEBHOOK_SECRET", format!("{OLD_SECRET},{NEW_SECRET}"))
        .set("POLL__SCHEDULE", "0 0 0 1 1 *")
        .set("POLL__FIRST_RUN", "from_now");
    world
}

/// A daemon whose first poll is over: what is added to Keap from now on is found when somebody asks for it.
pub async fn started(world: &World) -> Daemon {
    let daemon = world.daemon().await;
    until("the first poll", async || {
        let before = world.keap.count("list");
        tokio::time::sleep(Duration::from_millis(150)).await;
        before >= 2 && before == world.keap.count("list")
    })
    .await;
    daemon
}

pub fn url(daemon: &Daemon, path: &str) -> String {
    format!("http://{}{path}", daemon.address)
}

pub async fn get(daemon: &Daemon, path: &str) -> Reply {
    let token = format!("Bearer {TOKEN}");
    client::send("GET", &url(daemon, path), &[("authorization", &token)], "")
        .await
        .unwrap()
}

pub async fn post(daemon: &Daemon, path: &str, body: &Value) -> Reply {
    post_with(daemon, path, &[], body).await
}

pub async fn post_with(
    daemon: &Daemon,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Reply {
    let token = format!("Bearer {TOKEN}");
    let mut all = vec![
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    all.extend(headers);
    client::send("POST", &url(daemon, path), &all, body.to_string())
        .await
        .unwrap()
}

/// A refusal is a problem document that callers of the original worker understand too.
pub fn assert_problem(reply: &Reply, status: u16) {
    let body = reply.json();
    assert_eq!(reply.status, status, "{body}");
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(
        (&body["success"], &body["status"]),
        (&false.into(), &status.into()),
        "{body}"
    );
    assert!(
        body["error"]
            .as_str()
            .is_some_and(|error| !error.is_empty()),
        "{body}"
    );
    assert_eq!(body["detail"], body["error"]);
    assert!(reply.header("x-request-id").is_some());
}
