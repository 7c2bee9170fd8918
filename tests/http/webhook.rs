//! Keap's deliveries: right, repeated, out of order, forged or of unknown shape; and the handshake.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::{NEW_SECRET, OLD_SECRET, assert_problem, started, url, world};
use crate::sim::client::{self, Reply};
use crate::sim::people::{Shape, invented};
use crate::world::{Daemon, World, ann, until};

async fn deliver_raw(daemon: &Daemon, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    let url = url(daemon, &format!("/webhook/keap/{OLD_SECRET}"));
    client::send("POST", &url, headers, body).await.unwrap()
}

async fn deliver(daemon: &Daemon, body: &Value) -> Reply {
    deliver_raw(daemon, &[], body.to_string().into_bytes()).await
}

fn event(key: &str, ids: &[i64]) -> Value {
    let keys: Vec<Value> = ids
        .iter()
        .map(|id| json!({ "id": id, "apiUrl": format!("https://api.infusionsoft.com/crm/rest/v1/contacts/{id}"), "timestamp": "2026-08-19T16:20:31Z" }))
        .collect();
    json!({ "event_key": key, "object_type": "contact", "object_keys": keys })
}

async fn due(world: &World) -> i64 {
    world.store().count_due().await.unwrap().0
}

#[sqlx::test]
async fn a_delivery_of_one_contact_is_answered_with_its_outcome(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());

    let reply = deliver(&daemon, &event("contact.add", &[id])).await;
    let expected = json!({ "success": true, "action": "created", "contacts": 1, "intercomContactId": world.user(id).id, "keapContactId": id });
    assert_eq!((reply.status, reply.json()), (200, expected));

    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    let path = url(&daemon, "/webhook/keap");
    let reply = client::send(
        "POST",
        &path,
        &[("x-webhook-secret", NEW_SECRET)],
        event("contact.edit", &[id]).to_string(),
    )
    .await
    .unwrap();
    assert_eq!((reply.status, &reply.json()["action"]), (200, &json!("updated")));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_delivery_with_a_slow_outcome_is_answered_queued(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    world.intercom.knobs(|knobs| knobs.latency_ms = 4_000);

    let sent = Instant::now();
    let reply = deliver(&daemon, &event("contact.add", &[id])).await;
    let expected =
        json!({ "success": true, "action": "queued", "contacts": 1, "keapContactId": id });
    assert_eq!((reply.status, reply.json()), (200, expected));
    assert!(sent.elapsed() < Duration::from_secs(3), "{:?}", sent.elapsed());
    world.intercom.knobs(|knobs| knobs.latency_ms = 0);
    until("the outcome is logged", async || world.last_action(id).await == "created").await;
    daemon.stop().await.1.unwrap();
}

// F66, F69
#[sqlx::test]
async fn repeated_deliveries_cause_one_write(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    let body = event("contact.add", &[id]);

    let replies = join_all((0..10).map(|_| deliver(&daemon, &body))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));

    until("no contact is due", async || due(&world).await == 0).await;
    assert_eq!(world.writes(), 1);
    // The same delivery a month later changes nothing.
    assert_eq!(deliver(&daemon, &body).await.json()["action"], "unchanged");
    assert_eq!(world.writes(), 1);
    daemon.stop().await.1.unwrap();
}

// F67
#[sqlx::test]
async fn deliveries_in_any_order_lead_to_the_current_state(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let ids = world.keap.add_many(20, |n| invented(n as u64, Shape::Plain));
    let deleted = ids[7];
    let keys =
        ["contact.delete", "contact.edit", "contact.add", "contactGroup.applied", "contact.edit"];
    world.keap.edit(ids[3], |person| person.given_name = Some("New".into()));

    for (turn, key) in keys.iter().enumerate() {
        let mut shuffled = ids.clone();
        shuffled.rotate_left(turn * 7 % 20);
        assert_eq!(deliver(&daemon, &event(key, &shuffled)).await.status, 200);
    }
    until("no contact is due", async || due(&world).await == 0).await;
    world.assert_agrees();
    assert_eq!(world.intercom.count("create"), 20);

    // An old edit arrives after the deletion.
    world.keap.delete(deleted);
    for key in ["contact.delete", "contact.edit"] {
        assert_eq!(deliver(&daemon, &event(key, &[deleted])).await.status, 200);
    }
    until("no contact is due", async || due(&world).await == 0).await;
    assert_eq!(world.intercom.count("create"), 20);
    daemon.stop().await.1.unwrap();
}

