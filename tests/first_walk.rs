//! A first walk over everything, which a person starts before any poll has run.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use keap_intercom_sync::feed::{Feed, RunReason};
use keap_intercom_sync::store::RunState;
use sqlx::PgPool;

use crate::process::{self, command};
use crate::world::{Worker, World};

/// Steps of the bulk lane without a poll, until it has nothing to do.
async fn walk(worker: &Worker) {
    let mut poll = false;
    while worker.syncer.bulk_step(&mut poll).await.unwrap() {}
}

/// After `sync --all` on an empty database, a poll reads only what has changed since.
async fn a_poll_after_a_whole_walk_reads_only_changes(pool: PgPool, first_run: &str) {
    let mut world = process::world(pool, 40).await;
    world.set("RUST_LOG", "warn").set("KEAP__PAGE_SIZE", "10").set("POLL__FIRST_RUN", first_run);
    // During the walk a contact changes that the walk has read.
    world.keap.knobs(|knobs| {
        knobs.between_pages = Some(Arc::new(|keap, call| {
            if call == 4 {
                keap.edit(2, |person| person.family_name = Some("Canaryduring".into()));
            }
        }));
    });

    let all = command(&world, &["sync", "--all", "--json"]).await.expect(0).json();
    assert_eq!(all["summary"]["created"], 40, "{all}");
    assert!(world.user(2).name.is_some_and(|name| !name.contains("during")));

    // Later another one changes. Its stamp is the newest by far.
    world.keap.clock().advance_ms(60_000);
    world.keap.edit(30, |person| person.family_name = Some("Canaryafter".into()));
    world.keap.clear_ledger();
    let poll = command(&world, &["sync", "--changed", "--json"]).await.expect(0).json();

    let seen = poll["summary"]["seen"].as_i64().unwrap();
    assert_eq!((&poll["summary"]["updated"], &poll["summary"]["created"]), (&2.into(), &0.into()));
    // Both changes, and the last seconds before the walk.
    assert!((2..=6).contains(&seen), "{poll}");
    assert_eq!((world.keap.count("list"), world.keap.calls()), (1, 1));
    world.assert_agrees();
}

#[sqlx::test]
async fn where_the_first_run_is_everything_a_whole_walk_sets_the_cursor(pool: PgPool) {
    a_poll_after_a_whole_walk_reads_only_changes(pool, "everything").await;
}

#[sqlx::test]
async fn where_the_first_run_is_from_now_a_whole_walk_sets_the_cursor(pool: PgPool) {
    a_poll_after_a_whole_walk_reads_only_changes(pool, "from_now").await;
}

#[sqlx::test]
async fn a_backfill_since_a_time_sets_no_cursor(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    let worker = world.worker().await;
    let since = Some(Utc::now() - TimeDelta::hours(1));

    let run = worker.store.request_run(Feed::Backfill, RunReason::Manual, since).await.unwrap();
    walk(&worker).await;
    assert_eq!(worker.store.run(run).await.unwrap().unwrap().state, RunState::Done);
    assert_eq!(worker.store.cursor(Feed::Changed).await.unwrap(), None);

    // So the first poll still reads everything.
    worker.sync().await;
    assert_eq!(world.intercom.live_users().len(), 30);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_first_start_begins_a_half_made_walk_over_everything_anew(pool: PgPool) {
    let mut world = World::with_people(pool, 40).await;
    world.set("KEAP__PAGE_SIZE", "10");
    // A former process was stopped in the middle of the walk, and it had set no changed cursor.
    let former = world.worker().await;
    let run = former.store.request_run(Feed::Backfill, RunReason::Manual, None).await.unwrap();
    for _ in 0..2 {
        assert!(former.syncer.bulk_step(&mut false).await.unwrap());
    }
    former.stop().await;
    sqlx::query("delete from sync_cursor where feed = 'changed'")
        .execute(&world.pool)
        .await
        .unwrap();
    let place = world.store().cursor(Feed::Backfill).await.unwrap().unwrap().walk.unwrap();
    assert_eq!(place.last_id.map(keap_intercom_sync::contact::KeapId::get), Some(20));

    // A contact before its place changes, and a minute later one behind its place.
    world.keap.edit(3, |person| person.family_name = Some("Meanwhile".into()));
    world.keap.clock().advance_ms(60_000);
    world.keap.edit(30, |person| person.family_name = Some("Later".into()));
    world.sync().await;

    assert!(world.user(3).name.is_some_and(|name| name.ends_with("Meanwhile")));
    world.assert_agrees();
    // It is still the run that was requested, and no second walk was made.
    let runs: Vec<_> = world.store().last_runs(10).await.unwrap();
    let walks: Vec<_> = runs.iter().filter(|run| run.feed == "backfill").collect();
    assert_eq!(walks.iter().map(|walk| walk.id).collect::<Vec<_>>(), [run]);
    assert_eq!(walks[0].state, RunState::Done);
}
