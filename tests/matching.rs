//! Every case of deciding and matching, against an Intercom with a memory.

use keap_intercom_sync::store::Feed;
use sqlx::PgPool;

use crate::sim::people::{self, Shape};
use crate::sim::{EmailConflict, Fault, Person, Seed, What};
use crate::world::{World, ann};

#[sqlx::test]
async fn a_new_contact_is_created_with_the_keap_id(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(
        Person::named(" Ann", "Lee ")
            .email(" Ann@Example.ORG ")
            .phone("(602) 555-0144", Some("+16025550144")),
    );
    world.sync().await;
    let user = world.user(id);
    assert_eq!(
        (
            user.email.as_deref(),
            user.name.as_deref(),
            user.phone.as_deref()
        ),
        (
            Some("Ann@Example.ORG"),
            Some("Ann Lee"),
            Some("+16025550144")
        )
    );
    assert_eq!(world.log_of(id).await.len(), 1);
    let line = world.log_of(id).await.remove(0);
    assert_eq!(
        (
            line.sync_status.as_str(),
            line.action.as_deref(),
            line.intercom_contact_id
        ),
        ("synced", Some("created"), Some(user.id))
    );
}

#[sqlx::test]
async fn a_user_with_the_same_email_is_linked_and_updated_by_one_call(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world
        .intercom
        .add_user(Seed::with_email("ann@example.org").name("A. L."));
    let id = world.keap.add(ann());
    world.sync().await;
    assert_eq!(world.user(id).id, user);
    assert_eq!(world.user(id).name.as_deref(), Some("Ann Lee"));
    assert_eq!(world.last_action(id).await, "linked");
    assert_eq!(
        (
            world.intercom.count("search"),
            world.intercom.count("update"),
            world.intercom.calls()
        ),
        (1, 1, 2)
    );
}

#[sqlx::test]
async fn a_user_that_the_old_worker_gave_the_keap_id_is_found_by_it(pool: PgPool) {
    let world = World::new(pool).await;
    // Another e-mail by now: only the id tells.
    let user = world
        .intercom
        .add_user(Seed::with_email("old@example.org").external_id("1"));
    let id = world.keap.add(ann());
    assert_eq!(id, 1);
    world.sync().await;
    assert_eq!(
        (
            world.user(id).id,
            world.user(id).email.as_deref().map(str::to_owned)
        ),
        (user, Some("ann@example.org".to_owned()))
    );
    assert_eq!(world.intercom.count("create"), 0);
}

#[sqlx::test]
async fn where_ids_cannot_be_searched_for_the_conflict_finds_them(pool: PgPool) {
    let world = World::new(pool).await;
    world
        .intercom
        .knobs(|knobs| knobs.allow_nested_search = false);
    world
        .intercom
        .add_user(Seed::with_email("old@example.org").external_id("1"));
    let id = world.keap.add(ann());
    world.sync().await;
    assert_eq!(world.user(id).email.as_deref(), Some("ann@example.org"));
    assert_eq!(world.held().await.len(), 0);
}

