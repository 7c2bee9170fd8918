//! Runs and the lease: a walk begins whole or not at all, no fault leaves one running for ever, and
//! only the holder of the lease begins or ends one.

use keap_intercom_sync::feed::{Cursor, Feed, RunReason};
use keap_intercom_sync::store::{Fence, NewRun, RunState, StoreError, Tally};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::world::{Worker, World};

async fn state(world: &World, run: Uuid) -> RunState {
    world.store().run(run).await.unwrap().unwrap().state
}

async fn running(world: &World) -> i64 {
    let sql = "select count(*) from sync_run where state = 'running'";
    sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
}

fn fence(worker: &Worker) -> Fence {
    worker.lease.borrow().unwrap().fence().unwrap()
}

/// Postgres refuses every place of this feed from now on.
async fn refuse_places(world: &World, feed: &str) {
    let sql = format!("alter table sync_cursor add constraint no_place check (feed <> '{feed}')");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
}

async fn take_places_again(world: &World) {
    sqlx::raw_sql("alter table sync_cursor drop constraint no_place")
        .execute(&world.pool)
        .await
        .unwrap();
}

#[sqlx::test]
async fn a_walk_whose_first_place_is_not_stored_has_not_begun(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    let worker = world.worker().await;
    worker.sync().await;
    for feed in [Feed::Backfill, Feed::Sweep] {
        let run = worker.store.request_run(feed, RunReason::Manual, None).await.unwrap();
        sqlx::query("delete from sync_cursor where feed = $1")
            .bind(feed.as_str())
            .execute(&world.pool)
            .await
            .unwrap();
        refuse_places(&world, feed.as_str()).await;

        assert!(worker.try_sync().await.is_err());
        assert_eq!(state(&world, run).await, RunState::Requested, "{feed}");

        take_places_again(&world).await;
        worker.sync().await;
        assert_eq!(state(&world, run).await, RunState::Done, "{feed}");
    }
}

#[sqlx::test]
async fn a_first_walk_whose_place_is_not_stored_has_not_begun(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    let worker = world.worker().await;
    refuse_places(&world, "backfill").await;

    assert!(worker.try_sync().await.is_err());
    assert_eq!(running(&world).await, 0);

    take_places_again(&world).await;
    worker.sync().await;
    assert_eq!(running(&world).await, 0);
    world.assert_agrees();
}

