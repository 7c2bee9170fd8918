//! Two processes and one lease: one works, the other stands by, and nothing is written twice.

use std::time::Duration;

use rustix::process::Signal;
use sqlx::PgPool;

use crate::process::{
    HOLDS, Process, STANDS_BY, Target, canary, caught_up, command, until_it_waits_for_a_lock, world,
};
use crate::sim::{Call, Fault, What};
use crate::world::{World, until};

/// Calls to Intercom at once.
const IN_FLIGHT: usize = 8;

/// A schedule that leaves only the poll at the start of the daemon.
const NEVER: &str = "0 0 0 1 1 *";

/// Longer than any test waits: a process that takes over has not waited for the end of the lease.
const LONG: u32 = 300;

async fn small_steps(pool: PgPool, people: usize) -> World {
    let mut world = world(pool, people).await;
    world.set("SYNC__RECORD_GROUP", 10).set("SYNC__CONCURRENCY", IN_FLIGHT);
    world
}

/// A daemon that holds the lease, and one that stands by.
async fn two_daemons(world: &World) -> (Process, Process) {
    let first = Process::leader(world).await;
    let mut second = Process::daemon(world);
    second.says(STANDS_BY).await;
    (first, second)
}

async fn epoch(world: &World) -> i64 {
    sqlx::query_scalar("select epoch from sync_lease").fetch_one(&world.pool).await.unwrap()
}

/// Each contact has one outcome in the log, and one user in Intercom.
async fn assert_nothing_is_doubled(world: &World) {
    world.assert_agrees();
    assert_eq!(world.intercom.live_users().len(), world.keap.len());
    assert!(world.held().await.is_empty());
    let log = world.log().await;
    assert_eq!(log.len(), world.keap.len(), "{log:#?}");
}

// F88
#[sqlx::test]
async fn of_two_daemons_one_works_and_the_other_stands_by(pool: PgPool) {
    let world = small_steps(pool, 60).await;

    // Both start at the same moment, before either holds the lease.
    let daemons = [Process::daemon(&world), Process::daemon(&world)];
    caught_up(&world).await;
    until("one of them stands by", async || {
        daemons.iter().any(|daemon| daemon.said(STANDS_BY) == 1)
    })
    .await;
    assert_eq!(daemons.iter().map(|daemon| daemon.said(HOLDS)).sum::<usize>(), 1);
    assert_eq!(world.writes(), 60);

    for id in 1..=5 {
        world.keap.edit(id, |person| person.family_name = Some("Canaryedited".into()));
    }
    caught_up(&world).await;
    assert_eq!(world.writes(), 65);

    let ends = daemons.map(Process::stop);
    for end in ends {
        end.await;
    }
    world.assert_agrees();
}

// F88
#[sqlx::test]
async fn when_the_holder_is_killed_the_standby_takes_over_at_once(pool: PgPool) {
    let mut world = small_steps(pool, 0).await;
    world.set("LEASE__TTL_SECONDS", LONG);
    let (first, mut second) = two_daemons(&world).await;
    world.intercom.fault(Fault::on("create").nth(25).what(first.target().dies_after()));
    world.keap.add_many(60, canary);
    first.died().await;
    second.says(HOLDS).await;
    caught_up(&world).await;

    assert_eq!(epoch(&world).await, 2);
    second.stop().await;
    assert_nothing_is_doubled(&world).await;
}

#[sqlx::test]
async fn the_holder_releases_the_lease_when_it_stops(pool: PgPool) {
    let mut world = small_steps(pool, 0).await;
    world.set("LEASE__TTL_SECONDS", LONG);
    let (first, mut second) = two_daemons(&world).await;
    world.keap.add_many(60, canary);
    until("work is under way", async || world.intercom.count("create") >= 10).await;
    first.stop().await;
    second.says(HOLDS).await;
    caught_up(&world).await;
    second.stop().await;

    assert_nothing_is_doubled(&world).await;
    // The first daemon has recorded the calls that it had made.
    assert_eq!(world.writes(), 60);
}

/// A call is carried out; the process is paused before the answer.
fn pauses(target: Target) -> What {
    What::apply_then_run(move |_| target.signal(Signal::STOP))
}

