//! Writes whose outcome is unknown: an answer that is lost, a process that dies, and a call that
//! lands late. Whatever happens to Keap in between, Intercom ends as Keap has it.

use std::time::Duration;

use sqlx::PgPool;

use crate::process::{Process, Target, canary, caught_up, world as small_world};
use crate::sim::{Fault, Person, Seed, Standing, What};
use crate::world::{Worker, World, ann, until};

async fn intents(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from contact_intent").fetch_one(&world.pool).await.unwrap()
}

/// The time of the second look has come, and it ends everything that is left.
async fn second_look(world: &World, worker: &Worker) {
    let sql = "update contact_intent set recheck_at = now() where recheck_at is not null";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    worker.sync().await;
    worker.work_off().await;
    assert_eq!(intents(world).await, 0);
}

/// Three people in Intercom, and contact 2 has got a new name that Intercom wrote without saying
/// so. Returns its former name too.
async fn written_without_an_answer(pool: PgPool) -> (World, Worker, String) {
    let mut world = World::with_people(pool, 3).await;
    // No retry comes by itself before the test goes on.
    world.set("SYNC__RETRY_BASE_MS", 600_000).set("SYNC__RETRY_CAP_SECONDS", 600);
    let worker = world.worker().await;
    worker.sync().await;
    world.intercom.fault(Fault::on("update").what(What::ApplyThenDrop));
    let former = rename(&world, 2, "Canarynew");
    worker.sync().await;
    assert!(world.user(2).name.is_some_and(|name| name.contains("Canarynew")));
    assert_eq!(intents(&world).await, 1);
    (world, worker, former)
}

/// Returns the former name.
fn rename(world: &World, id: i64, family_name: &str) -> String {
    let mut former = String::new();
    world.keap.edit(id, |person| {
        let name = person.family_name.replace(family_name.to_owned());
        former = name.unwrap_or_default();
    });
    former
}

#[sqlx::test]
async fn nothing_is_left_and_no_call_is_made_when_every_answer_came(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = world.worker().await;

    worker.sync().await;
    rename(&world, 3, "Canarynew");
    worker.sync().await;

    assert_eq!(intents(&world).await, 0);
    assert_eq!(world.intercom.count("read"), 0, "{:?}", world.intercom.kinds());
    assert_eq!(world.writes(), 41);
}

/// What reads the contact again after Keap went back.
async fn by(worker: &Worker, road: &str) {
    match road {
        "a poll" => drop(worker.sync().await),
        "a request" => drop(worker.request(&[2]).await),
        "a walk over everybody" => drop(worker.backfill().await),
        road => panic!("{road}"),
    }
}

async fn a_change_that_goes_back_is_written(pool: PgPool, road: &str) {
    let (world, worker, former) = written_without_an_answer(pool).await;

    rename(&world, 2, &former);
    by(&worker, road).await;

    world.assert_agrees();
    second_look(&world, &worker).await;
    world.assert_agrees();
}

macro_rules! roads {
    ($($name:ident: $road:literal;)*) => {
        $(#[sqlx::test]
        async fn $name(pool: PgPool) {
            a_change_that_goes_back_is_written(pool, $road).await;
        })*
    };
}

roads! {
    a_change_that_goes_back_is_found_by_a_poll: "a poll";
    a_change_that_goes_back_is_found_by_a_request: "a request";
    a_change_that_goes_back_is_found_by_a_walk: "a walk over everybody";
}

#[sqlx::test]
async fn a_write_that_landed_is_not_repeated_when_keap_is_back_at_it(pool: PgPool) {
    let (world, worker, _) = written_without_an_answer(pool).await;
    world.intercom.clear_ledger();

    worker.request(&[2]).await;

    assert_eq!(world.last_action(2).await, "updated");
    world.assert_agrees();
    second_look(&world, &worker).await;
    assert_eq!(world.intercom.count("read"), 1, "{:?}", world.intercom.kinds());
}

#[sqlx::test]
async fn an_edit_of_an_agent_after_the_lost_answer_stays(pool: PgPool) {
    let (world, worker, _) = written_without_an_answer(pool).await;
    worker.request(&[2]).await;
    let user = world.user(2).id;
    world.intercom.clock().advance_ms(10 * 60_000);
    world.intercom.edit(&user, |user| user.name = Some("Canary Agent".into()));

    second_look(&world, &worker).await;

    assert_eq!(world.user(2).name.as_deref(), Some("Canary Agent"));
}

