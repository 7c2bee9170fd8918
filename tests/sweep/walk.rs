//! The walk over all ids: its cost, its interruptions, its schedule, and the late arrivals that it
//! finds.

use keap_intercom_sync::feed::Feed;
use keap_intercom_sync::store::RunState;
use sqlx::PgPool;

use super::{candidates, live, settled, step_until_done, sweep};
use crate::sim::people::{Shape, invented};
use crate::sim::{Fault, Person, What};
use crate::world::{World, ann, until};

#[sqlx::test]
async fn a_sweep_costs_one_call_a_page(pool: PgPool) {
    let mut world = World::with_people(pool, 1000).await;
    world.set("KEAP__PAGE_SIZE", "100");
    let worker = settled(&world).await;

    let (counts, run) = sweep(&worker, false).await;

    assert_eq!((counts.seen, run.state), (1000, RunState::Done));
    assert!(world.keap.calls() <= 12, "{}", world.keap.calls());
    assert_eq!(world.intercom.calls(), 0);
    assert!(world.keap.ledger().iter().all(|call| !call.query.contains("given_name")));
}

#[sqlx::test]
async fn a_sweep_works_where_keap_pages_by_token_alone(pool: PgPool) {
    let mut world = World::with_people(pool, 300).await;
    world.set("KEAP__PAGE_SIZE", "50");
    let worker = settled(&world).await;
    world.keap.knobs(|knobs| knobs.ignore_contact_id_filter = true);
    for id in [1, 51, 150, 300] {
        world.keap.delete(id);
    }

    let (counts, run) = sweep(&worker, false).await;

    assert_eq!((counts.archived, run.state), (4, RunState::Done), "{run:?}");
    assert_eq!(live(&world), 296);
}

#[sqlx::test]
async fn a_sweep_resumes_where_it_was_stopped(pool: PgPool) {
    let mut world = World::with_people(pool, 500).await;
    world.set("KEAP__PAGE_SIZE", "100");
    let worker = settled(&world).await;
    for id in [50, 250, 450] {
        world.keap.delete(id);
    }
    let run = worker.request_sweep(false).await;
    let mut poll = false;
    for _ in 0..3 {
        worker.syncer.bulk_step(&mut poll).await.unwrap();
    }

    let cursor = worker.store.cursor(Feed::Sweep).await.unwrap().unwrap();
    assert_eq!(cursor.walk.unwrap().last_id.unwrap().get(), 302);
    assert_eq!(candidates(&world).await, 2);
    worker.stop().await;

    world.keap.clear_ledger();
    let worker = world.worker().await;
    step_until_done(&worker).await;
    let run = worker.store.run(run).await.unwrap().unwrap();
    assert_eq!((run.state, run.counts.archived), (RunState::Done, 3));
    assert!(world.keap.count("list") <= 6, "{}", world.keap.count("list"));
    world.assert_agrees();
}

#[sqlx::test]
async fn a_stop_between_two_archive_calls_repeats_nothing(pool: PgPool) {
    let mut world = World::with_people(pool, 100).await;
    world.set("SYNC__CONCURRENCY", "1").set("SYNC__RECORD_GROUP", "1");
    let worker = settled(&world).await;
    for id in 21..=24 {
        world.keap.delete(id);
    }
    world.intercom.fault(Fault::on("archive").nth(3).what(What::Status(401, "{}".into())));
    worker.request_sweep(false).await;
    let mut poll = false;
    until("the sweep is complete", async || {
        matches!(worker.syncer.bulk_step(&mut poll).await, Ok(false))
    })
    .await;

    assert_eq!(live(&world), 96);
    assert_eq!(world.intercom.count("archive"), 5, "four calls, and the refused one");
    assert_eq!(candidates(&world).await, 0);
}

// F12
#[sqlx::test]
async fn a_contact_that_becomes_visible_after_the_overlap_is_found_by_the_sweep(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = settled(&world).await;
    // A contact gets a stamp of now and becomes visible half an hour later. Meanwhile the polls
    // move on.
    world.keap.knobs(|knobs| knobs.visibility_delay_ms = 1_800_000);
    let late = world.keap.add(ann());
    world.keap.knobs(|knobs| knobs.visibility_delay_ms = 0);
    world.keap.clock().advance_ms(60_000);
    world.keap.edit(4, |person| person.given_name = Some("Moved".into()));
    worker.stop().await;
    let worker = settled(&world).await;
    world.keap.clock().advance_ms(1_800_000);

    worker.sync().await;
    assert!(world.intercom.by_external_id(&late.to_string()).is_empty());

    // A contact that the next poll brings is no late arrival.
    let fresh = world.keap.add(invented(900, Shape::Plain));
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.late, run.counts.late), (1, 1), "{counts:?}");

    worker.work_off().await;
    assert_eq!(world.user(late).name.as_deref(), Some("Ann Lee"));
    assert!(world.intercom.by_external_id(&fresh.to_string()).is_empty());

    worker.sync().await;
    world.assert_agrees();

    // A known contact is no late arrival, even if it was skipped.
    let without_email = world.keap.add(Person::named("No", "Mail"));
    worker.sync().await;
    let (counts, _) = sweep(&worker, false).await;
    assert_eq!(counts.late, 0, "{without_email} is known as skipped");
}

#[sqlx::test]
async fn a_sweep_after_from_now_does_not_bring_older_contacts(pool: PgPool) {
    let mut world = World::with_people(pool, 20).await;
    world.set("POLL__FIRST_RUN", "from_now");
    let worker = settled(&world).await;

    let (counts, run) = sweep(&worker, false).await;

    assert_eq!((counts.late, run.state), (0, RunState::Done));
}

#[sqlx::test]
async fn the_schedule_requests_one_sweep_at_a_time(pool: PgPool) {
    let mut world = World::with_people(pool, 20).await;
    world.set("SWEEP__SCHEDULE", "* * * * * *");
    let daemon = world.daemon().await;
    let done = async || -> i64 {
        sqlx::query_scalar("select count(*) from sync_run where feed = 'sweep' and state = 'done'")
            .fetch_one(&world.pool)
            .await
            .unwrap_or_default()
    };
    until("everybody is in Intercom", async || live(&world) == 20).await;
    world.keap.delete(9);
    until("the deletion is noticed", async || live(&world) == 19).await;
    until("sweeps follow each other", async || done().await >= 2).await;
    daemon.stop().await.1.unwrap();
}
