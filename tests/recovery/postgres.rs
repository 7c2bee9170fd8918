//! A database that goes away, refuses, or does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};

use super::{
    IN_FLIGHT, PEOPLE, a_long_page, assert_each_is_logged, assert_whole, number, recorded,
    small_steps,
};
use crate::postgres_proxy::{Moment, PostgresProxy};
use crate::process::{Process, caught_up, until_it_waits_for_a_lock};
use crate::world::{World, until};

const CANNOT_RECORD: &str = "Outcomes cannot be recorded";

/// While nothing can be recorded, the calls under way end and no other begins. The sleep shows that
/// nothing happens: 160 calls fit into its second.
async fn assert_no_call_begins(world: &World) {
    let before = world.intercom.calls();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = world.intercom.calls() - before;
    assert!(begun <= IN_FLIGHT, "{begun} calls began while nothing could be recorded");
}

async fn cut_connections(world: &World) -> i64 {
    number(
        world,
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
          where datname = current_database() and application_name = 'keap-intercom-sync'",
    )
    .await
}

/// A connection to another database of the same server. The tested database is closed from there.
async fn another_database() -> PgConnection {
    let url = std::env::var("DATABASE_URL").unwrap();
    PgConnection::connect(&url).await.unwrap()
}

/// Closes the database to new connections and ends those of the daemon, or opens it again.
async fn allow_connections(world: &World, from: &mut PgConnection, allowed: bool) {
    let options = world.pool.connect_options();
    let name = options.get_database().unwrap();
    let sql = format!("alter database \"{name}\" with allow_connections {allowed}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *from).await.unwrap();
    if !allowed {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where datname = $1 and application_name = 'keap-intercom-sync'",
        )
        .bind(name)
        .execute(from)
        .await
        .unwrap();
    }
}

// F83
#[sqlx::test]
async fn connections_that_are_cut_in_the_middle_of_a_page_are_opened_again(pool: PgPool) {
    let world = small_steps(pool).await;
    world.intercom.knobs(|knobs| knobs.latency_ms = 20);
    let daemon = Process::daemon(&world);
    for done in [8, 25, 45] {
        until("a page is under way", async || world.intercom.count("create") >= done).await;
        cut_connections(&world).await;
    }
    caught_up(&world).await;
    daemon.stop().await;

    assert_whole(&world).await;
    assert_each_is_logged(&world, 1).await;
    // The daemon that made a call also records it: no call is repeated.
    assert_eq!(world.writes(), PEOPLE);
}

/// Every few commits one is cut, and the daemon lives on.
async fn commits_are_cut(pool: PgPool, moment: Moment) {
    let mut world = small_steps(pool).await;
    let url = world.env["DATABASE_URL"].parse().unwrap();
    let proxy = PostgresProxy::start(&url).await.unwrap();
    world.set("DATABASE_URL", &proxy.url);
    world.intercom.knobs(|knobs| knobs.latency_ms = 20);
    let daemon = Process::leader(&world).await;
    for _ in 0..6 {
        let struck = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&struck);
        proxy.strike(4, moment, move || note.store(true, Ordering::SeqCst));
        until("a commit is cut", async || struck.load(Ordering::SeqCst)).await;
    }
    caught_up(&world).await;
    daemon.stop().await;

    assert_whole(&world).await;
    assert_each_is_logged(&world, 1).await;
    assert_eq!(world.writes(), PEOPLE, "the daemon that made a call also records it");
    let created = number(&world, "select sum(created)::bigint from sync_run").await;
    assert_eq!(created, PEOPLE as i64, "no outcome is counted twice");
}

// F83
#[sqlx::test]
async fn commits_that_postgres_never_sees_are_made_again(pool: PgPool) {
    commits_are_cut(pool, Moment::Before).await;
}

// F6
#[sqlx::test]
async fn commits_whose_answers_are_lost_are_not_made_twice(pool: PgPool) {
    commits_are_cut(pool, Moment::After).await;
}

