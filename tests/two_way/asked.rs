//! `sync --changed` and `sync --all` beside a daemon: it is asked to look at both sides.

use keap_intercom_sync::feed::{Feed, RunReason};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::Stage;
use crate::process::command;
use crate::sim::people::{Shape, invented};
use crate::world::{World, until};

/// Nothing is looked at but at the start, and when somebody asks for it.
fn without_schedules(world: &mut World) {
    for name in ["POLL__SCHEDULE", "INTERCOM_TO_KEAP__SCHEDULE", "INTERCOM_TO_KEAP__AUDIT_SCHEDULE"]
    {
        world.set(name, "0 0 0 1 1 *");
    }
    world.set("API_TOKEN", crate::http::TOKEN);
}

async fn ended(world: &World, feed: &str) -> i64 {
    let sql = "select count(*) from sync_run where feed = $1 and state = 'done'";
    sqlx::query_scalar(sql).bind(feed).fetch_one(&world.pool).await.unwrap()
}

/// An agent edits the plan of this contact.
fn edit(world: &World, id: i64, plan: &str, later: i64) {
    let clock = world.intercom.clock();
    clock.advance_ms(later * 1000);
    let (user, plan) = (world.user(id).id, json!(plan));
    world.intercom.edit(&user, |user| {
        user.custom_attributes.insert("plan".into(), plan);
    });
    clock.advance_ms(-later * 1000);
    world.intercom.reindex_now();
}

#[sqlx::test]
async fn a_sync_beside_a_daemon_runs_the_feeds_of_both_directions(pool: PgPool) {
    let stage = Stage::with(pool, "newest", without_schedules).await;
    let Stage { world, worker, plan, id } = stage;
    worker.stop().await;
    let daemon = world.daemon().await;
    let in_keap = || {
        let person = world.keap.person(id).unwrap();
        person.details.custom_fields.get(&plan).cloned().unwrap_or(Value::Null)
    };
    until("the daemon has compared everybody", async || ended(&world, "audit").await == 1).await;

    edit(&world, id, "bronze", 1);
    command(&world, &["sync", "--changed"]).await.expect(0);
    assert_eq!(in_keap(), "bronze", "the edit was waited for");
    assert_eq!(ended(&world, "audit").await, 1);

    edit(&world, id, "silver", 2);
    command(&world, &["sync", "--all"]).await.expect(0);
    assert_eq!((ended(&world, "backfill").await, ended(&world, "audit").await), (2, 2));
    until("the edit arrives in Keap", async || in_keap() == "silver").await;

    edit(&world, id, "gold", 3);
    let asked = json!({ "feed": "changed" });
    assert_eq!(crate::http::post(&daemon, "/sync/run", &asked).await.status, 202);
    until("a caller's poll looks at Intercom", async || in_keap() == "gold").await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn an_audit_waits_for_the_walk_over_all_contacts(pool: PgPool) {
    let stage = Stage::with(pool, "newest", |world| {
        world.set("KEAP__PAGE_SIZE", 50);
    })
    .await;
    let store = &stage.worker.store;
    stage.world.keap.add_many(250, |n| invented(n as u64, Shape::Plain));
    let walk = store.request_run(Feed::Backfill, RunReason::Manual, None).await.unwrap();
    let audit = store.request_run(Feed::Audit, RunReason::Schedule, None).await.unwrap();
    stage.worker.sync().await;
    let ended_first: Option<bool> = sqlx::query_scalar(
        "select walk.finished_at <= audit.started_at and audit.state = 'done'
           from sync_run walk, sync_run audit where walk.id = $1 and audit.id = $2",
    )
    .bind(walk)
    .bind(audit)
    .fetch_one(&stage.world.pool)
    .await
    .unwrap();
    assert_eq!(ended_first, Some(true), "the audit begins when the walk has ended");
}
