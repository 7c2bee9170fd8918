//! Decisions that have become wrong before they are carried out.

use keap_intercom_sync::outcome::Decided;
use sqlx::PgPool;

use super::{decided, fate, held_for_twins, is, look};
use crate::sim::{Fault, Person, Seed, What};
use crate::world::{World, ann};

/// The contact is held again and says why, and the other candidate is not used in its place.
async fn assert_outdated(world: &World, worker: &crate::world::Worker, id: i64, why: &str) {
    let held = world.only_held(id).await;
    assert_eq!(held.code, "decision_outdated");
    assert!(held.reason.contains(why), "{}", held.reason);
    assert_eq!(fate(worker, id).await, is("use", false, Some("void")));
    assert_eq!(world.writes(), 0, "{:?}", world.intercom.kinds());
}

#[sqlx::test]
async fn a_candidate_that_was_archived_since_is_not_replaced_by_the_other_one(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, other]) = held_for_twins(&world).await;
    decided(&worker, id, Decided::Use, Some(&one)).await;
    world.intercom.archive(&one);
    world.intercom.reindex_now();

    look(&worker).await;

    assert_outdated(&world, &worker, id, "was archived, merged or deleted").await;
    // Whoever tries it again leaves it to the rules.
    decided(&worker, id, Decided::Retry, None).await;
    look(&worker).await;
    assert_eq!(world.user(id).id, other);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_candidate_that_was_merged_since_is_followed(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, _]) = held_for_twins(&world).await;
    let survivor = world.intercom.add_user(Seed::with_email("ann.lee@example.org"));
    decided(&worker, id, Decided::Use, Some(&one)).await;
    world.intercom.merge(&one, &survivor);

    look(&worker).await;

    assert_eq!(world.user(id).id, survivor);
    assert_eq!(super::due_and_held(&world).await, (0, 0));
}

#[sqlx::test]
async fn a_candidate_that_another_contact_has_by_now_is_left_to_it(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, _]) = held_for_twins(&world).await;
    decided(&worker, id, Decided::Use, Some(&one)).await;
    // It gets the address of another person, who is linked to it.
    let bo = world.keap.add(Person::named("Bo", "Li").email("bo@example.org"));
    world.intercom.edit(&one, |contact| contact.email = Some("bo@example.org".into()));
    world.intercom.reindex_now();
    let wait =
        "update contact_due set due_at = now() + interval '1 hour' where keap_contact_id = $1";
    sqlx::query(wait).bind(id).execute(&world.pool).await.unwrap();
    worker.request(&[bo]).await;
    assert_eq!(world.user(bo).id, one);
    world.intercom.clear_ledger();
    world.make_retries_due().await;

    look(&worker).await;

    let why = format!("is linked to the Keap contact {bo} by now");
    assert_outdated(&world, &worker, id, &why).await;
    assert_eq!(world.user(bo).id, one);
}

#[sqlx::test]
async fn a_candidate_that_vanishes_between_the_look_and_the_write_makes_no_new_one(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, _]) = held_for_twins(&world).await;
    decided(&worker, id, Decided::Use, Some(&one)).await;
    let (intercom, gone) = (world.intercom.clone(), one.clone());
    world.intercom.fault(Fault::on("update").what(What::run(move |_| intercom.archive(&gone))));

    look(&worker).await;

    assert_eq!(world.only_held(id).await.code, "decision_outdated");
    assert_eq!(world.intercom.count("create"), 0);
}

#[sqlx::test]
async fn a_chosen_contact_that_is_deleted_long_after_is_replaced_by_the_rules(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, other]) = held_for_twins(&world).await;
    decided(&worker, id, Decided::Use, Some(&one)).await;
    look(&worker).await;
    assert_eq!(world.user(id).id, one);

    sqlx::query("delete from contact_link").execute(&world.pool).await.unwrap();
    world.intercom.delete(&one);
    world.intercom.clock().advance_ms(8 * 86_400_000);
    world.intercom.reindex_now();
    worker.request(&[id]).await;

    assert_eq!(world.user(id).id, other);
    assert_eq!(fate(&worker, id).await, is("use", true, Some("void")));
}

#[sqlx::test]
async fn a_remote_that_fails_changes_no_decision(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, _]) = held_for_twins(&world).await;
    decided(&worker, id, Decided::Use, Some(&one)).await;
    world.intercom.fault(Fault::on("read").key(one.clone()).times(2).what(What::status(500)));

    worker.work_off().await;

    assert_eq!(world.user(id).id, one);
    assert_eq!(fate(&worker, id).await, is("use", true, None));
}

#[sqlx::test]
async fn a_contact_that_leaves_keap_before_its_decision_ends_it(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, _]) = held_for_twins(&world).await;
    let keeps = world.keap.add(ann().email("keeps@example.org"));
    decided(&worker, id, Decided::Use, Some(&one)).await;
    assert!(world.keap.delete(id));

    worker.work_off().await;

    assert_eq!(fate(&worker, id).await, is("use", false, Some("gone")));
    assert_eq!(super::due_and_held(&world).await, (0, 0));
    assert!(world.keap.person(keeps).is_some());
    assert_eq!(world.writes(), 0);
}
