//! A daemon that is killed at every step, whose database is cut off, whose remotes go away: nothing is lost, nothing doubled.
//!
//! The daemon is the built binary. What befalls it is driven by the stand-ins at an exact call, or by what Postgres shows.

use std::collections::BTreeMap;
use std::time::Duration;

use keap_intercom_sync::store::Feed;
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::Instant;

use crate::process::{
    Process, Target, canary, caught_up, is_caught_up, until_it_waits_for_a_lock, world,
};
use crate::sim::{Fault, What};
use crate::world::{World, until};

const PEOPLE: usize = 60;
const PAGE: usize = 20;

/// Sixty people in three pages, recorded in groups of ten, eight calls at once.
async fn small_steps(pool: PgPool) -> World {
    let mut world = world(pool, PEOPLE).await;
    world
        .set("KEAP__PAGE_SIZE", PAGE)
        .set("SYNC__RECORD_GROUP", 10)
        .set("SYNC__CONCURRENCY", 8);
    world
}

/// Three hundred people in one page that takes two seconds.
async fn a_long_page(pool: PgPool) -> World {
    let mut world = small_steps(pool).await;
    world.set("KEAP__PAGE_SIZE", 1000);
    world.intercom.knobs(|knobs| knobs.latency_ms = 50);
    world.keap.add_many(240, |n| canary(1000 + n));
    world
}

/// Kills a first run as told, lets another daemon finish it, and checks what both left behind.
async fn killed_in_the_first_run(pool: PgPool, when: impl FnOnce(&World, Target)) {
    let world = small_steps(pool).await;
    let daemon = Process::daemon(&world);
    when(&world, daemon.target());
    daemon.died().await;
    assert!(!is_caught_up(&world).await, "it was killed too late");
    finish(&world).await;
    assert_each_is_told(&world, 1).await;
    assert_no_write_is_wasted(&world, 30);
}

/// The same in a run in which everybody has changed.
async fn killed_in_a_run_of_changes(pool: PgPool, when: impl FnOnce(&World, Target)) {
    let world = small_steps(pool).await;
    world.sync().await;
    everybody_changes(&world, "Canaryedited");
    world.intercom.clear_ledger();
    let daemon = Process::daemon(&world);
    when(&world, daemon.target());
    daemon.died().await;
    assert!(!is_caught_up(&world).await, "it was killed too late");
    finish(&world).await;
    assert_each_is_told(&world, 2).await;
    assert_no_write_is_wasted(&world, 30);
}

fn everybody_changes(world: &World, family_name: &str) {
    world.keap.bulk_edit(world.keap.ids(), |person| {
        person.family_name = Some(family_name.to_owned());
    });
}

/// Another daemon goes on until there is nothing to do, and stops in order.
async fn finish(world: &World) {
    let daemon = Process::daemon(world);
    caught_up(world).await;
    daemon.stop().await;
    assert_whole(world).await;
}

/// Both memories agree, nobody is held, no fault was left out and no run of a dead process stays open.
async fn assert_whole(world: &World) {
    world.assert_agrees();
    assert_eq!(world.intercom.live_users().len(), world.keap.len());
    assert_eq!(
        (world.keap.faults_waiting(), world.intercom.faults_waiting()),
        (0, 0),
        "each fault must have struck"
    );
    assert!(world.held().await.is_empty());
    let running: i64 = number(
        world,
        "select count(*) from sync_run where state = 'running'",
    )
    .await;
    assert!(running <= 1, "{running} runs are said to be under way");
}

/// The log tells of each contact exactly so often.
async fn assert_each_is_told(world: &World, times: usize) {
    let mut told = BTreeMap::new();
    for line in world.log().await {
        assert_eq!(line.sync_status, "synced", "{line:?}");
        *told.entry(line.keap_contact_id).or_insert(0) += 1;
    }
    assert_eq!(told.len(), world.keap.len());
    let others: Vec<_> = told.iter().filter(|(_, count)| **count != times).collect();
    assert!(
        others.is_empty(),
        "told another number of times: {others:?}"
    );
}

