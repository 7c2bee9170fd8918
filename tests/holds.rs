//! Holds: when a contact begins to wait for a person, for how long, and what ends it.

mod upgrade;

use keap_intercom_sync::feed::DueReason;
use keap_intercom_sync::outcome::Decided;
use keap_intercom_sync::store::{DecidedBy, NewDecision, Whose};
use sqlx::PgPool;

use crate::sim::people::{Shape, invented};
use crate::sim::{Fault, Person, Seed, What};
use crate::world::{Worker, World, ann, keap_id};

/// A contact with this e-mail is added to Keap. Two Intercom users have that e-mail, so a person
/// must choose one of them.
fn add_with_twins(world: &World, email: &str) -> (i64, [String; 2]) {
    let twins = [0, 1].map(|_| world.intercom.add_user(Seed::with_email(email)));
    (world.keap.add(Person::named("Ann", "Lee").email(email)), twins)
}

/// The same contact, once it is held.
async fn held_for_twins(world: &World) -> (Worker, i64, [String; 2]) {
    let (id, twins) = add_with_twins(world, "ann@example.org");
    let worker = world.worker().await;
    worker.sync().await;
    assert!(world.only_held(id).await.reason.starts_with("several_users:"));
    (worker, id, twins)
}

/// Everything that is due now. What becomes due later stays.
async fn look(worker: &Worker) {
    while worker.syncer.urgent_step().await.unwrap() {}
}

/// Steps of the bulk lane without a poll, until it has nothing to do.
async fn walk(worker: &Worker) {
    let mut poll = false;
    while worker.syncer.bulk_step(&mut poll).await.unwrap() {}
}

/// How many contacts are due, and how many are held.
async fn due_and_held(world: &World) -> (i64, i64) {
    world.store().count_due().await.unwrap()
}

async fn hold_rows(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from contact_hold").fetch_one(&world.pool).await.unwrap()
}

#[sqlx::test]
async fn a_held_contact_whose_searches_fail_harms_no_other_contact_of_its_page(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("SYNC__MAX_ATTEMPTS", "2");
    let poison = "poison@example.org";
    world.intercom.fault(Fault::on("search").containing(poison).always().what(What::status(500)));
    let id = world.keap.add(Person::named("Paula", "Poison").email(poison));
    let worker = world.worker().await;
    worker.sync().await;
    worker.work_off().await;
    let held = world.only_held(id).await;
    assert_eq!(held.reason, "last_try: Intercom failed with 500");

    // The next poll reads it again, together with new contacts.
    world.keap.clock().advance_ms(5_000);
    world.keap.touch(id);
    let neighbours = world.keap.add_many(5, |n| invented(n as u64, Shape::Plain));
    let before = world.log_of(id).await.len();
    worker.sync().await;

    assert!(world.log_of(id).await.len() > before, "the held contact was looked at");
    for neighbour in neighbours {
        let actions: Vec<_> =
            world.log_of(neighbour).await.into_iter().map(|line| line.action).collect();
        assert_eq!(actions, [Some("created".to_owned())], "contact {neighbour}");
    }
}

#[sqlx::test]
async fn a_hint_that_is_dropped_ends_the_hold_of_its_contact(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, _) = held_for_twins(&world).await;
    // No sweep runs here, so only the hint can end the hold.
    assert!(world.keap.delete(id));
    worker.store.request(&[keap_id(id)], DueReason::Webhook).await.unwrap();

    look(&worker).await;
    assert_eq!(due_and_held(&world).await, (1, 0), "a second look comes later");

    world.make_retries_due().await;
    look(&worker).await;

    assert_eq!(due_and_held(&world).await, (0, 0));
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(hold_rows(&world).await, 0);
}

