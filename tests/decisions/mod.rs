//! What a person decides about a held contact, and what comes of it on both sides.

mod create;
mod ignore;
mod surface;
mod use_one;
mod wrong;

use keap_intercom_sync::contact::{IntercomId, KeapId};
use keap_intercom_sync::outcome::Decided;
use keap_intercom_sync::store::{DecidedBy, NewDecision, StoredDecision, Taken, Whose};
use sqlx::PgPool;

use crate::sim::{Person, Seed};
use crate::world::{Worker, World, keap_id};

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
    world.intercom.clear_ledger();
    world.keap.clear_ledger();
    (worker, id, twins)
}

/// Takes a decision about one contact.
async fn decide(worker: &Worker, id: i64, decided: Decided, intercom: Option<&str>) -> Taken {
    let (ids, intercom) = ([keap_id(id)], intercom.map(|id| IntercomId::new(id).unwrap()));
    let (whose, intercom) = (Whose::These(&ids), intercom.as_ref());
    let new = NewDecision { whose, decided, intercom, by: DecidedBy::Command };
    worker.store.decide(&new).await.unwrap()
}

/// The same, where it is taken.
async fn decided(worker: &Worker, id: i64, decided: Decided, intercom: Option<&str>) {
    let taken = decide(worker, id, decided, intercom).await;
    assert_eq!(taken.decided, [keap_id(id)], "{taken:?}");
    assert!(taken.refused.is_empty() && taken.not_held.is_empty(), "{taken:?}");
}

async fn take_back(worker: &Worker, id: i64) -> Vec<KeapId> {
    let ids = [keap_id(id)];
    worker.store.take_back(Whose::These(&ids), DecidedBy::Page).await.unwrap().decided
}

/// Everything that is due now.
async fn look(worker: &Worker) {
    while worker.syncer.urgent_step().await.unwrap() {}
}

/// The decisions about a contact, the newest first.
async fn decisions(worker: &Worker, id: i64) -> Vec<StoredDecision> {
    worker.store.explain(keap_id(id), 1).await.unwrap().decisions
}

/// The newest decision about a contact: its word, whether it was carried out, and how it ended.
async fn fate(worker: &Worker, id: i64) -> (String, bool, Option<String>) {
    let newest = decisions(worker, id).await.into_iter().next().unwrap();
    (newest.decision, newest.done_at.is_some(), newest.ended_how)
}

fn is(word: &str, done: bool, ended: Option<&str>) -> (String, bool, Option<String>) {
    (word.to_owned(), done, ended.map(str::to_owned))
}

/// How many contacts are due, and how many are held.
async fn due_and_held(world: &World) -> (i64, i64) {
    world.store().count_due().await.unwrap()
}

#[sqlx::test]
async fn a_contact_that_does_not_wait_for_a_person_is_not_decided_about(pool: PgPool) {
    let world = World::new(pool).await;
    let id = world.keap.add(crate::world::ann());
    let worker = world.worker().await;
    worker.sync().await;

    for (decided, intercom) in [(Decided::Ignore, None), (Decided::Use, Some("abc"))] {
        let taken = decide(&worker, id, decided, intercom).await;
        assert_eq!(taken.not_held, [keap_id(id)], "{taken:?}");
        assert!(taken.decided.is_empty() && taken.refused.is_empty(), "{taken:?}");
    }

    assert!(decisions(&worker, id).await.is_empty());
    assert!(take_back(&worker, id).await.is_empty());
    world.keap.edit(id, |person| person.given_name = Some("Anna".into()));
    assert_eq!(worker.request(&[id]).await.updated, 1);
}

#[sqlx::test]
async fn trying_again_is_a_decision_that_is_done_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    let (worker, id, [one, _]) = held_for_twins(&world).await;
    world.intercom.archive(&one);
    world.intercom.reindex_now();

    decided(&worker, id, Decided::Retry, None).await;

    assert_eq!(fate(&worker, id).await, is("retry", true, Some("done")));
    look(&worker).await;
    assert_eq!(due_and_held(&world).await, (0, 0));
    world.assert_agrees();
}

#[sqlx::test]
async fn a_hundred_held_contacts_are_decided_about_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    let ids: Vec<i64> =
        (0..100).map(|n| add_with_twins(&world, &format!("ann.{n}@example.org")).0).collect();
    let other = world.keap.add(Person::named("Bo", "Li").email("bo@example.org"));
    world.intercom.add_user(Seed::with_email("bo@example.org").external_id("crm-7"));
    let worker = world.worker().await;
    worker.sync().await;
    worker.work_off().await;
    assert_eq!(due_and_held(&world).await, (0, 101));
    world.intercom.clear_ledger();
    let by_reason = |decided| NewDecision {
        whose: Whose::Reason("several_users"),
        decided,
        intercom: None,
        by: DecidedBy::Http,
    };

    let taken = worker.store.decide(&by_reason(Decided::Ignore)).await.unwrap();

    assert_eq!(taken.decided.len(), 100);
    assert_eq!(world.only_held(other).await.code, "external_id_taken");
    worker.backfill().await;
    assert_eq!(world.intercom.calls(), 0, "an ignored contact costs no call");
    let whose = Whose::Reason("several_users");
    assert_eq!(worker.store.take_back(whose, DecidedBy::Http).await.unwrap().decided.len(), 100);
    look(&worker).await;
    assert_eq!(due_and_held(&world).await, (0, 101));
    let taken = worker.store.decide(&by_reason(Decided::Create)).await.unwrap();
    assert_eq!(taken.decided.len(), 100);
    worker.work_off().await;
    world.only_held(other).await;
    assert!(ids.iter().all(|id| world.user(*id).is_live()));
}