/// No contact is created twice, none is written more than twice, and then with equal content; and only those that were
/// written and not recorded are.
fn assert_no_write_is_wasted(world: &World, unrecorded: usize) {
    let mut writes = BTreeMap::<String, Vec<(bool, Value)>>::new();
    for call in world.intercom.ledger() {
        let is_write = ["create", "update"].contains(&call.kind);
        if is_write && (call.applied || call.status == 200) {
            let body = call.body.unwrap();
            let content = ["email", "name", "phone"].map(|field| body[field].clone());
            let writes = writes.entry(call.external_id.unwrap()).or_default();
            writes.push((call.kind == "create", content.into()));
        }
    }
    for (id, writes) in &writes {
        assert!(writes.len() <= 2, "contact {id}: {writes:?}");
        assert!(
            writes.iter().filter(|(is_create, _)| *is_create).count() <= 1,
            "contact {id} was created twice"
        );
        assert!(writes.iter().all(|(_, content)| *content == writes[0].1));
    }
    let again = writes.values().filter(|writes| writes.len() > 1).count();
    assert!(
        again <= unrecorded,
        "{again} contacts were written twice, at most {unrecorded} were not recorded"
    );
}

async fn number(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

async fn recorded(world: &World) -> i64 {
    number(
        world,
        "select count(*) from contact_link where state = 'linked'",
    )
    .await
}

// Killed at every step of a run.

#[sqlx::test]
async fn f01_killed_before_a_page_is_answered(pool: PgPool) {
    killed_in_the_first_run(pool, |world, target| {
        world
            .keap
            .fault(Fault::on("list").nth(4).what(target.dies_before()));
    })
    .await;
}

#[sqlx::test]
async fn f01_killed_when_a_page_is_answered(pool: PgPool) {
    killed_in_the_first_run(pool, |world, target| {
        world
            .keap
            .fault(Fault::on("list").nth(4).what(target.dies_after()));
    })
    .await;
}

#[sqlx::test]
async fn f01_killed_at_the_very_first_call(pool: PgPool) {
    killed_in_the_first_run(pool, |world, target| {
        world
            .keap
            .fault(Fault::on("list").nth(1).what(target.dies_after()));
    })
    .await;
}

#[sqlx::test]
async fn f01_killed_while_matches_are_searched_for(pool: PgPool) {
    killed_in_the_first_run(pool, |world, target| {
        world
            .intercom
            .fault(Fault::on("search").nth(3).what(target.dies_after()));
    })
    .await;
}

#[sqlx::test]
async fn f01_killed_before_a_contact_is_created(pool: PgPool) {
    killed_in_the_first_run(pool, |world, target| {
        world
            .intercom
            .fault(Fault::on("create").nth(17).what(target.dies_before()));
    })
    .await;
}

#[sqlx::test]
async fn f04_killed_when_a_contact_is_created_and_the_answer_is_on_its_way(pool: PgPool) {
    killed_in_the_first_run(pool, |world, target| {
        world
            .intercom
            .fault(Fault::on("create").nth(17).what(target.dies_after()));
    })
    .await;
}

#[sqlx::test]
async fn f01_killed_at_the_last_contact_of_all(pool: PgPool) {
    killed_in_the_first_run(pool, |world, target| {
        world
            .intercom
            .fault(Fault::on("create").nth(PEOPLE).what(target.dies_after()));
    })
    .await;
}

#[sqlx::test]
async fn f01_killed_before_an_update_is_done(pool: PgPool) {
    killed_in_a_run_of_changes(pool, |world, target| {
        world
            .intercom
            .fault(Fault::on("update").nth(25).what(target.dies_before()));
    })
    .await;
}

#[sqlx::test]
async fn f01_killed_when_an_update_is_done(pool: PgPool) {
    killed_in_a_run_of_changes(pool, |world, target| {
        world
            .intercom
            .fault(Fault::on("update").nth(25).what(target.dies_after()));
    })
    .await;
}

#[sqlx::test]
async fn f01_killed_in_the_walk_between_two_pages_of_changes(pool: PgPool) {
    killed_in_a_run_of_changes(pool, |world, target| {
        // The snapshot try, the newest stamp, two pages of the walk, and then.
        world
            .keap
            .fault(Fault::on("list").nth(5).what(target.dies_before()));
    })
    .await;
}

#[sqlx::test]
async fn f02_killed_again_while_it_recovers(pool: PgPool) {
    let world = small_steps(pool).await;
    for (first, then) in [(9, 4), (12, 14)] {
        let daemon = Process::daemon(&world);
        world.intercom.fault(
            Fault::on("create")
                .nth(first)
                .what(daemon.target().dies_after()),
        );
        daemon.died().await;
        let daemon = Process::daemon(&world);
        world.intercom.fault(
            Fault::on("any")
                .nth(then)
                .what(daemon.target().dies_after()),
        );
        daemon.died().await;
    }
    finish(&world).await;
    assert_each_is_told(&world, 1).await;
}

#[sqlx::test]
async fn f01_killed_when_all_is_written_and_nothing_of_it_is_recorded(pool: PgPool) {
    let mut world = small_steps(pool).await;
    // The page is recorded at its end, in one group.
    world.set("SYNC__RECORD_GROUP", 1000);
    world.sync().await;
    everybody_changes(&world, "Canaryedited");
    world.intercom.clear_ledger();

    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_link in share mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let daemon = Process::daemon(&world);
    until_it_waits_for_a_lock(&world).await;
    assert_eq!(world.intercom.count("update"), PAGE);
    daemon.target().kill();
    daemon.died().await;
    lock.rollback().await.unwrap();

    finish(&world).await;
    assert_each_is_told(&world, 2).await;
    assert_no_write_is_wasted(&world, PAGE);
}

#[sqlx::test]
async fn f06_killed_when_postgres_has_the_commit_and_goes_through_with_it(pool: PgPool) {
    let mut world = small_steps(pool).await;
    // A page is one commit, and its walk's place is in it.
    world.set("SYNC__RECORD_GROUP", 1000);
    // Each takes its time: its process is dead when Postgres comes to an end with it.
    let slow_commits = "create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.7); return null; end';
        create constraint trigger slow after insert on sync_cursor deferrable initially deferred for each row
            when (new.feed = 'backfill') execute function slow();
        create constraint trigger slow_again after update on sync_cursor deferrable initially deferred for each row
            when (new.feed = 'backfill') execute function slow()";
    sqlx::raw_sql(slow_commits)
        .execute(&world.pool)
        .await
        .unwrap();
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
    until("Postgres has committed all the same", async || {
        recorded(&world).await > before
    })
    .await;
    sqlx::raw_sql("drop function slow cascade")
        .execute(&world.pool)
        .await
        .unwrap();
    finish(&world).await;
    assert_each_is_told(&world, 1).await;
    assert_no_write_is_wasted(&world, 30);
}

#[sqlx::test]
async fn f03_each_of_many_kills_leaves_it_further_on(pool: PgPool) {
    let mut world = small_steps(pool).await;
    world.keap.add_many(340, |n| canary(1000 + n));
    world.set("KEAP__PAGE_SIZE", 100);
    world.intercom.knobs(|knobs| knobs.latency_ms = 5);
    let mut before = 0;
    for round in 0..6 {
        let daemon = Process::daemon(&world);
        let calls = rand::random_range(60..110);
        world.intercom.fault(
            Fault::on("any")
                .nth(calls)
                .what(daemon.target().dies_after()),
        );
        daemon.died().await;
        let now = recorded(&world).await;
        assert!(
            now > before,
            "round {round}, killed after {calls} calls: {now} recorded, {before} before"
        );
        before = now;
    }
    finish(&world).await;
    assert_each_is_told(&world, 1).await;
}

#[sqlx::test]
async fn a_first_run_of_thousands_goes_on_at_its_page(pool: PgPool) {
    let mut world = world(pool, 3000).await;
    world.set("KEAP__PAGE_SIZE", 200).set("RUST_LOG", "info");
    let daemon = Process::daemon(&world);
    world.intercom.fault(
        Fault::on("create")
            .nth(1700)
            .what(daemon.target().dies_after()),
    );
    daemon.died().await;
    let place = number(
        &world,
        "select last_id from sync_cursor where feed = 'backfill'",
    )
    .await;
    assert!((1400..=1700).contains(&place), "{place}");

    world.keap.clear_ledger();
    finish(&world).await;
    let of_backfill = world
        .keap
        .ledger()
        .iter()
        .filter(|call| call.query.contains("contact_id"))
        .count();
    // The pages behind the place, and an empty one that is believed when it comes twice.
    let pages = (3000 - usize::try_from(place).unwrap()).div_ceil(200);
    assert!(
        (pages..=pages + 2).contains(&of_backfill),
        "{of_backfill} pages were read for {pages}"
    );
    assert_each_is_told(&world, 1).await;
    assert_no_write_is_wasted(&world, 400);
}

// Postgres goes away, refuses, or does not answer.

async fn cut_connections(world: &World) -> i64 {
    number(
        world,
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
          where datname = current_database() and application_name = 'keap-intercom-sync'",
    )
    .await
}

#[sqlx::test]
async fn f83_connections_that_are_cut_in_the_middle_of_a_page_are_made_anew(pool: PgPool) {
    let world = small_steps(pool).await;
    world.intercom.knobs(|knobs| knobs.latency_ms = 20);
    let daemon = Process::daemon(&world);
    for done in [8, 25, 45] {
        until("a page is under way", async || {
            world.intercom.count("create") >= done
        })
        .await;
        cut_connections(&world).await;
    }
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_each_is_told(&world, 1).await;
    // What was under way is recorded by the process that did it.
    assert_eq!(world.writes(), PEOPLE);
}

/// Another database of the same server, from which this one can be shut.
async fn another_database() -> PgConnection {
    let url = std::env::var("DATABASE_URL").unwrap();
    PgConnection::connect(&url).await.unwrap()
}

/// The database lets nobody in from now on, and the daemon is thrown out; or it lets everybody in again.
async fn shut_the_database(world: &World, from: &mut PgConnection, shut: bool) {
    let options = world.pool.connect_options();
    let name = options.get_database().unwrap();
    let sql = format!("alter database \"{name}\" with allow_connections {}", !shut);
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut *from)
        .await
        .unwrap();
    if shut {
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

#[sqlx::test]
async fn f83_a_database_that_is_away_for_longer_than_the_lease_is_waited_for(pool: PgPool) {
    let mut world = a_long_page(pool).await;
    world.set("DATABASE__CONNECT_TIMEOUT_MS", 500);
    let mut outside = another_database().await;
    let mut daemon = Process::daemon(&world);
    until("a page is under way", async || {
        world.intercom.count("create") >= 25
    })
    .await;
    shut_the_database(&world, &mut outside, true).await;
    daemon.says(CANNOT_RECORD).await;
    let then = world.intercom.calls();
    // The lease is for five seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let meanwhile = world.intercom.calls() - then;
    shut_the_database(&world, &mut outside, false).await;
    assert!(
        meanwhile <= 8,
        "{meanwhile} calls were begun while nothing could be recorded"
    );
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_each_is_told(&world, 1).await;
    assert_eq!(world.writes(), 300, "what was under way was not forgotten");
}

#[sqlx::test]
async fn f83_a_daemon_that_starts_before_its_database_begins_when_it_is_there(pool: PgPool) {
    let world = small_steps(pool).await;
    let mut outside = another_database().await;
    shut_the_database(&world, &mut outside, true).await;
    let mut daemon = Process::daemon(&world);
    daemon
        .says("Postgres is not there yet; waiting for it.")
        .await;
    shut_the_database(&world, &mut outside, false).await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
}

#[sqlx::test(migrations = false)]
async fn f95_killed_while_it_migrates(pool: PgPool) {
    let world = small_steps(pool).await;
    // The table of the worker from before, which the migration takes over; somebody is reading it.
    let worker = "create table keap_intercom_sync_logs (
            id uuid primary key default gen_random_uuid(), keap_contact_id text not null, intercom_contact_id text,
            sync_status text not null, sync_direction text not null, error_message text, synced_at timestamptz not null,
            created_at timestamptz not null default now(), updated_at timestamptz not null default now())";
    sqlx::raw_sql(worker).execute(&world.pool).await.unwrap();
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
    let tables: i64 = number(
        &world,
        "select count(*) from pg_tables where schemaname = 'public'",
    )
    .await;
    assert_eq!(tables, 1, "all of the schema comes at once");
    let daemon = Process::daemon(&world);
    until("everybody is there", async || {
        world.intercom.live_users().len() == PEOPLE
    })
    .await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
}

const CANNOT_RECORD: &str = "Outcomes cannot be recorded";

#[sqlx::test]
async fn f84_nothing_is_written_that_cannot_be_recorded(pool: PgPool) {
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
    let then = world.intercom.calls();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let meanwhile = world.intercom.calls() - then;
    lock.rollback().await.unwrap();
    assert!(
        meanwhile <= 8,
        "{meanwhile} calls were begun while nothing could be recorded"
    );
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_each_is_told(&world, 1).await;
    assert_eq!(world.writes(), 300);
}

#[sqlx::test]
async fn f84_a_database_that_does_not_answer_stops_writing_before_its_time_is_up(pool: PgPool) {
    let world = a_long_page(pool).await;
    let daemon = Process::daemon(&world);
    until("a page is under way", async || recorded(&world).await >= 10).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_link in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    until_it_waits_for_a_lock(&world).await;
    // A statement may take thirty seconds; writing for so long what nobody records would be much to repeat after a crash.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let then = world.intercom.calls();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let meanwhile = world.intercom.calls() - then;
    lock.rollback().await.unwrap();
    assert!(
        meanwhile <= 8,
        "{meanwhile} calls were begun while nothing could be recorded"
    );
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_eq!(world.writes(), 300);
}

#[sqlx::test]
async fn f86_a_database_that_is_read_only_for_a_while_is_waited_for(pool: PgPool) {
    let world = a_long_page(pool).await;
    let mut outside = another_database().await;
    let mut daemon = Process::daemon(&world);
    until("a page is under way", async || recorded(&world).await >= 10).await;
    let name = world
        .pool
        .connect_options()
        .get_database()
        .unwrap()
        .to_owned();
    let read_only = |value| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "alter database \"{name}\" set default_transaction_read_only = {value}"
        )))
    };
    read_only("on").execute(&mut outside).await.unwrap();
    cut_connections(&world).await;
    daemon.says(CANNOT_RECORD).await;
    let then = world.intercom.calls();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.intercom.calls() - then <= 8);
    read_only("off").execute(&mut outside).await.unwrap();
    // As after a failover: the old sessions are gone.
    cut_connections(&world).await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_each_is_told(&world, 1).await;
}

