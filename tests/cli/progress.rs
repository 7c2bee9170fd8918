//! What `sync` shows while another process does the work.

use rustix::process::Signal;
use sqlx::PgPool;

use super::quiet_world;
use crate::process::{Process, caught_up, command};
use crate::world::until;

/// No poll falls due but the one at the start.
const NEVER: &str = "0 0 0 1 1 *";

#[sqlx::test]
async fn a_sync_says_which_walk_it_waits_for_and_how_far_that_is(pool: PgPool) {
    let mut world = quiet_world(pool, 30).await;
    world
        .set("POLL__SCHEDULE", NEVER)
        .set("KEAP__PAGE_SIZE", 5)
        .set("LEASE__TTL_SECONDS", 300)
        .set("SYNC__RECORD_GROUP", 5);
    // Pages come slowly, so that the walk is still under way.
    world.intercom.knobs(|knobs| knobs.latency_ms = 30);
    let daemon = Process::daemon(&world);
    until("the first walk is under way", async || {
        let sql = "select count(*) from sync_run where feed = 'backfill' and state = 'running' and seen > 0";
        let walks: i64 = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
        walks == 1
    })
    .await;
    daemon.signal(Signal::STOP);
    let mut sync = Process::start(&world, &["sync", "--all"]);
    sync.says("Waiting for the backfill under way, which has looked at ").await;
    daemon.signal(Signal::CONT);

    let ended = sync.ended().await.expect(0);
    assert!(
        ended.stdout.starts_with("30 contacts: 0 created, 0 linked, 0 updated, 30 unchanged"),
        "{ended:#?}"
    );
    assert!(!ended.stdout.contains("calls: Keap 0"), "{ended:#?}");
    daemon.stop().await;
}

#[sqlx::test]
async fn calls_that_nobody_counted_are_not_shown_as_none(pool: PgPool) {
    let mut world = quiet_world(pool, 3).await;
    world.set("POLL__SCHEDULE", NEVER);
    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    world.keap.edit(1, |person| person.family_name = Some("Canaryedited".into()));

    let ended = command(&world, &["sync", "1"]).await.expect(0);
    assert!(ended.stdout.contains("1 contact: 0 created, 0 linked, 1 updated"), "{ended:#?}");
    assert!(!ended.stdout.contains("calls:"), "{ended:#?}");
    let summary = command(&world, &["sync", "1", "--json"]).await.expect(0).json();
    assert!(summary["summary"]["keapCalls"].is_null(), "{summary}");
    daemon.stop().await;
}
