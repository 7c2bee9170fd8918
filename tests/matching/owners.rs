//! An Intercom user that belongs to another Keap contact: the hold names that contact, and ends
//! when it gives the address up.

use sqlx::PgPool;

use super::recheck_now;
use crate::sim::{Person, Seed, Standing};
use crate::world::{Worker, World, ann};

fn named(id: i64) -> String {
    format!("email_linked_to {id}:")
}

async fn assert_held_for(world: &World, id: i64, owner: i64) {
    let held = world.only_held(id).await;
    assert!(held.reason.starts_with(&named(owner)), "{}", held.reason);
}

async fn settle(worker: &Worker) {
    worker.sync().await;
    worker.work_off().await;
}

/// A contact that has no e-mail address in Keap, so that it is never synced, and the Intercom user
/// with its id, which has Ann's address.
fn with_the_users_id(world: &World, fresh: bool) -> (i64, String) {
    let owner = world.keap.add(Person::named("Owner", "Nomail"));
    let seed = Seed::with_email("ann@example.org").external_id(owner.to_string());
    (owner, world.intercom.add_user(Seed { fresh, ..seed }))
}

#[sqlx::test]
async fn the_hold_names_the_keap_contact_whose_id_the_user_carries(pool: PgPool) {
    let world = World::new(pool).await;
    let (owner, _) = with_the_users_id(&world, false);
    let id = world.keap.add(ann());

    world.sync().await;

    assert_held_for(&world, id, owner).await;
    assert_eq!(world.writes(), 0);
}

#[sqlx::test]
async fn a_conflict_leads_to_the_same_hold(pool: PgPool) {
    let world = World::new(pool).await;
    let (owner, _) = with_the_users_id(&world, true);
    let id = world.keap.add(ann());

    world.sync().await;

    assert_held_for(&world, id, owner).await;
}

#[sqlx::test]
async fn an_archived_user_leads_to_the_same_hold_and_stays_archived(pool: PgPool) {
    let world = World::new(pool).await;
    let (owner, user) = with_the_users_id(&world, false);
    world.intercom.archive(&user);
    world.intercom.reindex_now();
    let id = world.keap.add(ann());

    world.sync().await;

    assert_held_for(&world, id, owner).await;
    assert_eq!(world.intercom.contact(&user).unwrap().standing, Standing::Archived);
}

#[sqlx::test]
async fn an_archived_user_of_a_linked_contact_is_not_even_looked_at(pool: PgPool) {
    let world = World::new(pool).await;
    let owner = world.keap.add(Person::named("Owner", "Lee").email("owner@example.org"));
    let worker = world.worker().await;
    worker.sync().await;
    // An agent gives it Ann's address and archives it.
    let user = world.user(owner).id;
    world.intercom.edit(&user, |contact| contact.email = Some("ann@example.org".into()));
    world.intercom.archive(&user);
    world.intercom.reindex_now();
    let id = world.keap.add(ann());

    settle(&worker).await;

    assert_held_for(&world, id, owner).await;
    assert_eq!(world.intercom.count("unarchive"), 0);
}

#[sqlx::test]
async fn many_users_of_another_program_cost_few_calls_to_keap(pool: PgPool) {
    let world = World::with_people(pool, 200).await;
    for id in 1..=200 {
        let email = world.keap.person(id).unwrap().first_email().unwrap().to_owned();
        world.intercom.add_user(Seed::with_email(&email).external_id((900_000 + id).to_string()));
    }

    world.sync().await;

    let held = world.held().await;
    assert_eq!(held.len(), 200);
    assert!(held.iter().all(|one| one.reason.starts_with("external_id_taken:")));
    // A list of all these ids, and a few single reads: the list leaves them all out.
    assert!(world.keap.calls() <= 20, "{:?}", world.keap.kinds());
}

#[sqlx::test]
async fn the_hold_ends_when_an_unsynced_owner_gives_the_user_up(pool: PgPool) {
    let world = World::new(pool).await;
    let (owner, user) = with_the_users_id(&world, false);
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    assert_held_for(&world, id, owner).await;

    // An agent corrects the address of the user.
    world.intercom.edit(&user, |contact| contact.email = Some("owner@example.org".into()));
    recheck_now(&world).await;
    settle(&worker).await;

    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(id).email.as_deref(), Some("ann@example.org"));
}

#[sqlx::test]
async fn a_sweep_looks_again_when_an_unsynced_owner_is_deleted(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (owner, _) = with_the_users_id(&world, false);
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    assert_held_for(&world, id, owner).await;

    world.keap.delete(owner);
    worker.request_sweep(false).await;
    settle(&worker).await;

    // Nothing of ours says that the user was that contact's, so a person decides.
    assert!(world.only_held(id).await.reason.starts_with("external_id_taken:"));
}

#[sqlx::test]
async fn a_user_that_an_agent_gave_the_address_of_another_contact_is_given_back(pool: PgPool) {
    let world = World::new(pool).await;
    let owner = world.keap.add(Person::named("Owner", "Lee").email("owner@example.org"));
    let worker = world.worker().await;
    worker.sync().await;
    world.intercom.edit(&world.user(owner).id, |contact| {
        contact.email = Some("ann@example.org".into());
    });
    world.intercom.reindex_now();
    let id = world.keap.add(ann());
    settle(&worker).await;
    assert_held_for(&world, id, owner).await;

    // Any write of the owner brings its own address back.
    world.keap.edit(owner, |person| person.given_name = Some("Olga".into()));
    settle(&worker).await;

    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    world.assert_agrees();
}

#[sqlx::test]
async fn of_three_contacts_with_one_email_the_next_takes_over_and_the_last_waits_for_it(
    pool: PgPool,
) {
    let world = World::with_people(pool, 40).await;
    let [first, second, third] = [0; 3].map(|_| world.keap.add(ann()));
    let worker = world.worker().await;
    settle(&worker).await;
    let user = world.user(first).id;
    assert_eq!(world.held().await.len(), 2);

    world.keap.delete(first);
    worker.request_sweep(false).await;
    settle(&worker).await;
    assert_eq!(world.user(second).id, user);
    assert_held_for(&world, third, second).await;

    world.keap.edit(second, |person| person.emails[0].1 = "second@example.org".into());
    settle(&worker).await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_link_that_another_contact_replaces_blocks_nobody_any_more(pool: PgPool) {
    let world = World::new(pool).await;
    let [owner, waits] = [0; 2].map(|_| world.keap.add(ann()));
    let worker = world.worker().await;
    settle(&worker).await;
    assert_held_for(&world, waits, owner).await;

    // Intercom gives the owner's user to a new contact: an agent corrected its external id and
    // address.
    let new = world.keap.add(Person::named("New", "Owner").email("new@example.org"));
    world.intercom.edit(&world.user(owner).id, |contact| {
        contact.external_id = Some(new.to_string());
        contact.email = Some("new@example.org".into());
    });
    world.intercom.reindex_now();
    settle(&worker).await;

    // The former owner is looked at again, and one of the two gets a user of its own.
    assert_eq!(world.user(new).email.as_deref(), Some("new@example.org"));
    let users = [owner, waits].map(|id| world.intercom.by_external_id(&id.to_string()).len());
    assert_eq!(users.iter().sum::<usize>(), 1, "{users:?}");
    let (holds, held) = if users[0] == 1 { (owner, waits) } else { (waits, owner) };
    assert_held_for(&world, held, holds).await;
}
