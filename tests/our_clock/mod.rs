//! The clock of the machine is wrong, steps, or changes its hour: the daemon sees another clock
//! than the stand-ins, the test and Postgres.
//!
//! A library that is loaded before libc answers for the clock (`stepped.c`).

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tempfile::TempDir;

use crate::process::{Process, caught_up, world};
use crate::world::{World, until};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/our_clock/stepped.c");

/// The clock that a daemon sees.
struct Clock {
    _folder: TempDir,
    file: std::fs::File,
}

impl Clock {
    /// A clock for the daemons of a world. It is right at first.
    fn of(world: &mut World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [library, file] = ["stepped.so", "ahead"].map(|name| folder.path().join(name));
        build(&library);
        std::fs::write(&file, 0_i64.to_ne_bytes()).unwrap();
        world.set("LD_PRELOAD", library.display()).set("STEPPED_CLOCK", file.display());
        let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        Self { _folder: folder, file }
    }

    fn set(&self, now: DateTime<Utc>) {
        let ahead = (now - Utc::now()).num_milliseconds();
        self.file.write_all_at(&ahead.to_ne_bytes(), 0).unwrap();
    }
}

fn build(library: &Path) {
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(library).args([SOURCE, "-ldl"]);
    assert!(compiler.status().expect("a C compiler is needed").success());
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Somebody changes in Keap, and the change arrives.
async fn a_change_arrives(world: &World, family_name: &str) {
    world.keap.edit(1, |person| person.family_name = Some(family_name.to_owned()));
    caught_up(world).await;
}

async fn position(world: &World) -> DateTime<Utc> {
    let sql = "select position from sync_cursor where feed = 'changed'";
    sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
}

async fn sweeps(world: &World) -> i64 {
    let sql = "select count(*) from sync_run where feed = 'sweep'";
    sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
}

// F14, S28
#[sqlx::test]
async fn a_clock_of_ours_that_jumps_stops_nothing(pool: PgPool) {
    let mut world = world(pool, 3).await;
    let clock = Clock::of(&mut world);
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;

    let mut before = position(&world).await;
    for (step, now) in ["2031-05-01T12:00:00Z", "2019-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]
        .into_iter()
        .enumerate()
    {
        clock.set(at(now));
        a_change_arrives(&world, &format!("Canarystep{step}")).await;

        let position = position(&world).await;
        let in_keap = world.keap.clock().now_ms();
        assert!(before <= position && position.timestamp_millis() <= in_keap, "{now}: {position}");
        before = position;
    }
    daemon.stop().await;
}

// F15
#[sqlx::test]
async fn a_slot_that_the_clock_of_a_daemon_passes_twice_runs_once(pool: PgPool) {
    let mut world = world(pool, 3).await;
    world.set("SWEEP__SCHEDULE", "0 * * * * *");
    let clock = Clock::of(&mut world);
    clock.set(at("2026-11-30T10:00:02Z"));
    let daemon = Process::leader(&world).await;

    clock.set(at("2026-11-30T10:00:59Z"));
    until("the slot of 10:01 runs", async || sweeps(&world).await == 1).await;
    clock.set(at("2026-11-30T10:00:57Z"));
    // Polls, once a second, show that the clock goes on over the slot.
    let polls = world.keap.count("list");
    until("the slot passes again", async || world.keap.count("list") >= polls + 10).await;

    assert_eq!(sweeps(&world).await, 1);
    clock.set(at("2026-11-30T10:01:59Z"));
    until("the next slot runs", async || sweeps(&world).await == 2).await;
    daemon.stop().await;
}

/// With a zone of the machine whose clocks change, a schedule runs at its hour of UTC.
async fn runs_at(pool: PgPool, schedule: &str, slot: &str) {
    let mut world = world(pool, 3).await;
    world.set("SWEEP__SCHEDULE", schedule).set("TZ", "CET-1CEST,M3.5.0,M10.5.0/3");
    let clock = Clock::of(&mut world);
    clock.set(at(slot) - chrono::TimeDelta::minutes(20));
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    assert_eq!(sweeps(&world).await, 0);

    clock.set(at(slot) - chrono::TimeDelta::seconds(1));

    until("the slot runs", async || sweeps(&world).await == 1).await;
    daemon.stop().await;
}

// F16
#[sqlx::test]
async fn an_hour_that_daylight_saving_removes_has_its_slot(pool: PgPool) {
    runs_at(pool, "0 30 2 * * *", "2026-03-29T02:30:00Z").await;
}

// F16
#[sqlx::test]
async fn an_hour_that_daylight_saving_repeats_has_one_slot(pool: PgPool) {
    runs_at(pool, "0 30 2 * * *", "2026-10-25T02:30:00Z").await;
}
