//! Whole passes against both stand-ins: first run, changes, cursor and resumption.

use std::sync::Arc;

use keap_intercom_sync::feed::Feed;
use sqlx::PgPool;

use crate::sim::{Fault, Person, TokenStyle, What, people};
use crate::world::{Worker, World, ann, until};

#[sqlx::test]
async fn the_first_run_creates_everybody_and_the_second_writes_nothing(pool: PgPool) {
    let world = World::with_people(pool, 250).await;

    let first = world.sync().await;
    assert_eq!((first.created, first.failed, first.held), (250, 0, 0), "{first:?}");
    world.assert_agrees();
    assert_eq!(world.log().await.len(), 250);

    world.intercom.clear_ledger();
    let worker = world.worker().await;
    let second = worker.backfill().await;
    assert!(second.seen >= 250 && second.unchanged == second.seen, "{second:?}");
    assert_eq!(world.intercom.calls(), 0, "an unchanged contact costs no Intercom call");
    assert_eq!(world.log().await.len(), 250, "an unchanged re-read is counted, not logged");
}

#[sqlx::test]
async fn every_feed_counts_what_it_costs(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    let worker = world.worker().await;
    let spent =
        || [world.keap.calls(), world.intercom.calls()].map(|calls| i64::try_from(calls).unwrap());
    let before = spent();

    let walked = worker.sync().await;
    let after = spent();
    assert_eq!(
        [walked.keap_calls, walked.intercom_calls],
        [after[0] - before[0], after[1] - before[1]]
    );

    world.keap.edit(7, |person| person.given_name = Some("Renamed".into()));
    let looked = worker.request(&[7, 8, 9]).await;
    assert_eq!((looked.updated, looked.unchanged), (1, 2), "{looked:?}");
    assert_eq!(
        [looked.keap_calls, looked.intercom_calls],
        [spent()[0] - after[0], spent()[1] - after[1]]
    );
    assert_eq!(looked.intercom_calls, 1);
}

#[sqlx::test]
async fn a_change_costs_one_call_and_no_change_costs_none(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    world.sync().await;
    let worker = world.worker().await;
    world.keap.edit(7, |person| person.given_name = Some("Renamed".into()));
    world.keap.edit(9, |person| person.phones.clear());
    world.keap.touch(11);
    world.keap.clear_ledger();
    world.intercom.clear_ledger();

    let counts = worker.sync().await;
    assert!(counts.updated == 2 && counts.unchanged >= 1 && counts.seen < 10, "{counts:?}");
    assert_eq!((world.intercom.count("update"), world.intercom.calls()), (2, 2));
    world.assert_agrees();
    assert_eq!(world.user(9).phone, None, "what is cleared in Keap is cleared in Intercom");

    // Nothing has changed: one Keap call, nothing else.
    world.keap.clear_ledger();
    world.intercom.clear_ledger();
    settle(&world, &worker).await;
    world.keap.clear_ledger();
    worker.sync().await;
    assert_eq!(
        (world.keap.calls(), world.intercom.calls()),
        (1, 0),
        "an idle poll costs one Keap call"
    );
}

/// Polls until the cursor has settled. Each sleep is longer than the two seconds that the overlap
/// adds for Keap's rounding; the worker measures them by the clock of its process.
async fn settle(world: &World, worker: &Worker) {
    for _ in 0..2 {
        worker.sync().await;
        tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    }
    worker.sync().await;
    let cursor = world.store().cursor(Feed::Changed).await.unwrap().unwrap();
    assert_eq!(cursor.settled, cursor.position);
}

#[sqlx::test]
async fn from_now_brings_only_later_changes(pool: PgPool) {
    let mut world = World::with_people(pool, 20).await;
    world.set("POLL__FIRST_RUN", "from_now");
    let worker = world.worker().await;

    let first = worker.sync().await;
    assert!(first.created <= 3, "{first:?}");

    world.keap.edit(5, |person| person.given_name = Some("Now".into()));
    worker.sync().await;
    assert_eq!(world.user(5).name.as_deref(), Some("Now Abel"));
    assert!(world.intercom.live_users().len() <= 4);
}

#[sqlx::test]
async fn from_now_ignores_an_import_that_was_the_last_change(pool: PgPool) {
    let mut world = World::with_people(pool, 40).await;
    world.set("POLL__FIRST_RUN", "from_now").set("POLL__OVERLAP_SECONDS", "60");
    let an_hour_ago = world.keap.clock().now_ms() - 3_600_000;
    for id in world.keap.ids() {
        world.keap.set_stamp_ms(id, Some(an_hour_ago));
    }
    let worker = world.worker().await;

    let first = worker.sync().await;
    assert_eq!((first.seen, world.intercom.live_users().len()), (0, 0));

    world.keap.edit(5, |person| person.given_name = Some("Now".into()));
    let new = world.keap.add(ann());
    worker.sync().await;
    assert_eq!(world.user(5).name.as_deref(), Some("Now Abel"));
    assert_eq!(world.user(new).external_id, Some(new.to_string()));
    assert_eq!(world.intercom.live_users().len(), 2);
}