/// Postgres ends an idle transaction after twice the statement timeout. Until then a process that
/// is paused in the middle of recording keeps the row of the lease locked, and no other process can
/// take over the lease.
fn short_timeouts(world: &mut World) {
    world.set("DATABASE__STATEMENT_TIMEOUT_MS", 1000);
}

// F89
#[sqlx::test]
async fn a_process_that_was_paused_for_too_long_records_nothing_and_stands_by(pool: PgPool) {
    let mut world = small_steps(pool, 0).await;
    short_timeouts(&mut world);
    let (mut first, mut second) = two_daemons(&world).await;
    world.intercom.fault(Fault::on("create").nth(25).what(pauses(first.target())));
    world.keap.add_many(60, canary);
    second.says(HOLDS).await;
    caught_up(&world).await;

    assert_nothing_is_doubled(&world).await;
    world.intercom.clear_ledger();

    first.signal(Signal::CONT);
    first.says("this one stops its passes and stands by").await;
    // It starts no pass, and the other daemon works on.
    world.keap.edit(7, |person| person.family_name = Some("Canaryedited".into()));
    caught_up(&world).await;
    // Calls under way when it was paused may still arrive. They are refused as duplicates.
    let mut writes = world.intercom.ledger();
    writes.retain(|call| ["create", "update"].contains(&call.kind));
    let late = |call: &&Call| call.kind == "create" && call.status == 409;
    assert!(writes.iter().filter(late).count() <= IN_FLIGHT);
    let others: Vec<_> = writes.iter().filter(|call| !late(call)).collect();
    assert_eq!(others.len(), 1, "the paused process began to write again: {others:#?}");
    assert_eq!(world.log().await.len(), 61, "{:#?}", world.log().await);
    assert_eq!(first.said(HOLDS), 1);
    // It is a working standby: when the other daemon stops, it takes over.
    second.stop().await;
    until("the first daemon holds the lease again", async || first.said(HOLDS) == 2).await;
    assert_eq!(epoch(&world).await, 3);
    first.stop().await;
    world.assert_agrees();
}

// F89
#[sqlx::test]
async fn a_process_that_was_paused_in_the_middle_of_recording_has_recorded_nothing(pool: PgPool) {
    let mut world = small_steps(pool, 0).await;
    short_timeouts(&mut world);
    let (mut first, mut second) = two_daemons(&world).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_link in share mode").execute(&mut *lock).await.unwrap();
    world.keap.add_many(60, canary);
    until_it_waits_for_a_lock(&world).await;
    first.signal(Signal::STOP);
    // Postgres completes its statement, and the next one does not follow.
    lock.rollback().await.unwrap();
    second.says(HOLDS).await;
    caught_up(&world).await;

    assert_nothing_is_doubled(&world).await;

    let writes = world.writes();
    first.signal(Signal::CONT);
    first.says("this one stops its passes and stands by").await;
    second.stop().await;
    first.stop().await;
    // Calls under way when it was paused may arrive. They are refused as duplicates, or repeat the
    // same content.
    assert!(world.writes() <= writes + IN_FLIGHT, "{} after {writes}", world.writes());
    assert_nothing_is_doubled(&world).await;
}

// F89
#[sqlx::test]
async fn a_process_that_was_paused_for_a_moment_continues(pool: PgPool) {
    let world = small_steps(pool, 60).await;
    let daemon = Process::daemon(&world);
    world.intercom.fault(Fault::on("create").nth(25).what(pauses(daemon.target())));
    until("the daemon is paused", async || world.intercom.faults_waiting() == 0).await;
    // The pause itself: much shorter than the lease.
    tokio::time::sleep(Duration::from_millis(500)).await;

    daemon.signal(Signal::CONT);
    caught_up(&world).await;

    assert_eq!(world.writes(), 60);
    daemon.stop().await;
    assert_nothing_is_doubled(&world).await;
}

