//! A Keap contact without a link: which Intercom contact it gets, if any.

use sqlx::PgPool;

use crate::sim::{EmailConflict, Fault, Person, Role, Seed, What};
use crate::world::{World, ann, until};

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
        (user.email.as_deref(), user.name.as_deref(), user.phone.as_deref()),
        (Some("Ann@Example.ORG"), Some("Ann Lee"), Some("+16025550144"))
    );
    assert_eq!(world.log_of(id).await.len(), 1);
    let line = world.log_of(id).await.remove(0);
    assert_eq!(
        (line.sync_status.as_str(), line.action.as_deref(), line.intercom_contact_id),
        ("synced", Some("created"), Some(user.id))
    );
}

#[sqlx::test]
async fn a_user_with_the_same_email_is_linked_and_updated_by_one_call(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world.intercom.add_user(Seed::with_email("ann@example.org").name("A. L."));
    let id = world.keap.add(ann());

    world.sync().await;

    assert_eq!(world.user(id).id, user);
    assert_eq!(world.user(id).name.as_deref(), Some("Ann Lee"));
    assert_eq!(world.last_action(id).await, "linked");
    assert_eq!(
        (world.intercom.count("search"), world.intercom.count("update"), world.intercom.calls()),
        (1, 1, 2)
    );
}

#[sqlx::test]
async fn a_user_that_has_the_keap_id_is_found_by_it_whatever_its_email(pool: PgPool) {
    let world = World::new(pool).await;
    // Its e-mail is another one: only the external id finds it, and the name agrees.
    let seed = Seed::with_email("old@example.org").name("Ann Lee").external_id("1");
    let user = world.intercom.add_user(seed);
    let id = world.keap.add(ann());
    assert_eq!(id, 1);

    world.sync().await;

    assert_eq!(
        (world.user(id).id, world.user(id).email.as_deref().map(str::to_owned)),
        (user, Some("ann@example.org".to_owned()))
    );
    assert_eq!(world.intercom.count("create"), 0);
}

#[sqlx::test]
async fn where_search_takes_no_external_ids_the_conflict_names_the_contact(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.allow_nested_search = false);
    world.intercom.add_user(Seed::with_email("old@example.org").name("Ann Lee").external_id("1"));
    let id = world.keap.add(ann());

    world.sync().await;

    assert_eq!(world.user(id).email.as_deref(), Some("ann@example.org"));
    assert_eq!(world.held().await.len(), 0);
}

#[sqlx::test]
async fn a_search_that_takes_one_value_at_a_time_still_finds_contacts(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    world.intercom.knobs(|knobs| knobs.max_in_values = 1);
    let user = world
        .intercom
        .add_user(Seed::with_email(world.keap.person(7).unwrap().first_email().unwrap()));
    let worker = world.worker().await;

    worker.sync().await;
    worker.work_off().await;

    assert_eq!(world.user(7).id, user);
    world.assert_agrees();
}

#[sqlx::test]
async fn while_search_lags_the_conflict_names_the_contact(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world.intercom.add_user(Seed { fresh: true, ..Seed::with_email("ann@example.org") });
    let id = world.keap.add(ann());

    world.sync().await;

    assert_eq!(world.user(id).id, user);
    assert_eq!(world.intercom.live_users().len(), 1);
    assert_eq!(world.last_action(id).await, "linked");
}

// F49
#[sqlx::test]
async fn a_conflict_that_names_no_contact_leads_to_one_search_and_then_a_hold(pool: PgPool) {
    let world = World::new(pool).await;
    world.intercom.knobs(|knobs| knobs.conflict_without_id = true);
    let hidden =
        world.intercom.add_user(Seed { fresh: true, ..Seed::with_email("ann@example.org") });
    let id = world.keap.add(ann());

    world.sync().await;
    assert!(world.only_held(id).await.reason.starts_with("conflict"));
    assert_eq!(world.intercom.count("create"), 1, "a conflict leads to no second create");

    // When the index has it, a retry links it.
    world.intercom.reindex_now();
    let worker = world.worker().await;
    assert_eq!(worker.request(&[id]).await.linked, 1);
    assert_eq!(world.user(id).id, hidden);
}