// F8
#[sqlx::test]
async fn thousands_with_one_stamp_are_synced_across_pages_and_not_read_again(pool: PgPool) {
    let mut world = World::with_people(pool, 2500).await;
    world.set("KEAP__PAGE_SIZE", "200");
    world.sync().await;
    let worker = world.worker().await;
    settle(&world, &worker).await;
    world.keap.bulk_edit(world.keap.ids(), |person| person.family_name = Some("Bulk".into()));
    world.keap.clear_ledger();
    world.intercom.clear_ledger();

    let counts = worker.sync().await;
    assert_eq!((counts.updated, world.intercom.count("update")), (2500, 2500), "{counts:?}");
    world.assert_agrees();
    // The snapshot, the newest stamp, 13 pages, and the empty page that ends the walk.
    assert!(world.keap.calls() <= 17, "{}", world.keap.calls());

    settle(&world, &worker).await;
    world.keap.clear_ledger();
    worker.sync().await;
    assert_eq!(world.keap.calls(), 1, "a settled bulk edit is not read again");
}

// F9, F10
#[sqlx::test]
async fn edits_while_pages_are_read_lose_nothing(pool: PgPool) {
    let mut world = World::with_people(pool, 600).await;
    world.set("KEAP__PAGE_SIZE", "50");
    // Before each page: a contact that was read is edited, another that was not, one is added and
    // one is deleted.
    world.keap.knobs(|knobs| {
        knobs.between_pages = Some(Arc::new(|keap, call| {
            let n = i64::try_from(call).unwrap();
            if n > 14 {
                return;
            }
            keap.edit(n * 3 + 1, |person| person.given_name = Some(format!("Read{n}")));
            keap.edit(600 - n * 3, |person| person.given_name = Some(format!("Unread{n}")));
            keap.add(people::invented(10_000 + call, people::Shape::Plain));
            keap.delete(300 + n * 2);
        }));
    });
    let worker = world.worker().await;

    worker.sync().await;
    world.keap.knobs(|knobs| knobs.between_pages = None);
    settle(&world, &worker).await;

    let verdict = crate::sim::verify::verify(&world.keap, &world.intercom);
    assert_eq!((verdict.missing, verdict.different, verdict.doubled), (0, 0, 0), "{verdict:?}");
}

// F9, F10
#[sqlx::test]
async fn edits_and_deletions_while_a_window_is_walked_lose_nothing(pool: PgPool) {
    let mut world = World::with_people(pool, 400).await;
    world.set("KEAP__PAGE_SIZE", "50");
    // A page token counts rows, so who pages by it passes over as many as vanish.
    world.keap.knobs(|knobs| knobs.token_style = TokenStyle::Rows);
    let worker = world.worker().await;
    worker.sync().await;
    settle(&world, &worker).await;

    world.keap.bulk_edit(world.keap.ids(), |person| person.family_name = Some("Walked".into()));
    world.keap.knobs(|knobs| {
        knobs.between_pages = Some(Arc::new(|keap, call| {
            let n = i64::try_from(call).unwrap();
            keap.clock().advance_ms(1500);
            keap.edit(n * 3 + 1, |person| person.given_name = Some(format!("Read{n}")));
            keap.delete(n * 3 + 2);
        }));
    });
    worker.sync().await;
    world.keap.knobs(|knobs| knobs.between_pages = None);
    settle(&world, &worker).await;

    let verdict = crate::sim::verify::verify(&world.keap, &world.intercom);
    assert_eq!((verdict.missing, verdict.different, verdict.doubled), (0, 0, 0), "{verdict:?}");
}

// F18
#[sqlx::test]
async fn an_empty_page_with_a_token_does_not_end_a_walk(pool: PgPool) {
    let mut world = World::with_people(pool, 120).await;
    world.set("KEAP__PAGE_SIZE", "25");
    world.keap.knobs(|knobs| {
        // Then the walk pages by tokens.
        knobs.ignore_contact_id_filter = true;
        knobs.between_pages = Some(Arc::new(|keap, call| {
            if call == 6 {
                keap.knobs(|knobs| knobs.empty_page_with_token = 1);
            }
        }));
    });

    world.sync().await;

    assert_eq!(world.keap.knobs(|knobs| knobs.empty_page_with_token), 0, "it was shown");
    world.assert_agrees();
    assert_eq!(world.intercom.live_users().len(), 120);
}

