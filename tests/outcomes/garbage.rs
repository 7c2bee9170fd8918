//! An Intercom that fails, or answers with garbage, for everybody: no contact is held for it.

use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::{edit_all, most_attempts};
use crate::sim::{Fault, What};
use crate::world::{World, until};

/// For a while Intercom answers every call of one kind in this way. No contact is held, and later
/// everything is synced.
async fn everybody_gets(pool: PgPool, kind: &'static str, what: What) {
    let mut world = World::with_people(pool, 40).await;
    world.set("SYNC__MAX_ATTEMPTS", "3").set("SYNC__RETRY_CAP_SECONDS", "1");
    if kind == "update" {
        world.sync().await;
        edit_all(&world, "Garbled");
    }
    world.intercom.fault(Fault::on(kind).always().what(what.clone()));
    let worker = world.worker().await;
    world.intercom.clear_ledger();

    // Three seconds of attempts show that few calls are made.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        let _ = worker.try_sync().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let tries = world.intercom.count(kind);
    // One call for each contact, and a few trials.
    assert!(tries <= 44, "{tries} calls in three seconds");
    assert!(most_attempts(&world).await <= 1);
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);

    world.intercom.clear_faults();
    until("Intercom is called again", async || worker.try_sync().await.is_ok()).await;
    worker.work_off().await;
    world.assert_agrees();
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
}

/// Each row is a test: the kind of call, and what it gets.
macro_rules! everybody_gets {
    ($($name:ident: $kind:literal, $what:expr;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            everybody_gets(pool, $kind, $what).await;
        })*
    };
}

everybody_gets! {
    // F39
    creates_that_fail_hold_no_contact: "create", What::status(503);
    searches_that_fail_hold_no_contact: "search", What::status(500);
    // F22
    updates_answered_with_a_web_page_hold_no_contact: "update", What::Html(200);
    updates_answered_with_an_empty_body_hold_no_contact: "update", What::Status(200, String::new());
    updates_answered_with_an_empty_object_hold_no_contact: "update", What::Status(200, "{}".into());
    updates_answered_with_half_an_object_hold_no_contact: "update", What::Status(200, r#"{"type":"contact","id":"abc"#.into());
    updates_refused_with_a_web_page_hold_no_contact: "update", What::Html(405);
    updates_refused_with_a_foreign_object_hold_no_contact: "update", What::Status(422, r#"{"error":"blocked"}"#.into());
    creates_refused_with_an_empty_body_hold_no_contact: "create", What::Status(400, String::new());
    updates_answered_404_by_another_program_hold_no_contact: "update", What::Status(404, "{}".into());
    creates_answered_409_by_another_program_hold_no_contact: "create", What::Status(409, "{}".into());
    creates_done_and_answered_with_garbage_are_not_doubled: "create", What::ApplyThenSay("<html>");
    updates_done_and_answered_with_garbage_are_repeated: "update", What::ApplyThenSay("{}");
    searches_answered_with_an_empty_object_hold_no_contact: "search", What::Status(200, "{}".into());
    searches_refused_with_a_web_page_hold_no_contact: "search", What::Html(400);
}