/// What a release that used two transactions left when Postgres was cut between them.
async fn leave_running(world: &World, feed: Feed, reason: RunReason) -> Uuid {
    let sql = "insert into sync_run (feed, reason, state, started_at) values ($1, $2, 'running', now()) returning id";
    sqlx::query_scalar(sql)
        .bind(feed.as_str())
        .bind(reason.as_str())
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

#[sqlx::test]
async fn a_run_without_a_place_is_taken_up_at_any_time(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    let worker = world.worker().await;
    worker.sync().await;
    let asked = [
        leave_running(&world, Feed::Backfill, RunReason::Manual).await,
        leave_running(&world, Feed::Sweep, RunReason::Forced).await,
        leave_running(&world, Feed::Changed, RunReason::Manual).await,
    ];
    let scheduled = leave_running(&world, Feed::Sweep, RunReason::Schedule).await;

    worker.sync().await;

    for run in asked {
        assert_eq!(state(&world, run).await, RunState::Done);
    }
    assert_eq!(state(&world, scheduled).await, RunState::Failed);
    assert_eq!(running(&world).await, 0);
    // The schedule asks for a sweep again, because none is under way.
    worker.store.request_scheduled(&fence(&worker), Feed::Sweep).await.unwrap();
    assert_eq!(worker.store.last_runs(1).await.unwrap()[0].state, RunState::Requested);
}

#[sqlx::test]
async fn a_run_of_a_poll_under_way_is_left_to_it(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    let worker = world.worker().await;
    worker.sync().await;
    let run = worker.store.request_run(Feed::Changed, RunReason::Manual, None).await.unwrap();
    world.keap.edit(1, |person| person.family_name = Some("Edited".into()));
    // The poll has begun, and its page cannot be recorded.
    sqlx::raw_sql("alter table contact_link rename to away").execute(&world.pool).await.unwrap();
    for _ in 0..3 {
        assert!(worker.try_sync().await.is_err());
        assert_eq!(state(&world, run).await, RunState::Running);
    }
    sqlx::raw_sql("alter table away rename to contact_link").execute(&world.pool).await.unwrap();

    worker.sync().await;

    assert_eq!(state(&world, run).await, RunState::Done);
    assert_eq!(running(&world).await, 0);
    world.assert_agrees();
}

// S19
#[sqlx::test]
async fn a_process_that_lost_the_lease_begins_ends_and_requests_no_run(pool: PgPool) {
    let world = World::with_people(pool, 1).await;
    let worker = world.worker().await;
    worker.sync().await;
    let store = &worker.store;
    let old = fence(&worker);
    let ended = store.last_runs(1).await.unwrap()[0].id;
    let requested = store.request_run(Feed::Backfill, RunReason::Manual, None).await.unwrap();
    sqlx::query("update sync_lease set epoch = epoch + 1").execute(&world.pool).await.unwrap();

    let place = Cursor::at(chrono::DateTime::UNIX_EPOCH);
    let run = |id| NewRun { id, feed: Feed::Backfill, reason: RunReason::Manual, since: None };
    for id in [ended, requested, Uuid::new_v4()] {
        let places = [(Feed::Backfill, &place)];
        let begun = store.begin_run(&old, &run(id), &places, None).await;
        assert!(matches!(begun, Err(StoreError::LeaseLost)), "{begun:?}");
        let begun = store.begin_sweep(&old, &run(id), &place).await;
        assert!(matches!(begun, Err(StoreError::LeaseLost)), "{begun:?}");
    }
    for refused in [
        store.end_runs(&old, &[requested]).await,
        store.request_scheduled(&old, Feed::Sweep).await,
        store.take_over_runs(&old, &[]).await,
        store.set_back(&old, &place, RunReason::CursorInFuture).await,
        store.put_cursors(&old, &[(Feed::Sweep, &place)], &Tally::default()).await,
    ] {
        assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    }

    assert_eq!(state(&world, ended).await, RunState::Done);
    assert_eq!(state(&world, requested).await, RunState::Requested);
    let feeds: Vec<String> =
        sqlx::query_scalar("select feed from sync_run where state <> 'done' order by feed")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(feeds, ["backfill"]);
}

#[sqlx::test]
async fn an_ended_run_stays_ended(pool: PgPool) {
    let world = World::with_people(pool, 1).await;
    let worker = world.worker().await;
    worker.sync().await;
    let ended = worker.store.last_runs(1).await.unwrap()[0].clone();
    let place = Cursor::at(chrono::DateTime::UNIX_EPOCH);
    let run = NewRun { id: ended.id, feed: Feed::Sweep, reason: RunReason::Manual, since: None };

    assert!(!worker.store.begin_sweep(&fence(&worker), &run, &place).await.unwrap());
    let places = [(Feed::Sweep, &place)];
    assert!(!worker.store.begin_run(&fence(&worker), &run, &places, None).await.unwrap());
    worker.store.end_runs(&fence(&worker), &[ended.id]).await.unwrap();

    let now = worker.store.run(ended.id).await.unwrap().unwrap();
    assert_eq!((now.state, now.finished_at), (RunState::Done, ended.finished_at));
    assert_eq!(worker.store.cursor(Feed::Sweep).await.unwrap(), None);
}

#[sqlx::test]
async fn a_request_that_another_poll_serves_leads_to_its_counts(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    let worker = world.worker().await;
    worker.sync().await;
    let mut asked = Vec::new();
    for _ in 0..2 {
        asked.push(worker.store.request_run(Feed::Changed, RunReason::Manual, None).await.unwrap());
    }
    world.keap.edit(1, |person| person.family_name = Some("Edited".into()));

    worker.sync().await;

    let mut runs = Vec::new();
    for id in asked {
        runs.push(worker.store.run(id).await.unwrap().unwrap());
    }
    runs.sort_by_key(|run| run.counts.seen);
    assert_eq!((runs[0].counts.seen, runs[1].counts.updated), (0, 1), "one poll served both");
    let serving = worker.store.serving_run(&runs[0]).await.unwrap().unwrap();
    assert_eq!((serving.id, serving.counts.updated), (runs[1].id, 1));
}