#[sqlx::test]
async fn a_search_that_takes_single_values_only_is_still_a_search(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    world.intercom.knobs(|knobs| knobs.max_in_values = 1);
    let user = world.intercom.add_user(Seed::with_email(
        world.keap.person(7).unwrap().first_email().unwrap(),
    ));
    let worker = world.worker().await;
    worker.sync().await;
    worker.work_off().await;
    assert_eq!(world.user(7).id, user);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_lead_is_turned_into_a_user_by_the_same_call(pool: PgPool) {
    let world = World::new(pool).await;
    let older = world.intercom.add_lead(Seed::with_email("ann@example.org"));
    let id = world.keap.add(ann());
    world.sync().await;
    assert_eq!(world.user(id).id, older);
    assert_eq!(world.user(id).role, crate::sim::Role::User);
    assert_eq!(
        (
            world.intercom.count("create"),
            world.intercom.count("update")
        ),
        (0, 1)
    );
}

#[sqlx::test]
async fn leads_are_left_alone_when_the_setting_says_so(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("SYNC__PROMOTE_LEADS", "false");
    let lead = world.intercom.add_lead(Seed::with_email("ann@example.org"));
    let id = world.keap.add(ann());
    world.sync().await;
    assert_ne!(world.user(id).id, lead);
    assert_eq!(world.intercom.live_leads().len(), 1);
}

#[sqlx::test]
async fn f50_several_users_with_the_email_are_a_case_for_a_person(pool: PgPool) {
    let world = World::new(pool).await;
    let (one, two) = (
        world.intercom.add_user(Seed::with_email("ann@example.org")),
        world
            .intercom
            .add_user(Seed::with_email("ann@example.org").external_id("x")),
    );
    let id = world.keap.add(ann());
    world.sync().await;
    let held = world.only_held(id).await;
    assert!(held.reason.starts_with("several_users"), "{}", held.reason);
    let mut candidates = held.candidates.clone();
    candidates.sort();
    assert_eq!(candidates, [one.clone(), two]);
    assert_eq!(world.writes(), 0, "nothing is written for a held contact");
    // Held is held: neither a poll nor a backfill tries again by itself.
    let worker = world.worker().await;
    worker.backfill().await;
    assert_eq!((world.writes(), world.log_of(id).await.len()), (0, 1));
    // A person archives one; trying again links the other.
    world.intercom.archive(&one);
    world.intercom.reindex_now();
    assert_eq!(
        worker.request(&[id]).await.held,
        1,
        "the other one carries an id of somebody else's"
    );
    assert!(
        world
            .only_held(id)
            .await
            .reason
            .starts_with("external_id_taken")
    );
}

#[sqlx::test]
async fn an_external_id_of_another_contact_is_never_taken(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world
        .intercom
        .add_user(Seed::with_email("ann@example.org").external_id("999"));
    let id = world.keap.add(ann());
    world.sync().await;
    assert!(
        world
            .only_held(id)
            .await
            .reason
            .starts_with("external_id_taken")
    );
    assert_eq!(
        world
            .intercom
            .contact(&user)
            .unwrap()
            .external_id
            .as_deref(),
        Some("999")
    );
    // A hold is revived by the contact's next change.
    world.keap.clock().advance_ms(5_000);
    world
        .keap
        .edit(id, |person| person.emails[0].1 = "new@example.org".into());
    world.sync().await;
    assert_eq!(world.user(id).email.as_deref(), Some("new@example.org"));
    assert!(world.held().await.is_empty());
}

#[sqlx::test]
async fn two_keap_contacts_with_one_email_are_never_one_intercom_contact(pool: PgPool) {
    let world = World::new(pool).await;
    let (first, second) = (
        world.keap.add(ann()),
        world
            .keap
            .add(Person::named("Anna", "Lee").email("ANN@example.org")),
    );
    let worker = world.worker().await;
    worker.sync().await;
    worker.work_off().await;
    world.user(first);
    let held = world.only_held(second).await;
    assert!(
        held.reason.starts_with(&format!("email_linked_to {first}")),
        "{}",
        held.reason
    );
    assert_eq!(world.intercom.live_users().len(), 1);
}

#[sqlx::test]
async fn f04_f05_a_create_whose_answer_is_lost_makes_no_second_contact(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    // The search index lags by a minute all the while.
    world.intercom.fault(
        Fault::on("create")
            .skip(3)
            .times(4)
            .what(What::ApplyThenDrop),
    );
    let worker = world.worker().await;
    crate::world::until("everybody is recorded", async || {
        worker.try_sync().await.is_ok()
    })
    .await;
    worker.work_off().await;
    world.assert_agrees();
    assert_eq!(world.intercom.live_users().len(), 30);
    assert_eq!(world.intercom.faults_waiting(), 0);
}

#[sqlx::test]
async fn a_known_email_is_found_by_the_conflict_while_search_lags(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world.intercom.add_user(Seed {
        fresh: true,
        ..Seed::with_email("ann@example.org")
    });
    let id = world.keap.add(ann());
    world.sync().await;
    assert_eq!(world.user(id).id, user);
    assert_eq!(world.intercom.live_users().len(), 1);
    assert_eq!(world.last_action(id).await, "linked");
}

#[sqlx::test]
async fn an_intercom_that_takes_a_second_contact_for_an_email_still_has_one_per_keap_id(
    pool: PgPool,
) {
    let world = World::with_people(pool, 30).await;
    world
        .intercom
        .knobs(|knobs| knobs.email_conflict_with_new_external_id = EmailConflict::Allow);
    let indexed = world.intercom.add_user(Seed::with_email(
        world.keap.person(3).unwrap().first_email().unwrap(),
    ));
    world
        .intercom
        .fault(Fault::on("create").times(3).what(What::ApplyThenDrop));
    let worker = world.worker().await;
    crate::world::until("everybody is recorded", async || {
        worker.try_sync().await.is_ok()
    })
    .await;
    worker.work_off().await;
    world.assert_agrees();
    assert_eq!(world.user(3).id, indexed);
}

#[sqlx::test]
async fn f47_an_archived_contact_is_brought_back_by_setting_and_never_in_a_loop(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world
        .intercom
        .add_user(Seed::with_email("ann@example.org").external_id("1"));
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
async fn an_archived_contact_stays_so_when_the_setting_says_so(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("SYNC__UNARCHIVE", "false");
    let user = world
        .intercom
        .add_user(Seed::with_email("ann@example.org").external_id("1"));
    world.intercom.archive(&user);
    world.intercom.reindex_now();
    let id = world.keap.add(ann());
    world.sync().await;
    let held = world.only_held(id).await;
    assert!(
        held.reason.starts_with("archived") && held.candidates == [user],
        "{held:?}"
    );
    assert_eq!(world.intercom.count("unarchive"), 0);
}

#[sqlx::test]
async fn an_archived_contact_of_somebody_elses_goes_back_to_where_it_was(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world
        .intercom
        .add_user(Seed::with_email("ann@example.org").external_id("999"));
    world.intercom.archive(&user);
    world.intercom.reindex_now();
    let id = world.keap.add(ann());
    world.sync().await;
    assert!(
        world
            .only_held(id)
            .await
            .reason
            .starts_with("external_id_taken")
    );
    assert_eq!(
        world.intercom.contact(&user).unwrap().standing,
        crate::sim::Standing::Archived
    );
}

#[sqlx::test]
async fn f48_an_archived_contact_that_cannot_come_back_is_held_and_the_others_go_on(pool: PgPool) {
    let world = World::with_people(pool, 10).await;
    let user = world
        .intercom
        .add_user(Seed::with_email("gone@example.org").external_id("4"));
    world.intercom.delete(&user);
    world.intercom.reindex_now();
    world.sync().await;
    assert!(
        world
            .only_held(4)
            .await
            .reason
            .starts_with("not_restorable")
    );
    assert_eq!(world.intercom.live_users().len(), 9);
}

#[sqlx::test]
async fn f49_a_conflict_that_names_nobody_is_searched_for_once_and_then_held(pool: PgPool) {
    let world = World::new(pool).await;
    world
        .intercom
        .knobs(|knobs| knobs.conflict_without_id = true);
    let hidden = world.intercom.add_user(Seed {
        fresh: true,
        ..Seed::with_email("ann@example.org")
    });
    let id = world.keap.add(ann());
    world.sync().await;
    assert!(world.only_held(id).await.reason.starts_with("conflict"));
    assert_eq!(world.intercom.count("create"), 1, "never in a loop");
    // Once the index has it, trying again links it.
    world.intercom.reindex_now();
    let worker = world.worker().await;
    assert_eq!(worker.request(&[id]).await.linked, 1);
    assert_eq!(world.user(id).id, hidden);
}

#[sqlx::test]
async fn f51_a_linked_contact_that_was_merged_is_followed(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    world.sync().await;
    let (old, survivor) = (
        world.user(id).id,
        world
            .intercom
            .add_user(Seed::with_email("ann.other@example.org")),
    );
    world.intercom.merge(&old, &survivor);
    world
        .keap
        .edit(id, |person| person.given_name = Some("Anna".into()));
    world.sync().await;
    assert_eq!(world.user(id).id, survivor);
    assert_eq!(world.user(id).name.as_deref(), Some("Anna Lee"));
}

#[sqlx::test]
async fn f52_a_linked_contact_that_was_deleted_is_made_again_once_and_then_held(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.search_lag_ms = 0);
    let id = world.keap.add(ann());
    world.sync().await;
    let vanish = |world: &World| {
        let user = world.user(id).id;
        // Gone for good: neither its id nor its e-mail is in the way any more.
        world.intercom.edit(&user, |contact| {
            (contact.external_id, contact.email) =
                (None, Some(format!("{}@gone.example", contact.id)))
        });
        world.intercom.archive(&user);
    };
    vanish(&world);
    world
        .keap
        .edit(id, |person| person.given_name = Some("Anna".into()));
    world.sync().await;
    assert_eq!(world.user(id).name.as_deref(), Some("Anna Lee"));
    vanish(&world);
    world
        .keap
        .edit(id, |person| person.given_name = Some("Annabel".into()));
    world.sync().await;
    assert!(
        world
            .only_held(id)
            .await
            .reason
            .starts_with("deleted_again")
    );
    assert!(world.intercom.by_external_id(&id.to_string()).is_empty());
}

#[sqlx::test]
async fn a_linked_contact_that_was_archived_is_brought_back(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    world.sync().await;
    let user = world.user(id).id;
    world.intercom.archive(&user);
    world
        .keap
        .edit(id, |person| person.given_name = Some("Anna".into()));
    world.sync().await;
    assert_eq!(world.user(id).id, user);
    assert_eq!(world.intercom.live_users().len(), 1);
}

#[sqlx::test]
async fn a_contact_without_an_address_is_told_once_per_change(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(Person::named("No", "Mail"));
    let bad = world
        .keap
        .add(Person::named("Bad", "Mail").email("not an address"));
    let worker = world.worker().await;
    worker.sync().await;
    worker.backfill().await;
    for id in [id, bad] {
        let lines = world.log_of(id).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0].sync_status, "skipped");
        assert!(
            lines[0]
                .error_message
                .as_deref()
                .unwrap()
                .starts_with("no_email")
        );
    }
    assert_eq!(world.intercom.calls(), 0);
    world.keap.clock().advance_ms(5_000);
    world.keap.touch(id);
    worker.sync().await;
    assert_eq!(world.log_of(id).await.len(), 2);
    world.keap.edit(id, |person| {
        person
            .emails
            .push(("EMAIL1".into(), "here@example.org".into()))
    });
    worker.sync().await;
    assert_eq!(world.user(id).email.as_deref(), Some("here@example.org"));
}

