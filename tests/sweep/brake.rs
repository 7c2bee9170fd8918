//! Lists that leave out contacts, and the brake against mass changes.

use keap_intercom_sync::feed::Feed;
use keap_intercom_sync::store::RunState;
use sqlx::PgPool;

use super::{candidates, live, settled, sweep, why};
use crate::sim::{Fault, What};
use crate::world::{World, until};

// F29
#[sqlx::test]
async fn an_empty_or_half_list_archives_nobody(pool: PgPool) {
    let mut world = World::with_people(pool, 120).await;
    world.set("KEAP__PAGE_SIZE", "50");
    let worker = settled(&world).await;
    let empty = r#"{"contacts":[],"next_page_token":""}"#;

    // First every page is empty; then every page but the first.
    for full in [0, 1] {
        world
            .keap
            .fault(Fault::on("list").skip(full).times(2).what(What::Status(200, empty.into())));
        let (counts, run) = sweep(&worker, false).await;
        assert_eq!((counts.archived, run.state, run.failure), (0, RunState::Done, None));
        assert_eq!(world.keap.faults_waiting(), 0);
    }

    assert_eq!((live(&world), world.intercom.calls()), (120, 0));
    assert_eq!(worker.store.count_linked().await.unwrap(), 120);
}

// F29
#[sqlx::test]
async fn lists_that_leave_out_many_contacts_end_the_sweep_after_few_calls(pool: PgPool) {
    let world = World::with_people(pool, 400).await;
    let worker = settled(&world).await;
    // Contacts 1 to 300 are unlisted. Contacts 3 and 303 are really deleted.
    world.keap.knobs(|knobs| knobs.unlisted.extend(1..=300));
    world.keap.delete(3);
    world.keap.delete(303);

    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, counts.late, run.state), (0, 0, RunState::Failed));
    let why = why(&run);
    assert!(
        why.contains("lists leave out contacts that exist") && why.contains("nothing was done"),
        "{why}"
    );
    assert!(!why.starts_with("brake: "), "--force is no remedy for this");
    assert!(world.keap.count("read") <= 40, "{}", world.keap.count("read"));
    // The calls of the steps that ended the sweep are counted once.
    assert_eq!(run.counts.keap_calls, i64::try_from(world.keap.calls()).unwrap());
    assert_eq!((live(&world), world.intercom.calls()), (400, 0));
    assert_eq!(worker.store.count_linked().await.unwrap(), 400);
    assert_eq!(candidates(&world).await, 0);
    let cursor = worker.store.cursor(Feed::Sweep).await.unwrap().unwrap();
    assert!(cursor.walk.is_none() && cursor.polled_age.is_none());

    // A forced sweep reads each candidate alone, and only a 404 proves a deletion.
    world.keap.clear_ledger();
    let (counts, run) = sweep(&worker, true).await;
    assert_eq!((counts.archived, run.state), (2, RunState::Done), "{run:?}");
    assert!(world.keap.count("read") >= 300, "{}", world.keap.count("read"));
    assert_eq!(live(&world), 398);

    // Keap lists them again: the next sweep works as usual.
    world.keap.knobs(|knobs| knobs.unlisted.clear());
    world.keap.delete(4);
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (1, RunState::Done), "{run:?}");
    world.assert_agrees();
}

