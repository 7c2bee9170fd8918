//! An Intercom user that carries a Keap id as its external id: is it the same person?

use sqlx::PgPool;

use super::recheck_now;
use crate::process::command;
use crate::sim::{Person, Seed, Standing, StoredContact};
use crate::world::{World, ann};

/// A user of another program. Its external id is this Keap id, and nothing else agrees.
fn stranger(id: i64) -> Seed {
    Seed::with_email(&format!("stranger.{id}@elsewhere.example"))
        .name("Someone Else")
        .phone("+15550009999")
        .external_id(id.to_string())
}

fn person(id: i64) -> Person {
    Person::named("Ann", &format!("Lee{id}")).email(&format!("ann.{id}@example.org"))
}

/// What an agent sees of a contact, whatever its standing.
fn seen(contact: &StoredContact) -> [Option<&str>; 4] {
    [&contact.external_id, &contact.email, &contact.name, &contact.phone].map(|one| one.as_deref())
}

#[sqlx::test]
async fn a_stranger_with_the_same_number_is_held_and_never_touched(pool: PgPool) {
    let world = World::new(pool).await;
    // One contact for each road on which the stranger is found.
    let [search, conflict, archived] = [1, 2, 3];
    let users = [
        world.intercom.add_user(stranger(search)),
        world.intercom.add_user(Seed { fresh: true, ..stranger(conflict) }),
        world.intercom.add_user(stranger(archived)),
    ];
    world.intercom.archive(&users[2]);
    let before = users.clone().map(|id| world.intercom.contact(&id).unwrap());
    let ids = [search, conflict, archived].map(|id| world.keap.add(person(id)));
    assert_eq!(ids, [search, conflict, archived]);

    world.sync().await;

    let held = world.held().await;
    assert_eq!(held.len(), 3, "{held:?}");
    for (one, user) in ids.iter().zip(&users) {
        let held = held.iter().find(|held| held.keap_contact_id == *one).unwrap();
        assert!(held.reason.starts_with("external_id_unproven:"), "{}", held.reason);
        assert_eq!(held.candidates, std::slice::from_ref(user));
    }
    for before in before {
        let after = world.intercom.contact(&before.id).unwrap();
        assert_eq!((seen(&after), after.standing), (seen(&before), before.standing));
    }
    assert_eq!(world.intercom.contact(&users[2]).unwrap().standing, Standing::Archived);
}

#[sqlx::test]
async fn a_conflict_that_names_nobody_proves_nothing_either(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.conflict_without_id = true);
    let user = world.intercom.add_user(Seed { fresh: true, ..stranger(1) });
    let id = world.keap.add(person(1));

    world.sync().await;

    assert!(world.only_held(id).await.reason.starts_with("external_id_unproven:"));
    assert_eq!(world.intercom.contact(&user).unwrap().name.as_deref(), Some("Someone Else"));
}

#[sqlx::test]
async fn an_equal_external_id_counts_where_email_name_or_phone_agrees(pool: PgPool) {
    let world = World::new(pool).await;
    let users = [
        stranger(1).name("ANN  LEE1"),
        stranger(2).phone("602 555 0102"),
        Seed { email: Some("ANN.3@Example.org".into()), ..stranger(3) },
    ]
    .map(|seed| world.intercom.add_user(seed));
    for id in 1..=3 {
        let e164 = format!("+160255501{id:02}");
        world.keap.add(person(id).phone(&format!("(602) 555-01{id:02}"), Some(&e164)));
    }

    world.sync().await;

    for (id, user) in (1..).zip(users) {
        assert_eq!(world.user(id).id, user);
    }
    world.assert_agrees();
}

#[sqlx::test]
async fn a_user_that_shows_nothing_but_the_number_is_held_too(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.add_user(Seed::default().external_id("1"));
    let id = world.keap.add(ann());

    world.sync().await;

    assert!(world.only_held(id).await.reason.starts_with("external_id_unproven:"));
}

#[sqlx::test]
async fn the_hold_ends_by_itself_when_the_two_agree_or_the_stranger_goes(pool: PgPool) {
    let world = World::new(pool).await;
    let users = [1, 2, 3, 4].map(|id| world.intercom.add_user(stranger(id)));
    let ids = [1, 2, 3, 4].map(|id| world.keap.add(person(id)));
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(world.held().await.len(), 4);

    // An agent corrects the name of the first and the number of the second. The third is deleted
    // for good. The fourth is corrected in Keap.
    world.intercom.edit(&users[0], |contact| contact.name = Some("Ann Lee1".into()));
    world.intercom.edit(&users[1], |contact| contact.external_id = Some("app-2".into()));
    world.intercom.edit(&users[2], |contact| contact.external_id = None);
    world.intercom.delete(&users[2]);
    world.keap.edit(ids[3], |person| person.emails[0].1 = "stranger.4@elsewhere.example".into());
    recheck_now(&world).await;
    worker.sync().await;
    worker.work_off().await;

    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!((world.user(1).id, world.user(4).id), (users[0].clone(), users[3].clone()));
    assert_ne!(world.user(2).id, users[1]);
    let left = world.intercom.contact(&users[1]).unwrap();
    assert_eq!(left.external_id.as_deref(), Some("app-2"));
    assert_eq!(left.name.as_deref(), Some("Someone Else"));
}

