//! Echoes: our own writes never come back, whatever search shows meanwhile.

use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use crate::sim::Rewrite;

// F106
#[sqlx::test]
async fn search_that_still_shows_the_old_value_brings_nothing_back(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    // Search shows each change five minutes late.
    stage.world.intercom.knobs(|knobs| knobs.search_lag_ms = 300_000);
    for n in 0..20 {
        stage.edit_plan_in_keap(&format!("plan {n}"));
        stage.worker.sync().await;
        let context = stage.worker.context();
        Box::pin(keap_intercom_sync::sync::users::poll_changed(context)).await.unwrap();
        stage.worker.work_off().await;
        stage.end_the_hour().await;
    }
    assert_eq!(stage.plan_in_keap(), "plan 19");
    assert_eq!(stage.plan_in_intercom(), "plan 19");
    assert_eq!(stage.writes(), (0, 20));
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn a_value_that_intercom_spells_anew_does_not_come_back(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| {
        world.intercom.knobs(|knobs| {
            knobs.rewrites = vec![Rewrite::Trim, Rewrite::EmailLower, Rewrite::PhoneDigits];
        });
    })
    .await;
    stage.world.keap.edit(stage.id, |person| {
        person.phones[0].number = Some("602 555 0199".into());
        person.phones[0].e164 = None;
        person.emails[0].1 = "Ann.Lee@Example.org".into();
    });
    stage.look().await;
    let person = stage.world.keap.person(stage.id).unwrap();
    assert_eq!(person.emails[0].1, "Ann.Lee@Example.org");
    assert_eq!(person.phones[0].number.as_deref(), Some("602 555 0199"));
    assert_eq!(stage.writes(), (0, 1));
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn an_unchanged_contact_costs_no_call(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    // A visit moves Intercom's stamp; a touch moves Keap's.
    stage.world.intercom.knobs(|knobs| knobs.seen_bumps_updated_at = true);
    stage.world.intercom.visit(&stage.world.user(stage.id).id);
    stage.world.keap.touch(stage.id);
    stage.look().await;
    assert_eq!(stage.writes(), (0, 0));
    assert_eq!(stage.world.intercom.kinds().into_iter().collect::<Vec<_>>(), [("search", 1)]);
    assert_eq!(stage.world.keap.count("list") + stage.world.keap.count("read"), 1);
}

// F114
#[sqlx::test]
async fn an_edit_and_its_undoing_end_quiet(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.edit_plan_in_intercom("bronze", 1);
    stage.edit_plan_in_intercom("gold", 2);
    stage.look().await;
    assert_eq!(stage.writes(), (0, 0));
    stage.edit_plan_in_intercom("bronze", 3);
    stage.look().await;
    stage.edit_plan_in_intercom("gold", 4);
    stage.look().await;
    assert_eq!((stage.plan_in_keap(), stage.writes()), (json!("gold"), (2, 0)));
    stage.assert_quiet().await;
}