// F83
#[sqlx::test]
async fn a_daemon_waits_for_a_database_that_is_away_for_longer_than_the_lease(pool: PgPool) {
    let mut world = a_long_page(pool).await;
    world.set("DATABASE__CONNECT_TIMEOUT_MS", 500);
    let mut outside = another_database().await;
    // A connection that is open stays open.
    let mut inside = world.pool.acquire().await.unwrap();

    let mut daemon = Process::daemon(&world);
    until("a page is under way", async || world.intercom.count("create") >= 25).await;
    allow_connections(&world, &mut outside, false).await;
    daemon.says(CANNOT_RECORD).await;
    let before = world.intercom.calls();
    until("the lease has ended", async || {
        sqlx::query_scalar("select expires_at < now() from sync_lease")
            .fetch_one(&mut *inside)
            .await
            .unwrap()
    })
    .await;
    let begun = world.intercom.calls() - before;
    assert!(begun <= IN_FLIGHT, "{begun} calls began while nothing could be recorded");

    allow_connections(&world, &mut outside, true).await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_each_is_logged(&world, 1).await;
    assert_eq!(world.writes(), 300, "the daemon still knows the calls that it had made");
}

// F83
#[sqlx::test]
async fn a_daemon_that_starts_before_its_database_begins_when_the_database_is_up(pool: PgPool) {
    let world = small_steps(pool).await;
    let mut outside = another_database().await;
    allow_connections(&world, &mut outside, false).await;
    let mut daemon = Process::daemon(&world);
    daemon.says("Postgres is not there yet; waiting for it.").await;
    allow_connections(&world, &mut outside, true).await;
    caught_up(&world).await;
    daemon.stop().await;

    assert_whole(&world).await;
}

// F84
#[sqlx::test]
async fn no_write_begins_while_outcomes_cannot_be_recorded(pool: PgPool) {
    let mut world = a_long_page(pool).await;
    world.set("DATABASE__STATEMENT_TIMEOUT_MS", 300);

    let mut daemon = Process::daemon(&world);
    until("a page is under way", async || recorded(&world).await >= 10).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_link in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    daemon.says(CANNOT_RECORD).await;

    assert_no_call_begins(&world).await;
    lock.rollback().await.unwrap();
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_each_is_logged(&world, 1).await;
    assert_eq!(world.writes(), 300);
}

// F84
#[sqlx::test]
async fn writing_stops_before_a_statement_that_hangs_times_out(pool: PgPool) {
    let world = a_long_page(pool).await;

    let daemon = Process::daemon(&world);
    until("a page is under way", async || recorded(&world).await >= 10).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_link in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    until_it_waits_for_a_lock(&world).await;
    // A statement may take thirty seconds. Writes that go on so long without a record would all be
    // repeated after a crash, so they stop within half a second.
    tokio::time::sleep(Duration::from_millis(500)).await;

    assert_no_call_begins(&world).await;
    lock.rollback().await.unwrap();
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_eq!(world.writes(), 300);
}

// F86
#[sqlx::test]
async fn a_daemon_waits_while_the_database_is_read_only(pool: PgPool) {
    let world = a_long_page(pool).await;
    let mut outside = another_database().await;

    let mut daemon = Process::daemon(&world);
    until("a page is under way", async || recorded(&world).await >= 10).await;
    let name = world.pool.connect_options().get_database().unwrap().to_owned();
    let read_only = |value| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "alter database \"{name}\" set default_transaction_read_only = {value}"
        )))
    };
    read_only("on").execute(&mut outside).await.unwrap();
    cut_connections(&world).await;
    daemon.says(CANNOT_RECORD).await;
    assert_no_call_begins(&world).await;

    read_only("off").execute(&mut outside).await.unwrap();
    // A failover ends the old sessions too.
    cut_connections(&world).await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_each_is_logged(&world, 1).await;
}