// F29
#[sqlx::test]
async fn each_sweep_counts_anew_and_a_few_unlisted_contacts_do_not_stop_it(pool: PgPool) {
    let mut world = World::with_people(pool, 200).await;
    world.set("SWEEP__BRAKE_PERCENT", "20");
    let worker = settled(&world).await;
    // More contacts are unlisted than the bound allows, but not more than the brake allows: each is
    // read alone, and nothing is done to it.
    world.keap.knobs(|knobs| knobs.unlisted.extend(1..=30));
    world.keap.delete(150);

    for _ in 0..2 {
        world.keap.clear_ledger();
        let (_, run) = sweep(&worker, false).await;
        assert_eq!(run.state, RunState::Done, "{run:?}");
        assert!(world.keap.count("read") >= 30);
    }
    assert_eq!(world.last_action(150).await, "archived");
    assert_eq!(live(&world), 199);

    // More contacts are unlisted, and all of them exist: the sweep fails.
    world.keap.knobs(|knobs| knobs.unlisted.extend(1..=60));
    let (_, run) = sweep(&worker, false).await;
    assert!(why(&run).contains("lists leave out"), "{run:?}");

    // Most candidates are really deleted: the lists count as complete.
    world.keap.knobs(|knobs| knobs.unlisted = (66..=95).collect());
    for id in 31..=65 {
        world.keap.delete(id);
    }
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (35, RunState::Done), "{run:?}");

    // More are deleted than the brake allows: the brake stops the sweep.
    world.keap.knobs(|knobs| knobs.unlisted = (1..=20).collect());
    for id in 96..=145 {
        world.keap.delete(id);
    }
    let (_, run) = sweep(&worker, false).await;
    assert!(why(&run).starts_with("brake: "), "{run:?}");
    assert_eq!(live(&world), 164);
}

// F29
#[sqlx::test]
async fn a_refusal_in_the_middle_archives_nobody_and_the_sweep_continues_later(pool: PgPool) {
    let mut world = World::with_people(pool, 120).await;
    world.set("KEAP__PAGE_SIZE", "50");
    let worker = settled(&world).await;
    world.keap.delete(5);
    // The question whether Keap serves us is refused as well, so it is not about one call.
    for (kind, nth, times) in [("list", 2, 1), ("read", 1, 1), ("userinfo", 1, 2)] {
        let refusal = What::Status(403, "{}".into());
        world.keap.fault(Fault::on(kind).nth(nth).times(times).what(refusal));
    }
    worker.request_sweep(false).await;
    let mut poll = false;
    let mut halts = 0;
    until("the sweep is complete", async || {
        if let Ok(worked) = worker.syncer.bulk_step(&mut poll).await {
            !worked
        } else {
            halts += 1;
            assert_eq!(live(&world), 120);
            false
        }
    })
    .await;

    assert!(halts >= 2, "{halts}");
    assert_eq!(world.last_action(5).await, "archived");
    assert_eq!(live(&world), 119);
}

// S21
#[sqlx::test]
async fn the_brake_stops_a_sweep_by_number_and_force_lifts_it(pool: PgPool) {
    let mut world = World::with_people(pool, 100).await;
    world.set("SWEEP__BRAKE_CONTACTS", "3").set("SWEEP__BRAKE_PERCENT", "100");
    let worker = settled(&world).await;
    for id in 11..=15 {
        world.keap.delete(id);
    }

    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (0, RunState::Failed));
    let why = why(&run);
    assert!(
        why.contains("sweep.brake_contacts = 3") && why.contains("sync --sweep --force"),
        "{why}"
    );
    // The plan asks once whose workspace it is.
    assert_eq!((live(&world), world.intercom.calls()), (100, 1));
    assert_eq!(candidates(&world).await, 0);
    let cursor = worker.store.cursor(Feed::Sweep).await.unwrap().unwrap();
    assert!(cursor.walk.is_none() && cursor.polled_age.is_none());

    let (counts, run) = sweep(&worker, true).await;
    assert_eq!((counts.archived, run.state), (5, RunState::Done));
    assert_eq!(live(&world), 95);
    world.assert_agrees();
}

// S21
#[sqlx::test]
async fn the_brake_stops_a_sweep_by_share_after_few_calls(pool: PgPool) {
    let mut world = World::with_people(pool, 200).await;
    world.set("SWEEP__BRAKE_PERCENT", "10");
    let worker = settled(&world).await;
    for id in 1..=150 {
        world.keap.delete(id);
    }

    let (counts, run) = sweep(&worker, false).await;

    assert_eq!((counts.archived, run.state), (0, RunState::Failed));
    let why = why(&run);
    assert!(why.contains("sweep.brake_percent = 10 %"), "{why}");
    assert!(world.keap.count("read") <= 40, "{}", world.keap.count("read"));
    assert_eq!((live(&world), world.intercom.calls()), (200, 1));
}
