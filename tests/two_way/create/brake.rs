//! The brake on creates: a mass of new users waits for a person, and nobody is lost.

use keap_intercom_sync::feed::RunReason;
use keap_intercom_sync::store::RunState;
use sqlx::PgPool;

use super::{Stage, stage};
use crate::process::command;
use crate::sim::Seed;

const BRAKE: &str = "INTERCOM_TO_KEAP__CREATE_BRAKE";

async fn with_users(pool: PgPool, users: usize) -> Stage {
    let stage = stage(pool, |world| {
        world.set(BRAKE, 3);
    })
    .await;
    for n in 0..users {
        stage.world.intercom.add_user(Seed::with_email(&format!("canary{n}@example.org")));
    }
    stage
}

// F132
#[sqlx::test]
async fn more_creates_than_the_brake_allows_wait_for_a_person(pool: PgPool) {
    let stage = with_users(pool, 6).await;
    stage.bring().await;
    stage.bring().await;
    assert_eq!((stage.creates(), stage.waiting().await), (3, 3));

    // A run has failed with a text that says what to do, and so does the next audit.
    let run = stage.audit(RunReason::Schedule).await;
    assert_eq!(run.state, RunState::Failed);
    let why = run.failure.unwrap();
    assert!(why.to_string().contains("more than 3 contacts"), "{why}");
    assert!(why.remedy().contains("sync --audit --repair --force"), "{}", why.remedy());
    let status = command(&stage.world, &["status"]).await;
    assert!(status.stdout.contains("create_brake"), "{}", status.stdout);

    // While it is on, nobody is even looked at.
    stage.later().await;
    stage.clear();
    stage.bring().await;
    assert_eq!((stage.creates(), stage.world.intercom.count("read")), (0, 0));
    let id = stage.world.intercom.by_email("canary5@example.org")[0].id.clone();
    let told = command(&stage.world, &["explain", &id]).await;
    assert!(told.stdout.contains("the brake on creates"), "{}", told.stdout);
}

// F132
#[sqlx::test]
async fn a_person_lifts_the_brake_once(pool: PgPool) {
    let stage = with_users(pool, 6).await;
    stage.bring().await;
    stage.bring().await;
    let Stage { world, worker, .. } = stage;
    worker.stop().await;
    let ended = command(&world, &["sync", "--audit", "--repair", "--force"]).await.expect(0);
    assert_eq!(world.keap.count("create"), 6, "{}", ended.stdout);
    assert_eq!(super::waiting(&world).await, 0);
    for n in 0..6 {
        let user = world.intercom.by_email(&format!("canary{n}@example.org"));
        assert!(user[0].external_id.is_some(), "{n} is not linked");
    }
    // Only those that waited: the next mass is stopped again.
    for n in 10..16 {
        world.intercom.add_user(Seed::with_email(&format!("canary{n}@example.org")));
    }
    world.intercom.reindex_now();
    let ended = command(&world, &["sync", "--audit", "--repair"]).await.expect(2);
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert!(told.contains("intercom_to_keap.create_brake"), "{told}");
    assert_eq!(world.keap.count("create"), 9);
}

#[sqlx::test]
async fn the_brake_counts_the_creates_of_an_hour(pool: PgPool) {
    let stage = with_users(pool, 3).await;
    stage.bring().await;
    stage.bring().await;
    assert_eq!(stage.creates(), 3);
    sqlx::query("update create_brake set hour_began_at = now() - interval '61 minutes'")
        .execute(&stage.world.pool)
        .await
        .unwrap();
    for n in 10..13 {
        stage.world.intercom.add_user(Seed::with_email(&format!("canary{n}@example.org")));
    }
    stage.bring().await;
    stage.bring().await;
    assert_eq!(stage.creates(), 6);
    assert_eq!(stage.worker.store.create_brake().await.unwrap(), None);
}
