//! E-mail addresses that are missing, cleared, invalid, shared or passed on.

use sqlx::PgPool;

use crate::sim::{Person, Seed};
use crate::world::{World, ann};

#[sqlx::test]
async fn a_contact_without_an_email_is_logged_once_per_change(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(Person::named("No", "Mail"));
    let bad = world.keap.add(Person::named("Bad", "Mail").email("not an address"));
    let worker = world.worker().await;

    worker.sync().await;
    worker.backfill().await;
    for id in [id, bad] {
        let lines = world.log_of(id).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0].sync_status, "skipped");
        assert!(lines[0].error_message.as_deref().unwrap().starts_with("no_email"));
    }
    assert_eq!(world.intercom.calls(), 0);

    world.keap.clock().advance_ms(5_000);
    world.keap.touch(id);
    worker.sync().await;
    assert_eq!(world.log_of(id).await.len(), 2);

    world.keap.edit(id, |person| person.emails.push(("EMAIL1".into(), "here@example.org".into())));
    worker.sync().await;
    assert_eq!(world.user(id).email.as_deref(), Some("here@example.org"));
}

// F58
#[sqlx::test]
async fn a_cleared_email_is_cleared_in_intercom_and_an_invalid_one_changes_nothing_there(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let (cleared, invalid) = (
        world.keap.add(ann()),
        world.keap.add(Person::named("Bob", "Lee").email("bob@example.org")),
    );
    world.sync().await;
    world.keap.edit(cleared, |person| person.emails.clear());
    world.keap.edit(invalid, |person| {
        person.emails[0].1 = "bob at example".into();
        person.given_name = Some("Robert".into());
    });

    world.sync().await;

    assert_eq!(world.user(cleared).email.as_deref(), Some(""));
    assert_eq!(
        (world.user(invalid).email.as_deref(), world.user(invalid).name.as_deref()),
        (Some("bob@example.org"), Some("Robert Lee"))
    );
    let line = world.log_of(invalid).await.pop().unwrap();
    assert!(
        line.sync_status == "synced" && line.error_message.unwrap().contains("not a valid address")
    );
}

#[sqlx::test]
async fn two_keap_contacts_with_one_email_are_never_one_intercom_contact(pool: PgPool) {
    let world = World::new(pool).await;
    let (first, second) = (
        world.keap.add(ann()),
        world.keap.add(Person::named("Anna", "Lee").email("ANN@example.org")),
    );
    let worker = world.worker().await;

    worker.sync().await;
    worker.work_off().await;

    world.user(first);
    let held = world.only_held(second).await;
    assert!(held.reason.starts_with(&format!("email_linked_to {first}")), "{}", held.reason);
    assert_eq!(world.intercom.live_users().len(), 1);
}

#[sqlx::test]
async fn a_linked_contact_whose_new_email_is_taken_keeps_its_intercom_contact(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.put_email_conflict = true);
    let id = world.keap.add(ann());
    world.sync().await;
    let partner = world.user(id).id;
    world.intercom.add_user(Seed::with_email("taken@example.org").external_id("999"));
    world.keap.edit(id, |person| person.emails[0].1 = "taken@example.org".into());

    world.sync().await;

    assert!(world.only_held(id).await.reason.starts_with("conflict"));
    assert_eq!(
        (world.user(id).id, world.user(id).email.as_deref().map(str::to_owned)),
        (partner, Some("ann@example.org".into()))
    );
}

#[sqlx::test]
async fn a_contact_held_for_the_email_of_a_linked_contact_waits_for_that_one(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.put_email_conflict = true);
    let (owner, id) = (
        world.keap.add(ann()),
        world.keap.add(Person::named("Bob", "Lee").email("bob@example.org")),
    );
    world.sync().await;
    let (owners, partner) = (world.user(owner).id, world.user(id).id);
    let worker = world.worker().await;
    world.keap.edit(id, |person| person.emails[0].1 = "ann@example.org".into());

    worker.sync().await;
    let held = world.only_held(id).await;
    assert!(held.reason.starts_with(&format!("email_linked_to {owner}:")), "{}", held.reason);
    assert_eq!(held.candidates, std::slice::from_ref(&owners));
    assert_eq!(world.user(id).email.as_deref(), Some("bob@example.org"));

    // An agent archives the owner's Intercom contact: it still belongs to the owner.
    world.intercom.archive(&owners);
    worker.request(&[id]).await;
    let held = world.only_held(id).await;
    assert!(held.reason.starts_with(&format!("email_linked_to {owner}:")), "{}", held.reason);
    assert_eq!(world.intercom.count("unarchive"), 0);

    // The owner gets another e-mail, which also restores its Intercom contact.
    world.keap.edit(owner, |person| person.emails[0].1 = "new@example.org".into());
    worker.sync().await;
    worker.request(&[id]).await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(id).id, partner);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_contact_held_for_an_email_gets_it_when_it_is_free(pool: PgPool) {
    let world = World::new(pool).await;
    let person = |email: &str| Person::named("Canary", "Canarysson").email(email);
    let set = |id: i64, email: Option<&str>| {
        let email = email.map(str::to_owned);
        world.keap.edit(id, move |person| {
            *person = match &email {
                Some(email) => Person::named("Canary", "Canarysson").email(email),
                None => Person::named("Canary", "Canarysson"),
            }
        });
    };
    let worker = world.worker().await;
    let owners: Vec<i64> =
        (0..3).map(|at| world.keap.add(person(&format!("canary{at}@example.com")))).collect();
    worker.sync().await;
    // Search knows the owners, and lags behind later changes.
    world.intercom.reindex_now();

    // In one poll the owner changes its e-mail, and a new contact takes the old one.
    set(owners[0], Some("moved@example.com"));
    let new = world.keap.add(person("canary0@example.com"));

    worker.sync().await;
    worker.work_off().await;
    assert_eq!(world.held().await.len(), 0);
    assert_eq!(world.user(new).email.as_deref(), Some("canary0@example.com"));

    // First a hold, released later when the owner gets another e-mail, or none.
    for (owner, email, freed) in [
        (owners[1], "canary1@example.com", Some("away@example.com")),
        (owners[2], "canary2@example.com", None),
    ] {
        let waits = world.keap.add(person(email));
        worker.sync().await;
        let held = world.only_held(waits).await;
        assert!(held.reason.starts_with(&format!("email_linked_to {owner}:")), "{}", held.reason);
        // Another change of the owner does not release the hold.
        world.keap.edit(owner, |person| person.given_name = Some("Renamed".into()));
        worker.sync().await;
        world.only_held(waits).await;
        world.intercom.reindex_now();
        set(owner, freed);
        worker.sync().await;
        worker.work_off().await;
        assert_eq!(world.held().await.len(), 0);
        assert_eq!(world.user(waits).email.as_deref(), Some(email));
    }
    world.assert_agrees();
}
