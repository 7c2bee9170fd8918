//! A daemon that is killed at every step of a run.

use sqlx::PgPool;

use super::{
    PAGE, PEOPLE, assert_each_is_logged, assert_no_write_is_wasted, assert_whole,
    everybody_changes, finish, number, recorded, small_steps,
};
use crate::process::{
    Process, Target, canary, caught_up, is_caught_up, until_it_waits_for_a_lock, world,
};
use crate::sim::Fault;
use crate::world::{World, until};

async fn in_a_first_run(pool: PgPool, arm: impl FnOnce(&World, Target)) {
    let world = small_steps(pool).await;

    killed_and_finished(&world, arm).await;
    assert_each_is_logged(&world, 1).await;
}

/// Everybody has been synced once, and has changed since.
async fn in_a_run_of_changes(pool: PgPool, arm: impl FnOnce(&World, Target)) {
    let world = small_steps(pool).await;
    world.sync().await;
    everybody_changes(&world, "Canaryedited");
    world.intercom.clear_ledger();

    killed_and_finished(&world, arm).await;
    assert_each_is_logged(&world, 2).await;
}

/// A daemon is killed where `arm` says, and another one finishes the run. Each write beyond the
/// first is one that was not recorded.
async fn killed_and_finished(world: &World, arm: impl FnOnce(&World, Target)) {
    let daemon = Process::daemon(world);
    arm(world, daemon.target());
    daemon.died().await;
    assert!(!is_caught_up(world).await, "the kill came too late");

    finish(world).await;
    assert_no_write_is_wasted(world, 30);
}

/// Each row is a test: the run, the remote, the kind and number of the call, and whether the daemon
/// dies before or after the call is carried out.
macro_rules! kills {
    ($($name:ident: $run:ident, $remote:ident, $kind:literal, $nth:expr, $moment:ident;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            $run(pool, |world, target| {
                world.$remote.fault(Fault::on($kind).nth($nth).what(target.$moment()));
            })
            .await;
        })*
    };
}

// F1, and F4 where a contact is created and the answer is lost.
kills! {
    a_kill_at_the_very_first_call_loses_nothing: in_a_first_run, keap, "list", 1, dies_after;
    a_kill_before_a_page_is_read_loses_nothing: in_a_first_run, keap, "list", 4, dies_before;
    a_kill_after_a_page_is_read_loses_nothing: in_a_first_run, keap, "list", 4, dies_after;
    a_kill_after_a_search_loses_nothing: in_a_first_run, intercom, "search", 3, dies_after;
    a_kill_before_a_create_loses_nothing: in_a_first_run, intercom, "create", 17, dies_before;
    a_kill_after_a_create_loses_nothing: in_a_first_run, intercom, "create", 17, dies_after;
    a_kill_after_the_last_create_loses_nothing: in_a_first_run, intercom, "create", PEOPLE, dies_after;
    a_kill_before_an_update_loses_nothing: in_a_run_of_changes, intercom, "update", 25, dies_before;
    a_kill_after_an_update_loses_nothing: in_a_run_of_changes, intercom, "update", 25, dies_after;
    // Lists 1 to 4 are the snapshot, the newest stamp and two pages of the walk.
    a_kill_between_two_pages_of_a_walk_loses_nothing: in_a_run_of_changes, keap, "list", 5, dies_before;
}

// F2
#[sqlx::test]
async fn a_second_kill_during_recovery_loses_nothing(pool: PgPool) {
    let world = small_steps(pool).await;

    for (first, then) in [(9, 4), (12, 14)] {
        let daemon = Process::daemon(&world);
        world.intercom.fault(Fault::on("create").nth(first).what(daemon.target().dies_after()));
        daemon.died().await;
        let daemon = Process::daemon(&world);
        world.intercom.fault(Fault::on("any").nth(then).what(daemon.target().dies_after()));
        daemon.died().await;
    }
    finish(&world).await;

    assert_each_is_logged(&world, 1).await;
}

// F1
#[sqlx::test]
async fn a_kill_after_all_writes_and_before_their_record_loses_nothing(pool: PgPool) {
    let mut world = small_steps(pool).await;
    // A page is recorded at its end, as one group.
    world.set("SYNC__RECORD_GROUP", 1000);
    world.sync().await;
    everybody_changes(&world, "Canaryedited");
    world.intercom.clear_ledger();

    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_link in share mode").execute(&mut *lock).await.unwrap();

    let daemon = Process::daemon(&world);
    until_it_waits_for_a_lock(&world).await;
    assert_eq!(world.intercom.count("update"), PAGE);

    daemon.target().kill();
    daemon.died().await;
    lock.rollback().await.unwrap();

    finish(&world).await;
    assert_each_is_logged(&world, 2).await;
    assert_no_write_is_wasted(&world, PAGE);
}

