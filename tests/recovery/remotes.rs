//! A remote that goes away and comes back, while the daemon keeps running.

use std::time::Duration;

use keap_intercom_sync::feed::Feed;
use sqlx::PgPool;
use tokio::time::Instant;

use super::{IN_FLIGHT, assert_whole, everybody_changes, number, small_steps};
use crate::process::{Process, caught_up};
use crate::sim::{Fault, What};
use crate::world::{World, until};

const NEEDS_A_PERSON: &str = "The lane has stopped and needs a person";

/// An outage of a whole side costs no contact its attempts.
async fn assert_no_attempts_are_used_up(world: &World) {
    assert!(world.held().await.is_empty());
    let most = number(world, "select coalesce(max(attempts), 0)::bigint from contact_due").await;
    assert!(most <= 2, "a contact used up {most} attempts");
}

async fn position(world: &World) -> Option<chrono::DateTime<chrono::Utc>> {
    let cursor = world.store().cursor(Feed::Changed).await.unwrap();
    cursor.map(|cursor| cursor.position)
}

// F39
#[sqlx::test]
async fn an_outage_of_keap_loses_nothing(pool: PgPool) {
    let world = small_steps(pool).await;

    let mut daemon = Process::daemon(&world);
    caught_up(&world).await;
    everybody_changes(&world, "Canaryedited");
    world.keap.stop().await;
    daemon.says("The lane waits and goes on by itself.").await;
    // Long enough for several attempts, which cost no contact anything.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_no_attempts_are_used_up(&world).await;

    world.keap.resume().await;
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_no_attempts_are_used_up(&world).await;
}

// F39
#[sqlx::test]
async fn a_failing_keap_gets_few_calls(pool: PgPool) {
    let world = small_steps(pool).await;

    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    everybody_changes(&world, "Canaryedited");
    world.keap.fault(Fault::on("any").always().what(What::status(503)));
    world.keap.clear_ledger();
    // Shows that few calls are made.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = world.keap.calls();
    assert!(calls <= 15, "{calls} calls in three seconds");

    world.keap.clear_faults();
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
}

// F39
#[sqlx::test]
async fn an_outage_of_intercom_in_the_middle_of_a_page_loses_nothing(pool: PgPool) {
    let world = small_steps(pool).await;
    let mut daemon = Process::daemon(&world);
    until("a page is under way", async || world.intercom.count("create") >= 15).await;
    world.intercom.stop().await;
    daemon.says("The lane waits and goes on by itself.").await;
    // Long enough for several attempts, which cost no contact anything.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.intercom.resume().await;
    caught_up(&world).await;
    daemon.stop().await;

    assert_whole(&world).await;
    assert_no_attempts_are_used_up(&world).await;
}

// F39
#[sqlx::test]
async fn a_failing_intercom_gets_few_calls_and_holds_no_contact(pool: PgPool) {
    let mut world = small_steps(pool).await;
    world.set("SYNC__MAX_ATTEMPTS", 3);

    let daemon = Process::daemon(&world);
    world.intercom.fault(Fault::on("any").skip(20).always().what(What::status(503)));
    until("Intercom fails", async || world.intercom.statuses().contains_key(&503)).await;
    world.intercom.clear_ledger();
    // Shows that few calls are made.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = world.intercom.calls();
    assert!(calls <= 25, "{calls} calls in three seconds");

    world.intercom.clear_faults();
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_no_attempts_are_used_up(&world).await;
}

// F41
#[sqlx::test]
async fn a_token_that_intercom_revokes_stops_that_side_until_it_is_valid_again(pool: PgPool) {
    let world = small_steps(pool).await;

    let mut daemon = Process::daemon(&world);
    caught_up(&world).await;
    let (before, token) = (position(&world).await, world.intercom.token());
    world.intercom.set_token("canary-another");
    world.intercom.clear_ledger();
    everybody_changes(&world, "Canaryedited");
    daemon.says(NEEDS_A_PERSON).await;
    let since = Instant::now();
    // Shows that few calls are made.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let calls = world.intercom.calls();
    // The calls under way at the refusal, and the first calls of one page every second.
    let most = IN_FLIGHT * (2 + usize::try_from(since.elapsed().as_secs()).unwrap());
    assert!(calls <= most, "{calls} calls");
    assert_eq!(position(&world).await, before, "the page is not complete");
    assert!(daemon.said("INTERCOM_ACCESS_TOKEN") > 0);

    world.intercom.set_token(&token);
    caught_up(&world).await;
    daemon.stop().await;
    assert_whole(&world).await;
    assert_no_attempts_are_used_up(&world).await;
}

// F41
#[sqlx::test]
async fn a_token_that_keap_revokes_stops_that_side_until_it_is_valid_again(pool: PgPool) {
    let world = small_steps(pool).await;

    let mut daemon = Process::daemon(&world);
    caught_up(&world).await;
    let (before, token) = (position(&world).await, world.keap.token());
    world.keap.set_token("canary-another");
    world.keap.clear_ledger();
    everybody_changes(&world, "Canaryedited");
    daemon.says(NEEDS_A_PERSON).await;
    let since = Instant::now();
    // Shows that few calls are made.
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

// F45
#[sqlx::test]
async fn connections_that_closed_while_they_were_idle_cost_no_contact_an_attempt(pool: PgPool) {
    let world = small_steps(pool).await;
    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    world.intercom.clear_ledger();

    for name in ["Canaryone", "Canarytwo", "Canarythree"] {
        world.intercom.stop().await;
        world.intercom.resume().await;
        everybody_changes(&world, name);
        caught_up(&world).await;
    }

    daemon.stop().await;
    assert_whole(&world).await;
    assert_no_attempts_are_used_up(&world).await;
    assert_eq!(world.writes(), 3 * world.keap.len(), "no write is repeated");
}
