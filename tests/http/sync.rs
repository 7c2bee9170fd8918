//! Requests for a contact, a batch or a walk.

use serde_json::json;
use sqlx::PgPool;

use super::{assert_problem, get, post, post_with, started, world};
use crate::sim::people::{Shape, invented};
use crate::sim::{Fault, Person, What};
use crate::world::{ann, until};

#[sqlx::test]
async fn a_contact_is_synced_while_the_caller_waits(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());

    let reply = post(&daemon, "/sync/contact", &json!({ "keap_contact_id": id })).await;
    let user = world.user(id);
    let intercom = json!({ "type": "contact", "id": user.id, "external_id": id.to_string() });
    let expected = |action| json!({ "success": true, "action": action, "keapContactId": id, "intercomContactId": user.id, "intercomContact": intercom });
    assert_eq!((reply.status, reply.json()), (200, expected("created")));

    let again = json!({ "keap_contact_id": id.to_string() });
    let reply = post(&daemon, "/sync/contact", &again).await;
    assert_eq!((reply.status, reply.json()), (200, expected("unchanged")));

    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    let reply = post(&daemon, "/sync/contact?wait=5", &again).await;
    assert_eq!((reply.status, reply.json()), (200, expected("updated")));
    assert_eq!(world.writes(), 2);

    let known = get(&daemon, &format!("/sync/contacts/{id}")).await.json();
    assert_eq!(known["link"]["intercomContactId"], json!(user.id), "{known}");
    assert_eq!(known["due"], json!(null));
    let actions: Vec<_> =
        known["log"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["updated", "unchanged", "created"]);
    let text = known.to_string();
    assert!(!text.contains("Ann") && !text.contains('@'), "{text}");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_contact_that_cannot_be_synced_is_answered_with_the_reason(pool: PgPool) {
    let mut world = world(pool).await;
    world.set("SYNC__RETRY_BASE_MS", 60_000).set("SYNC__RETRY_CAP_SECONDS", 60);
    let daemon = started(&world).await;
    let without_email = world.keap.add(Person::named("No", "Mail"));
    let unlucky = world.keap.add(ann());

    let reply = post(&daemon, "/sync/contact", &json!({ "keap_contact_id": without_email })).await;
    assert_problem(&reply, 422);
    assert_eq!(reply.json()["action"], "skipped");
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("no_email"), "{error}");

    let reply = post(&daemon, "/sync/contact", &json!({ "keap_contact_id": 999_999 })).await;
    assert_problem(&reply, 404);
    assert_eq!(reply.json()["keapContactId"], 999_999);

    world.intercom.fault(Fault::on("create").what(What::status(500)).always());
    let reply = post(&daemon, "/sync/contact", &json!({ "keap_contact_id": unlucky })).await;
    assert_problem(&reply, 502);
    assert_eq!(reply.json()["action"], "failed");

    // It is retried without a request.
    world.intercom.clear_faults();
    world.make_retries_due().await;
    until("the retry has created it", async || {
        world.intercom.by_external_id(&unlucky.to_string()).len() == 1
    })
    .await;

    for wrong in [
        json!({}),
        json!({ "keap_contact_id": 0 }),
        json!({ "keap_contact_id": "x" }),
        json!([1]),
        json!({ "keap_contact_id": 1.5 }),
    ] {
        assert_problem(&post(&daemon, "/sync/contact", &wrong).await, 400);
    }
    assert_problem(
        &post(&daemon, "/sync/contact?wait=soon", &json!({ "keap_contact_id": 1 })).await,
        400,
    );
    assert_problem(&get(&daemon, "/sync/contacts/12").await, 404);
    assert_problem(&get(&daemon, "/sync/contacts/x").await, 404);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_contact_that_takes_longer_than_the_wait_is_queued_and_synced_later(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    world.intercom.knobs(|knobs| knobs.latency_ms = 2_500);

    for wait in [0, 1] {
        let reply =
            post(&daemon, &format!("/sync/contact?wait={wait}"), &json!({ "keap_contact_id": id }))
                .await;
        let expected = json!({ "success": true, "action": "queued", "keapContactId": id, "statusUrl": format!("/sync/contacts/{id}") });
        assert_eq!((reply.status, reply.json()), (202, expected));
    }
    let due = get(&daemon, &format!("/sync/contacts/{id}")).await.json();
    assert_eq!(due["due"]["reason"], "manual", "{due}");

    world.intercom.knobs(|knobs| knobs.latency_ms = 0);
    until("the outcome is logged", async || !world.last_action(id).await.is_empty()).await;
    assert_eq!(world.writes(), 1);
    daemon.stop().await.1.unwrap();
}