#[sqlx::test]
async fn a_lead_becomes_a_user_by_the_same_call(pool: PgPool) {
    let world = World::new(pool).await;
    let older = world.intercom.add_lead(Seed::with_email("ann@example.org"));
    let id = world.keap.add(ann());

    world.sync().await;

    assert_eq!(world.user(id).id, older);
    assert_eq!(world.user(id).role, Role::User);
    assert_eq!((world.intercom.count("create"), world.intercom.count("update")), (0, 1));
}

#[sqlx::test]
async fn a_lead_stays_a_lead_when_the_setting_says_so(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("SYNC__PROMOTE_LEADS", "false");
    let lead = world.intercom.add_lead(Seed::with_email("ann@example.org"));
    let id = world.keap.add(ann());

    world.sync().await;

    assert_ne!(world.user(id).id, lead);
    assert_eq!(world.intercom.live_leads().len(), 1);
}

// F50
#[sqlx::test]
async fn several_users_with_one_email_need_a_person(pool: PgPool) {
    let world = World::new(pool).await;
    let (one, two) = (
        world.intercom.add_user(Seed::with_email("ann@example.org")),
        world.intercom.add_user(Seed::with_email("ann@example.org").external_id("x")),
    );
    let id = world.keap.add(ann());

    world.sync().await;
    let held = world.only_held(id).await;
    assert!(held.reason.starts_with("several_users"), "{}", held.reason);

    let mut candidates = held.candidates.clone();
    candidates.sort();
    assert_eq!(candidates, [one.clone(), two]);
    assert_eq!(world.writes(), 0, "nothing is written for a held contact");

    // A poll or a backfill does not retry a held contact.
    let worker = world.worker().await;
    worker.backfill().await;
    assert_eq!((world.writes(), world.log_of(id).await.len()), (0, 1));

    // A person archives one of them and retries.
    world.intercom.archive(&one);
    world.intercom.reindex_now();
    assert_eq!(
        worker.request(&[id]).await.held,
        1,
        "the other one has the external id of another contact"
    );
    assert!(world.only_held(id).await.reason.starts_with("external_id_taken"));
}

#[sqlx::test]
async fn an_external_id_of_another_contact_is_never_taken(pool: PgPool) {
    let world = World::new(pool).await;
    let user = world.intercom.add_user(Seed::with_email("ann@example.org").external_id("999"));
    let id = world.keap.add(ann());

    world.sync().await;
    assert!(world.only_held(id).await.reason.starts_with("external_id_taken"));
    assert_eq!(world.intercom.contact(&user).unwrap().external_id.as_deref(), Some("999"));

    // The next change of the contact releases the hold.
    world.keap.clock().advance_ms(5_000);
    world.keap.edit(id, |person| person.emails[0].1 = "new@example.org".into());
    world.sync().await;
    assert_eq!(world.user(id).email.as_deref(), Some("new@example.org"));
    assert!(world.held().await.is_empty());
}

// F4, F5
#[sqlx::test]
async fn a_create_whose_answer_is_lost_makes_no_second_contact(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    // The search index lags by a minute during the whole test.
    world.intercom.fault(Fault::on("create").skip(3).times(4).what(What::ApplyThenDrop));
    let worker = world.worker().await;

    until("everybody is recorded", async || worker.try_sync().await.is_ok()).await;
    worker.work_off().await;

    world.assert_agrees();
    assert_eq!(world.intercom.live_users().len(), 30);
    assert_eq!(world.intercom.faults_waiting(), 0);
    assert!(world.held().await.is_empty());
    assert_eq!(world.store().count_linked().await.unwrap(), 30);
}

#[sqlx::test]
async fn where_intercom_allows_an_email_twice_each_keap_id_still_has_one_contact(pool: PgPool) {
    let world = World::with_people(pool, 30).await;
    world.intercom.knobs(|knobs| knobs.email_conflict_with_new_external_id = EmailConflict::Allow);
    let indexed = world
        .intercom
        .add_user(Seed::with_email(world.keap.person(3).unwrap().first_email().unwrap()));
    world.intercom.fault(Fault::on("create").times(3).what(What::ApplyThenDrop));
    let worker = world.worker().await;

    until("everybody is recorded", async || worker.try_sync().await.is_ok()).await;
    worker.work_off().await;

    world.assert_agrees();
    assert_eq!(world.user(3).id, indexed);
}