#[sqlx::test]
async fn a_backfill_resumes_at_the_page_where_it_was_stopped(pool: PgPool) {
    let mut world = World::with_people(pool, 500).await;
    world.set("KEAP__PAGE_SIZE", "100");
    let worker = world.worker().await;
    let mut poll = true;
    for _ in 0..2 {
        worker.syncer.bulk_step(&mut poll).await.unwrap();
    }

    let place =
        world.store().cursor(Feed::Backfill).await.unwrap().unwrap().walk.unwrap().last_id.unwrap();
    assert!(place.get() >= 100, "{place}");
    worker.stop().await;

    world.keap.clear_ledger();
    let worker = world.worker().await;
    worker.sync().await;
    world.assert_agrees();
    let reread = world
        .keap
        .ledger()
        .iter()
        .filter(|call| call.query.contains("contact_id%3E") || call.query.contains("contact_id>"))
        .count();
    assert!(reread <= 5, "{reread} pages were read after the restart");
    assert_eq!(world.writes(), 500, "what was recorded is not written again");
}

// F39
#[sqlx::test]
async fn the_cursor_never_passes_a_contact_that_is_not_recorded(pool: PgPool) {
    let world = World::with_people(pool, 40).await;

    world.sync().await;
    world.keap.bulk_edit(world.keap.ids(), |person| person.family_name = Some("Edited".into()));
    let before = world.store().cursor(Feed::Changed).await.unwrap().unwrap().position;
    // Intercom goes away in the middle of the page.
    world.intercom.fault(Fault::on("update").skip(15).always().what(What::Refuse));
    let worker = world.worker().await;
    assert!(worker.try_sync().await.is_err());
    let cursor = world.store().cursor(Feed::Changed).await.unwrap().unwrap();
    assert_eq!(cursor.position, before, "the page is not complete");

    world.intercom.clear_faults();
    until("Intercom is called again", async || worker.try_sync().await.is_ok()).await;
    worker.work_off().await;
    world.assert_agrees();
    // Keap rounds stamps up, so for half a second an edit is ahead of Keap's clock. The position of
    // a walk is fixed before it begins, and does not follow such a stamp.
    until("the cursor moves", async || {
        worker.sync().await;
        world.store().cursor(Feed::Changed).await.unwrap().unwrap().position > before
    })
    .await;
}

#[sqlx::test]
async fn after_a_week_off_one_poll_brings_all_changes(pool: PgPool) {
    let world = World::with_people(pool, 50).await;
    world.sync().await;
    let week = 7 * 86_400_000;
    world.keap.clock().advance_ms(week);
    world.intercom.clock().advance_ms(week);
    for id in 1..=20 {
        world.keap.edit(id, |person| person.given_name = Some(format!("Week{id}")));
    }
    world.keap.add(ann());
    world.keap.clear_ledger();
    world.intercom.clear_ledger();

    let counts = world.sync().await;

    assert_eq!((counts.updated, counts.created), (20, 1), "{counts:?}");
    world.assert_agrees();
}

#[sqlx::test]
async fn edits_of_a_contact_created_seconds_ago_do_not_wait_for_the_search_index(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    let worker = world.worker().await;

    worker.sync().await;
    for n in 0..3 {
        world.keap.edit(id, |person| person.given_name = Some(format!("Ann{n}")));
        worker.sync().await;
        assert_eq!(world.user(id).name.unwrap(), format!("Ann{n} Lee"));
    }

    assert_eq!(
        (
            world.intercom.count("create"),
            world.intercom.count("update"),
            world.intercom.count("search")
        ),
        (1, 3, 1)
    );
}

// F13
#[sqlx::test]
async fn a_clock_of_keap_that_is_wrong_or_steps_loses_nothing(pool: PgPool) {
    let world = World::with_people(pool, 10).await;
    for offset in [3_600_000, -3_600_000, 86_400_000, 0] {
        world.keap.clock().set_offset_ms(offset);
        let worker = world.worker().await;
        worker.sync().await;
        // When Keap's clock steps back, the stamp of a new change may be older than the cursor: the
        // overlap or the backfill finds the change. A stamp after the cursor must be found at once.
        let id = world.keap.add(
            Person::named("New", "One").email(&format!("n{offset}@example.org").replace('-', "m")),
        );
        worker.sync().await;
        if offset >= 0 && world.intercom.by_external_id(&id.to_string()).is_empty() {
            assert_eq!(offset, 0, "a change stamped after the cursor was lost");
        }
        worker.backfill().await;
        world.assert_agrees();
        worker.stop().await;
    }
}

