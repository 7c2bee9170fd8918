//! A pause of one direction: the other one goes on.

use sqlx::PgPool;

use super::{pause, resume};
use crate::two_way::Stage;

/// What the daemon's own task does when it hears of a change.
async fn hear(stage: &Stage) {
    let pauses = stage.worker.store.pauses().await.unwrap();
    stage.worker.context().board.pauses.set(pauses);
}

/// Looks at what is due now, once.
async fn look_once(stage: &Stage) {
    while stage.worker.syncer.urgent_step().await.unwrap() {}
}

#[sqlx::test]
async fn a_paused_direction_to_keap_writes_nothing_there_and_brings_it_later(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    pause(&stage.world, "intercom_to_keap", false).await;
    hear(&stage).await;
    stage.edit_plan_in_intercom("silver", 1);

    stage.poll_intercom().await;
    look_once(&stage).await;

    assert_eq!(stage.writes(), (0, 0));
    assert_eq!(stage.plan_in_keap(), "gold");
    // Keap's own changes of other contacts travel meanwhile.
    let other =
        stage.world.keap.add(crate::sim::Person::named("Bea", "Lin").email("b@example.org"));
    stage.worker.sync().await;
    assert_eq!(stage.world.user(other).name.as_deref(), Some("Bea Lin"));

    stage.clear();
    resume(&stage.world).await;
    hear(&stage).await;
    look_once(&stage).await;
    assert_eq!(stage.writes(), (1, 0), "it became due when the pause ended");
    assert_eq!(stage.plan_in_keap(), "silver");
}

#[sqlx::test]
async fn a_paused_direction_to_intercom_writes_nothing_there(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    pause(&stage.world, "keap_to_intercom", false).await;
    hear(&stage).await;
    stage.edit_plan_in_keap("silver");

    // Neither a poll nor a request writes it.
    let mut poll = true;
    stage.worker.syncer.bulk_step(&mut poll).await.unwrap();
    assert!(poll, "the poll is due until the pause ends");
    stage
        .worker
        .store
        .request(&[crate::world::keap_id(stage.id)], keap_intercom_sync::feed::DueReason::Manual)
        .await
        .unwrap();
    look_once(&stage).await;
    assert_eq!(stage.writes(), (0, 0));

    // Intercom's changes travel to Keap meanwhile.
    resume(&stage.world).await;
    hear(&stage).await;
    stage.settle().await;
    assert_eq!(stage.plan_in_intercom(), "silver");
    pause(&stage.world, "keap_to_intercom", false).await;
    hear(&stage).await;
    stage.clear();
    stage.edit_plan_in_intercom("bronze", 1);
    stage.poll_intercom().await;
    look_once(&stage).await;
    assert_eq!((stage.plan_in_keap(), stage.writes()), ("bronze".into(), (1, 0)));
    resume(&stage.world).await;
}