#[sqlx::test]
async fn f58_a_cleared_email_is_cleared_and_an_invalid_one_leaves_intercoms(pool: PgPool) {
    let world = World::new(pool).await;
    let (cleared, invalid) = (
        world.keap.add(ann()),
        world
            .keap
            .add(Person::named("Bob", "Lee").email("bob@example.org")),
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
        (
            world.user(invalid).email.as_deref(),
            world.user(invalid).name.as_deref()
        ),
        (Some("bob@example.org"), Some("Robert Lee"))
    );
    let told = world.log_of(invalid).await.pop().unwrap();
    assert!(
        told.sync_status == "synced" && told.error_message.unwrap().contains("not a valid address")
    );
}

#[sqlx::test]
async fn f59_an_edit_by_an_agent_stays_until_keap_changes(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    world.sync().await;
    world.intercom.edit(&world.user(id).id, |contact| {
        contact.phone = Some("+1000".into())
    });
    world.intercom.clear_ledger();
    world.keap.touch(id);
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(
        (world.intercom.calls(), world.user(id).phone.as_deref()),
        (0, Some("+1000"))
    );
}

#[sqlx::test]
async fn a_linked_contact_whose_new_email_belongs_to_another_user_keeps_its_partner(pool: PgPool) {
    let world = World::new(pool).await;
    world
        .intercom
        .knobs(|knobs| knobs.put_email_conflict = true);
    let id = world.keap.add(ann());
    world.sync().await;
    let partner = world.user(id).id;
    world
        .intercom
        .add_user(Seed::with_email("taken@example.org").external_id("999"));
    world
        .keap
        .edit(id, |person| person.emails[0].1 = "taken@example.org".into());
    world.sync().await;
    assert!(world.only_held(id).await.reason.starts_with("conflict"));
    assert_eq!(
        (
            world.user(id).id,
            world.user(id).email.as_deref().map(str::to_owned)
        ),
        (partner, Some("ann@example.org".into()))
    );
}

