//! The sweep reads stamps: it finds changes that Keap showed too late for every poll.

use keap_intercom_sync::store::RunState;
use sqlx::PgPool;

use super::{settled, sweep};
use crate::sim::{Person, Seed};
use crate::world::{Worker, World, ann};

/// Changes a contact so that Keap shows it half an hour later. Meanwhile the polls move on.
async fn change_late(
    world: &World,
    worker: Worker,
    id: i64,
    edit: impl FnOnce(&mut Person),
) -> Worker {
    world.keap.knobs(|knobs| knobs.visibility_delay_ms = 1_800_000);
    world.keap.edit(id, edit);
    world.keap.knobs(|knobs| knobs.visibility_delay_ms = 0);
    world.keap.clock().advance_ms(60_000);
    world.keap.edit(4, |person| person.given_name = Some("Moved".into()));
    worker.stop().await;
    let worker = settled(world).await;
    world.keap.clock().advance_ms(1_800_000);
    worker.sync().await;
    worker
}

/// One sweep finds one late change; the next one finds nothing and costs one call a page.
async fn assert_found_once(world: &World, worker: &Worker) {
    let (counts, run) = sweep(worker, false).await;
    assert_eq!((counts.late, run.counts.late, run.state), (1, 1, RunState::Done), "{counts:?}");
    worker.work_off().await;

    world.keap.clear_ledger();
    world.intercom.clear_ledger();
    let (counts, _) = sweep(worker, false).await;
    worker.work_off().await;
    assert_eq!(counts.late, 0);
    // A page, and two empty answers at the end.
    assert!(world.keap.calls() <= 3, "{}", world.keap.calls());
    assert_eq!((world.keap.count("read"), world.intercom.calls()), (0, 0));
}

// F12
#[sqlx::test]
async fn a_known_contact_that_changes_too_late_for_every_poll_is_found_by_the_sweep(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = settled(&world).await;
    let worker =
        change_late(&world, worker, 9, |person| person.given_name = Some("Late".into())).await;
    assert!(world.user(9).name.is_some_and(|name| !name.starts_with("Late")), "no poll finds it");

    assert_found_once(&world, &worker).await;

    assert_eq!(world.user(9).name.as_deref().map(|name| name.starts_with("Late")), Some(true));
    world.assert_agrees();
}

// F12
#[sqlx::test]
async fn a_skipped_contact_that_changes_too_late_for_every_poll_is_found_by_the_sweep(
    pool: PgPool,
) {
    let world = World::with_people(pool, 40).await;
    let id = world.keap.add(Person::named("No", "Mail"));
    let worker = settled(&world).await;
    let worker = change_late(&world, worker, id, |person| *person = ann()).await;
    assert!(world.intercom.by_external_id(&id.to_string()).is_empty(), "no poll finds it");

    assert_found_once(&world, &worker).await;

    assert_eq!(world.user(id).name.as_deref(), Some("Ann Lee"));
    world.assert_agrees();
}

// F12
#[sqlx::test]
async fn a_held_contact_that_changes_too_late_for_every_poll_is_found_by_the_sweep(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email("twins@example.org"));
    }
    let id = world.keap.add(Person::named("Ann", "Lee").email("twins@example.org"));
    let worker = settled(&world).await;
    world.only_held(id).await;
    let worker = change_late(&world, worker, id, |person| *person = ann()).await;
    world.only_held(id).await;

    assert_found_once(&world, &worker).await;

    assert!(world.held().await.is_empty());
    assert_eq!(world.user(id).name.as_deref(), Some("Ann Lee"));
}

#[sqlx::test]
async fn a_known_contact_is_found_also_where_older_contacts_are_meant_to_be_unknown(pool: PgPool) {
    let mut world = World::with_people(pool, 40).await;
    world.set("POLL__FIRST_RUN", "from_now");
    let worker = settled(&world).await;
    world.keap.clock().advance_ms(60_000);
    world.keap.edit(9, |person| person.given_name = Some("Known".into()));
    worker.stop().await;
    let worker = settled(&world).await;
    let worker =
        change_late(&world, worker, 9, |person| person.given_name = Some("Late".into())).await;

    assert_found_once(&world, &worker).await;

    assert_eq!(world.user(9).name.as_deref().map(|name| name.starts_with("Late")), Some(true));
    assert_eq!(world.intercom.live_users().len(), 2, "the others stay unknown");
}

#[sqlx::test]
async fn contacts_that_only_moved_their_stamps_cost_a_sweep_nothing(pool: PgPool) {
    let mut world = World::with_people(pool, 40).await;
    world.set("KEAP__PAGE_SIZE", "20");
    let worker = settled(&world).await;
    world.keap.clock().advance_ms(60_000);
    for id in 1..=40 {
        world.keap.touch(id);
    }
    worker.stop().await;
    let worker = settled(&world).await;

    let (counts, _) = sweep(&worker, false).await;
    worker.work_off().await;

    assert_eq!(counts.late, 0, "{counts:?}");
    assert_eq!((world.keap.count("read"), world.intercom.calls()), (0, 0));
    assert!(world.keap.calls() <= 4, "two pages and the end: {}", world.keap.calls());
}

/// A hold of a former release has no stamp. The upgrade looks at none of them again.
#[sqlx::test]
async fn a_hold_without_a_stamp_takes_the_listed_one_and_is_left_alone(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email("twins@example.org"));
    }
    let id = world.keap.add(Person::named("Ann", "Lee").email("twins@example.org"));
    let worker = settled(&world).await;
    sqlx::query("update contact_hold set keap_updated_at = null")
        .execute(&world.pool)
        .await
        .unwrap();

    let (counts, _) = sweep(&worker, false).await;

    assert_eq!((counts.late, world.store().count_due().await.unwrap().0), (0, 0));
    worker.stop().await;
    let worker = settled(&world).await;
    let worker = change_late(&world, worker, id, |person| *person = ann()).await;
    assert_found_once(&world, &worker).await;
}
