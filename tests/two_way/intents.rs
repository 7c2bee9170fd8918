//! Writes with an unknown outcome: the value that a person typed survives, on both sides.

use sqlx::PgPool;

use super::Stage;
use crate::sim::{Fault, Rewrite, What};

async fn open_intents(stage: &Stage) -> i64 {
    sqlx::query_scalar("select count(*) from contact_intent where recheck_at is null")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap()
}

// F108
#[sqlx::test]
async fn a_write_to_keap_that_loses_its_answer_is_not_taken_for_a_persons_edit(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.world.keap.fault(Fault::on("write").what(What::ApplyThenDrop));
    stage.edit_plan_in_intercom("bronze", 1);
    stage.look().await;
    stage.settle().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    assert_eq!(stage.plan_in_intercom(), "bronze");
    assert_eq!(open_intents(&stage).await, 0);
    stage.assert_quiet().await;
}

// F108
#[sqlx::test]
async fn the_former_value_in_intercom_wins_over_a_write_with_an_unknown_outcome(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.world.keap.fault(Fault::on("write").what(What::ApplyThenDrop));
    stage.edit_plan_in_intercom("bronze", 1);
    stage.poll_intercom().await;
    while !stage.worker.syncer.urgent_step().await.unwrap() {}
    assert_eq!(stage.plan_in_keap(), "bronze", "it has landed");
    // The agent takes the edit back before the answer is known.
    stage.edit_plan_in_intercom("gold", 2);
    stage.settle().await;
    assert_eq!(stage.plan_in_keap(), "gold");
    assert_eq!(stage.plan_in_intercom(), "gold");
    stage.assert_quiet().await;
}

// F108
#[sqlx::test]
async fn a_value_that_intercom_rewrites_before_its_answer_is_lost_does_not_travel_back(
    pool: PgPool,
) {
    let stage = Stage::with(pool, "newest", |world| {
        world.intercom.knobs(|knobs| knobs.rewrites = vec![Rewrite::PhoneDigits]);
    })
    .await;
    stage.world.intercom.fault(Fault::on("update").what(What::ApplyThenDrop));
    stage.world.keap.edit(stage.id, |person| {
        person.phones[0].number = Some("(602) 555-0177 x9".into());
        person.phones[0].e164 = None;
        person.job_title = Some("Head".into());
    });
    stage.look().await;
    stage.settle().await;
    let person = stage.world.keap.person(stage.id).unwrap();
    assert_eq!(person.phones[0].number.as_deref(), Some("(602) 555-0177 x9"));
    assert_eq!(stage.world.attribute(stage.id, "job"), "Head");
    stage.assert_quiet().await;
}
