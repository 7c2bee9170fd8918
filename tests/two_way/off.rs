//! With the direction off, nothing is written to Keap, and Intercom is not even asked. What happens
//! when it is switched on.

use keap_intercom_sync::feed::RunReason;
use sqlx::PgPool;

use super::Stage;
use crate::sim::Person;

const ENABLED: &str = "INTERCOM_TO_KEAP__ENABLED";

impl Stage {
    /// The same, after a restart with the direction on or off.
    async fn switched(self, on: bool) -> Self {
        let Self { mut world, worker, plan, id } = self;
        worker.stop().await;
        world.set(ENABLED, on);
        let worker = world.worker().await;
        Self { world, worker, plan, id }
    }
}

// F115
#[sqlx::test]
async fn nothing_is_written_to_keap(pool: PgPool) {
    for owner in ["keap", "intercom", "newest", "fill", "never"] {
        let stage = Stage::with(super::owners::fresh(&pool).await, owner, |world| {
            world.set(ENABLED, false);
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

// F113
#[sqlx::test]
async fn where_two_accounts_differ_switching_on_is_a_first_match(pool: PgPool) {
    for (owner, in_keap, in_intercom) in [
        ("keap", "gold", "gold"),
        ("newest", "gold", "gold"),
        ("intercom", "bronze", "bronze"),
        ("fill", "gold", "bronze"),
        ("never", "gold", "bronze"),
    ] {
        let stage = Stage::with(super::owners::fresh(&pool).await, owner, |world| {
            world.set(ENABLED, false);
        })
        .await;
        // While it was off, no daemon has asked what Intercom shows.
        sqlx::query("update contact_link set intercom_base = null, intercom_updated_at = null")
            .execute(&stage.world.pool)
            .await
            .unwrap();
        stage.edit_plan_in_intercom("bronze", 600);
        let stage = stage.switched(true).await;
        stage.world.intercom.reindex_now();
        stage.audit(RunReason::Manual).await;
        stage.worker.work_off().await;
        assert_eq!(stage.plan_in_keap(), in_keap, "{owner}");
        assert_eq!(stage.plan_in_intercom(), in_intercom, "{owner}");
        stage.assert_quiet().await;
    }
}

// F113
#[sqlx::test]
async fn an_edit_while_the_direction_is_off_arrives_once_it_is_on_again(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await.switched(false).await;
    stage.edit_plan_in_intercom("bronze", 600);
    stage.worker.sync().await;
    assert_eq!(stage.plan_in_keap(), "gold");
    let stage = stage.switched(true).await;
    stage.look().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    stage.assert_quiet().await;
}

// F113
#[sqlx::test]
async fn an_opt_out_that_comes_with_the_direction_makes_nobody_due_but_those_who_are_out(
    pool: PgPool,
) {
    let stage = Stage::with(pool, "newest", |world| {
        world.set(ENABLED, false);
    })
    .await;
    let out = stage.world.keap.add(Person::named("Bob", "Hale").email("bob@example.org"));
    stage.settle().await;
    let Stage { mut world, worker, plan, id } = stage;
    worker.stop().await;
    world.set(ENABLED, true);
    world.set("CONSENT__OPT_OUT", "both");
    let user = world.user(out).id;
    world.intercom.edit(&user, |contact| contact.unsubscribed_from_emails = true);
    let worker = world.worker().await;
    let stage = Stage { world, worker, plan, id };

    let run = stage.audit(RunReason::Manual).await;

    assert_eq!((run.counts.seen, run.counts.late), (2, 1), "Ann shows nothing new");
    stage.worker.work_off().await;
    assert!(
        stage.world.keap.opt_status("bob@example.org").word() == "MANUAL",
        "who is out is out on both sides"
    );
    stage.settle().await;
    stage.assert_quiet().await;
}
