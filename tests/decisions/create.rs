//! *Create a new one*.

use keap_intercom_sync::outcome::Decided;
use sqlx::PgPool;

use super::{decided, fate, held_for_twins, is, look};
use crate::process::{Process, world as canary_world};
use crate::sim::{EmailConflict, Fault, Seed};
use crate::world::{World, ann, until};

#[sqlx::test]
async fn the_new_contact_has_the_email_where_intercom_takes_it_a_second_time(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, twins) = held_for_twins(&world).await;
    world.intercom.knobs(|knobs| {
        knobs.email_conflict_with_new_external_id = EmailConflict::Allow;
    });

    decided(&worker, id, Decided::Create, None).await;
    look(&worker).await;

    let user = world.user(id);
    assert!(!twins.contains(&user.id));
    assert_eq!(user.email.as_deref(), Some("ann@example.org"));
    assert_eq!(world.intercom.calls(), 1, "{:?}", world.intercom.kinds());
    assert_eq!(fate(&worker, id).await, is("create", true, None));
    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    assert_eq!(worker.request(&[id]).await.updated, 1);
    assert_eq!(world.user(id).name.as_deref(), Some("Anna Lee"));
}

/// Intercom refuses the e-mail address a second time. `nameless`: its 409 names nobody.
/// `put_conflict`: it refuses the address of an update, too.
async fn without_email(pool: PgPool, nameless: bool, put_conflict: bool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| {
        knobs.conflict_without_id = nameless;
        knobs.put_email_conflict = put_conflict;
    });
    let (worker, id, twins) = held_for_twins(&world).await;

    decided(&worker, id, Decided::Create, None).await;
    look(&worker).await;

    let user = world.user(id);
    assert!(!twins.contains(&user.id));
    assert_eq!((user.email, user.name.as_deref()), (None, Some("Ann Lee")));
    assert_eq!(world.intercom.count("create"), 2);
    assert_eq!(world.intercom.count("search"), 0);
    assert_eq!(fate(&worker, id).await, is("create", true, None));
    assert_eq!(super::due_and_held(&world).await, (0, 0));

    // The next changes arrive, with or without the address.
    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    assert_eq!(worker.request(&[id]).await.updated, 1);
    let user = world.user(id);
    assert_eq!(user.name.as_deref(), Some("Anna Lee"));
    assert_eq!(user.email.is_none(), put_conflict);
    assert_eq!(super::due_and_held(&world).await, (0, 0));
}

#[sqlx::test]
async fn the_new_contact_has_no_email_where_intercom_refuses_it(pool: PgPool) {
    without_email(pool, false, false).await;
}

#[sqlx::test]
async fn the_new_contact_has_no_email_where_the_refusal_names_nobody(pool: PgPool) {
    without_email(pool, true, false).await;
}

#[sqlx::test]
async fn the_new_contact_stays_in_step_where_updates_are_refused_too(pool: PgPool) {
    without_email(pool, false, true).await;
}

#[sqlx::test]
async fn the_new_contact_stays_in_step_where_nameless_updates_are_refused(pool: PgPool) {
    without_email(pool, true, true).await;
}

#[sqlx::test]
async fn an_intercom_contact_that_is_ours_already_is_linked_and_not_doubled(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, _) = held_for_twins(&world).await;
    // Somebody makes it by hand meanwhile.
    let own = Seed::with_email("old@example.org").name("Ann Lee").external_id(id.to_string());
    let own = world.intercom.add_user(own);

    decided(&worker, id, Decided::Create, None).await;
    look(&worker).await;

    let user = world.user(id);
    assert_eq!((user.id, user.email.as_deref()), (own, Some("ann@example.org")));
    assert_eq!(world.intercom.count("create"), 1);
    assert_eq!(fate(&worker, id).await, is("create", true, None));
}

#[sqlx::test]
async fn a_contact_that_somebody_deletes_again_and_again_is_created_once_more(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    for given_name in ["Anna", "Annie"] {
        world.intercom.delete(&world.user(id).id);
        // The deletion is complete: nothing is in the way of a new one.
        world.intercom.clock().advance_ms(8 * 86_400_000);
        world.intercom.reindex_now();
        world.keap.edit(id, |person| person.given_name = Some(given_name.into()));
        worker.request(&[id]).await;
    }
    assert_eq!(world.only_held(id).await.code, "deleted_again");

    decided(&worker, id, Decided::Create, None).await;
    look(&worker).await;

    assert_eq!(world.user(id).name.as_deref(), Some("Annie Lee"));
    assert_eq!(super::due_and_held(&world).await, (0, 0));
    world.assert_agrees();
}

#[sqlx::test]
async fn a_kill_after_the_create_makes_no_second_one(pool: PgPool) {
    let world = canary_world(pool, 3).await;
    let email = world.keap.person(2).unwrap().first_email().unwrap().to_owned();
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email(&email));
    }
    world.sync().await;
    world.only_held(2).await;
    let worker = world.worker().await;
    decided(&worker, 2, Decided::Create, None).await;
    worker.stop().await;

    // The first create is refused because of the address; the second one is carried out.
    let daemon = Process::daemon(&world);
    world.intercom.fault(Fault::on("create").nth(2).what(daemon.target().dies_after()));
    daemon.died().await;
    let other = Process::daemon(&world);
    until("it is carried out", async || {
        let done: i64 =
            sqlx::query_scalar("select count(*) from contact_decision where done_at is not null")
                .fetch_one(&world.pool)
                .await
                .unwrap();
        done == 1
    })
    .await;
    other.stop().await;

    assert!(world.user(2).is_live(), "exactly one");
    assert_eq!(world.intercom.live_users().len(), 5);
    assert_eq!(super::due_and_held(&world).await.1, 0);
}