#[sqlx::test]
async fn sync_asks_the_running_daemon_to_do_the_work(pool: PgPool) {
    let mut world = small_steps(pool, 20).await;
    world.set("POLL__SCHEDULE", NEVER).set("LOG_FORMAT", "text");
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    let held_by = epoch(&world).await;

    world.keap.edit(5, |person| person.family_name = Some("Canaryedited".into()));

    let ended = command(&world, &["sync", "5"]).await.expect(0);
    assert!(ended.stderr.contains("it is asked to do the work"));
    assert!(
        ended.stdout.starts_with(&format!(
            "5: updated → Intercom {}\n1 contact: 0 created, 0 linked, 1 updated",
            world.user(5).id
        )),
        "{}",
        ended.stdout
    );
    assert_eq!(world.user(5).name.as_deref(), Some("Canary4 Canaryedited"));

    world.keap.edit(6, |person| person.phones.clear());
    world.keap.add(canary(100));
    let ended = command(&world, &["sync", "--changed", "--json"]).await.expect(0);
    let summary = &ended.json()["summary"];
    assert_eq!((&summary["updated"], &summary["created"]), (&1.into(), &1.into()), "{summary}");

    let ended = command(&world, &["sync", "--all"]).await.expect(0);
    assert!(
        ended.stdout.starts_with("21 contacts: 0 created, 0 linked, 0 updated, 21 unchanged"),
        "{}",
        ended.stdout
    );
    world.assert_agrees();
    assert_eq!(epoch(&world).await, held_by, "the daemon did it all");
    daemon.stop().await;
}

#[sqlx::test]
async fn sync_does_the_work_itself_where_no_daemon_runs(pool: PgPool) {
    let world = small_steps(pool, 20).await;

    let ended = command(&world, &["sync", "--changed", "--json"]).await.expect(0);
    assert_eq!(ended.json()["summary"]["created"], 20, "{}", ended.stdout);

    caught_up(&world).await;
    world.keap.edit(5, |person| person.family_name = Some("Canaryedited".into()));
    let ended = command(&world, &["sync", "5"]).await.expect(0);
    assert!(ended.stdout.starts_with("5: updated → Intercom "), "{}", ended.stdout);
    world.assert_agrees();
    // The first command released its lease, so the second took it without a wait.
    assert_eq!(epoch(&world).await, 2);
}

#[sqlx::test]
async fn sync_finishes_by_itself_when_the_daemon_is_killed(pool: PgPool) {
    let mut world = small_steps(pool, 20).await;
    world.set("POLL__SCHEDULE", NEVER).set("LEASE__TTL_SECONDS", LONG);

    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    world.keap.edit(5, |person| person.family_name = Some("Canaryedited".into()));
    world.intercom.fault(Fault::on("update").what(daemon.target().dies_before()));
    let sync = Process::start(&world, &["sync", "5"]);
    daemon.died().await;

    let ended = sync.ended().await.expect(0);
    assert!(ended.stdout.starts_with("5: updated → Intercom "), "{}", ended.stdout);
    world.assert_agrees();
}

#[sqlx::test]
async fn sync_finishes_the_walk_that_a_killed_daemon_left(pool: PgPool) {
    let mut world = small_steps(pool, 60).await;
    world.set("POLL__SCHEDULE", NEVER).set("KEAP__PAGE_SIZE", 20).set("LEASE__TTL_SECONDS", LONG);

    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    world.keap.bulk_edit(world.keap.ids(), |person| {
        person.family_name = Some("Canaryedited".into());
    });
    world.intercom.fault(Fault::on("update").nth(30).what(daemon.target().dies_after()));
    let sync = Process::start(&world, &["sync", "--all", "--json"]);
    daemon.died().await;

    let ended = sync.ended().await.expect(0);
    assert!(ended.json()["error"].is_null(), "{}", ended.stdout);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_request_of_an_interrupted_sync_stays_with_the_daemon(pool: PgPool) {
    let mut world = small_steps(pool, 20).await;
    world.set("POLL__SCHEDULE", NEVER);

    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    world.keap.edit(5, |person| person.family_name = Some("Canaryedited".into()));
    let pause = Duration::from_secs(1);
    world.intercom.fault(Fault::on("update").what(What::Delay(pause)));
    let sync = Process::start(&world, &["sync", "5"]);
    until("the daemon writes", async || world.intercom.count("update") == 1).await;
    sync.signal(Signal::INT);
    let ended = sync.ended().await;
    assert_eq!(ended.code(), Some(2), "{ended:#?}");
    assert!(ended.stdout.contains("it stays asked for"), "{}", ended.stdout);

    until("the daemon has done it", async || world.log().await.len() == 21).await;
    world.assert_agrees();
    daemon.stop().await;
}