/// Each case: how the users are at first, the reason of the hold, and what a person does about it
/// in Intercom. Nothing changes in Keap.
#[sqlx::test]
async fn every_hold_that_a_person_ends_in_intercom_ends_by_itself(pool: PgPool) {
    let world = World::new(pool).await;
    let [taken, several, other] = [1, 2, 3].map(|id| world.keap.add(person(id)));
    let address = |id: i64| world.keap.person(id).unwrap().first_email().unwrap().to_owned();
    let with = |id: i64| Seed::with_email(&address(id));
    let carries = world.intercom.add_user(with(taken).external_id("app-1"));
    let twice = [0, 1].map(|_| world.intercom.add_user(with(several)));
    let number = world.intercom.add_user(with(other).external_id("900001"));
    let worker = world.worker().await;
    worker.sync().await;
    let codes: Vec<String> = world.held().await.into_iter().map(|held| held.code).collect();
    assert_eq!(codes, ["external_id_taken", "several_users", "external_id_taken"]);

    world.intercom.edit(&carries, |contact| contact.external_id = None);
    world.intercom.archive(&twice[1]);
    world.intercom.edit(&number, |contact| contact.email = Some("new@elsewhere.example".into()));
    world.intercom.reindex_now();
    recheck_now(&world).await;
    worker.sync().await;
    worker.work_off().await;

    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!((world.user(taken).id, world.user(several).id), (carries, twice[0].clone()));
    assert_ne!(world.user(other).id, number);
}

#[sqlx::test]
async fn a_hold_is_looked_at_again_ever_more_seldom_and_is_logged_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.add_user(stranger(1));
    let id = world.keap.add(person(1));
    let worker = world.worker().await;
    worker.sync().await;
    let wait = async || -> f64 {
        let sql = "select extract(epoch from recheck_at - now())::float8 from contact_hold";
        sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
    };
    assert!((5.0..=15.0).contains(&wait().await), "{}", wait().await);
    world.intercom.clear_ledger();

    // Before its time, a poll does not look at it.
    worker.sync().await;
    assert_eq!(world.intercom.calls(), 0);

    sqlx::query("update contact_hold set held_at = now() - interval '1 hour'")
        .execute(&world.pool)
        .await
        .unwrap();
    recheck_now(&world).await;
    worker.sync().await;

    assert!(world.only_held(id).await.reason.starts_with("external_id_unproven:"));
    assert!((3000.0..=3660.0).contains(&wait().await), "{}", wait().await);
    assert_eq!(world.log_of(id).await.len(), 1, "it ends as before, so it is not logged again");
    // The person who asks gets an answer.
    worker.request(&[id]).await;
    assert_eq!(world.log_of(id).await.len(), 2);
}

#[sqlx::test]
async fn the_ids_of_the_former_worker_can_be_trusted_by_a_setting(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("MATCH__TRUST_EXTERNAL_ID", "true");
    let user = world.intercom.add_user(stranger(1));
    let id = world.keap.add(person(1).phone("(602) 555-0101", Some("+16025550101")));

    world.sync().await;

    assert_eq!(world.user(id).id, user);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_linked_contact_gets_its_own_back_though_nothing_agrees_any_more(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    world.sync().await;
    let user = world.user(id).id;
    world.intercom.archive(&user);
    let other = Person::named("Berta", "Moss").email("b@example.org").phone("5553003", None);
    world.keap.edit(id, |person| *person = other.clone());

    world.sync().await;

    assert_eq!(world.user(id).id, user);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_former_link_proves_it_though_nothing_agrees_any_more(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = world.worker().await;
    worker.sync().await;
    let user = world.user(7).id;
    world.keap.delete(7);
    worker.request_sweep(false).await;
    worker.sync().await;
    assert_eq!(world.intercom.contact(&user).unwrap().standing, Standing::Archived);

    world.keap.add_with_id(7, Person::named("Berta", "Moss").email("b@example.org"));
    worker.sync().await;
    worker.work_off().await;

    assert_eq!(world.user(7).id, user);
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
}

#[sqlx::test]
async fn check_counts_equal_external_ids_that_agree_and_that_do_not(pool: PgPool) {
    let mut world = crate::process::world(pool, 40).await;
    world.set("RUST_LOG", "off");
    for id in 1..=5 {
        let email = world.keap.person(id).unwrap().first_email().unwrap().to_owned();
        world.intercom.add_user(Seed::with_email(&email).external_id(id.to_string()));
    }
    for id in 6..=7 {
        world.intercom.add_user(stranger(id));
    }

    let ended = command(&world, &["check"]).await.expect(0);

    let line = ended.stdout.lines().find(|line| line.starts_with("✓ matching")).unwrap();
    let counts = "of 40 contacts of Keap, Intercom has 7 by external id: 5 agree in e-mail, name or phone, 2 do not";
    assert!(line.contains(counts) && line.contains("match.trust_external_id"), "{line}");
    assert_eq!((world.keap.count("list"), world.intercom.count("search")), (1, 3));
    assert_eq!(world.writes(), 0);
}