// F72
#[sqlx::test]
async fn a_thousand_ids_are_stored_at_once_and_read_by_few_calls(pool: PgPool) {
    let mut world = world(pool).await;
    // A machine that is busy for seconds must not end the lease: the page would be taken again.
    world.set("LEASE__TTL_SECONDS", 60);
    let daemon = started(&world).await;
    let ids = world.keap.add_many(1000, |n| invented(n as u64, Shape::Plain));
    world.keap.clear_ledger();
    let mut fastest = Duration::MAX;

    for turn in 0..3 {
        let sent = Instant::now();
        let reply = deliver(&daemon, &event("contact.add", &ids)).await;
        fastest = fastest.min(sent.elapsed());
        assert_eq!(
            (reply.status, reply.json()),
            (200, json!({ "success": true, "action": "queued", "contacts": 1000 }))
        );
        until("no contact is due", async || due(&world).await == 0).await;
        if turn == 0 {
            // A poll may look at the same time.
            let ledger = world.keap.ledger();
            let is_by_ids = |query: &str| query.contains("ids==") || query.contains("ids%3D%3D");
            let by_ids = ledger.iter().filter(|call| is_by_ids(&call.query));
            let by_ids: Vec<_> = by_ids.map(|call| call.query.clone()).collect();
            assert!((1..=10).contains(&by_ids.len()), "{} {by_ids:?}", by_ids.len());
        }
    }

    // Fails if a delivery waits for its contacts. The benchmark measures the real time.
    assert!(fastest < Duration::from_secs(5), "{fastest:?}");
    assert_eq!(world.intercom.count("create"), 1000);
    world.assert_agrees();
    daemon.stop().await.1.unwrap();
}