// F78
#[sqlx::test]
async fn many_callers_for_one_contact_cause_one_write(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    let body = json!({ "keap_contact_id": id });

    let replies =
        futures_util::future::join_all((0..20).map(|_| post(&daemon, "/sync/contact", &body)))
            .await;
    for reply in replies {
        assert_eq!(reply.status, 200, "{}", reply.json());
        assert_eq!(reply.json()["intercomContactId"], json!(world.user(id).id));
    }
    assert_eq!(world.writes(), 1);

    // A request that arrives during the write gets the same outcome as the first one.
    world.intercom.knobs(|knobs| knobs.latency_ms = 600);
    world.keap.edit(id, |person| person.phones.clear());
    let second = async {
        until("the update is under way", async || world.intercom.count("update") == 1).await;
        post(&daemon, "/sync/contact", &body).await
    };
    let (first, second) = tokio::join!(post(&daemon, "/sync/contact", &body), second);
    for reply in [first, second] {
        assert_eq!((reply.status, &reply.json()["action"]), (200, &json!("updated")));
    }
    assert_eq!(world.writes(), 2);
    daemon.stop().await.1.unwrap();
}

// F79
#[sqlx::test]
async fn a_batch_is_answered_in_the_order_of_its_ids(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let people: Vec<i64> = world.keap.add_many(3, |n| invented(n as u64, Shape::Plain));
    let without_email = world.keap.add(Person::named("No", "Mail"));
    let ids = [people[2], 777_777, people[0], without_email, people[2], people[1]];
    let body = json!({ "keap_contact_ids": ids });

    let reply = post_with(&daemon, "/sync/batch", &[("idempotency-key", "batch-1")], &body).await;
    let answer = reply.json();
    assert_eq!(reply.status, 200, "{answer}");
    assert_eq!(
        (&answer["total"], &answer["succeeded"], &answer["failed"], &answer["queued"]),
        (&json!(5), &json!(3), &json!(2), &json!(0)),
        "{answer}"
    );
    let of = |at: usize| answer["results"][at].clone();
    assert_eq!(
        of(0),
        json!({ "keapContactId": people[2], "success": true, "action": "created", "intercomContactId": world.user(people[2]).id })
    );
    assert_eq!(
        (&of(1)["action"], &of(1)["keapContactId"], &of(1)["success"]),
        (&json!("skipped"), &json!(777_777), &json!(false))
    );
    assert_eq!(of(2)["keapContactId"], json!(people[0]));
    assert!(of(3)["error"].as_str().unwrap().starts_with("no_email"));
    assert_eq!(of(4)["keapContactId"], json!(people[1]));

    // The same key gets the same answer, byte for byte, and causes no new request.
    world.keap.clear_ledger();
    world.keap.edit(people[0], |person| person.given_name = Some("Other".into()));
    let repeat = post_with(&daemon, "/sync/batch", &[("idempotency-key", "batch-1")], &body).await;
    assert_eq!((repeat.status, &repeat.body), (200, &reply.body));
    assert_eq!(world.keap.calls(), 0);
    let other = json!({ "keap_contact_ids": [people[0]] });
    assert_problem(
        &post_with(&daemon, "/sync/batch", &[("idempotency-key", "batch-1")], &other).await,
        422,
    );
    let stored: String = sqlx::query_scalar("select encode(key_digest, 'escape') from sync_batch")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert!(!stored.contains("batch-1"));

    for wrong in [
        json!({ "keap_contact_ids": [] }),
        json!({ "keap_contact_ids": [1, "x"] }),
        json!({ "keap_contact_ids": 1 }),
    ] {
        assert_problem(&post(&daemon, "/sync/batch", &wrong).await, 400);
    }
    let many: Vec<i64> = (1..=1001).collect();
    assert_problem(&post(&daemon, "/sync/batch", &json!({ "keap_contact_ids": many })).await, 413);
    let too_many: Vec<i64> = (1..=100_000).collect();
    assert_problem(
        &post(&daemon, "/sync/batch", &json!({ "keap_contact_ids": too_many })).await,
        413,
    );
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_batch_that_takes_longer_than_the_wait_is_finished_under_its_key(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let ids = world.keap.add_many(2, |n| invented(n as u64, Shape::Plain));
    let body = json!({ "keap_contact_ids": ids });
    let key = [("idempotency-key", "batch-2")];

    let first = post_with(&daemon, "/sync/batch?wait=0", &key, &body).await;
    assert_eq!((first.status, &first.json()["queued"]), (202, &json!(2)), "{}", first.json());
    assert_eq!(first.json()["results"][0]["action"], "queued");

    let second = post_with(&daemon, "/sync/batch", &key, &body).await;
    assert_eq!((second.status, &second.json()["succeeded"]), (200, &json!(2)), "{}", second.json());
    assert_eq!(second.json()["results"][0]["action"], "created");

    let third = post_with(&daemon, "/sync/batch", &key, &body).await;
    assert_eq!(third.body, second.body);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_walk_is_requested_and_its_run_can_be_read(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    world.keap.add_many(30, |n| invented(n as u64, Shape::Plain));

    let reply = post(&daemon, "/sync/run", &json!({ "feed": "backfill" })).await;
    let accepted = reply.json();
    assert_eq!(reply.status, 202, "{accepted}");
    let status = accepted["statusUrl"].as_str().unwrap().to_owned();
    assert_eq!(status, format!("/sync/runs/{}", accepted["runId"].as_str().unwrap()));

    until("the run has ended", async || get(&daemon, &status).await.json()["state"] == "done")
        .await;
    let run = get(&daemon, &status).await.json();
    assert_eq!(
        (&run["feed"], &run["counts"]["seen"], &run["reason"]),
        (&json!("backfill"), &json!(30), &json!("manual")),
        "{run}"
    );

    let reply = post(&daemon, "/sync/run", &json!({ "feed": "changed" })).await;
    let status = reply.json()["statusUrl"].as_str().unwrap().to_owned();
    until("the poll has ended", async || get(&daemon, &status).await.json()["state"] == "done")
        .await;
    let since = json!({ "feed": "backfill", "since": "2026-01-01T00:00:00Z" });
    assert_eq!(post(&daemon, "/sync/run", &since).await.status, 202);

    let reply = post(&daemon, "/sync/run", &json!({ "feed": "sweep" })).await;
    assert_eq!(reply.status, 202, "{}", reply.json());

    let status = reply.json()["statusUrl"].as_str().unwrap().to_owned();
    until("the sweep has ended", async || get(&daemon, &status).await.json()["state"] == "done")
        .await;
    let run = get(&daemon, &status).await.json();
    assert_eq!(
        (&run["counts"]["seen"], &run["counts"]["archived"]),
        (&json!(30), &json!(0)),
        "{run}"
    );

    for (wrong, status) in [
        (json!({ "feed": "everything" }), 422),
        (json!({ "feed": "due" }), 422),
        (json!({ "feed": "changed", "since": "2026-01-01T00:00:00Z" }), 422),
        (json!({ "feed": "sweep", "since": "2026-01-01T00:00:00Z" }), 422),
        (json!({ "feed": "backfill", "since": "yesterday" }), 400),
        (json!({}), 400),
        (json!({ "feed": "backfill", "until": 1 }), 400),
    ] {
        assert_problem(&post(&daemon, "/sync/run", &wrong).await, status);
    }
    assert_problem(&get(&daemon, "/sync/runs/1").await, 404);
    assert_problem(&get(&daemon, &format!("/sync/runs/{}", uuid::Uuid::new_v4())).await, 404);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_standby_answers_requests(pool: PgPool) {
    let world = world(pool).await;
    let holder = started(&world).await;
    until("a daemon holds the lease", async || {
        world.store().lease_holder().await.unwrap().is_some_and(|lease| lease.live)
    })
    .await;
    let standby = world.daemon().await;
    let id = world.keap.add(ann());

    let reply = post(&standby, "/sync/contact", &json!({ "keap_contact_id": id })).await;

    assert_eq!(
        (reply.status, &reply.json()["action"]),
        (200, &json!("created")),
        "{}",
        reply.json()
    );
    assert_eq!(world.writes(), 1);
    standby.stop().await.1.unwrap();
    holder.stop().await.1.unwrap();
}