#[sqlx::test]
async fn a_new_email_that_another_linked_contact_has_is_held_for_that_one(pool: PgPool) {
    let world = World::new(pool).await;
    world
        .intercom
        .knobs(|knobs| knobs.put_email_conflict = true);
    let (owner, id) = (
        world.keap.add(ann()),
        world
            .keap
            .add(Person::named("Bob", "Lee").email("bob@example.org")),
    );
    world.sync().await;
    let (owners, partner) = (world.user(owner).id, world.user(id).id);
    let worker = world.worker().await;
    world
        .keap
        .edit(id, |person| person.emails[0].1 = "ann@example.org".into());
    worker.sync().await;
    let held = world.only_held(id).await;
    assert!(
        held.reason
            .starts_with(&format!("email_linked_to {owner}:")),
        "{}",
        held.reason
    );
    assert_eq!(held.candidates, std::slice::from_ref(&owners));
    assert_eq!(world.user(id).email.as_deref(), Some("bob@example.org"));
    // An agent archives the owner's contact: it is the owner's all the same.
    world.intercom.archive(&owners);
    worker.request(&[id]).await;
    let held = world.only_held(id).await;
    assert!(
        held.reason
            .starts_with(&format!("email_linked_to {owner}:")),
        "{}",
        held.reason
    );
    assert_eq!(world.intercom.count("unarchive"), 0);
    // The owner gets another e-mail, and with it its contact back.
    world.keap.edit(owner, |person| {
        person.emails[0].1 = "new@example.org".into()
    });
    worker.sync().await;
    worker.request(&[id]).await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(id).id, partner);
    world.assert_agrees();
}

