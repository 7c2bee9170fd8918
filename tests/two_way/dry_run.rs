//! A dry run of both directions: it says what each side would get, and writes nothing anywhere.

use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use crate::process::command;

#[sqlx::test]
async fn it_shows_both_directions_field_by_field_and_writes_nothing(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.edit_plan_in_intercom("bronze", 1);
    stage
        .world
        .keap
        .edit(stage.id, |person| *person = std::mem::take(person).with("job_title", "Chef"));
    stage.world.intercom.reindex_now();
    let Stage { world, worker, id, .. } = stage;
    worker.stop().await;
    world.keap.clear_ledger();
    world.intercom.clear_ledger();

    let ended = command(&world, &["sync", "--all", "--dry-run", "--verbose"]).await.expect(0);
    let user = world.user(id).id;
    for line in [
        format!("{id}: updated → Intercom {user}"),
        "    job: Buyer → Chef".to_owned(),
        "    to Keap: plan: gold → bronze".to_owned(),
        "To Keap: 1 contact would be written (plan in 1).".to_owned(),
    ] {
        assert!(ended.stdout.lines().any(|shown| shown == line), "{line}: {}", ended.stdout);
    }
    assert!(ended.stdout.contains("takes 2 calls and 1 s"), "{}", ended.stdout);
    assert_eq!((world.keap.count("write"), world.writes()), (0, 0));

    let ended = command(&world, &["sync", "--all", "--dry-run", "--json", "--verbose"]).await;
    let told: serde_json::Value = serde_json::from_str(&ended.expect(0).stdout).unwrap();
    assert_eq!(told["toKeap"]["contacts"], 1);
    assert_eq!(told["toKeap"]["fields"], json!({ "plan": 1 }));
    assert_eq!(told["toKeap"]["days"], 1);
    assert_eq!(told["fields"], json!({ "job": 1 }));
    let one = &told["contacts"][0];
    assert_eq!(one["toKeap"], json!({ "plan": { "value": "bronze", "before": "gold" } }));
    assert_eq!(one["fields"], json!({ "job": "Chef" }));

    // The same by name, and as the next polls would find it.
    for arguments in [["sync", &id.to_string(), "--dry-run"], ["sync", "--changed", "--dry-run"]] {
        let ended = command(&world, &arguments).await.expect(0);
        assert!(ended.stdout.contains("To Keap: 1 contact"), "{arguments:?}: {}", ended.stdout);
    }
    assert_eq!((world.keap.count("write"), world.writes()), (0, 0));
}

#[sqlx::test]
async fn it_says_what_switching_the_direction_on_would_write(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| {
        world.set("INTERCOM_TO_KEAP__ENABLED", "false");
    })
    .await;
    stage.edit_plan_in_intercom("bronze", 1);
    // Keap has no number, so Intercom's one fills it.
    stage.world.keap.edit(stage.id, |person| person.phones.clear());
    stage.worker.sync().await;
    stage.edit_in_intercom(1, |user| user.phone = Some("+14155552671".into()));
    stage.world.intercom.reindex_now();
    let Stage { mut world, worker, .. } = stage;
    worker.stop().await;
    world.keap.clear_ledger();

    let off = command(&world, &["sync", "--all", "--dry-run"]).await.expect(0).stdout;
    assert!(!off.contains("To Keap"), "{off}");
    let check = command(&world, &["check"]).await;
    assert!(
        check
            .stdout
            .contains("INTERCOM_TO_KEAP__ENABLED=true keap-intercom-sync sync --all --dry-run"),
        "{}",
        check.stdout
    );
    assert!(check.stdout.contains("the key may write contacts"), "{}", check.stdout);

    // It has sent a write of nothing to nobody.
    world.keap.clear_ledger();

    world.set("INTERCOM_TO_KEAP__ENABLED", "true");
    let on = command(&world, &["sync", "--all", "--dry-run", "--verbose"]).await.expect(0).stdout;
    assert!(on.contains("    plan: bronze → gold"), "a first match: {on}");
    assert!(on.contains("    to Keap: phone: (empty) → +14155552671"), "{on}");
    assert!(on.contains("To Keap: 1 contact would be written (phone in 1)."), "{on}");
    assert_eq!(world.keap.count("write"), 0);
}

#[sqlx::test]
async fn a_sync_without_a_daemon_runs_the_feeds_of_both_directions(pool: PgPool) {
    for arguments in [["sync", "--changed"], ["sync", "--all"]] {
        let stage = Stage::new(super::owners::fresh(&pool).await, "newest").await;
        stage.edit_plan_in_intercom("bronze", 1);
        stage.world.intercom.reindex_now();
        let Stage { world, worker, plan, id } = stage;
        worker.stop().await;

        command(&world, &arguments).await.expect(0);
        let person = world.keap.person(id).unwrap();
        assert_eq!(
            person.details.custom_fields.get(&plan),
            Some(&json!("bronze")),
            "{arguments:?}"
        );
    }
}
