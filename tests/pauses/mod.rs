//! Pauses: what is paused is not written, whatever restarts meanwhile, and nothing is lost.

mod direction;
mod surfaces;

use std::time::Duration;

use keap_intercom_sync::contact::KeapId;
use keap_intercom_sync::feed::{Feed, RunReason};
use keap_intercom_sync::pause::PauseScope;
use keap_intercom_sync::store::RunState;
use serde_json::json;
use sqlx::PgPool;

use crate::http::{self, post, started};
use crate::sim::people::{Shape, invented};
use crate::world::{World, ann, until};

/// Two polls: the schedule of the tests fires once a second.
const TWO_POLLS: Duration = Duration::from_millis(2500);

pub(crate) async fn pause(world: &World, scope: &str, lets_requests: bool) {
    let scope = scope.parse().unwrap();
    let is_new = world.store().pause(scope, lets_requests, &"Ann".parse().unwrap()).await.unwrap();
    assert!(is_new);
}

pub(crate) async fn resume(world: &World) {
    let ended = world.store().resume(None, &"Ann".parse().unwrap()).await.unwrap();
    assert!(!ended.is_empty());
}

#[sqlx::test]
async fn a_pause_survives_a_restart_and_loses_nothing(pool: PgPool) {
    let world = World::with_people(pool, 3).await;
    let daemon = world.daemon().await;
    until("all are synced", async || world.intercom.count("create") == 3).await;
    pause(&world, "all", false).await;
    // The daemon hears of it; a write that was under way has its time to end.
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.intercom.clear_ledger();

    let id = world.keap.ids()[0];
    world.keap.edit(id, |person| person.set("given_name", Some("Changed")));
    let new = world.keap.add(ann());
    tokio::time::sleep(TWO_POLLS).await;
    daemon.stop().await.1.unwrap();
    let daemon = world.daemon().await;
    tokio::time::sleep(TWO_POLLS).await;

    assert_eq!(world.writes(), 0);
    resume(&world).await;
    until("what has waited is synced", async || world.writes() == 2).await;
    until("it is recorded", async || world.last_action(new).await == "created").await;
    world.assert_agrees();
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_pause_stops_a_walk_in_the_middle_of_a_page(pool: PgPool) {
    const PEOPLE: usize = 60;
    let mut world = World::with_people(pool, PEOPLE).await;
    world.set("SYNC__CONCURRENCY", 1);
    world.intercom.knobs(|knobs| knobs.latency_ms = 50);
    let daemon = world.daemon().await;
    until("the walk has begun", async || world.intercom.count("create") > 3).await;

    pause(&world, "all", false).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let written = world.intercom.count("create");
    assert!(written < PEOPLE, "the walk was over before the pause");
    tokio::time::sleep(TWO_POLLS).await;

    assert_eq!(world.intercom.count("create"), written);
    resume(&world).await;
    let linked = async || world.store().count_linked().await.unwrap();
    until("everybody is linked", async || linked().await == PEOPLE as i64).await;
    assert_eq!(world.intercom.count("create"), PEOPLE, "nobody is doubled");
    world.assert_agrees();
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_pause_may_let_requests_through(pool: PgPool) {
    let world = http::world(pool).await;
    let daemon = started(&world).await;
    let add = |n| world.keap.add(invented(n, Shape::Plain));
    let sync = async |id: i64| {
        post(&daemon, "/sync/contact?wait=25", &json!({ "keapContactId": id })).await
    };
    pause(&world, "all", true).await;
    let webhook = keap_intercom_sync::feed::DueReason::Webhook;
    let (asked, hinted) = (add(1), add(2));
    world.store().request(&[KeapId::new(hinted).unwrap()], webhook).await.unwrap();

    let reply = sync(asked).await;

    assert_eq!((reply.status, &reply.json()["action"]), (200, &json!("created")));
    tokio::time::sleep(TWO_POLLS).await;
    assert_eq!(world.intercom.count("create"), 1, "a webhook is no request of a person");

    // The same pause without the exception: the request is stored, and nobody waits for it.
    let stricter = world.store().pause(PauseScope::All, false, &"Bob".parse().unwrap()).await;
    assert!(!stricter.unwrap(), "it was paused before");
    until("the daemon knows it", async || {
        let ready = http::get(&daemon, "/ready").await.json();
        ready["checks"]["pause"]["pauses"][0]["letsRequests"] == false
    })
    .await;
    let late = add(3);
    let asked_at = std::time::Instant::now();
    let reply = sync(late).await;
    assert_eq!((reply.status, &reply.json()["action"]), (202, &json!("queued")));
    assert!(asked_at.elapsed() < Duration::from_secs(15), "{:?}", asked_at.elapsed());
    assert_eq!(world.intercom.count("create"), 1);
    resume(&world).await;
    until("both are synced", async || world.intercom.count("create") == 3).await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_feed_pauses_alone_and_its_requested_walk_waits(pool: PgPool) {
    let world = World::with_people(pool, 4).await;
    world.sync().await;
    pause(&world, "sweep", false).await;
    let worker = world.worker().await;
    let gone = world.keap.ids()[0];
    world.keap.delete(gone);
    let sweep = worker.request_sweep(true).await;
    world.keap.edit(world.keap.ids()[0], |person| person.set("given_name", Some("Changed")));
    world.intercom.clear_ledger();

    worker.sync().await;

    assert_eq!((world.intercom.count("update"), world.intercom.count("archive")), (1, 0));
    let state = async || worker.store.run(sweep).await.unwrap().unwrap().state;
    assert_eq!(state().await, RunState::Requested);
    resume(&world).await;
    worker.context().board.pauses.set(worker.store.pauses().await.unwrap());
    worker.sync().await;
    assert_eq!(state().await, RunState::Done);
    assert_eq!(world.intercom.count("archive"), 1);
    worker.stop().await;
}

#[sqlx::test]
async fn a_paused_walk_over_everything_goes_on_where_it_was(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("KEAP__PAGE_SIZE", 10);
    world.sync().await;
    let worker = world.worker().await;
    let run = worker.store.request_run(Feed::Backfill, RunReason::Manual, None).await.unwrap();
    let mut poll = false;
    worker.syncer.bulk_step(&mut poll).await.unwrap();
    let place = async || worker.store.cursor(Feed::Backfill).await.unwrap().unwrap().walk;
    let before = place().await;
    assert!(before.is_some(), "a page of three is read");

    pause(&world, "backfill", false).await;
    let read = async || worker.context().board.pauses.set(worker.store.pauses().await.unwrap());
    read().await;
    assert!(!worker.syncer.bulk_step(&mut poll).await.unwrap(), "nothing to do");
    assert_eq!(place().await.map(|walk| walk.last_id), before.map(|walk| walk.last_id));

    resume(&world).await;
    read().await;
    worker.sync().await;
    let run = worker.store.run(run).await.unwrap().unwrap();
    assert_eq!((run.state, run.counts.seen), (RunState::Done, 30), "no contact is read twice");
    worker.stop().await;
}