// F23
#[sqlx::test]
async fn an_empty_answer_where_rows_were_does_not_end_the_walk(pool: PgPool) {
    let mut world = World::with_people(pool, 300).await;
    world.set("KEAP__PAGE_SIZE", "100");
    world.keap.fault(
        Fault::on("list")
            .nth(4)
            .what(What::Status(200, r#"{"contacts":[],"next_page_token":""}"#.into())),
    );

    world.sync().await;

    world.assert_agrees();
}

// F21, F22
#[sqlx::test]
async fn a_page_that_is_cut_or_is_html_is_read_again(pool: PgPool) {
    let mut world = World::with_people(pool, 120).await;
    world.set("KEAP__PAGE_SIZE", "50");
    world.keap.fault(Fault::on("list").nth(3).what(What::CutBody(700)));
    world.keap.fault(Fault::on("list").nth(5).what(What::Html(200)));
    world.keap.fault(Fault::on("list").nth(6).what(What::Html(502)));
    let worker = world.worker().await;

    until("everything is read", async || worker.try_sync().await.is_ok()).await;

    world.assert_agrees();
    assert_eq!(world.keap.faults_waiting(), 0, "each fault must have struck");
}

#[sqlx::test]
async fn a_contact_that_keap_cannot_list_is_held_and_the_others_are_synced(pool: PgPool) {
    let mut world = World::with_people(pool, 120).await;
    world.set("KEAP__PAGE_SIZE", "50").set("SYNC__MAX_ATTEMPTS", "3");
    world.keap.knobs(|knobs| {
        knobs.poison.insert(77);
        knobs.poison_by_id = true;
    });
    let worker = world.worker().await;

    worker.sync().await;
    worker.work_off().await;
    assert_eq!(world.intercom.live_users().len(), 119);
    let held = world.only_held(77).await;
    assert!(held.reason.starts_with("last_try: "), "{}", held.reason);

    // When Keap can show the contact again, a manual request creates it.
    world.keap.knobs(|knobs| knobs.poison.clear());
    assert_eq!(worker.request(&[77]).await.created, 1);
    world.assert_agrees();
}

// F25
#[sqlx::test]
async fn a_malformed_contact_fails_alone_and_a_page_full_of_them_stops_the_walk(pool: PgPool) {
    let mut world = World::with_people(pool, 60).await;
    world.set("SYNC__MAX_ATTEMPTS", "2");
    world.keap.knobs(|knobs| {
        knobs.unknown_extra_fields = true;
        knobs.malformed.insert(9, serde_json::json!({ "id": ["no", "text"] }));
    });
    let worker = world.worker().await;

    worker.sync().await;
    assert_eq!(world.intercom.live_users().len(), 59);

    world.keap.knobs(|knobs| {
        for id in 1..=30 {
            knobs.malformed.insert(id, serde_json::json!({ "id": ["no", "text"] }));
        }
    });
    let before = world.store().cursor(Feed::Changed).await.unwrap().unwrap().position;
    world.keap.clock().advance_ms(5_000);
    world.keap.bulk_edit(world.keap.ids(), |person| person.family_name = Some("X".into()));
    let halt = worker.try_sync().await.unwrap_err();
    assert!(halt.to_string().contains("30 of 60"), "{halt}");
    assert_eq!(world.store().cursor(Feed::Changed).await.unwrap().unwrap().position, before);
}

// F30
#[sqlx::test]
async fn a_cursor_in_the_future_is_set_back_and_everything_is_read_once(pool: PgPool) {
    let world = World::with_people(pool, 20).await;
    world.sync().await;
    sqlx::query("update sync_cursor set position = '2099-01-01', settled = '2099-01-01', settling = '2099-01-01' where feed = 'changed'").execute(&world.pool).await.unwrap();
    world.keap.edit(3, |person| person.given_name = Some("Hidden".into()));
    let worker = world.worker().await;

    worker.sync().await;
    worker.sync().await;

    world.assert_agrees();
    let cursor = world.store().cursor(Feed::Changed).await.unwrap().unwrap();
    assert!(cursor.position < chrono::Utc::now() + chrono::TimeDelta::days(1));
}

#[sqlx::test]
async fn a_fresh_change_does_not_wait_for_a_backfill(pool: PgPool) {
    let mut world = World::with_people(pool, 600).await;
    world.set("KEAP__PAGE_SIZE", "50").set("SYNC__CONCURRENCY", "4");
    world.intercom.knobs(|knobs| knobs.latency_ms = 40);
    let daemon = world.daemon().await;
    let place = async || {
        let cursor = world.store().cursor(Feed::Backfill).await.unwrap();
        cursor.and_then(|cursor| cursor.walk?.last_id)
    };
    until("the backfill is under way", async || place().await.is_some_and(|last| last.get() >= 50))
        .await;
    // It has the highest id, so the backfill would bring it last.
    let fresh = world.keap.add(ann());
    until("the fresh contact is in Intercom", async || {
        !world.intercom.by_external_id(&fresh.to_string()).is_empty()
    })
    .await;

    let place = place().await.expect("the backfill must still be under way");
    assert!(place.get() < 500, "{place}");
    daemon.stop().await.1.unwrap();
}
