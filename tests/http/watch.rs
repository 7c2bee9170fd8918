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
        asked.elapsed() < Duration::from_secs(1),
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
    until("the refusal", async || {
        check(&daemon, "intercom").await == "refused"
    })
    .await;
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
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    lock.rollback().await.unwrap();
    daemon.stop().await.1.unwrap();
}

async fn scrape(address: std::net::SocketAddr, headers: &[(&str, &str)]) -> (u16, String) {
    let reply = client::send("GET", &format!("http://{address}/metrics"), headers, "")
        .await
        .unwrap();
    (
        reply.status,
        String::from_utf8(reply.body.to_vec()).unwrap(),
    )
}

#[sqlx::test]
async fn numbers_are_shown_with_bounded_labels_and_nobodys_data(pool: PgPool) {
    let mut world = world(pool).await;
    let second = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    world.set("HTTP__METRICS_LISTEN", second);
    let daemon = started(&world).await;
    world.keap.knobs(|knobs| knobs.exact_limits());
    let ids = world.keap.add_many(300, |n| {
        crate::sim::people::invented(n as u64, crate::sim::people::Shape::Mixed)
    });
    let reply = super::post(&daemon, "/sync/batch", &json!({ "keap_contact_ids": ids })).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    for id in &ids[..20] {
        super::get(&daemon, &format!("/sync/contacts/{id}")).await;
    }
    look(&daemon, "/nothing/here").await;

    let token = format!("Bearer {}", super::TOKEN);
    let (status, text) = scrape(daemon.address, &[("authorization", &token)]).await;
    assert_eq!(status, 200);
    assert_eq!(scrape(daemon.address, &[]).await.0, 401);
    let (status, open) = scrape(second, &[]).await;
    assert_eq!(status, 200);
    assert!(open.contains("keap_intercom_sync_build_info"));
    let closed = client::send(
        "POST",
        &format!("http://{second}/sync/contact"),
        &[("authorization", &token)],
        "{}",
    )
    .await
    .unwrap();
    assert_eq!(
        closed.status, 404,
        "the second listener shows numbers alone"
    );

    for wanted in [
        "keap_intercom_sync_contacts_total{action=\"created\"",
        "keap_intercom_sync_contacts_total{action=\"skipped\",reason=\"no_email\"}",
        "keap_intercom_sync_calls_total{remote=\"intercom\",route=\"POST /contacts\",class=\"ok\"}",
        "keap_intercom_sync_call_seconds_bucket{remote=\"keap\"",
        "keap_intercom_sync_pass_seconds_count{feed=\"due\"}",
        "keap_intercom_sync_requests_total{route=\"/sync/contacts/{id}\",status=\"200\"}",
        "keap_intercom_sync_requests_total{route=\"none\",status=\"404\"}",
        "keap_intercom_sync_limit_left{remote=\"keap\"",
        "keap_intercom_sync_success_age_seconds{feed=\"changed\"}",
        "keap_intercom_sync_due ",
        "keap_intercom_sync_held ",
        "keap_intercom_sync_lease_held 1",
        "keap_intercom_sync_database_up 1",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in:\n{text}");
    }
    for canary in [
        "@",
        "example.",
        super::TOKEN,
        super::OLD_SECRET,
        "KeapAK",
        "postgres",
        "/nothing",
    ] {
        assert!(!text.contains(canary), "{canary} in:\n{text}");
    }
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 600, "{series} series");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_document_names_every_route_and_the_page_needs_no_script(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;
    let (status, document) = look(&daemon, "/openapi.json").await;
    assert_eq!(status, 200);
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{document}"
    );
    for (method, path, who) in keap_intercom_sync::http::table() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(operation["summary"].is_string(), "{method} {path}");
        let closed = operation["security"].is_array() || path.contains("{secret}");
        assert_eq!(
            closed,
            who != keap_intercom_sync::http::Who::Anyone,
            "{method} {path}"
        );
    }
    let page = client::send("GET", &url(&daemon, "/docs"), &[], "")
        .await
        .unwrap();
    let policy = page.header("content-security-policy").unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        text.contains("POST /sync/contact")
            && !text.contains("<script")
            && !text.contains("http://")
            && !text.contains("https://"),
        "{text}"
    );
    let style = client::send("GET", &url(&daemon, "/docs.css"), &[], "")
        .await
        .unwrap();
    assert_eq!(
        (style.status, style.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    daemon.stop().await.1.unwrap();
}
