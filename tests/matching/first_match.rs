//! What a write clears: at the first match nothing, later only what Keap has shown before.

use sqlx::PgPool;

use crate::sim::{Person, Seed};
use crate::world::{World, ann};

/// A contact that has nothing but an e-mail address in Keap.
fn bare(email: &str) -> Person {
    Person::default().email(email)
}

/// Ann with another e-mail address.
fn ann_at(email: &str) -> Person {
    Person { emails: vec![("EMAIL1".into(), email.into())], ..ann() }
}

/// The same person in Intercom, where more is known.
fn known(email: &str) -> Seed {
    Seed::with_email(email).name("Ann Lee").phone("+16025550144")
}

fn name_and_phone(world: &World, id: i64) -> [Option<String>; 2] {
    let user = world.user(id);
    [user.name, user.phone]
}

fn filled() -> [Option<String>; 2] {
    [Some("Ann Lee".to_owned()), Some("+16025550144".to_owned())]
}

#[sqlx::test]
async fn the_first_match_never_wipes_what_keap_does_not_have(pool: PgPool) {
    let world = World::new(pool).await;
    // Found by search, named by a conflict, archived, and a lead.
    let search = world.intercom.add_user(known("search@example.org"));
    let conflict = world.intercom.add_user(Seed { fresh: true, ..known("conflict@example.org") });
    let archived = world.intercom.add_user(known("archived@example.org").external_id("3"));
    world.intercom.archive(&archived);
    let lead = world.intercom.add_lead(known("lead@example.org"));
    let ids = ["search", "conflict", "archived", "lead"]
        .map(|road| world.keap.add(bare(&format!("{road}@example.org"))));
    let worker = world.worker().await;

    worker.sync().await;
    worker.work_off().await;

    for (id, user) in ids.into_iter().zip([search, conflict, archived, lead]) {
        assert_eq!((world.user(id).id, name_and_phone(&world, id)), (user, filled()));
    }

    // Another change of a field that Keap has wipes nothing either.
    for id in ids {
        world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    }
    worker.sync().await;
    for id in ids {
        let [_, phone] = filled();
        assert_eq!(name_and_phone(&world, id), [Some("Anna".into()), phone], "contact {id}");
    }
}

#[sqlx::test]
async fn a_clearing_travels_once_for_what_keap_has_shown_before(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world.intercom.add_user(known("ann@example.org"));
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(world.user(id).id, user);

    world.keap.edit(id, |person| person.phones.clear());
    worker.sync().await;
    assert_eq!(world.user(id).phone, None);

    // What an agent types afterwards stays, because Keap has nothing to say about it.
    world.intercom.edit(&user, |contact| contact.phone = Some("+1000".into()));
    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    worker.sync().await;
    let expected = [Some("Anna Lee".to_owned()), Some("+1000".to_owned())];
    assert_eq!(name_and_phone(&world, id), expected);

    // Keap shows a number again, and clears it again.
    world.keap.edit(id, |person| *person = ann());
    worker.sync().await;
    world.keap.edit(id, |person| person.phones.clear());
    worker.sync().await;
    assert_eq!(world.user(id).phone, None);
}

#[sqlx::test]
async fn an_email_that_keap_cleared_by_way_of_rubbish_is_cleared(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    world.keap.edit(id, |person| person.emails[0].1 = "ask her".into());
    worker.sync().await;
    assert_eq!(world.user(id).email.as_deref(), Some("ann@example.org"));

    world.keap.edit(id, |person| person.emails.clear());
    worker.sync().await;

    assert_eq!(world.user(id).email.as_deref(), Some(""));
}

#[sqlx::test]
async fn a_contact_that_gets_its_own_back_clears_what_was_cleared_meanwhile(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    let user = world.user(id).id;
    world.intercom.archive(&user);
    world.keap.edit(id, |person| person.phones.clear());

    worker.sync().await;

    assert_eq!((world.user(id).id, world.user(id).phone), (user, None));
}

#[sqlx::test]
async fn the_new_owner_after_a_merge_wipes_nothing(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (loser, winner) = (world.keap.add(ann()), world.keap.add(bare("ann@example.org")));
    let worker = world.worker().await;
    worker.sync().await;
    worker.work_off().await;
    let user = world.user(loser).id;
    world.keap.delete(loser);

    worker.request_sweep(false).await;
    worker.sync().await;
    worker.work_off().await;

    assert_eq!((world.user(winner).id, name_and_phone(&world, winner)), (user, filled()));
}

/// A former release does not store what Keap has shown. It cleared every empty field, so a clearing
/// of a link that it wrote must travel.
#[sqlx::test]
async fn a_link_of_a_former_release_clears_as_that_release_did(pool: PgPool) {
    let world = World::new(pool).await;
    let ids = [1, 2].map(|n| world.keap.add(ann_at(&format!("{n}@example.org"))));
    let worker = world.worker().await;
    worker.sync().await;
    // The first link comes from that release. The second was written by this one while Keap had no
    // phone, and later by that release, which ran beside it.
    let run = async |sql: &'static str| {
        sqlx::query(sql).execute(&world.pool).await.unwrap();
    };
    run("update contact_link set mapping_id = null, keap_base = null, based_at = null where keap_contact_id = 1").await;
    run("update contact_link set keap_base = '', mapping_id = null, updated_at = now() where keap_contact_id = 2").await;
    for id in ids {
        world.keap.edit(id, |person| person.phones.clear());
    }

    worker.sync().await;

    for id in ids {
        assert_eq!(world.user(id).phone, None, "contact {id}");
    }
    // From then on it is known what Keap has shown.
    for id in ids {
        world.intercom.edit(&world.user(id).id, |contact| contact.phone = Some("+1000".into()));
        world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    }
    worker.sync().await;
    for id in ids {
        assert_eq!(world.user(id).phone.as_deref(), Some("+1000"), "contact {id}");
    }
}

#[sqlx::test]
async fn no_base_is_a_value_and_equal_values_of_two_contacts_do_not_show(pool: PgPool) {
    let world = World::new(pool).await;
    for email in ["one@example.org", "two@example.org"] {
        world.keap.add(ann_at(email));
    }

    world.sync().await;

    let bases: Vec<(i32, Vec<u8>)> =
        sqlx::query_as("select mapping_id, keap_base from contact_link order by keap_contact_id")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let [(mapping, one), (other_mapping, other)] = bases.as_slice() else {
        panic!("two links: {bases:?}");
    };
    assert_eq!((mapping, one.len(), other.len()), (other_mapping, 24, 24));
    // The name and the phone of both are equal.
    assert!(one.chunks(8).zip(other.chunks(8)).all(|(one, other)| one != other));
    let fields: Vec<String> =
        sqlx::query_scalar("select fields from sync_mapping").fetch_one(&world.pool).await.unwrap();
    assert_eq!(fields, ["email", "name", "phone"]);
}