// A remote goes away and comes back, with the daemon running all the time.

/// No contact has paid for the outage of a whole side.
async fn assert_nobody_paid(world: &World) {
    assert!(world.held().await.is_empty());
    let most = number(
        world,
        "select coalesce(max(attempts), 0)::bigint from contact_due",
    )
    .await;
    assert!(most <= 2, "{most} attempts were used up");
}

#[sqlx::test]
async fn f39_keap_goes_away_and_comes_back(pool: PgPool) {
    let world = small_steps(pool).await;
    let mut daemon = Process::daemon(&world);
    caught_up(&world).await;
    everybody_changes(&world, "Canaryedited");
    world.keap.stop().await;
    daemon.says("The lane waits and goes on by itself.").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_nobody_paid(&world).await;
    world.keap.resume().await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_nobody_paid(&world).await;
}

#[sqlx::test]
async fn f39_keap_that_fails_is_asked_seldom(pool: PgPool) {
    let world = small_steps(pool).await;
    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    everybody_changes(&world, "Canaryedited");
    world
        .keap
        .fault(Fault::on("any").always().what(What::status(503)));
    world.keap.clear_ledger();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = world.keap.calls();
    assert!(calls <= 15, "{calls} calls in three seconds");
    world.keap.clear_faults();
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
}

