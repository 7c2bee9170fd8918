//! The HTTP interface: real requests to the whole application, with a database per test.

mod access;
mod document;
mod hooks;
mod hostile;
mod lists;
mod log_csv;
pub(crate) mod outages;
mod start;
mod sync;
mod watch;
mod webhook;

use keap_intercom_sync::feed::{Feed, RunReason};
use keap_intercom_sync::store::RunState;
use serde_json::Value;
use sqlx::PgPool;

use crate::sim::client::{self, Reply};
use crate::world::{Daemon, World, until};

pub(crate) const TOKEN: &str = "canary-api-token-0123456789";
pub(crate) const OLD_SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const NEW_SECRET: &str = "fedcba9876543210fedcba9876543210";

/// A world whose daemon has a token and two webhook secrets. It polls at its start and then once a
/// year, so that a test causes everything else.
pub(crate) async fn world(pool: PgPool) -> World {
    let mut world = World::new(pool).await;
    world
        .set("API_TOKEN", TOKEN)
        .set("KEAP_WEBHOOK_SECRET", format!("{OLD_SECRET},{NEW_SECRET}"))
        .set("INTERCOM_CLIENT_SECRET", "canary-client-secret-0123456789")
        .set("POLL__SCHEDULE", "0 0 0 1 1 *")
        .set("POLL__FIRST_RUN", "from_now");
    world
}

/// A daemon whose first poll has ended: a contact that is added to Keap from now on is synced only
/// when it is requested.
pub(crate) async fn started(world: &World) -> Daemon {
    let store = world.store();
    // The first poll serves this request, and ends its run.
    let run = store.request_run(Feed::Changed, RunReason::Manual, None).await.unwrap();
    let daemon = world.daemon().await;
    until("the first poll has ended", async || {
        store.run(run).await.unwrap().is_some_and(|run| run.state == RunState::Done)
    })
    .await;
    daemon
}

pub(crate) fn url(daemon: &Daemon, path: &str) -> String {
    format!("http://{}{path}", daemon.address)
}

pub(crate) async fn get(daemon: &Daemon, path: &str) -> Reply {
    let token = format!("Bearer {TOKEN}");
    client::send("GET", &url(daemon, path), &[("authorization", &token)], "").await.unwrap()
}

pub(crate) async fn post(daemon: &Daemon, path: &str, body: &Value) -> Reply {
    post_with(daemon, path, &[], body).await
}

pub(crate) async fn post_with(
    daemon: &Daemon,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Reply {
    let token = format!("Bearer {TOKEN}");
    let mut all = vec![("authorization", token.as_str()), ("content-type", "application/json")];
    all.extend(headers);
    client::send("POST", &url(daemon, path), &all, body.to_string()).await.unwrap()
}

/// A refusal is a problem document that also has the fields of the former worker.
pub(crate) fn assert_problem(reply: &Reply, status: u16) {
    let body = reply.json();
    assert_eq!(reply.status, status, "{body}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!((&body["success"], &body["status"]), (&false.into(), &status.into()), "{body}");
    assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{body}");
    assert_eq!(body["detail"], body["error"]);
    assert!(reply.header("x-request-id").is_some());
}
