//! Answers that are lost, refused or late, and processes that die around the deletion.

use keap_intercom_sync::store::Door;
use sqlx::PgPool;

use super::{ANN, Stage};
use crate::process::{Process, Target, world as small_world};
use crate::sim::{Fault, Standing, What};
use crate::world::{ann, keap_id, until};

/// No attempt comes by itself before the test goes on.
async fn patient(pool: PgPool) -> Stage {
    Stage::with(pool, |world| {
        world.set("SYNC__RETRY_BASE_MS", 600_000).set("SYNC__RETRY_CAP_SECONDS", 600);
    })
    .await
}

async fn intents(stage: &Stage) -> i64 {
    sqlx::query_scalar("select count(*) from contact_intent")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn a_deletion_whose_answer_is_lost_is_proved_by_the_next_look(pool: PgPool) {
    a_lost_answer_is_proved_by_the_next_look(pool, false).await;
}

#[sqlx::test]
async fn a_deletion_whose_answer_is_lost_and_that_intercom_repeats_is_proved_too(pool: PgPool) {
    a_lost_answer_is_proved_by_the_next_look(pool, true).await;
}

/// `again`: Intercom answers a second deletion like the first one.
async fn a_lost_answer_is_proved_by_the_next_look(pool: PgPool, again: bool) {
    let stage = patient(pool).await;
    stage.world.intercom.knobs(|knobs| knobs.delete_again = again);
    stage.world.intercom.fault(Fault::on("delete").what(What::ApplyThenDrop));

    let open = stage.erase().await;
    assert!(open.done_at.is_none() && open.last_error.is_some(), "{open:?}");
    assert_eq!(intents(&stage).await, 1, "the intent explains the 404 that comes");
    let erasure = stage.try_again().await;

    assert_eq!(erasure.proof, ["deleted_unheard"]);
    assert!(stage.is_deleted());
    assert_eq!(stage.rows_about_ann().await, [""; 0]);
}

#[sqlx::test]
async fn a_deletion_that_never_arrived_is_sent_again(pool: PgPool) {
    let stage = patient(pool).await;
    stage.world.intercom.fault(Fault::on("delete").what(What::Refuse));

    stage.erase().await;
    assert_eq!(stage.standing(), Standing::Live);
    let erasure = stage.try_again().await;

    assert_eq!(erasure.proof, ["deleted"]);
    assert!(stage.is_deleted());
}

#[sqlx::test]
async fn a_token_that_may_not_delete_is_named_and_tried_again(pool: PgPool) {
    let stage = patient(pool).await;
    let refusal = r#"{"type":"error.list","errors":[{"code":"token_unauthorized","message":"Not authorized"}]}"#;
    stage
        .world
        .intercom
        .fault(Fault::on("delete").times(2).what(What::Status(403, refusal.into())));

    let open = stage.erase().await;
    assert!(!open.waits && open.attempts == 1, "{open:?}");
    assert!(open.last_error.as_deref().unwrap().contains("does not allow this token to delete"));
    assert_eq!(intents(&stage).await, 0, "a 403 is a certain answer");
    assert_eq!(stage.standing(), Standing::Live);
    // The others are written meanwhile: one refusal stops no side.
    stage.world.keap.edit(1, |person| person.family_name = Some("Canaryedited".into()));
    assert_eq!(stage.worker.sync().await.updated, 1);
    assert_eq!(stage.try_again().await.attempts, 2);

    let erasure = stage.try_again().await;

    assert_eq!(erasure.proof, ["deleted"]);
    assert!(stage.is_deleted());
}

#[sqlx::test]
async fn a_contact_that_intercom_still_shows_is_not_called_erased(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let says = What::Status(200, format!(r#"{{"id":"{}","deleted":true}}"#, stage.user));
    stage.world.intercom.fault(Fault::on("delete").what(says));

    let open = stage.erase().await;

    assert!(open.done_at.is_none() && open.proof.is_empty(), "{open:?}");
    assert!(open.last_error.unwrap().contains("still shows"));
    assert!(!stage.rows_about_ann().await.is_empty());
    assert_eq!(stage.try_again().await.proof, ["deleted"]);
    assert!(stage.is_deleted());
}

/// The daemon dies at the deletion, and the next one ends the erasure.
async fn killed_at_the_deletion(pool: PgPool, proof: &str, moment: impl FnOnce(Target) -> What) {
    let world = small_world(pool, 3).await;
    world.keap.add_with_id(ANN, ann());
    world.sync().await;
    let user = world.user(ANN).id;
    let store = world.store();

    let daemon = Process::daemon(&world);
    world.intercom.fault(Fault::on("delete").what(moment(daemon.target())));
    store.request_erasure(keap_id(ANN), Door::Http, false).await.unwrap();
    daemon.died().await;
    assert!(store.erasure(keap_id(ANN)).await.unwrap().unwrap().done_at.is_none());
    let _next = Process::daemon(&world);

    until("the erasure is done", async || {
        store.erasure(keap_id(ANN)).await.unwrap().unwrap().done_at.is_some()
    })
    .await;
    let erasure = store.erasure(keap_id(ANN)).await.unwrap().unwrap();
    assert_eq!(erasure.proof, [proof]);
    assert!(matches!(world.intercom.contact(&user).unwrap().standing, Standing::Deleted { .. }));
    assert_eq!(super::rows_with(&world, &[&ANN.to_string(), &user]).await, [""; 0]);
}

#[sqlx::test]
async fn a_kill_before_the_deletion_loses_nothing(pool: PgPool) {
    killed_at_the_deletion(pool, "deleted", |target| target.dies_before()).await;
}

#[sqlx::test]
async fn a_kill_after_the_deletion_loses_nothing(pool: PgPool) {
    killed_at_the_deletion(pool, "deleted_unheard", |target| target.dies_after()).await;
}