#[sqlx::test]
async fn f39_intercom_goes_away_in_the_middle_of_a_page_and_comes_back(pool: PgPool) {
    let world = small_steps(pool).await;
    let mut daemon = Process::daemon(&world);
    until("a page is under way", async || {
        world.intercom.count("create") >= 15
    })
    .await;
    world.intercom.stop().await;
    daemon.says("The lane waits and goes on by itself.").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.intercom.resume().await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_nobody_paid(&world).await;
}

#[sqlx::test]
async fn f39_intercom_that_fails_is_asked_seldom_and_nobody_is_held_for_it(pool: PgPool) {
    let mut world = small_steps(pool).await;
    world.set("SYNC__MAX_ATTEMPTS", 3);
    let daemon = Process::daemon(&world);
    world
        .intercom
        .fault(Fault::on("any").skip(20).always().what(What::status(503)));
    until("Intercom fails", async || {
        world.intercom.statuses().contains_key(&503)
    })
    .await;
    world.intercom.clear_ledger();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = world.intercom.calls();
    assert!(calls <= 25, "{calls} calls in three seconds");
    world.intercom.clear_faults();
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_nobody_paid(&world).await;
}

async fn position(world: &World) -> Option<chrono::DateTime<chrono::Utc>> {
    let cursor = world.store().cursor(Feed::Changed).await.unwrap();
    cursor.map(|cursor| cursor.position)
}