#[sqlx::test]
async fn a_value_that_is_cleared_in_keap_after_a_lost_answer_is_cleared(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("SYNC__RETRY_BASE_MS", 600_000).set("SYNC__RETRY_CAP_SECONDS", 600);
    let id = world.keap.add(Person::named("Ann", "Lee").email("ann@example.org"));
    let worker = world.worker().await;
    worker.sync().await;
    world.intercom.fault(Fault::on("update").what(What::ApplyThenDrop));
    world
        .keap
        .edit(id, |person| *person = person.clone().phone("+16025550144", Some("+16025550144")));
    worker.sync().await;
    assert!(world.user(id).phone.is_some());

    world.keap.edit(id, |person| person.phones.clear());
    worker.sync().await;

    assert_eq!(world.user(id).phone, None);
    second_look(&world, &worker).await;
    assert_eq!(world.user(id).phone, None);
}

/// A contact whose create landed without an answer.
async fn created_without_an_answer(pool: PgPool) -> (World, Worker, i64) {
    let mut world = World::new(pool).await;
    world.set("SYNC__RETRY_BASE_MS", 10).set("SYNC__RETRY_CAP_SECONDS", 1);
    world.keap.add_many(3, canary);
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    let key = id.to_string();
    world.intercom.fault(Fault::on("create").key(key.clone()).what(What::ApplyThenDrop));
    let mut poll = true;
    while worker.syncer.bulk_step(&mut poll).await.unwrap() || poll {}
    assert_eq!(world.intercom.by_external_id(&key).len(), 1);
    assert_eq!(intents(&world).await, 1);
    (world, worker, id)
}

#[sqlx::test]
async fn a_created_contact_that_keap_deletes_is_archived_by_the_sweep(pool: PgPool) {
    let (world, worker, id) = created_without_an_answer(pool).await;
    assert!(world.keap.delete(id));

    worker.work_off().await;
    second_look(&world, &worker).await;
    worker.request_sweep(true).await;
    worker.sync().await;

    assert_eq!(world.intercom.by_external_id(&id.to_string()).len(), 0, "an orphan is left");
    world.assert_agrees();
}

#[sqlx::test]
async fn a_created_contact_that_loses_its_email_is_linked_and_updated(pool: PgPool) {
    let (world, worker, id) = created_without_an_answer(pool).await;
    world.keap.edit(id, |person| person.emails.clear());

    worker.sync().await;
    worker.work_off().await;

    assert_eq!(world.user(id).email.unwrap_or_default(), "");
    second_look(&world, &worker).await;
    assert_eq!(world.user(id).email.unwrap_or_default(), "");
}

/// A contact leaves a hold, and is back there before its create is known.
#[sqlx::test]
async fn a_contact_that_is_held_again_after_an_unknown_create_leaves_no_orphan(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.set("SYNC__RETRY_BASE_MS", 600_000).set("SYNC__RETRY_CAP_SECONDS", 600);
    for name in ["Reception", "Desk"] {
        world.intercom.add_user(Seed::with_email("office@example.org").name(name));
    }
    world.intercom.reindex_now();
    world.keap.add_many(3, canary);
    let id = world.keap.add(Person::named("Otto", "Falk").email("office@example.org"));
    let worker = world.worker().await;
    worker.sync().await;
    assert!(world.only_held(id).await.reason.starts_with("several_users"));
    world.intercom.fault(Fault::on("create").what(What::ApplyThenDrop));
    let give = |email: &str| {
        let email = email.to_owned();
        world.keap.edit(id, |person| person.emails[0].1 = email);
    };
    give("otto@example.org");
    worker.sync().await;
    assert_eq!(world.user(id).email.as_deref(), Some("otto@example.org"));

    give("office@example.org");
    worker.sync().await;

    let linked: Option<String> = sqlx::query_scalar(
        "select intercom_contact_id from contact_link where keap_contact_id = $1 and state = 'linked'",
    )
    .bind(id)
    .fetch_optional(&world.pool)
    .await
    .unwrap();
    assert_eq!(linked, Some(world.user(id).id), "what the create has made is known");
    assert!(world.keap.delete(id));
    worker.request_sweep(true).await;
    worker.sync().await;
    assert_eq!(world.intercom.by_external_id(&id.to_string()).len(), 0, "an orphan is left");
}

