//! With the direction off, nothing is written to Keap, and Intercom is not even asked.

use sqlx::PgPool;

use super::Stage;

// F115
#[sqlx::test]
async fn nothing_is_written_to_keap(pool: PgPool) {
    for owner in ["keap", "intercom", "newest", "fill", "never"] {
        let stage = Stage::with(super::owners::fresh(&pool).await, owner, |world| {
            world.set("INTERCOM_TO_KEAP__ENABLED", "false");
        })
        .await;
        stage.edit_plan_in_intercom("bronze", 600);
        stage.worker.sync().await;
        stage.world.keap.edit(stage.id, |person| person.job_title = Some("Head".into()));
        stage.worker.sync().await;
        stage.worker.backfill().await;
        assert_eq!(stage.world.keap.count("write"), 0, "{owner}");
        assert_eq!(stage.plan_in_keap(), "gold", "{owner}");
    }
}
