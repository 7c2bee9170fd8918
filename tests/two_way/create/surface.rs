//! What an operator sets and sees: settings, commands and HTTP.

use keap_intercom_sync::feed::RunReason;
use serde_json::json;
use sqlx::PgPool;

use super::{BOB, CREATE, TAG, bob, stage};
use crate::process::command;
use crate::sim::{Person, Seed};
use crate::two_way::Stage;
use crate::world::{World, until};

#[sqlx::test]
async fn settings_that_do_not_go_together_are_refused(pool: PgPool) {
    let mut world = World::new(pool).await;
    for (settings, expected) in [
        (&[(CREATE, "users")][..], "needs intercom_to_keap.enabled = true"),
        (
            &[(CREATE, "tagged"), ("INTERCOM_TO_KEAP__ENABLED", "true")],
            "needs intercom_to_keap.create_tag",
        ),
        (
            &[(CREATE, "users"), ("INTERCOM_TO_KEAP__ENABLED", "true"), (TAG, "to Keap")],
            "create_tag would have no effect",
        ),
        (
            &[
                (CREATE, "users"),
                ("INTERCOM_TO_KEAP__ENABLED", "true"),
                ("FILTER__KEAP_TAGS_ANY", "Customer"),
            ],
            "filter.keap_tags_any",
        ),
    ] {
        let before = world.env.clone();
        for (name, value) in settings {
            world.set(name, value);
        }
        for arguments in [&["check"][..], &["run"]] {
            let ended = command(&world, arguments).await.expect(78);
            assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
        }
        world.env = before;
    }
}

// F130
#[sqlx::test]
async fn a_user_that_waits_is_explained_and_listed(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let day_ago = stage.world.keap.clock().now_ms() - 86_400_000;
    for id in stage.world.keap.add_many(2, |_| Person::named("Bob", "Ray").email(BOB)) {
        stage.world.keap.set_stamp_ms(id, Some(day_ago));
    }
    let user = stage.add_bob();
    stage.bring().await;
    let told = command(&stage.world, &["explain", &user]).await.expect(0).stdout;
    assert!(told.contains("several_in_keap: more than one contact in Keap"), "{told}");
    assert!(told.contains(&format!("held retry {user}")), "{told}");
    let json = command(&stage.world, &["explain", &user, "--json"]).await.expect(0).json();
    assert_eq!((&json["held"], &json["intercomContactId"]), (&json!(true), &json!(user)));
    let held = command(&stage.world, &["held"]).await.expect(0).stdout;
    assert!(held.contains(&user) && held.contains("several_in_keap"), "{held}");
    let held = command(&stage.world, &["held", "--json"]).await.expect(0).json();
    assert_eq!(held[0]["code"], "several_in_keap");
    let retried = command(&stage.world, &["held", "retry", &user, "--json"]).await.expect(0).json();
    assert_eq!(retried, json!({ "retried": [user], "notHeld": [] }));
    assert_eq!(stage.worker.store.count_due().await.unwrap().1, 0);
}

