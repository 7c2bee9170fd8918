//! Health and readiness.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgPool;

use super::{started, url, world};
use crate::sim::client;
use crate::world::{Daemon, ann, until};

async fn look(daemon: &Daemon, path: &str) -> (u16, Value) {
    let reply = client::send("GET", &url(daemon, path), &[], "")
        .await
        .unwrap();
    (reply.status, reply.json())
}

async fn check(daemon: &Daemon, name: &str) -> String {
    // A look is kept for a second.
    tokio::time::sleep(Duration::from_millis(1050)).await;
    look(daemon, "/ready").await.1["checks"][name]["state"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[sqlx::test]
async fn health_says_what_it_said_before_and_the_version(pool: PgPool) {
    let mut world = world(pool).await;
    world.set("ENVIRONMENT", "staging");
    let daemon = started(&world).await;
    let asked = Instant::now();
    let (status, body) = look(&daemon, "/health").await;
    assert!(
        asked.elapsed() < Duration::from_millis(50),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(status, 200);
    assert_eq!(
        (&body["status"], &body["environment"], &body["version"]),
        (
            &json!("healthy"),
            &json!("staging"),
            &json!(env!("CARGO_PKG_VERSION"))
        )
    );
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn ready_says_whether_contacts_flow(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let (keap, intercom) = (world.keap.calls(), world.intercom.calls());
    let (status, body) = look(&daemon, "/ready").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["status"], "ready");
    let checks = &body["checks"];
    for (name, state) in [
        ("database", "ok"),
        ("lease", "holder"),
        ("poll", "ok"),
        ("keap", "ok"),
        ("intercom", "ok"),
        ("webhooks", "off"),
    ] {
        assert_eq!(checks[name]["state"], state, "{body}");
    }
    assert!(checks["poll"]["ageSeconds"].as_u64().unwrap() < 60);
    assert_eq!(
        (world.keap.calls(), world.intercom.calls()),
        (keap, intercom),
        "nobody is called"
    );

    let standby = world.daemon().await;
    until("the standby's database", async || {
        look(&standby, "/ready").await.0 == 200
    })
    .await;
    assert_eq!(check(&standby, "lease").await, "standby");
    standby.stop().await.1.unwrap();
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn ready_says_what_is_wrong(pool: PgPool) {
    let mut world = world(pool.clone()).await;
    world.set("HTTP__READY_POLL_AGE_SECONDS", 60);
    let daemon = started(&world).await;

    sqlx::query("update sync_cursor set polled_at = now() - interval '61 seconds'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(check(&daemon, "poll").await, "late");
    assert_eq!(look(&daemon, "/ready").await.0, 503);
    sqlx::query("update sync_cursor set polled_at = now()")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(check(&daemon, "poll").await, "ok");
    assert_eq!(look(&daemon, "/ready").await.0, 200);

    // A credential that is refused needs a person.
    world.intercom.set_token("another");
    let id = world.keap.add(ann());
    let reply = super::post(
        &daemon,
        "/sync/contact?wait=1",
        &json!({ "keap_contact_id": id }),
    )
    .await;
    assert_eq!(reply.status, 202, "{}", reply.json());
    assert_eq!(check(&daemon, "intercom").await, "refused");
    assert_eq!(look(&daemon, "/ready").await.0, 503);
    let (status, _) = look(&daemon, "/health").await;
    assert_eq!(status, 200, "a restart would change nothing");

    // While the database does not answer, both do.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table contact_due, sync_cursor in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    assert_eq!(check(&daemon, "database").await, "down");
    let asked = Instant::now();
    assert_eq!(look(&daemon, "/ready").await.0, 503);
    assert_eq!(look(&daemon, "/health").await.0, 200);
    assert!(
        asked.elapsed() < Duration::from_millis(50),
        "{:?}",
        asked.elapsed()
    );
    lock.rollback().await.unwrap();
    daemon.stop().await.1.unwrap();
}