const NEEDS_A_PERSON: &str = "The lane stopped and needs a person";

#[sqlx::test]
async fn f41_a_token_that_intercom_revokes_stops_that_side_until_it_is_right(pool: PgPool) {
    let world = small_steps(pool).await;
    let mut daemon = Process::daemon(&world);
    caught_up(&world).await;
    let (before, token) = (position(&world).await, world.intercom.token());
    world.intercom.set_token("canary-another");
    world.intercom.clear_ledger();
    everybody_changes(&world, "Canaryedited");
    daemon.says(NEEDS_A_PERSON).await;
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let calls = world.intercom.calls();
    // Those that were under way at once, and one page's start every second.
    let most = 8 * (2 + usize::try_from(since.elapsed().as_secs()).unwrap());
    assert!(calls <= most, "{calls} calls");
    assert_eq!(position(&world).await, before, "the page is not whole");
    assert!(daemon.said("INTERCOM_ACCESS_TOKEN") > 0);

    world.intercom.set_token(&token);
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_nobody_paid(&world).await;
}

#[sqlx::test]
async fn f41_a_token_that_keap_revokes_stops_that_side_until_it_is_right(pool: PgPool) {
    let world = small_steps(pool).await;
    let mut daemon = Process::daemon(&world);
    caught_up(&world).await;
    let (before, token) = (position(&world).await, world.keap.token());
    world.keap.set_token("canary-another");
    world.keap.clear_ledger();
    everybody_changes(&world, "Canaryedited");
    daemon.says(NEEDS_A_PERSON).await;
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let calls = world.keap.calls();
    assert!(
        calls <= 2 * (2 + usize::try_from(since.elapsed().as_secs()).unwrap()),
        "{calls} calls"
    );
    assert_eq!(position(&world).await, before);
    assert!(daemon.said("KEAP_API_KEY") > 0);

    world.keap.set_token(&token);
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
}