#[sqlx::test]
async fn a_hold_keeps_its_age_until_its_reason_changes(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, other]) = held_for_twins(&world).await;
    let first = world.only_held(id).await;

    // A request makes it due, and meanwhile it is not held.
    worker.store.request(&[keap_id(id)], DueReason::Manual).await.unwrap();
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(due_and_held(&world).await, (1, 0));

    look(&worker).await;
    let again = world.only_held(id).await;
    assert_eq!((&again.reason, again.since), (&first.reason, first.since));
    assert_eq!(due_and_held(&world).await, (0, 1));

    // The same through the command that retries held contacts.
    let retry = NewDecision {
        whose: Whose::All,
        decided: Decided::Retry,
        intercom: None,
        by: DecidedBy::Command,
    };
    assert_eq!(worker.store.decide(&retry).await.unwrap().decided, [keap_id(id)]);
    assert_eq!(due_and_held(&world).await, (1, 0));
    look(&worker).await;
    assert_eq!(world.only_held(id).await.since, first.since);

    // Another reason begins a new wait.
    world.intercom.archive(&one);
    world.intercom.edit(&other, |contact| contact.external_id = Some("999".into()));
    world.intercom.reindex_now();
    worker.request(&[id]).await;
    let changed = world.only_held(id).await;
    assert!(changed.reason.starts_with("external_id_taken:"), "{}", changed.reason);
    assert!(changed.since > first.since, "{changed:?}");

    // A person corrects the external id.
    world.intercom.edit(&other, |contact| contact.external_id = None);
    world.intercom.reindex_now();
    assert_eq!(worker.request(&[id]).await.linked, 1);
    assert_eq!(world.user(id).id, other);
    assert_eq!((hold_rows(&world).await, due_and_held(&world).await), (0, (0, 0)));
}

/// Runs to its end, in a thread of its own, what a stand-in does in the middle of a call.
fn in_another_thread(work: impl Future<Output = ()> + Send + 'static) {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work);
    };
    std::thread::spawn(run).join().unwrap();
}

/// While Intercom answers the next search, one of the twins disappears and the contact is requested
/// once more.
fn settle_and_request_during_the_search(world: &World, id: i64, twin: &str) {
    let (intercom, twin, settings) = (world.intercom.clone(), twin.to_owned(), world.settings());
    world.intercom.fault(Fault::on("search").what(What::apply_then_run(move |_| {
        intercom.delete(&twin);
        intercom.reindex_now();
        let settings = settings.clone();
        in_another_thread(async move {
            let store = keap_intercom_sync::app::store(&settings).unwrap();
            store.request(&[keap_id(id)], DueReason::Manual).await.unwrap();
        });
    })));
}

#[sqlx::test]
async fn a_request_that_comes_while_its_contact_is_being_held_wins(pool: PgPool) {
    let world = World::new(pool).await;
    let worker = world.worker().await;
    worker.sync().await;
    let not_held_and_due = async |id: i64| {
        assert_eq!(world.last_action(id).await, "held");
        assert!(world.held().await.is_empty(), "{:?}", world.held().await);
        assert_eq!(due_and_held(&world).await, (1, 0));
    };
    let linked_to = async |id: i64, twin: &str| {
        look(&worker).await;
        assert_eq!(world.user(id).id, twin);
        assert_eq!((hold_rows(&world).await, due_and_held(&world).await), (0, (0, 0)));
    };

    // A poll reads it: no due row exists when its page is made.
    let (polled, twins) = add_with_twins(&world, "polled@example.org");
    settle_and_request_during_the_search(&world, polled, &twins[0]);
    assert!(worker.syncer.bulk_step(&mut true).await.unwrap());
    not_held_and_due(polled).await;
    linked_to(polled, &twins[1]).await;

    // It was requested before: the due row has a newer version when the hold is recorded.
    let (requested, twins) = add_with_twins(&world, "requested@example.org");
    settle_and_request_during_the_search(&world, requested, &twins[0]);
    worker.store.request(&[keap_id(requested)], DueReason::Manual).await.unwrap();
    assert!(worker.syncer.urgent_step().await.unwrap());
    not_held_and_due(requested).await;
    linked_to(requested, &twins[1]).await;
}

#[sqlx::test]
async fn a_blocked_contact_is_released_when_the_blocking_one_gets_another_email(pool: PgPool) {
    let world = World::new(pool).await;
    let (owner, blocked) = (world.keap.add(ann()), world.keap.add(ann()));
    let worker = world.worker().await;
    worker.sync().await;
    worker.work_off().await;
    let held = world.only_held(blocked).await;
    assert!(held.reason.starts_with(&format!("email_linked_to {owner}:")), "{}", held.reason);

    // Another change of the owner releases nobody.
    world.keap.edit(owner, |person| person.given_name = Some("Anna".into()));
    worker.request(&[owner]).await;
    assert_eq!(due_and_held(&world).await, (0, 1));

    // Search does not show the old e-mail any more.
    world.keap.edit(owner, |person| person.emails[0].1 = "anna@example.org".into());
    worker.store.request(&[keap_id(owner)], DueReason::Manual).await.unwrap();
    assert!(worker.syncer.urgent_step().await.unwrap());
    assert_eq!(due_and_held(&world).await, (1, 0), "the owner's record releases the blocked one");

    world.intercom.reindex_now();
    look(&worker).await;
    assert_eq!(world.user(blocked).email.as_deref(), Some("ann@example.org"));
    assert_eq!(hold_rows(&world).await, 0);
    world.assert_agrees();
}