#[sqlx::test]
async fn a_stranger_with_the_number_of_a_deleted_contact_is_not_touched(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    world.intercom.fault(Fault::on("create").what(What::Refuse));
    let mut poll = true;
    while worker.syncer.bulk_step(&mut poll).await.unwrap() || poll {}
    let stranger =
        world.intercom.add_user(Seed::with_email("bob@example.org").external_id(id.to_string()));
    assert!(world.keap.delete(id));

    worker.work_off().await;

    let bob = world.intercom.contact(&stranger).unwrap();
    assert_eq!((bob.standing, bob.email.as_deref()), (Standing::Live, Some("bob@example.org")));
}

#[sqlx::test]
async fn a_write_that_lands_late_does_not_stay(pool: PgPool) {
    let mut world = World::with_people(pool, 3).await;
    world.set("INTERCOM__REQUEST_TIMEOUT_MS", 300);
    let worker = world.worker().await;
    worker.sync().await;
    let late = What::Delay(Duration::from_secs(4));
    world.intercom.fault(Fault::on("update").what(late));
    rename(&world, 2, "Canaryold");
    worker.sync().await;
    rename(&world, 2, "Canarynew");
    worker.sync().await;
    worker.work_off().await;
    assert!(world.user(2).name.is_some_and(|name| name.contains("Canarynew")));
    until("the old write lands", async || {
        world.user(2).name.is_some_and(|name| name.contains("Canaryold"))
    })
    .await;

    second_look(&world, &worker).await;

    world.assert_agrees();
}

/// An archived user of another program has Ann's e-mail, and her create leads to it.
fn archived_stranger(world: &World) -> String {
    let user = world.intercom.add_user(Seed::with_email("ann@example.org").external_id("other-1"));
    world.intercom.archive(&user);
    world.intercom.reindex_now();
    user
}

#[sqlx::test]
async fn a_borrowed_contact_whose_archive_call_fails_is_archived_later(pool: PgPool) {
    let world = World::new(pool).await;
    let user = archived_stranger(&world);
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    world.intercom.fault(Fault::on("archive").times(2).what(What::status(500)));

    worker.sync().await;
    worker.work_off().await;

    assert_eq!(world.intercom.contact(&user).unwrap().standing, Standing::Archived);
    assert!(world.only_held(id).await.reason.starts_with("external_id_taken"));
}

/// A process borrows a contact and dies where `arm` says. The next process archives it.
async fn borrowed_by_a_process_that_dies(pool: PgPool, arm: impl FnOnce(&Target) -> Fault) {
    let world = small_world(pool, 0).await;
    let user = archived_stranger(&world);
    world.keap.add(ann());
    let daemon = Process::daemon(&world);
    world.intercom.fault(arm(&daemon.target()));
    daemon.died().await;
    assert_eq!(world.intercom.contact(&user).unwrap().standing, Standing::Live);

    let daemon = Process::daemon(&world);
    until("the contact is held", async || world.held().await.len() == 1).await;
    daemon.stop().await;

    assert_eq!(world.intercom.contact(&user).unwrap().standing, Standing::Archived);
}

#[sqlx::test]
async fn a_contact_is_archived_again_after_a_death_behind_its_unarchive(pool: PgPool) {
    borrowed_by_a_process_that_dies(pool, |target| {
        Fault::on("unarchive").what(target.dies_after())
    })
    .await;
}

#[sqlx::test]
async fn a_contact_is_archived_again_after_a_death_before_its_archive(pool: PgPool) {
    borrowed_by_a_process_that_dies(pool, |target| Fault::on("archive").what(target.dies_before()))
        .await;
}

#[sqlx::test]
async fn a_change_that_goes_back_while_no_process_runs_is_written(pool: PgPool) {
    let world = small_world(pool, 5).await;
    let daemon = Process::daemon(&world);
    caught_up(&world).await;
    daemon.stop().await;
    let before = world.keap.person(2).unwrap().family_name;
    rename(&world, 2, "Canarynew");
    let daemon = Process::daemon(&world);
    world.intercom.fault(Fault::on("update").what(daemon.target().dies_after()));
    daemon.died().await;
    assert!(world.user(2).name.is_some_and(|name| name.contains("Canarynew")));

    world.keap.edit(2, |person| person.family_name = before.clone());
    let daemon = Process::daemon(&world);
    until("Intercom has the former name again", async || {
        !world.user(2).name.is_some_and(|name| name.contains("Canarynew"))
    })
    .await;
    caught_up(&world).await;
    daemon.stop().await;
    world.assert_agrees();
}
