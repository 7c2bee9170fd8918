//! Update stamps ahead of Keap's own clock: the polls go on, and the contacts are synced.

use chrono::{DateTime, TimeDelta, Utc};
use keap_intercom_sync::feed::Feed;
use sqlx::PgPool;

use super::has_name;
use crate::process::{self, command};
use crate::sim::people::{Shape, invented};
use crate::world::{Worker, World};

const HOUR: i64 = 3_600_000;

fn keap_time(world: &World) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(world.keap.clock().now_ms()).unwrap()
}

/// Renames a contact under a stamp that is ahead of Keap's clock.
fn rename_ahead(world: &World, id: i64, name: &str, ahead_ms: i64) {
    world.keap.edit(id, |person| person.given_name = Some(name.to_owned()));
    world.keap.set_stamp_ms(id, Some(world.keap.clock().now_ms() + ahead_ms));
}

fn rename(world: &World, id: i64, name: &str) {
    world.keap.clock().advance_ms(60_000);
    world.keap.edit(id, |person| person.given_name = Some(name.to_owned()));
}

/// An edit is found by the next poll, and the position stays behind Keap's clock.
async fn assert_polls_see(world: &World, worker: &Worker) {
    for name in ["Once", "Twice"] {
        rename(world, 5, name);
        worker.sync().await;
        assert!(has_name(world, 5, name), "the polls are blind");
        let cursor = world.store().cursor(Feed::Changed).await.unwrap().unwrap();
        assert!(cursor.position < keap_time(world), "{}", cursor.position);
    }
}

async fn polls_go_on(pool: PgPool, ahead_ms: i64) {
    let world = World::with_people(pool, 10).await;
    world.sync().await;
    let worker = world.worker().await;

    rename_ahead(&world, 4, "Ahead", ahead_ms);
    worker.sync().await;
    assert!(has_name(&world, 4, "Ahead"));
    assert_polls_see(&world, &worker).await;

    // It is looked at again, whichever stamp its next edit gets.
    rename_ahead(&world, 4, "Further", ahead_ms + HOUR);
    worker.sync().await;
    assert!(has_name(&world, 4, "Further"));
    rename(&world, 4, "Back");
    worker.sync().await;
    assert!(has_name(&world, 4, "Back"));
    world.assert_agrees();
}

/// Each row is a test: how far the stamp of one contact is ahead, in milliseconds.
macro_rules! polls_go_on {
    ($($name:ident: $ahead_ms:expr;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            polls_go_on(pool, $ahead_ms).await;
        })*
    };
}

polls_go_on! {
    a_stamp_two_minutes_ahead_of_keaps_clock_does_not_blind_the_polls: 120_000;
    a_stamp_six_hours_ahead_of_keaps_clock_does_not_blind_the_polls: 6 * HOUR;
    a_stamp_a_month_ahead_of_keaps_clock_does_not_blind_the_polls: 720 * HOUR;
}

#[sqlx::test]
async fn an_unchanged_contact_from_the_future_costs_no_write_and_one_call_a_poll(pool: PgPool) {
    let world = World::with_people(pool, 10).await;
    world.sync().await;
    let worker = world.worker().await;
    rename_ahead(&world, 4, "Ahead", 6 * HOUR);
    worker.sync().await;
    world.intercom.clear_ledger();

    for _ in 0..3 {
        world.keap.clock().advance_ms(60_000);
        world.keap.clear_ledger();
        worker.sync().await;
        assert_eq!((world.keap.calls(), world.intercom.calls()), (1, 0));
    }
}

#[sqlx::test]
async fn stamps_ahead_on_more_than_a_page_of_contacts_do_not_blind_the_polls(pool: PgPool) {
    let mut world = World::with_people(pool, 60).await;
    world.set("KEAP__PAGE_SIZE", "10");
    world.sync().await;
    let worker = world.worker().await;

    for id in 20..=50 {
        rename_ahead(&world, id, "Ahead", 6 * HOUR);
    }
    worker.sync().await;
    for id in 20..=50 {
        assert!(has_name(&world, id, "Ahead"), "{id}");
    }
    assert_polls_see(&world, &worker).await;

    // They are not read again at every poll.
    world.keap.clear_ledger();
    rename(&world, 5, "Again");
    worker.sync().await;
    assert!(has_name(&world, 5, "Again"));
    assert!(world.keap.calls() <= 3, "{}", world.keap.calls());

    // Once Keap's clock has come that far, they are contacts like all others.
    world.keap.clock().advance_ms(7 * HOUR);
    rename(&world, 33, "Past");
    worker.sync().await;
    assert!(has_name(&world, 33, "Past"));
    world.assert_agrees();
}

#[sqlx::test]
async fn a_first_run_among_stamps_ahead_of_keaps_clock_is_not_blind(pool: PgPool) {
    let world = World::with_people(pool, 20).await;
    for id in 1..=15 {
        world.keap.set_stamp_ms(id, Some(world.keap.clock().now_ms() + 6 * HOUR));
    }
    let worker = world.worker().await;

    worker.sync().await;

    world.assert_agrees();
    world.keap.add(invented(500, Shape::Plain));
    assert_polls_see(&world, &worker).await;
    world.assert_agrees();
}

// F30
#[sqlx::test]
async fn a_cursor_that_a_former_release_left_hours_ahead_is_set_back(pool: PgPool) {
    let world = World::with_people(pool, 20).await;
    world.sync().await;
    let ahead = keap_time(&world) + TimeDelta::hours(6);
    sqlx::query(
        "update sync_cursor set position = $1, settled = $1, settling = $1 where feed = 'changed'",
    )
    .bind(ahead)
    .execute(&world.pool)
    .await
    .unwrap();
    rename(&world, 3, "Hidden");
    let worker = world.worker().await;

    worker.sync().await;
    worker.sync().await;

    world.assert_agrees();
    assert_polls_see(&world, &worker).await;
}

#[sqlx::test]
async fn status_reports_stamps_ahead_of_keaps_clock(pool: PgPool) {
    let mut world = process::world(pool, 12).await;
    world.set("RUST_LOG", "warn");
    command(&world, &["sync", "--changed"]).await.expect(0);
    let until = world.keap.clock().now_ms() + 6 * HOUR;
    world.keap.set_stamp_ms(4, Some(until));

    let synced = command(&world, &["sync", "--changed"]).await.expect(0);
    assert!(synced.stderr.contains("ahead of Keap's own clock"), "{}", synced.stderr);

    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    let ahead = &status["changed"]["ahead"];
    assert_eq!((&ahead["contacts"], &ahead["example"]), (&1.into(), &4.into()), "{status:#}");
    let text = command(&world, &["status"]).await.expect(1).stdout;
    assert!(text.contains("1 contact in Keap with an update stamp ahead"), "{text}");

    // The report ends with the cause.
    world.keap.touch(4);
    command(&world, &["sync", "--changed"]).await.expect(0);
    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    assert!(status["changed"]["ahead"].is_null(), "{status:#}");
}