#[sqlx::test]
async fn users_that_need_a_person_stand_in_the_api_and_are_tried_again_by_it(pool: PgPool) {
    let (world, _) = served(pool).await;
    let users: Vec<String> = (0..3)
        .map(|n| {
            let user = Seed::with_email(&format!("canary{n}@example.org"));
            world.intercom.add_user(user.external_id(format!("app-{n}")))
        })
        .collect();
    world.intercom.reindex_now();
    let daemon = world.daemon().await;
    let store = world.store();
    until("all three are held", async || store.held_newcomers().await.unwrap().len() == 3).await;

    // Page by page, each once.
    let (mut listed, mut path) = (Vec::new(), "/sync/held?limit=2".to_owned());
    loop {
        let page = crate::http::get(&daemon, &path).await.json();
        let counted = json!([{ "code": "external_id_taken", "contacts": 0, "users": 3 }]);
        assert_eq!((&page["reasons"], &page["held"]), (&counted, &json!([])), "{page}");
        for user in page["users"].as_array().unwrap() {
            assert_eq!(user["code"], "external_id_taken");
            assert!(user["reason"].as_str().unwrap().starts_with("external_id_taken: "), "{user}");
            listed.push(user["intercomContactId"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["nextUsers"].as_str() else { break };
        path = format!("/sync/held?limit=2&afterUsers={next}");
    }
    let (mut all, mut sorted) = (users.clone(), listed.clone());
    all.sort();
    sorted.sort();
    assert_eq!(sorted, all);
    let none = crate::http::get(&daemon, "/sync/held?reason=refused").await.json();
    assert_eq!(none["users"], json!([]));
    let wrong = crate::http::get(&daemon, "/sync/held?afterUsers=x").await;
    assert_eq!((wrong.status, &wrong.json()["code"]), (400, &json!("invalid_query")));

    let metrics = crate::http::get(&daemon, "/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    for line in [
        "keap_intercom_sync_held 3",
        "keap_intercom_sync_newcomers{state=\"held\"} 3",
        "keap_intercom_sync_newcomers{state=\"next\"} 0",
        "keap_intercom_sync_newcomers{state=\"braked\"} 0",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line}: {metrics}");
    }
    let status = command(&world, &["status"]).await.stdout;
    assert!(status.contains("3 for a person"), "{status}");

    // The id is free again, and a caller says so.
    let retry =
        async |body: serde_json::Value| crate::http::post(&daemon, "/sync/held/retry", &body).await;
    world.intercom.edit(&users[0], |user| user.external_id = None);
    let unknown = "0123456789abcdef01234567";
    let reply = retry(json!({ "intercomContactIds": [users[0], unknown] })).await;
    let expected = json!({ "success": true, "dryRun": false, "contacts": 0, "users": 1, "retried": [], "notHeld": [], "retriedUsers": [users[0]], "usersNotHeld": [unknown] });
    assert_eq!((reply.status, reply.json()), (202, expected));
    until("it is created and linked", async || {
        world.intercom.contact(&users[0]).unwrap().external_id.is_some()
    })
    .await;
    let mut reply = retry(json!({ "reason": "external_id_taken" })).await.json();
    let mut again: Vec<String> = serde_json::from_value(reply["retriedUsers"].take()).unwrap();
    again.sort();
    let mut others = users[1..].to_vec();
    others.sort();
    assert_eq!(again, others);
    for wrong in [json!([]), json!(["a/b"]), json!(null), json!([7])] {
        let reply = retry(json!({ "intercomContactIds": wrong })).await;
        assert_eq!(reply.status, 400, "{wrong}");
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_run_of_an_audit_counts_who_was_created_because_of_it(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let user = stage.add_bob();
    let run = stage.audit(RunReason::Schedule).await;
    stage.worker.sync().await;
    stage.worker.sync().await;
    stage.linked_once(BOB, &user).await;
    let run = stage.worker.store.run(run.id).await.unwrap().unwrap();
    assert_eq!(run.counts.created_in_keap, 1);
    let told = command(&stage.world, &["runs", &run.id.to_string()]).await.expect(0).stdout;
    assert!(told.contains("1 created in Keap"), "{told}");
}

/// Nothing is polled but at the start.
async fn served(pool: PgPool) -> (World, String) {
    let stage = stage(pool, |world| {
        world
            .set("POLL__SCHEDULE", "0 0 0 1 1 *")
            .set("INTERCOM_TO_KEAP__SCHEDULE", "0 0 0 1 1 *")
            .set("API_TOKEN", crate::http::TOKEN);
    })
    .await;
    let user = stage.add_bob();
    let Stage { world, worker, .. } = stage;
    worker.stop().await;
    (world, user)
}

#[sqlx::test]
async fn a_caller_brings_a_user_by_its_intercom_id(pool: PgPool) {
    let (world, user) = served(pool).await;
    let daemon = world.daemon().await;
    let ask = async |id: &str| {
        crate::http::post(&daemon, "/sync/contact", &json!({ "intercomContactId": id })).await
    };
    let reply = ask(&user).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let told = reply.json();
    assert_eq!(
        (&told["action"], &told["direction"]),
        (&json!("created"), &json!("intercom_to_keap"))
    );
    let id = told["keapContactId"].as_i64().unwrap();
    assert_eq!(world.keap.person(id).unwrap().emails[0].1, BOB);
    assert_eq!(world.user(id).id, user);
    assert_eq!(world.keap.count("create"), 1);

    let lead = world.intercom.add_lead(Seed::with_email("eve@example.org"));
    assert_eq!(ask(&lead).await.status, 422);
    let held = world.intercom.add_user(Seed::with_email("fay@example.org").external_id("app-1"));
    let reply = ask(&held).await;
    assert_eq!(reply.status, 422);
    assert!(reply.json()["detail"].as_str().unwrap().contains("external_id_taken"), "{reply:?}");
    assert_eq!(ask("0123456789abcdef01234567").await.status, 422);
    assert_eq!(world.keap.count("create"), 1);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_daemon_brings_a_user_by_its_own_polls(pool: PgPool) {
    let (mut world, _) = served(pool).await;
    world.set("INTERCOM_TO_KEAP__SCHEDULE", "* * * * * *");
    world.intercom.reindex_now();
    let daemon = world.daemon().await;
    let eve = world.intercom.add_user(Seed { email: Some("eve@example.org".into()), ..bob() });
    until("both are linked", async || {
        let linked = |id: &str| world.intercom.contact(id).unwrap().external_id.is_some();
        world.intercom.by_email(BOB).iter().all(|user| linked(&user.id)) && linked(&eve)
    })
    .await;
    assert_eq!(world.keap.count("create"), 2);
    daemon.stop().await.1.unwrap();
}
