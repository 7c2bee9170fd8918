//! A contact that is created again in Keap after its deletion, and whose Intercom contact it gets.

use sqlx::PgPool;

use super::{live, settled, sweep};
use crate::sim::Standing;
use crate::sim::people::{Shape, invented};
use crate::world::{Worker, World, ann};

/// Contact 7 is deleted, and a sweep has applied the policy. Returns the id of its Intercom
/// contact.
async fn deleted(world: &World) -> (Worker, String) {
    let worker = settled(world).await;
    let intercom = world.user(7).id;
    world.intercom.reindex_now();
    assert!(world.keap.delete(7));
    sweep(&worker, false).await;
    world.intercom.clear_ledger();
    (worker, intercom)
}

/// Contact 7 is created again in Keap and gets a new id.
fn created_again(world: &World) -> i64 {
    world.keap.add(invented(6, Shape::Plain))
}

// F47
#[sqlx::test]
async fn a_contact_created_again_gets_its_archived_intercom_contact_back(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (worker, intercom) = deleted(&world).await;
    world.intercom.reindex_now();
    let new = created_again(&world);

    worker.sync().await;
    worker.work_off().await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(new).id, intercom);
    assert_eq!(world.last_action(new).await, "linked");
    assert_eq!(
        (world.intercom.count("unarchive"), world.intercom.count("archive"), live(&world)),
        (1, 0, 40)
    );
    world.assert_agrees();

    // The new contact owns the Intercom contact now: it can be deleted and created again, too.
    world.keap.delete(new);
    sweep(&worker, false).await;
    assert_eq!(world.last_action(new).await, "archived");

    world.intercom.reindex_now();
    let newer = created_again(&world);
    worker.sync().await;
    worker.work_off().await;
    assert_eq!(world.user(newer).id, intercom);
    world.assert_agrees();
}

// F47
#[sqlx::test]
async fn an_archived_contact_that_search_still_shows_can_be_restored(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (worker, intercom) = deleted(&world).await;
    let new = created_again(&world);

    worker.sync().await;
    worker.work_off().await;

    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(new).id, intercom);
    assert_eq!(world.last_action(new).await, "linked");
    world.assert_agrees();
}

// F47
#[sqlx::test]
async fn a_contact_created_again_gets_its_unlinked_intercom_contact_back(pool: PgPool) {
    let mut world = World::with_people(pool, 40).await;
    world.set("SWEEP__DELETED", "unlink");
    let (worker, intercom) = deleted(&world).await;
    let new = created_again(&world);

    worker.sync().await;
    worker.work_off().await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(new).id, intercom);
    assert_eq!(world.last_action(new).await, "linked");
    assert_eq!(world.intercom.count("create"), 0);
    world.assert_agrees();

    // The same where search does not know the e-mail: only the conflict names the contact.
    world.keap.delete(new);
    sweep(&worker, false).await;
    world.keap.edit(11, |person| person.emails[0].1 = "ann@example.org".into());
    worker.sync().await;
    world.keap.delete(11);
    sweep(&worker, false).await;
    let other = world.intercom.by_external_id("11").remove(0).id;
    let newest = world.keap.add(ann());
    worker.sync().await;
    worker.work_off().await;
    assert_eq!((world.user(newest).id, world.intercom.count("create")), (other, 1));
    assert_eq!(world.last_action(newest).await, "linked");
}

// F47
#[sqlx::test]
async fn an_archived_contact_stays_with_its_owner_while_keap_has_the_owner(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (worker, intercom) = deleted(&world).await;
    world.intercom.reindex_now();
    // The former owner is in Keap again, and no list shows it yet, so it has no link.
    world.keap.knobs(|knobs| knobs.unlisted.insert(7));
    world.keap.add_with_id(7, invented(6, Shape::Plain));
    let new = created_again(&world);
    worker.sync().await;
    worker.work_off().await;
    let is_held = async || {
        let held = world.only_held(new).await;
        assert!(held.reason.starts_with("email_linked_to 7"), "{}", held.reason);
        let contact = world.intercom.contact(&intercom).unwrap();
        assert_eq!(
            (contact.standing, contact.external_id.as_deref()),
            (Standing::Archived, Some("7"))
        );
    };
    is_held().await;
    // Keap lists it again. It has no e-mail, so it gets no Intercom contact, but it is known.
    world.keap.knobs(|knobs| knobs.unlisted.clear());
    world.keap.clock().advance_ms(5_000);
    world.keap.edit(7, |person| person.emails.clear());

    worker.sync().await;
    assert_eq!(world.last_action(7).await, "skipped");
    let id = keap_intercom_sync::contact::IntercomId::new(&*intercom).unwrap();
    assert_eq!(worker.store.former_owner(&id).await.unwrap(), None);

    worker.request(&[new]).await;
    is_held().await;
    // The former owner is deleted for good: a retry gives its Intercom contact to the new one.
    world.keap.delete(7);
    sqlx::query("delete from contact_link where keap_contact_id = 7")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(worker.request(&[new]).await.linked, 1);
    assert_eq!(world.user(new).id, intercom);
    assert!(world.held().await.is_empty());
    world.assert_agrees();
}

#[sqlx::test]
async fn retention_never_changes_a_decision(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (worker, intercom) = deleted(&world).await;
    world.intercom.reindex_now();
    sqlx::query("delete from keap_intercom_sync_logs").execute(&world.pool).await.unwrap();

    let new = created_again(&world);
    worker.sync().await;
    worker.work_off().await;

    assert_eq!(world.user(new).id, intercom);
    assert!(world.held().await.is_empty());
    world.assert_agrees();
}

// F47
#[sqlx::test]
async fn an_archived_contact_of_an_unknown_owner_is_not_given_away(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (worker, intercom) = deleted(&world).await;
    // The database was lost with its former links. An external id that Keap does not know may
    // belong to another system.
    sqlx::query("delete from former_link").execute(&world.pool).await.unwrap();

    for indexed in [false, true] {
        if indexed {
            world.intercom.reindex_now();
        }
        let new = created_again(&world);
        worker.sync().await;
        worker.work_off().await;
        let held = world.only_held(new).await;
        assert!(held.reason.starts_with("external_id_taken"), "{}", held.reason);
        assert_eq!(world.intercom.contact(&intercom).unwrap().standing, Standing::Archived);
        world.keap.delete(new);
        worker.request(&[new]).await;
    }
}
