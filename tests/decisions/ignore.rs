//! *Ignore until it changes* and *ignore for good*.

use keap_intercom_sync::outcome::Decided;
use sqlx::PgPool;

use super::{decided, due_and_held, fate, held_for_twins, is, look, take_back};
use crate::sim::Seed;
use crate::world::{World, ann, keap_id};

async fn walk(worker: &crate::world::Worker) {
    let mut poll = false;
    while worker.syncer.bulk_step(&mut poll).await.unwrap() {}
}

/// A change that a poll finds.
fn change(world: &World, id: i64, given_name: &str) {
    world.keap.clock().advance_ms(5_000);
    world.keap.edit(id, |person| person.given_name = Some(given_name.into()));
}

#[sqlx::test]
async fn a_contact_that_is_ignored_for_good_costs_no_call_until_that_is_taken_back(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, _]) = held_for_twins(&world).await;
    let since = world.only_held(id).await.since;

    decided(&worker, id, Decided::Ignore, None).await;

    assert_eq!(due_and_held(&world).await, (0, 0), "nobody has to do anything");
    change(&world, id, "Anna");
    worker.sync().await;
    worker.backfill().await;
    worker.request_sweep(false).await;
    walk(&worker).await;
    assert_eq!(due_and_held(&world).await, (0, 0), "the sweep asks for nothing");
    // Its time for another look would have come, and the reason is over.
    world.intercom.archive(&one);
    world.intercom.reindex_now();
    sqlx::query("update contact_hold set recheck_at = now()").execute(&world.pool).await.unwrap();
    world.intercom.clear_ledger();
    worker.sync().await;
    worker.work_off().await;
    assert_eq!(world.intercom.calls(), 0, "{:?}", world.intercom.kinds());
    assert_eq!((due_and_held(&world).await, world.writes()), ((0, 0), 0));
    assert_eq!(fate(&worker, id).await, is("ignore", false, None));
    let logged = world.log_of(id).await.len();

    // Who asks for it by name is told.
    assert_eq!(worker.request(&[id]).await.skipped, 1);
    let log = world.log_of(id).await;
    assert_eq!(log.len(), logged + 1);
    assert!(log[logged].error_message.as_deref().unwrap().starts_with("ignored: "), "{log:?}");
    assert_eq!(due_and_held(&world).await, (0, 0));

    assert_eq!(take_back(&worker, id).await, [keap_id(id)]);
    look(&worker).await;
    assert_eq!(world.user(id).name.as_deref(), Some("Anna Lee"));
    assert_eq!(due_and_held(&world).await, (0, 0));
    assert_eq!(fate(&worker, id).await, is("ignore", false, Some("taken_back")));
    assert!(since < chrono::Utc::now());
}

#[sqlx::test]
async fn a_contact_whose_decision_is_taken_back_waits_since_the_same_time_as_before(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, _) = held_for_twins(&world).await;
    let before = world.only_held(id).await;
    decided(&worker, id, Decided::Ignore, None).await;
    assert!(world.held().await.is_empty());

    take_back(&worker, id).await;
    look(&worker).await;

    let now = world.only_held(id).await;
    assert_eq!((now.code, now.since), (before.code, before.since));
}

#[sqlx::test]
async fn a_contact_that_is_ignored_until_it_changes_is_looked_at_when_it_changes(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, _) = held_for_twins(&world).await;
    decided(&worker, id, Decided::IgnoreUntilChanged, None).await;

    worker.backfill().await;
    worker.request(&[id]).await;
    assert_eq!(world.intercom.calls(), 0, "it has not changed");
    assert_eq!(due_and_held(&world).await, (0, 0));
    assert_eq!(fate(&worker, id).await, is("ignore_until_changed", false, None));

    change(&world, id, "Anna");
    worker.sync().await;

    assert!(world.intercom.count("search") > 0);
    assert_eq!(world.only_held(id).await.code, "several_users");
    assert_eq!(fate(&worker, id).await, is("ignore_until_changed", false, Some("changed")));
}

#[sqlx::test]
async fn a_linked_contact_that_is_ignored_keeps_its_values_in_intercom(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.put_email_conflict = true);
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    world.intercom.add_user(Seed::with_email("new@example.org"));
    world.keap.edit(id, |person| person.emails[0].1 = "new@example.org".into());
    worker.request(&[id]).await;
    world.only_held(id).await;
    decided(&worker, id, Decided::Ignore, None).await;
    world.intercom.clear_ledger();

    change(&world, id, "Anna");
    worker.sync().await;

    assert_eq!(world.intercom.calls(), 0);
    assert_eq!(world.user(id).name.as_deref(), Some("Ann Lee"));
}

#[sqlx::test]
async fn a_decision_ends_when_keap_loses_the_contact(pool: PgPool) {
    // Enough others that the brake on mass changes does not apply.
    let world = World::with_people(pool, 40).await;
    let (worker, id, _) = held_for_twins(&world).await;
    decided(&worker, id, Decided::Ignore, None).await;

    assert!(world.keap.delete(id));
    worker.request_sweep(false).await;
    walk(&worker).await;
    worker.work_off().await;

    assert_eq!(fate(&worker, id).await, is("ignore", false, Some("gone")));
    let holds: i64 = sqlx::query_scalar("select count(*) from contact_hold")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(holds, 0);
}
