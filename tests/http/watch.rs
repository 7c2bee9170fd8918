//! Health, readiness, metrics and the OpenAPI document.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgPool;

use super::{started, url, world};
use crate::sim::client;
use crate::sim::people::{Shape, invented};
use crate::world::{Daemon, ann, until};

async fn look(daemon: &Daemon, path: &str) -> (u16, Value) {
    let reply = client::send("GET", &url(daemon, path), &[], "").await.unwrap();
    (reply.status, reply.json())
}

/// Waits until `/ready` shows a part in this state. An answer of `/ready` may be a second old.
async fn shows(daemon: &Daemon, part: &str, state: &str) {
    until(&format!("{part} is shown as {state}"), async || {
        look(daemon, "/ready").await.1["checks"][part]["state"] == state
    })
    .await;
}

#[sqlx::test]
async fn health_has_the_fields_of_the_former_worker_and_the_version(pool: PgPool) {
    let mut world = world(pool).await;
    world.set("ENVIRONMENT", "staging");
    let daemon = started(&world).await;

    let sent = Instant::now();
    let (status, body) = look(&daemon, "/health").await;

    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
    assert_eq!(status, 200);
    assert_eq!(
        (&body["status"], &body["environment"], &body["version"]),
        (&json!("healthy"), &json!("staging"), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn ready_reports_every_part_without_a_remote_call(pool: PgPool) {
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
        "readiness makes no remote call"
    );

    let standby = world.daemon().await;
    until("the standby is ready", async || look(&standby, "/ready").await.0 == 200).await;
    shows(&standby, "lease", "standby").await;
    standby.stop().await.1.unwrap();
    daemon.stop().await.1.unwrap();
}

// F81
#[sqlx::test]
async fn ready_reports_what_is_wrong(pool: PgPool) {
    let mut world = world(pool.clone()).await;
    world.set("HTTP__READY_POLL_AGE_SECONDS", 60);
    let daemon = started(&world).await;

    sqlx::query("update sync_cursor set polled_at = now() - interval '61 seconds'")
        .execute(&pool)
        .await
        .unwrap();

    shows(&daemon, "poll", "late").await;
    assert_eq!(look(&daemon, "/ready").await.0, 503);

    sqlx::query("update sync_cursor set polled_at = now()").execute(&pool).await.unwrap();
    shows(&daemon, "poll", "ok").await;
    assert_eq!(look(&daemon, "/ready").await.0, 200);

    // A credential that is refused needs a person.
    world.intercom.set_token("another");
    let id = world.keap.add(ann());
    let reply =
        super::post(&daemon, "/sync/contact?wait=1", &json!({ "keap_contact_id": id })).await;
    assert_eq!(reply.status, 202, "{}", reply.json());
    shows(&daemon, "intercom", "refused").await;
    assert_eq!(look(&daemon, "/ready").await.0, 503);

    let (status, _) = look(&daemon, "/health").await;
    assert_eq!(status, 200, "a restart would change nothing");

    // While the database does not answer, both routes still do.
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table contact_due, sync_cursor in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    shows(&daemon, "database", "down").await;

    let sent = Instant::now();
    assert_eq!(look(&daemon, "/ready").await.0, 503);
    assert_eq!(look(&daemon, "/health").await.0, 200);
    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
    lock.rollback().await.unwrap();
    daemon.stop().await.1.unwrap();
}

async fn scrape(address: std::net::SocketAddr, headers: &[(&str, &str)]) -> (u16, String) {
    let reply =
        client::send("GET", &format!("http://{address}/metrics"), headers, "").await.unwrap();
    (reply.status, String::from_utf8(reply.body.to_vec()).unwrap())
}

// F82, S26
#[sqlx::test]
async fn metrics_have_bounded_labels_and_no_personal_data(pool: PgPool) {
    let mut world = world(pool).await;
    let second = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.set("HTTP__METRICS_LISTEN", second);
    let daemon = started(&world).await;
    world.keap.knobs(super::super::sim::keap::knobs::KeapKnobs::exact_limits);
    let ids = world.keap.add_many(300, |n| invented(n as u64, Shape::Mixed));

    let reply = super::post(&daemon, "/sync/batch", &json!({ "keap_contact_ids": ids })).await;
    assert_eq!(reply.status, 200, "{}", reply.json());

    // Updates and single reads name an id in their paths.
    let few = &ids[..20];
    world.keap.bulk_edit(few.to_vec(), |person| person.given_name = Some("Edited".into()));
    world.keap.delete(few[0]);
    let edited = super::post(&daemon, "/sync/batch", &json!({ "keap_contact_ids": few })).await;
    assert_eq!(edited.status, 200, "{}", edited.json());

    for id in few {
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
    assert_eq!(closed.status, 404, "the second listener serves only the metrics");

    for wanted in [
        "keap_intercom_sync_contacts_total{action=\"created\"",
        "keap_intercom_sync_contacts_total{action=\"skipped\",reason=\"no_email\"}",
        "keap_intercom_sync_calls_total{remote=\"intercom\",route=\"POST /contacts\",class=\"ok\"}",
        "keap_intercom_sync_calls_total{remote=\"intercom\",route=\"PUT /contacts/{id}\",class=\"ok\"}",
        "keap_intercom_sync_calls_total{remote=\"keap\",route=\"GET /v2/contacts/{id}\",class=\"refused\"}",
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

    for canary in
        ["@", "example.", super::TOKEN, super::OLD_SECRET, "KeapAK", "postgres", "/nothing"]
    {
        assert!(!text.contains(canary), "{canary} in:\n{text}");
    }
    // The 300 contacts would give a label 300 values. The tests of a process share its metrics.
    for (label, values) in label_values(&text) {
        assert!(values.len() < 100, "{label} has {} values: {values:?}", values.len());
    }
    daemon.stop().await.1.unwrap();
}

/// The values of each label of each metric.
fn label_values(text: &str) -> BTreeMap<String, BTreeSet<&str>> {
    let mut all: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let labelled = text.lines().filter_map(|line| line.rsplit_once('}')?.0.split_once('{'));
    for (metric, labels) in labelled {
        for (label, value) in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
            all.entry(format!("{metric}, {label}")).or_default().insert(value);
        }
    }
    all
}

/// Every object of a document that stands under a key.
fn under<'a>(document: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match document {
        Value::Object(object) => {
            found.extend(object.get(key));
            object.values().for_each(|value| under(value, key, found));
        }
        Value::Array(values) => values.iter().for_each(|value| under(value, key, found)),
        _ => {}
    }
}

#[sqlx::test]
async fn every_operation_has_an_id_of_its_own_a_group_and_examples(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;

    let (_, document) = look(&daemon, "/openapi.json").await;

    assert_eq!(document["servers"][0]["url"], "/");
    let tags: Vec<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].clone()).collect();
    let (mut ids, mut answers) = (Vec::new(), 0);
    for (method, path, _) in keap_intercom_sync::http::table() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        ids.push(operation["operationId"].as_str().unwrap().to_owned());
        assert!(tags.contains(&operation["tags"][0]), "{method} {path}");
        if let Some(body) = operation.get("requestBody") {
            let body = body["content"].as_object().unwrap().values().next().unwrap();
            assert!(!body["example"].is_null(), "{method} {path} has no example of its body");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            for content in response["content"].as_object().unwrap().values() {
                assert!(!content["example"].is_null(), "{method} {path} {status}");
                answers += 1;
            }
        }
    }
    assert!(answers > 60, "{answers}");
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operationId stands twice");
    // Each reference leads somewhere.
    let mut references = Vec::new();
    under(&document, "$ref", &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let place = reference.as_str().unwrap().trim_start_matches('#');
        assert!(document.pointer(place).is_some(), "{place} is missing");
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_openapi_document_names_every_route_and_its_page_needs_no_script(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;

    let (status, document) = look(&daemon, "/openapi.json").await;

    assert_eq!(status, 200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{document}");
    for (method, path, who) in keap_intercom_sync::http::table() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(operation["summary"].is_string(), "{method} {path}");
        let closed = operation["security"].is_array() || path.contains("{secret}");
        assert_eq!(closed, who != keap_intercom_sync::http::Who::Anyone, "{method} {path}");
    }
    let page = client::send("GET", &url(&daemon, "/docs"), &[], "").await.unwrap();
    let policy = page.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        text.contains("POST /sync/contact")
            && !text.contains("<script")
            && !text.contains("http://")
            && !text.contains("https://"),
        "{text}"
    );
    // It begins with what a caller wants, and its table of contents leads to every route.
    let place = |text: &str, of: &str| text.find(of).unwrap_or_else(|| panic!("{of} is missing"));
    assert!(place(&text, "POST /sync/contact") < place(&text, "POST /sync/batch"), "{text}");
    assert!(place(&text, "POST /sync/batch") < place(&text, "GET /health"), "{text}");
    assert!(
        text.contains("curl -H &quot;Authorization: Bearer $API_TOKEN&quot; localhost:8080/sync/contact -d '{&quot;keapContactId&quot;:12345}'"),
        "{text}"
    );
    for link in text.split("href=\"#").skip(1) {
        let id = link.split('"').next().unwrap();
        assert!(text.contains(&format!("id=\"{id}\"")), "#{id} leads nowhere");
    }
    let style = client::send("GET", &url(&daemon, "/docs.css"), &[], "").await.unwrap();
    assert_eq!(
        (style.status, style.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    daemon.stop().await.1.unwrap();
}
