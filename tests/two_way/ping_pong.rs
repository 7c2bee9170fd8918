//! Another program that changes a contact again and again.

use keap_intercom_sync::feed::DueReason;
use sqlx::PgPool;

use super::Stage;
use crate::world::keap_id;

async fn age_by_an_hour(stage: &Stage) {
    for sql in [
        "update contact_link set writes_since = writes_since - interval '1 h'",
        "update contact_hold set recheck_at = recheck_at - interval '1 h'",
    ] {
        sqlx::query(sql).execute(&stage.world.pool).await.unwrap();
    }
}

async fn minutes_until_it_ends(stage: &Stage) -> i32 {
    let sql = "select (extract(epoch from recheck_at - now()) / 60)::integer from contact_hold";
    sqlx::query_scalar(sql).fetch_one(&stage.world.pool).await.unwrap()
}

#[sqlx::test]
async fn the_seventh_write_to_keap_within_an_hour_waits_for_a_person_or_for_the_hour(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    for turn in 1..=8 {
        stage.edit_plan_in_intercom(&format!("word {turn}"), turn);
        stage.look().await;
    }
    let held = stage.world.only_held(stage.id).await;
    assert_eq!(held.reason, "ping_pong: Keap was written more than six times within an hour");
    assert_eq!(stage.writes(), (6, 0));
    assert_eq!(stage.plan_in_keap(), "word 6");
    assert!((58..=60).contains(&minutes_until_it_ends(&stage).await));

    stage.worker.store.request(&[keap_id(stage.id)], DueReason::Manual).await.unwrap();
    stage.worker.work_off().await;
    assert!(stage.world.held().await.is_empty());
    assert_eq!(stage.plan_in_keap(), "word 8");
    for turn in 9..=14 {
        stage.edit_plan_in_intercom(&format!("word {turn}"), turn);
        stage.look().await;
    }
    assert_eq!(stage.plan_in_keap(), "word 13", "a person's retry begins the hour anew");
    stage.world.only_held(stage.id).await;

    age_by_an_hour(&stage).await;
    stage.look().await;
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), "word 14");
    assert!(stage.world.held().await.is_empty());
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn what_is_put_back_in_intercom_again_and_again_is_held_as_well(pool: PgPool) {
    let stage = Stage::new(pool, "keap").await;
    for turn in 1..=7 {
        stage.edit_plan_in_intercom(&format!("word {turn}"), turn);
        stage.look().await;
    }
    let held = stage.world.only_held(stage.id).await;
    assert_eq!(held.reason, "ping_pong: Intercom was written more than six times within an hour");
    assert_eq!(stage.writes(), (0, 6));
    // What one side cannot get says nothing about the other one, and an edit in Keap waits as well.
    stage.edit_plan_in_keap("silver");
    stage.look().await;
    assert_eq!(stage.writes(), (0, 6));

    age_by_an_hour(&stage).await;
    stage.look().await;
    stage.look().await;
    assert_eq!(stage.plan_in_intercom(), "silver");
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn an_opt_out_is_never_held_back(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| {
        world.set("CONSENT__OPT_OUT", "both");
    })
    .await;
    for turn in 1..=7 {
        stage.edit_plan_in_intercom(&format!("word {turn}"), turn);
        stage.look().await;
    }
    stage.world.only_held(stage.id).await;
    stage.edit_in_intercom(8, |contact| contact.unsubscribed_from_emails = true);
    stage.look().await;
    assert_eq!(stage.world.keap.opt_status("ann@example.org").word(), "MANUAL");
}

#[sqlx::test]
async fn with_one_direction_nobody_can_undo_a_write_and_nothing_is_held(pool: PgPool) {
    let stage = Stage::with(pool, "keap", |world| {
        world.set("INTERCOM_TO_KEAP__ENABLED", "false");
    })
    .await;
    for turn in 1..=9 {
        stage.edit_plan_in_keap(&format!("word {turn}"));
        stage.world.keap.clock().advance_ms(2_000);
        stage.worker.sync().await;
    }
    assert_eq!(stage.writes(), (0, 9));
    assert_eq!(stage.plan_in_intercom(), "word 9");
}
