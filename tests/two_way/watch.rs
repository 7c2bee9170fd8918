//! What people watch of the second direction.

use std::time::Duration;

use chrono::TimeDelta;
use keap_intercom_sync::feed::RunReason;
use keap_intercom_sync::report::{PartStates, Rates, SecondDirection, Status};
use keap_intercom_sync::sync::users;
use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use crate::process::command;
use crate::sim::people::{Shape, invented};

const LIMIT: Duration = Duration::from_secs(900);

impl Stage {
    async fn status(&self) -> Status {
        let rates = Rates { per_minute: 60, reserve_percent: 10 };
        let second = SecondDirection { enabled: true, is_notified: true, rates };
        Status::take(&self.worker.store, PartStates::default(), LIMIT, second).await.unwrap()
    }

    async fn troubles(&self) -> Vec<String> {
        let troubles = self.status().await.troubles();
        troubles.into_iter().map(|trouble| trouble.what).collect()
    }

    async fn set(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.world.pool).await.unwrap();
    }
}

#[sqlx::test]
async fn the_status_covers_both_directions(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.audit(RunReason::Schedule).await;
    let status = stage.status().await;
    assert!(status.intercom_line().unwrap().starts_with("at most "));
    assert!(status.audit_line().unwrap().ends_with("; all 1 agree"), "{:?}", status.audit_line());
    assert_eq!(status.keap_queue_line().unwrap(), "nothing waits");
    assert_eq!(status.conflicts_line().unwrap(), "none in the last day");

    stage.edit_plan_in_keap("silver");
    stage.edit_plan_in_intercom("bronze", 0);
    stage.look().await;
    let status = stage.status().await;
    assert!(status.conflicts_line().unwrap().starts_with("1 contact edited on both sides"));

    stage.set("update intercom_cursor set walked_at = now() - interval '20 min'").await;
    let troubles = stage.troubles().await;
    let late = troubles
        .iter()
        .find(|what| what.starts_with("Intercom's list of changes was last read 20 min"));
    assert!(late.is_some(), "{troubles:?}");
}

#[sqlx::test]
async fn a_braked_audit_and_the_end_of_the_queue_are_told(pool: PgPool) {
    let stage = Stage::new(pool, "intercom").await;
    stage.world.keap.add_many(150, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    for user in stage.world.intercom.live_users() {
        stage.world.intercom.edit(&user.id, |contact| {
            contact.custom_attributes.insert("plan".into(), json!("tin"));
        });
    }
    stage.audit(RunReason::Schedule).await;
    let status = stage.status().await;
    assert!(status.audit_line().unwrap().starts_with("stopped by the brake"));
    // Five later runs of other feeds hide it in the list of runs.
    stage
        .set("insert into sync_run (id, feed, reason, state, finished_at) select gen_random_uuid(), 'changed', 'schedule', 'done', now() from generate_series(1, 6)")
        .await;
    let troubles = stage.troubles().await;
    assert!(
        troubles.iter().any(|what| what.starts_with("the last audit has failed: 151 of 151")),
        "{troubles:?}"
    );

    // The end of the walk has begun with the first of them.
    stage.audit(RunReason::Manual).await;
    assert_eq!(
        stage.status().await.keap_queue_line().unwrap(),
        "91 contacts at their pace; empty in about 91 s"
    );
}

#[sqlx::test]
async fn missing_notifications_are_told_after_an_hour_and_a_notification_ends_it(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let is_told = async || {
        stage.troubles().await.iter().any(|what| what.contains("no notification has come"))
    };
    stage.edit_plan_in_intercom("bronze", 1);
    stage.look().await;
    assert!(!is_told().await, "one change is no proof");
    stage.set("update intercom_cursor set missed_since = missed_since - interval '2 h' where feed = 'changed'").await;
    stage.edit_plan_in_intercom("silver", 2);
    stage.look().await;
    assert!(is_told().await);

    stage.worker.store.notified().await.unwrap();
    assert!(!is_told().await);
}

#[sqlx::test]
async fn a_list_that_shows_our_writes_late_makes_polls_look_back_further(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let (keap, context) = (&stage.world.keap, stage.worker.context());
    stage.world.intercom.knobs(|knobs| knobs.search_lag_ms = 3_600_000);
    keap.set_custom(stage.id, stage.plan, "silver");
    stage.worker.sync().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    Box::pin(users::poll_changed(context)).await.unwrap();
    let lag = stage.worker.store.two_way().await.unwrap().search_lag.unwrap();
    assert!(lag >= Duration::from_secs(1), "{lag:?}");

    // A lag of ten minutes: half an hour back, instead of a quarter.
    stage.set("update intercom_cursor set search_lag_seconds = 600 where feed = 'changed'").await;
    let position = stage.worker.store.two_way().await.unwrap().position.unwrap();
    let begins = users::next_poll_begins(context).await.unwrap().unwrap();
    assert_eq!(position - begins, TimeDelta::minutes(30));
}

#[sqlx::test]
async fn ready_turns_red_when_intercoms_list_is_not_read(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let Stage { mut world, worker, .. } = stage;
    worker.stop().await;
    world.set("INTERCOM_TO_KEAP__SCHEDULE", "0 0 0 1 1 *");
    let daemon = crate::http::started(&world).await;
    let ready = async || {
        let reply = crate::http::get(&daemon, "/ready").await;
        (reply.status, serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap())
    };
    crate::world::until("the list is read at the start", async || {
        ready().await.1["checks"]["intercomList"]["state"] == "ok"
    })
    .await;
    let (status, document) = ready().await;
    assert_eq!(status, 200, "{document}");
    assert_eq!(document["checks"]["keapQueue"]["state"], "ok", "{document}");

    sqlx::query(
        "update intercom_cursor set walked_at = now() - interval '1 h' where feed = 'changed'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    crate::world::until("it is late", async || ready().await.0 == 503).await;
    assert_eq!(ready().await.1["checks"]["intercomList"]["state"], "late");
    let told = command(&world, &["status"]).await.expect(1).stdout;
    assert!(told.contains("intercom  at most 1 h behind Intercom"), "{told}");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_run_counts_what_it_put_back_and_what_was_edited_on_both_sides(pool: PgPool) {
    let stage = Stage::new(super::owners::fresh(&pool).await, "keap").await;
    stage.edit_plan_in_intercom("bronze", 1);
    let run = stage.audit(RunReason::Schedule).await;
    let counts = stage.worker.work_off().await;
    let run = stage.worker.store.run(run.id).await.unwrap().unwrap();
    assert_eq!(stage.plan_in_intercom(), "gold");
    assert_eq!((run.counts.late, run.counts.restored, run.counts.updated), (1, 1, 0), "{run:?}");
    // The audit's own steps may have put it back already.
    assert!(counts.updated == 0 && counts.restored <= 1, "{counts:?}");
    let told = command(&stage.world, &["runs", "--limit", "1"]).await.expect(0).stdout;
    assert!(told.contains("1 late") && told.contains("1 restored"), "{told}");

    let stage = Stage::new(super::owners::fresh(&pool).await, "newest").await;
    stage.edit_plan_in_keap("silver");
    stage.edit_plan_in_intercom("bronze", 1);
    let counts = stage.worker.sync().await;
    assert_eq!((counts.conflicts, counts.updated), (1, 1), "{counts:?}");
    let run = stage.worker.store.runs(Some("changed"), 1).await.unwrap().remove(0);
    assert_eq!((run.counts.conflicts, run.counts.updated), (1, 1), "{run:?}");
}
