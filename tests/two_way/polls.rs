//! How changes in Intercom are noticed.

use keap_intercom_sync::feed::RunReason;
use keap_intercom_sync::store::RunState;
use keap_intercom_sync::sync::users;
use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use crate::sim::people::{Shape, invented};

#[sqlx::test]
async fn a_quiet_poll_is_one_call(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.world.keap.add_many(400, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    stage.world.intercom.clock().advance_ms(3_600_000);
    stage.edit_plan_in_intercom("tin", 1);
    stage.look().await;
    stage.clear();
    stage.poll_intercom().await;
    assert_eq!(stage.world.intercom.calls(), 1);
}

// F107
#[sqlx::test]
async fn an_edit_that_search_shows_late_is_still_found(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let bob =
        stage.world.keap.add(crate::sim::Person::named("Bob", "Ray").email("bob@example.org"));
    stage.settle().await;
    // Ann's edit shows five minutes late; Bob's, which is later, at once.
    stage.world.intercom.knobs(|knobs| knobs.search_lag_ms = 300_000);
    stage.edit_plan_in_intercom("bronze", 0);
    stage.world.intercom.knobs(|knobs| knobs.search_lag_ms = 0);
    stage.world.intercom.clock().advance_ms(60_000);
    let user = stage.world.user(bob).id;
    stage.world.intercom.edit(&user, |contact| {
        contact.custom_attributes.insert("plan".into(), json!("tin"));
    });
    let poll = async || {
        Box::pin(users::poll_changed(stage.worker.context())).await.unwrap();
        stage.worker.work_off().await;
    };
    poll().await;
    assert_eq!(stage.plan_in_keap(), "gold");
    stage.world.intercom.clock().advance_ms(300_000);
    poll().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
}

// F107
#[sqlx::test]
async fn a_walk_over_all_users_finds_what_the_polls_have_missed(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.world.keap.add_many(400, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    stage.edit_plan_in_intercom("bronze", 0);
    // Two hundred others have changed since, and no poll looks back so far.
    stage.world.intercom.clock().advance_ms(60_000);
    stage.world.intercom.knobs(|knobs| knobs.seen_bumps_updated_at = true);
    let others = stage.world.intercom.live_users().into_iter();
    for user in others.filter(|user| user.external_id.as_deref() != Some("1")).take(200) {
        stage.world.intercom.visit(&user.id);
    }
    sqlx::query(
        "update intercom_cursor set position = now() + interval '2 h' where feed = 'changed'",
    )
    .execute(&stage.world.pool)
    .await
    .unwrap();
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), "gold");
    stage.clear();
    let run = stage.audit(RunReason::Schedule).await;
    assert_eq!((run.counts.seen, run.counts.late), (401, 1));
    assert_eq!(stage.world.intercom.count("search"), 3);
    stage.worker.work_off().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    stage.assert_quiet().await;
}

// F113
#[sqlx::test]
async fn a_brake_stops_an_audit_that_would_change_very_much_and_a_person_lifts_it(pool: PgPool) {
    let stage = Stage::with(pool, "intercom", |world| {
        world.set("INTERCOM_TO_KEAP__WRITES_PER_MINUTE", "6000");
    })
    .await;
    stage.world.keap.add_many(150, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    for user in stage.world.intercom.live_users() {
        stage.world.intercom.edit(&user.id, |contact| {
            contact.custom_attributes.insert("plan".into(), json!("tin"));
        });
    }
    stage.clear();
    let run = stage.audit(RunReason::Schedule).await;
    assert_eq!(run.state, RunState::Failed);
    let why = run.failure.unwrap();
    assert!(why.to_string().starts_with("151 of 151 linked contacts differ"), "{why}");
    assert!(why.remedy().contains("sync --audit --repair"));
    stage.worker.work_off().await;
    assert_eq!(stage.writes(), (0, 0));

    assert_eq!(stage.audit(RunReason::Manual).await.state, RunState::Done);
    stage.worker.work_off().await;
    assert_eq!(stage.writes(), (151, 0));
    assert_eq!(stage.plan_in_keap(), "tin");
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn an_audit_that_is_asked_for_counts_what_it_finds_and_settles_it(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.world.keap.add_many(200, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    stage.edit_plan_in_intercom("bronze", 1);
    stage.world.intercom.reindex_now();
    let run = stage.audit(RunReason::Manual).await;
    assert_eq!(run.state, RunState::Done);
    assert_eq!((run.counts.seen, run.counts.late, run.counts.unchanged), (201, 1, 200));
    assert_eq!(run.counts.intercom_calls, 2);
    stage.worker.work_off().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn the_command_lists_what_differs_and_repairs_it_when_asked(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let Stage { world, worker, plan, id } = stage;
    worker.stop().await;
    let run = async |arguments: &[&str]| crate::process::command(&world, arguments).await;
    world.intercom.reindex_now();
    let ended = run(&["sync", "--audit"]).await.expect(0);
    assert_eq!(ended.stdout, "1 contact compared, 0 differ.\n");

    let user = world.user(id).id;
    world.intercom.edit(&user, |contact| {
        contact.custom_attributes.insert("plan".into(), json!("bronze"));
    });
    world.intercom.reindex_now();
    let ended = run(&["sync", "--audit", "--json"]).await.expect(1);
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let differ = json!([{ "keapContactId": id, "intercomContactId": user }]);
    assert_eq!(told, json!({ "compared": 1, "differ": differ, "missing": [] }));
    assert_eq!(world.keap.count("write"), 0);

    run(&["sync", "--audit", "--repair"]).await.expect(0);
    let person = world.keap.person(id).unwrap();
    assert_eq!(person.details.custom_fields.get(&plan), Some(&json!("bronze")));
    run(&["sync", "--audit"]).await.expect(0);

    let mut world = world;
    world.set("INTERCOM_TO_KEAP__ENABLED", "false");
    let ended = crate::process::command(&world, &["sync", "--audit"]).await;
    assert!(ended.expect(2).stderr.contains("intercom_to_keap.enabled"));
}

#[sqlx::test]
async fn an_upgrade_settles_without_a_write_what_both_sides_show(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| {
        world.set("INTERCOM_TO_KEAP__ENABLED", "false");
    })
    .await;
    stage.world.keap.add_many(20, |n| invented(n as u64, Shape::Plain));
    stage.worker.sync().await;
    let Stage { mut world, worker, plan, id } = stage;
    worker.stop().await;
    world.set("INTERCOM_TO_KEAP__ENABLED", "true");
    let worker = world.worker().await;
    let stage = Stage { world, worker, plan, id };
    stage.world.intercom.reindex_now();
    stage.clear();
    let run = stage.audit(RunReason::Schedule).await;
    assert_eq!((run.counts.seen, run.counts.late), (21, 0));
    let without: i64 =
        sqlx::query_scalar("select count(*) from contact_link where intercom_base is null")
            .fetch_one(&stage.world.pool)
            .await
            .unwrap();
    assert_eq!(without, 0);
    stage.assert_quiet().await;
    stage.edit_plan_in_intercom("bronze", 1);
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
}