// F27
#[sqlx::test]
async fn blocked_contacts_are_released_when_the_link_of_the_blocking_one_is_removed(pool: PgPool) {
    // Enough others that the brake on mass changes does not apply.
    let world = World::with_people(pool, 40).await;
    let [owner, next, last] = [0; 3].map(|_| world.keap.add(ann()));
    let worker = world.worker().await;
    worker.sync().await;
    worker.work_off().await;
    let intercom = world.user(owner).id;
    let held = world.held().await;
    assert_eq!(held.len(), 2, "{held:?}");
    let blocked_by = |id: i64| format!("email_linked_to {id}:");
    assert!(held.iter().all(|one| one.reason.starts_with(&blocked_by(owner))), "{held:?}");

    assert!(world.keap.delete(owner));
    worker.request_sweep(false).await;
    walk(&worker).await;
    assert_eq!(due_and_held(&world).await, (2, 0), "both are released");
    worker.work_off().await;

    // The first one gets the Intercom contact. The last one is no longer held for the deleted one.
    assert_eq!(world.user(next).id, intercom);
    let now = world.only_held(last).await;
    assert!(!now.reason.starts_with(&blocked_by(owner)), "{}", now.reason);
    assert!(held.iter().all(|one| now.since > one.since), "{now:?}");
    // The next look finds the new owner of the e-mail.
    worker.request(&[last]).await;
    let now = world.only_held(last).await;
    assert!(now.reason.starts_with(&blocked_by(next)), "{}", now.reason);
}

#[sqlx::test]
async fn a_contact_is_not_held_for_a_link_that_was_removed_meanwhile(pool: PgPool) {
    let world = World::new(pool).await;
    let owner = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    let archived = world.user(owner).id;
    let blocked = world.keap.add(ann());
    let other = world.keap.add(invented(1, Shape::Plain));
    world.keap.delete(owner);
    // The plan finds that the owner has the e-mail. While another contact of the page is written, a
    // sweep removes the owner's link.
    let (intercom, id, url) =
        (world.intercom.clone(), archived.clone(), world.env["DATABASE_URL"].clone());
    world.intercom.fault(Fault::on("create").key(other.to_string()).what(What::run(move |_| {
        intercom.archive(&id);
        intercom.reindex_now();
        let url = url.clone();
        in_another_thread(async move {
            let pool = PgPool::connect(&url).await.unwrap();
            let sql =
                "with gone as (delete from contact_link where keap_contact_id = $1 returning *)
                       insert into former_link (intercom_contact_id, keap_contact_id)
                       select intercom_contact_id, keap_contact_id from gone";
            sqlx::query(sql).bind(owner).execute(&pool).await.unwrap();
        });
    })));

    worker.sync().await;
    worker.work_off().await;

    assert_eq!(world.intercom.faults_waiting(), 0);
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(blocked).id, archived);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_retry_whose_outcome_postgres_refuses_is_held_once_and_no_longer_due(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    world.intercom.fault(Fault::on("create").key("3").what(What::status(500)));
    let worker = world.worker().await;
    let mut poll = true;
    while worker.syncer.bulk_step(&mut poll).await.unwrap() || poll {}
    let reason: String =
        sqlx::query_scalar("select reason from contact_due").fetch_one(&world.pool).await.unwrap();
    assert_eq!(reason, "retry");
    // A constraint that an operator added and that this contact violates.
    let sql = "alter table contact_link add constraint nobody_is_3 check (keap_contact_id <> 3)";
    sqlx::raw_sql(sql).execute(&world.pool).await.unwrap();
    world.make_retries_due().await;

    assert!(worker.syncer.urgent_step().await.unwrap());

    let held = world.only_held(3).await;
    assert!(held.reason.starts_with("refused: Postgres refuses"), "{}", held.reason);
    assert_eq!((hold_rows(&world).await, due_and_held(&world).await), (1, (0, 1)));
    let actions: Vec<_> = world.log_of(3).await.into_iter().map(|line| line.action).collect();
    assert_eq!(actions, [Some("failed".to_owned()), Some("held".to_owned())]);
}
