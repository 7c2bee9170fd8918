//! `run`: how a daemon starts, logs and stops.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use sqlx::PgPool;
use tokio::time::Instant;

use super::{lines, quiet_world};
use crate::process::{Process, canary, caught_up, command, until_it_waits_for_a_lock, world};
use crate::sim::{Fault, RateHeaders, What};
use crate::world::until;

#[sqlx::test]
async fn an_address_that_is_taken_is_named(pool: PgPool) {
    let mut world = quiet_world(pool, 0).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    world.set("HTTP_LISTEN", address);

    let ended = command(&world, &["run"]).await.expect(2);

    assert_eq!(lines(&ended.stderr).len(), 1, "{ended:#?}");
    assert!(
        ended.stderr.contains(&format!("HTTP_LISTEN: cannot listen on {address}")),
        "{ended:#?}"
    );
}

// F92
#[sqlx::test]
async fn an_idle_daemon_stops_at_either_signal(pool: PgPool) {
    let world = world(pool, 3).await;
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = Process::leader(&world).await;
        caught_up(&world).await;
        daemon.stop_by(signal).await;
    }
}

/// Whether a process has a handler for SIGTERM, by its mask of caught signals.
fn handles_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
    mask & (1 << (Signal::TERM.as_raw() - 1)) != 0
}

// F92
#[sqlx::test]
async fn a_daemon_stops_while_it_starts(pool: PgPool) {
    let world = world(pool, 3).await;
    for said in ["Starting.", "This process holds the lease"] {
        let mut daemon = Process::daemon(&world);
        daemon.says(said).await;
        // The first line comes a moment before the handlers of signals.
        until("the daemon handles SIGTERM", async || handles_sigterm(daemon.pid())).await;
        daemon.stop().await;
    }
}

// F92
#[sqlx::test]
async fn a_daemon_stops_in_the_middle_of_writes_that_are_not_answered(pool: PgPool) {
    let world = world(pool, 100).await;
    world.intercom.fault(Fault::on("create").skip(20).always().what(What::Hang));
    let daemon = Process::daemon(&world);
    until("writes hang", async || world.intercom.count("create") >= 60).await;

    daemon.stop().await;
    // The answered calls are recorded, no attempt is used up, and the lease is released.
    assert_eq!(world.log().await.len(), 20);
    let due: Option<i32> = sqlx::query_scalar("select max(attempts) from contact_due")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(due, None);

    world.intercom.clear_faults();
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_eq!(world.log().await.len(), 100);
}

// F93
#[sqlx::test]
async fn a_daemon_stops_while_it_waits_for_a_limit(pool: PgPool) {
    let world = world(pool, 100).await;
    world.intercom.knobs(|knobs| {
        // Nothing announces the limit, and the refusal demands a wait of a minute.
        knobs.rate_headers = RateHeaders::Missing;
        (knobs.limit, knobs.retry_after) = (Some(20), Some(60));
    });
    let daemon = Process::daemon(&world);
    until("the limit is reached", async || world.intercom.statuses().contains_key(&429)).await;

    stops_at_once(daemon).await;

    let due: i64 = sqlx::query_scalar("select count(*) from contact_due")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(due, 0);
}

// F93
#[sqlx::test]
async fn a_daemon_stops_while_keap_does_not_answer(pool: PgPool) {
    let world = world(pool, 10).await;
    world.keap.fault(Fault::on("list").always().what(What::Hang));
    let daemon = Process::daemon(&world);
    until("the daemon calls Keap", async || world.keap.calls() > 0).await;
    stops_at_once(daemon).await;
}

/// It ends by itself, and not because the time for stopping is over.
async fn stops_at_once(daemon: Process) {
    let ended = daemon.stop().await;
    assert!(!ended.stderr.contains("Not everything ended in time"), "{}", ended.stderr);
}

// F83
#[sqlx::test]
async fn a_daemon_waits_for_postgres_and_stops_while_it_waits(pool: PgPool) {
    let mut world = world(pool, 3).await;
    world
        .set("DATABASE_URL", "postgres://canary:canary@127.0.0.1:1/canary")
        .set("DATABASE__CONNECT_TIMEOUT_MS", 200);
    let mut daemon = Process::daemon(&world);
    daemon.says("Postgres is not there yet; waiting for it.").await;
    daemon.stop().await;
}

// F92
#[sqlx::test]
async fn a_daemon_stops_while_postgres_does_not_answer(pool: PgPool) {
    let world = world(pool, 30).await;
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_link in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();

    let daemon = Process::daemon(&world);
    until_it_waits_for_a_lock(&world).await;
    daemon.stop().await;
    lock.rollback().await.unwrap();

    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    daemon.stop().await;
    world.assert_agrees();
}

// F92
#[sqlx::test]
async fn a_second_signal_ends_a_daemon_at_once(pool: PgPool) {
    let world = world(pool, 100).await;
    world.intercom.fault(Fault::on("create").always().what(What::Hang));
    let mut daemon = Process::daemon(&world);
    until("writes hang", async || world.intercom.count("create") > 0).await;
    daemon.signal(Signal::TERM);
    daemon.says("Stopping: what is under way is finished and recorded.").await;

    let signalled = Instant::now();
    daemon.signal(Signal::INT);
    daemon.ended().await.expect(130);
    // Without the second signal, the calls under way would get two seconds.
    assert!(signalled.elapsed() < Duration::from_millis(1500), "{:?}", signalled.elapsed());
    world.intercom.clear_faults();
    let daemon = Process::leader(&world).await;
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test]
async fn health_is_answered(pool: PgPool) {
    let world = world(pool, 3).await;

    let mut daemon = Process::daemon(&world);
    daemon.says("Starting.").await;

    let first = daemon.stderr();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let address = first["http.listen"].as_str().unwrap();
    let answer = reqwest_get(&format!("http://{address}/health")).await;
    assert_eq!(answer["status"], "healthy", "{answer}");
    daemon.stop().await;
}

async fn reqwest_get(url: &str) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::get(url).await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

#[sqlx::test]
async fn each_line_of_the_log_is_one_json_object(pool: PgPool) {
    let mut world = world(pool, 20).await;
    world.set("RUST_LOG", "info");
    world.keap.add(canary(1).email("canary.1@canary.example"));
    let daemon = Process::daemon(&world);
    until("everybody is logged", async || world.log().await.len() >= 20).await;

    let ended = daemon.stop().await;

    for line in ended.stderr.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert_eq!(ended.stdout, "");
}