// F68, S30
#[sqlx::test]
async fn forged_ids_cost_a_bounded_number_of_calls(pool: PgPool) {
    let mut world = world(pool).await;
    world.set("KEAP__WEBHOOK_CALLS_PER_DAY", 1500);
    let daemon = started(&world).await;
    let known = world.keap.add(ann());
    world.keap.clear_ledger();

    for turn in 0..10 {
        let ids: Vec<i64> = (0..1000).map(|n| 1_000_000 + turn * 1000 + n).collect();
        assert_eq!(deliver(&daemon, &event("contact.edit", &ids)).await.status, 200);
    }
    // 10,000 ids are read by a hundred lists, and none is read alone.
    until("every id was read once", async || {
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from contact_due where attempts = 0")
                .fetch_one(&world.pool)
                .await
                .unwrap();
        waiting == 0
    })
    .await;
    assert_eq!(world.keap.count("read"), 0);
    assert!(world.keap.calls() <= 110, "{:?}", world.keap.kinds());

    // The second read is the last, and leaves no row in the log.
    world.make_retries_due().await;
    // Used up when Keap gets no more calls.
    until("the budget is used up", async || {
        let before = world.keap.calls();
        tokio::time::sleep(Duration::from_millis(300)).await;
        before == world.keap.calls()
    })
    .await;
    assert!(world.keap.calls() <= 160, "{:?}", world.keap.kinds());
    assert_eq!(world.keap.count("read"), 0);

    // A caller with the token is still served.
    let reply = super::post(&daemon, "/sync/contact", &json!({ "keap_contact_id": known })).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    assert_eq!(world.log().await.len(), 1);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_delivered_contact_that_no_list_shows_yet_is_read_again(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    world.keap.hide_until(id, world.keap.clock().now_ms() + 86_400_000);

    let reply = deliver(&daemon, &event("contact.add", &[id])).await;
    assert_eq!((reply.status, &reply.json()["action"]), (200, &json!("queued")));
    until("the first look is over", async || {
        sqlx::query_scalar("select attempts > 0 from contact_due")
            .fetch_one(&world.pool)
            .await
            .unwrap()
    })
    .await;
    world.keap.hide_until(id, 0);
    world.make_retries_due().await;
    until("the second read has found it", async || world.last_action(id).await == "created").await;
    daemon.stop().await.1.unwrap();
}

// F77
#[sqlx::test]
async fn deliveries_of_unknown_shape_are_accepted_and_ignored(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    world.keap.clear_ledger();
    let odd = [
        json!({ "event_key": "order.add", "object_type": "order", "object_keys": [{ "id": 1 }] }).to_string().into_bytes(),
        json!({ "event_key": "contact.sneeze", "object_keys": "none" }).to_string().into_bytes(),
        json!([1, 2, 3]).to_string().into_bytes(),
        json!({ "event_key": "contact.edit", "object_keys": [{ "id": "'; drop table contact_due; --" }, { "id": -1 }, { "id": u64::MAX }] }).to_string().into_bytes(),
        b"".to_vec(),
        b"hello=world".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"\x1f\x8b\x08\x00".to_vec(),
        "[".repeat(200_000).into_bytes(),
    ];
    for body in odd {
        let reply = deliver_raw(&daemon, &[("content-encoding", "gzip")], body).await;
        assert_eq!(
            (reply.status, reply.json()),
            (200, json!({ "success": true, "action": "skipped", "contacts": 0 }))
        );
    }

    assert_problem(&deliver_raw(&daemon, &[], vec![b' '; 300_000]).await, 413);
    assert_eq!(due(&world).await, 0);
    assert_eq!(world.keap.calls(), 0);
    daemon.stop().await.1.unwrap();
}

// F71
#[sqlx::test]
async fn a_url_in_a_delivery_is_never_called(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();

    let id = world.keap.add(ann());
    let body = json!({ "event_key": "contact.edit", "object_keys": [{ "id": id, "apiUrl": format!("http://{}/contacts/{id}", trap.local_addr().unwrap()) }] });
    assert_eq!(deliver(&daemon, &body).await.json()["action"], "created");
    // Shows that nothing happens.
    assert!(tokio::time::timeout(Duration::from_millis(200), trap.accept()).await.is_err());
    daemon.stop().await.1.unwrap();
}

// F70
#[sqlx::test]
async fn a_handshake_is_answered_only_while_one_is_pending(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let shake = async |secret: &str| {
        let path = url(&daemon, &format!("/webhook/keap/{secret}"));
        client::send("POST", &path, &[("x-hook-secret", "temporary-1")], "").await.unwrap()
    };

    let cold = shake(OLD_SECRET).await;
    assert_problem(&cold, 403);
    assert!(cold.header("x-hook-secret").is_none());

    let digest: [u8; 32] = Sha256::digest(OLD_SECRET).into();
    world
        .store()
        .expect_handshake("contact.edit", [1; 32], digest, Duration::from_secs(60))
        .await
        .unwrap();
    let warm = shake(OLD_SECRET).await;
    assert_eq!((warm.status, warm.header("x-hook-secret")), (200, Some("temporary-1")));
    assert_problem(&shake(NEW_SECRET).await, 403);
    assert_problem(&shake("wrong").await, 401);

    world.store().expect_handshake("contact.edit", [1; 32], digest, Duration::ZERO).await.unwrap();
    assert_problem(&shake(OLD_SECRET).await, 403);

    // A delivery that also carries the header is a delivery and gets no echo.
    let id = world.keap.add(ann());
    let reply = deliver_raw(
        &daemon,
        &[("x-hook-secret", "x")],
        event("contact.add", &[id]).to_string().into_bytes(),
    )
    .await;
    assert_eq!((reply.status, &reply.json()["action"]), (200, &json!("created")));
    assert!(reply.header("x-hook-secret").is_none());
    daemon.stop().await.1.unwrap();
}

// F75
#[sqlx::test]
async fn a_delivery_during_an_outage_of_the_database_is_answered_503(pool: PgPool) {
    let world = world(pool.clone()).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table contact_due in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();

    let sent = Instant::now();
    let reply = deliver(&daemon, &event("contact.add", &[id])).await;
    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
    assert_problem(&reply, 503);
    lock.rollback().await.unwrap();
    assert_eq!(deliver(&daemon, &event("contact.add", &[id])).await.status, 200);
    until("the outcome is logged", async || world.last_action(id).await == "created").await;
    daemon.stop().await.1.unwrap();
}