// F6
#[sqlx::test]
async fn a_kill_during_a_commit_that_postgres_completes_loses_nothing(pool: PgPool) {
    let mut world = small_steps(pool).await;
    // A page is one commit, which also stores the place of the walk.
    world.set("SYNC__RECORD_GROUP", 1000);
    // The commit takes 0.7 s: the daemon is dead before Postgres completes it.
    let slow_commits = "create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.7); return null; end';
        create constraint trigger slow after insert on sync_cursor deferrable initially deferred for each row
            when (new.feed = 'backfill') execute function slow();
        create constraint trigger slow_again after update on sync_cursor deferrable initially deferred for each row
            when (new.feed = 'backfill') execute function slow()";
    sqlx::raw_sql(slow_commits).execute(&world.pool).await.unwrap();
    let daemon = Process::daemon(&world);
    until("a page is being committed", async || {
        number(
            &world,
            "select count(*) from pg_stat_activity
              where datname = current_database() and query ilike 'commit%' and wait_event = 'PgSleep'",
        )
        .await
            > 0
            && world.intercom.count("create") >= PAGE
    })
    .await;
    let before = recorded(&world).await;
    daemon.target().kill();
    daemon.died().await;
    until("Postgres has completed the commit", async || recorded(&world).await > before).await;
    sqlx::raw_sql("drop function slow cascade").execute(&world.pool).await.unwrap();

    finish(&world).await;

    assert_each_is_logged(&world, 1).await;
    assert_no_write_is_wasted(&world, 30);
}

// F3
#[sqlx::test]
async fn each_of_many_kills_leaves_more_contacts_recorded(pool: PgPool) {
    let mut world = small_steps(pool).await;
    world.keap.add_many(340, |n| canary(1000 + n));
    world.set("KEAP__PAGE_SIZE", 100);
    world.intercom.knobs(|knobs| knobs.latency_ms = 5);
    let mut before = 0;

    for round in 0..6 {
        let daemon = Process::daemon(&world);
        let calls = rand::random_range(60..110);
        world.intercom.fault(Fault::on("any").nth(calls).what(daemon.target().dies_after()));
        daemon.died().await;
        let now = recorded(&world).await;
        assert!(
            now > before,
            "round {round}, killed after {calls} calls: {now} recorded, {before} before"
        );
        before = now;
    }
    finish(&world).await;

    assert_each_is_logged(&world, 1).await;
}

#[sqlx::test]
async fn a_killed_first_run_of_thousands_resumes_at_its_page(pool: PgPool) {
    let mut world = world(pool, 3000).await;
    world.set("KEAP__PAGE_SIZE", 200).set("RUST_LOG", "info");

    let daemon = Process::daemon(&world);
    world.intercom.fault(Fault::on("create").nth(1700).what(daemon.target().dies_after()));
    daemon.died().await;
    let place = number(&world, "select last_id from sync_cursor where feed = 'backfill'").await;
    assert!((1400..=1700).contains(&place), "{place}");

    world.keap.clear_ledger();
    finish(&world).await;
    let of_backfill =
        world.keap.ledger().iter().filter(|call| call.query.contains("contact_id")).count();
    // The pages after the stored place, and an empty page, which counts when it is read twice.
    let pages = (3000 - usize::try_from(place).unwrap()).div_ceil(200);
    assert!(
        (pages..=pages + 2).contains(&of_backfill),
        "{of_backfill} pages were read for {pages}"
    );
    assert_each_is_logged(&world, 1).await;
    assert_no_write_is_wasted(&world, 400);
}

// F95
#[sqlx::test(migrations = false)]
async fn a_kill_during_the_migrations_leaves_no_half_schema(pool: PgPool) {
    let world = small_steps(pool).await;
    // The migration takes over the table of the former worker, which another session writes to.
    let former_table = "create table keap_intercom_sync_logs (
            id uuid primary key default gen_random_uuid(), keap_contact_id text not null, intercom_contact_id text,
            sync_status text not null, sync_direction text not null, error_message text, synced_at timestamptz not null,
            created_at timestamptz not null default now(), updated_at timestamptz not null default now())";
    sqlx::raw_sql(former_table).execute(&world.pool).await.unwrap();
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table keap_intercom_sync_logs in row exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();

    let daemon = Process::daemon(&world);
    until_it_waits_for_a_lock(&world).await;
    daemon.target().kill();
    daemon.died().await;
    lock.rollback().await.unwrap();
    let tables: i64 =
        number(&world, "select count(*) from pg_tables where schemaname = 'public'").await;
    assert_eq!(tables, 1, "a migration is applied as a whole or not at all");

    let daemon = Process::daemon(&world);
    until("everybody is in Intercom", async || world.intercom.live_users().len() == PEOPLE).await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
}
