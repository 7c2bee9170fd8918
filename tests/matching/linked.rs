//! Linked contacts whose Intercom contact was merged, deleted or edited.

use sqlx::PgPool;

use crate::sim::Seed;
use crate::world::{World, ann};

// F51
#[sqlx::test]
async fn a_linked_contact_that_was_merged_is_followed_to_the_survivor(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    world.sync().await;
    let (old, survivor) =
        (world.user(id).id, world.intercom.add_user(Seed::with_email("ann.other@example.org")));
    world.intercom.merge(&old, &survivor);
    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));

    world.sync().await;

    assert_eq!(world.user(id).id, survivor);
    assert_eq!(world.user(id).name.as_deref(), Some("Anna Lee"));
}

// F52
#[sqlx::test]
async fn a_linked_contact_that_was_deleted_is_created_once_more_and_then_held(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.search_lag_ms = 0);
    let id = world.keap.add(ann());
    world.sync().await;
    let delete_for_good = |world: &World| {
        let user = world.user(id).id;
        // Deleted for good: neither its external id nor its e-mail causes a conflict.
        world.intercom.edit(&user, |contact| {
            (contact.external_id, contact.email) =
                (None, Some(format!("{}@gone.example", contact.id)));
        });
        world.intercom.archive(&user);
    };
    delete_for_good(&world);
    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));

    world.sync().await;
    assert_eq!(world.user(id).name.as_deref(), Some("Anna Lee"));

    delete_for_good(&world);
    world.keap.edit(id, |person| person.given_name = Some("Annabel".into()));
    world.sync().await;
    assert!(world.only_held(id).await.reason.starts_with("deleted_again"));
    assert!(world.intercom.by_external_id(&id.to_string()).is_empty());
}

// F59
#[sqlx::test]
async fn an_edit_by_an_agent_stays_until_keap_changes(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    world.sync().await;
    world.intercom.edit(&world.user(id).id, |contact| contact.phone = Some("+1000".into()));
    world.intercom.clear_ledger();
    world.keap.touch(id);
    let worker = world.worker().await;

    worker.sync().await;

    assert_eq!((world.intercom.calls(), world.user(id).phone.as_deref()), (0, Some("+1000")));
}
