//! A whole side that fails or stops, and a database that cuts connections.

use std::time::Duration;

use keap_intercom_sync::feed::Feed;
use keap_intercom_sync::sync::Halt;
use sqlx::PgPool;

use super::{edit_all, most_attempts};
use crate::sim::verify::verify;
use crate::sim::{Fault, What, client};
use crate::world::{World, until};

// F39
#[sqlx::test]
async fn an_outage_costs_few_calls_and_no_contact_an_attempt(pool: PgPool) {
    let world = World::with_people(pool, 200).await;
    world.intercom.fault(Fault::on("any").always().what(What::status(503)));
    let worker = world.worker().await;

    for _ in 0..5 {
        let halt = worker.try_sync().await.unwrap_err();
        assert!(matches!(halt, Halt::Remote { needs_person: false, .. }), "{halt}");
    }
    assert!(world.intercom.calls() < 120, "{} calls to a dead Intercom", world.intercom.calls());

    world.intercom.clear_faults();
    until("Intercom is called again", async || worker.try_sync().await.is_ok()).await;
    worker.work_off().await;
    world.assert_agrees();
    assert!(world.held().await.is_empty());
}

// F41
#[sqlx::test]
async fn a_revoked_token_stops_intercom_at_once_and_loses_nothing(pool: PgPool) {
    let mut world = World::with_people(pool, 60).await;
    world.set("SYNC__CONCURRENCY", "4");
    world.intercom.fault(Fault::on("create").nth(20).what(What::run({
        let intercom = world.intercom.clone();
        move |_| intercom.set_token("rotated")
    })));
    let worker = world.worker().await;

    let halt = worker.try_sync().await.unwrap_err();
    assert!(matches!(halt, Halt::Remote { needs_person: true, .. }), "{halt}");
    assert!(halt.to_string().contains("INTERCOM_ACCESS_TOKEN"), "{halt}");

    for _ in 0..5 {
        assert!(worker.try_sync().await.is_err());
    }
    let refused = world.intercom.statuses().get(&401).copied().unwrap_or_default();
    assert!((1..=8).contains(&refused), "{refused} calls with a revoked token");
    assert!(world.store().count_due().await.unwrap() == (0, 0), "the refusal makes no contact due");
    assert!(world.store().cursor(Feed::Backfill).await.unwrap().unwrap().walk.is_some());

    worker.stop().await;
    world.set("INTERCOM_ACCESS_TOKEN", "rotated");
    world.sync().await;
    world.assert_agrees();
}

// F42
#[sqlx::test]
async fn a_wrong_plan_or_version_stops_intercom_and_names_the_cause(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    world.intercom.knobs(|knobs| knobs.version_unknown = true);
    let worker = world.worker().await;

    let halt = worker.try_sync().await.unwrap_err();
    assert!(
        matches!(halt, Halt::Remote { needs_person: true, .. })
            && halt.to_string().contains("INTERCOM_VERSION"),
        "{halt}"
    );

    world.intercom.knobs(|knobs| (knobs.version_unknown, knobs.plan_restricted) = (false, true));
    until("the plan is named", async || {
        worker.try_sync().await.is_err_and(|halt| halt.to_string().contains("plan"))
    })
    .await;
    world.intercom.knobs(|knobs| knobs.plan_restricted = false);
    until("Intercom is called again", async || worker.try_sync().await.is_ok()).await;
    world.assert_agrees();
}

// F44
#[sqlx::test]
async fn a_redirect_is_not_followed(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    let elsewhere = crate::sim::Intercom::start().await;
    world.intercom.fault(Fault::on("any").always().what(What::Redirect(elsewhere.base_url())));
    let worker = world.worker().await;

    let halt = worker.try_sync().await.unwrap_err();

    assert!(halt.to_string().contains("redirect"), "{halt}");
    assert_eq!(elsewhere.calls(), 0, "the token must not be sent elsewhere");
}

// F83
#[sqlx::test]
async fn connections_cut_in_the_middle_of_a_page_double_no_contact(pool: PgPool) {
    let mut world = World::with_people(pool, 300).await;
    world.set("SYNC__RECORD_GROUP", "20").set("SYNC__CONCURRENCY", "8");
    let worker = world.worker().await;
    // Another session ends the connections of the worker in the middle of a page.
    let mut other = world.pool.begin().await.unwrap();
    world.intercom.knobs(|knobs| knobs.latency_ms = 5);
    let syncing = tokio::spawn({
        let syncer = std::sync::Arc::clone(&worker.syncer);
        async move {
            let mut poll = true;
            while syncer.bulk_step(&mut poll).await.unwrap() {}
        }
    });

    until("writing has begun", async || world.intercom.count("create") > 40).await;
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name = 'keap-intercom-sync'").execute(&mut *other).await.unwrap();
    other.commit().await.unwrap();
    syncing.await.unwrap();
    worker.work_off().await;

    world.assert_agrees();
    assert_eq!(world.intercom.count("create"), 300, "nobody was created twice");
}

// F39
#[sqlx::test]
async fn writes_that_fail_while_reads_work_cause_no_storm_of_calls(pool: PgPool) {
    let mut world = World::with_people(pool, 200).await;
    world.sync().await;
    world.set("POLL__SCHEDULE", "*/10 * * * * *");
    world.intercom.fault(Fault::on("update").always().what(What::status(500)));
    edit_all(&world, "Stormy");
    world.intercom.clear_ledger();
    world.keap.clear_ledger();

    let daemon = world.daemon().await;
    let url = format!("http://{}/ready", daemon.address);
    until("Intercom is shown as failing", async || {
        let ready = client::send("GET", &url, &[], "").await.unwrap().json();
        ready.to_string().contains("failing")
    })
    .await;
    // Shows that few calls are made: long enough for the next trial of each lane.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (writes, lists) = (world.intercom.count("update"), world.keap.count("list"));
    assert!(writes <= 64 + 10, "{writes} writes to an Intercom that takes none");
    // The scheduled polls, and at most one list for each trial of either lane.
    assert!(lists <= 7, "{lists} lists of Keap");
    assert!(most_attempts(&world).await <= 1);

    world.intercom.clear_faults();
    until("everything is synced", async || {
        verify(&world.keap, &world.intercom).agrees()
            && world.store().count_due().await.unwrap() == (0, 0)
    })
    .await;
    assert!(world.held().await.is_empty());
    let written = world.intercom.count("update") - writes;
    assert!((200..=220).contains(&written), "{written} writes afterwards");
    daemon.stop().await.1.unwrap();
}
