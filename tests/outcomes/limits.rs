//! The call limits of both remotes.

use std::time::Duration;

use sqlx::PgPool;

use crate::sim::{Fault, LimitWindows, Role, What, WindowStart};
use crate::world::World;

#[sqlx::test]
async fn the_limit_of_intercom_is_used_up_and_never_exceeded(pool: PgPool) {
    let mut world = World::with_people(pool, 900).await;
    world.sync().await;
    world.set("INTERCOM__CALLS_PER_10_SECONDS", "1667");
    // Windows of one second with 100 calls each keep the test short.
    world.intercom.knobs(|knobs| (knobs.limit, knobs.window_secs) = (Some(100), 1));
    world.keap.bulk_edit(world.keap.ids(), |person| person.family_name = Some("Paced".into()));
    world.intercom.clear_ledger();

    world.sync().await;

    world.assert_agrees();
    assert_eq!(world.intercom.refused_by_limit(), 0);
    let windows = world.intercom.windows();
    let full = &windows[1..windows.len() - 1];
    let used: u32 = full.iter().map(|(_, used, _)| used).sum();
    assert!(full.len() >= 5 && f64::from(used) >= 0.97 * 100.0 * full.len() as f64, "{windows:?}");
    assert!(world.held().await.is_empty());
}

// F31, F33
#[sqlx::test]
async fn windows_that_begin_anywhere_and_limits_that_shrink_are_followed(pool: PgPool) {
    let world = World::with_people(pool, 300).await;
    world.sync().await;
    world.intercom.knobs(|knobs| {
        (knobs.limit, knobs.window_secs) = (Some(80), 1);
        knobs.window_start = WindowStart::FirstCall;
        knobs.remaining_counts_this_call = true;
    });
    let worker = world.worker().await;
    world.keap.bulk_edit(world.keap.ids(), |person| person.family_name = Some("One".into()));
    worker.sync().await;
    // Only calls under way when the limit shrinks may be refused.
    world.intercom.knobs(|knobs| knobs.limit = Some(40));
    let edit_all = |name: &'static str| {
        world.keap.clock().advance_ms(3_000);
        world.keap.bulk_edit(world.keap.ids(), |person| person.family_name = Some(name.into()));
    };
    edit_all("Two");

    worker.sync().await;
    assert!(
        world.intercom.refused_by_limit() <= 64,
        "{} refusals",
        world.intercom.refused_by_limit()
    );

    world.intercom.clear_ledger();
    edit_all("Three");
    worker.sync().await;
    world.assert_agrees();
    assert_eq!(world.intercom.refused_by_limit(), 0);
    assert!(
        world.store().count_due().await.unwrap() == (0, 0),
        "a wait for the limit costs no attempt"
    );
}

// F31
#[sqlx::test]
async fn a_storm_of_429_fails_no_contact(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    world.intercom.knobs(|knobs| {
        (knobs.limit, knobs.window_secs, knobs.foreign_calls_per_window) = (Some(10), 1, 5);
    });

    // Nothing but the status says that these are refused for their number.
    world.intercom.fault(Fault::on("create").times(10).what(What::Status(429, String::new())));

    world.sync().await;

    world.assert_agrees();
    assert_eq!(world.intercom.faults_waiting(), 0);
    assert!(
        world.log().await.iter().all(|line| line.sync_status == "synced"),
        "a wait is no failure"
    );
}

// F36
#[sqlx::test]
async fn the_limits_of_keap_are_never_exceeded(pool: PgPool) {
    let mut world = World::with_people(pool, 250).await;
    world
        .set("KEAP__PAGE_SIZE", "10")
        .set("KEAP__CALLS_PER_SECOND", "3")
        .set("KEAP__CALLS_PER_MINUTE", "240");
    world.keap.knobs(|knobs| {
        knobs.exact_limits();
        // Even a busy machine could make more calls than these.
        knobs.per_second = Some(3);
        knobs.limit_windows = LimitWindows::Sliding;
    });

    world.sync().await;

    world.assert_agrees();
    assert_eq!(world.keap.statuses().get(&429), None, "{:?}", world.keap.statuses());
}

// F37
#[sqlx::test]
async fn a_used_up_daily_quota_stops_the_walks_and_not_a_manual_sync(pool: PgPool) {
    let world = World::with_people(pool, 60).await;
    world.keap.knobs(|knobs| {
        knobs.exact_limits();
        knobs.foreign_calls_today = 29_000;
    });
    let worker = world.worker().await;

    let halt = worker.try_sync().await.unwrap_err();

    assert!(halt.to_string().contains("calls left for today"), "{halt}");
    assert!(halt.retry_in() > Duration::from_secs(1), "{:?}", halt.retry_in());
    // A manual request may use the reserve.
    assert_eq!(worker.request(&[5]).await.created, 1);
    assert_eq!(world.user(5).role, Role::User);
}