/// The tables that a dump holds and a lost database has lost.
const STATE: [&str; 6] = [
    "contact_link",
    "contact_due",
    "sync_cursor",
    "sync_run",
    "sweep_candidate",
    "keap_intercom_sync_logs",
];

#[sqlx::test]
async fn a_lost_database_is_rebuilt_by_matching_without_doubling_anybody(pool: PgPool) {
    let world = World::with_people(pool, 120).await;
    world.sync().await;
    for table in STATE {
        sqlx::query(sqlx::AssertSqlSafe(format!("truncate {table}")))
            .execute(&world.pool)
            .await
            .unwrap();
    }
    // A new database has a key of its own, too.
    sqlx::query("update sync_digest_key set key = sha256(key)")
        .execute(&world.pool)
        .await
        .unwrap();
    world.intercom.clear_ledger();
    // Search has not caught up with half of them.
    let worker = world.worker().await;
    let counts = worker.sync().await;
    assert_eq!((counts.linked, counts.created), (120, 0), "{counts:?}");
    world.assert_agrees();
    assert!(world.store().cursor(Feed::Changed).await.unwrap().is_some());
}

#[sqlx::test]
async fn a_restored_dump_is_caught_up_without_doubling_anybody(pool: PgPool) {
    let world = World::with_people(pool, 60).await;
    world.sync().await;
    let run = async |statement: String| {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&world.pool)
            .await
            .unwrap();
    };
    for table in STATE {
        run(format!("create table dump_of_{table} as table {table}")).await;
    }

    // After the dump: people come, change, and lose their e-mail address or get another.
    let new: Vec<i64> = (0..20)
        .map(|at| {
            world
                .keap
                .add(people::invented(900_000 + at, Shape::default()))
        })
        .collect();
    for id in 1..=20 {
        world
            .keap
            .edit(id, |person| person.given_name = Some("Renamed".into()));
    }
    world
        .keap
        .edit(21, |person| *person = ann().email("another@example.com"));
    world.sync().await;
    world.assert_agrees();
    let users = world.intercom.count_users(|_| true);

    // The dump is back. Meanwhile one of the new ones changed once more.
    for table in STATE {
        run(format!("truncate {table}")).await;
        run(format!("insert into {table} select * from dump_of_{table}")).await;
    }
    world
        .keap
        .edit(new[3], |person| person.given_name = Some("Later".into()));
    world.intercom.reindex_now();
    let counts = world.worker().await.sync().await;
    assert_eq!(
        (counts.created, counts.linked, counts.held, counts.failed),
        (0, 20, 0, 0),
        "{counts:?}"
    );
    world.assert_agrees();
    assert_eq!(world.intercom.count_users(|_| true), users);
}

#[sqlx::test]
async fn whoever_waits_for_an_address_gets_it_when_it_is_free(pool: PgPool) {
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
    let owners: Vec<i64> = (0..3)
        .map(|at| world.keap.add(person(&format!("canary{at}@example.com"))))
        .collect();
    worker.sync().await;
    // Search knows the owners, and does not notice at once what changes.
    world.intercom.reindex_now();

    // In one poll: the owner moves away, somebody new takes the address.
    set(owners[0], Some("moved@example.com"));
    let new = world.keap.add(person("canary0@example.com"));
    worker.sync().await;
    worker.work_off().await;
    assert_eq!(world.held().await.len(), 0);
    assert_eq!(
        world.user(new).email.as_deref(),
        Some("canary0@example.com")
    );

    // Held first, and freed later: by another address, or by none.
    for (owner, email, freed) in [
        (owners[1], "canary1@example.com", Some("away@example.com")),
        (owners[2], "canary2@example.com", None),
    ] {
        let waits = world.keap.add(person(email));
        worker.sync().await;
        let held = world.only_held(waits).await;
        assert!(
            held.reason
                .starts_with(&format!("email_linked_to {owner}:")),
            "{}",
            held.reason
        );
        // Another change of the owner's does not free it.
        world
            .keap
            .edit(owner, |person| person.given_name = Some("Renamed".into()));
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
