//! Intercom contacts that are archived or deleted for good.

use sqlx::PgPool;

use crate::sim::{Seed, Standing};
use crate::world::{World, ann};

// F47
#[sqlx::test]
async fn an_archived_contact_is_restored_by_one_call(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world.intercom.add_user(Seed::with_email("ann@example.org").external_id("1"));
    world.intercom.archive(&user);
    world.intercom.reindex_now();
    let id = world.keap.add(ann());

    world.sync().await;

    assert_eq!(world.user(id).id, user);
    assert_eq!(
        (
            world.intercom.count("create"),
            world.intercom.count("unarchive"),
            world.intercom.count("update")
        ),
        (1, 1, 1)
    );
}

#[sqlx::test]
async fn an_archived_contact_stays_archived_when_the_setting_says_so(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("SYNC__UNARCHIVE", "false");
    let user = world.intercom.add_user(Seed::with_email("ann@example.org").external_id("1"));
    world.intercom.archive(&user);
    world.intercom.reindex_now();
    let id = world.keap.add(ann());

    world.sync().await;

    let held = world.only_held(id).await;
    assert!(held.reason.starts_with("archived") && held.candidates == [user], "{held:?}");
    assert_eq!(world.intercom.count("unarchive"), 0);
}

#[sqlx::test]
async fn an_archived_contact_of_another_owner_is_archived_again(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world.intercom.add_user(Seed::with_email("ann@example.org").external_id("999"));
    world.intercom.archive(&user);
    world.intercom.reindex_now();
    let id = world.keap.add(ann());

    world.sync().await;

    assert!(world.only_held(id).await.reason.starts_with("external_id_taken"));
    assert_eq!(world.intercom.contact(&user).unwrap().standing, Standing::Archived);
}

// F48
#[sqlx::test]
async fn an_archived_contact_that_cannot_be_restored_is_held_and_the_others_are_synced(
    pool: PgPool,
) {
    let world = World::with_people(pool, 10).await;
    let user = world.intercom.add_user(Seed::with_email("gone@example.org").external_id("4"));
    world.intercom.delete(&user);
    world.intercom.reindex_now();

    world.sync().await;

    assert!(world.only_held(4).await.reason.starts_with("not_restorable"));
    assert_eq!(world.intercom.live_users().len(), 9);
}

#[sqlx::test]
async fn a_linked_contact_that_was_archived_is_restored(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    world.sync().await;
    let user = world.user(id).id;
    world.intercom.archive(&user);
    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));

    world.sync().await;

    assert_eq!(world.user(id).id, user);
    assert_eq!(world.intercom.live_users().len(), 1);
}
