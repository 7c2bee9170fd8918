//! What an operator sets and sees: settings, commands and HTTP.

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
