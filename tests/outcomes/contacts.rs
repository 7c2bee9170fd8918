//! The outcome of one contact: it fails, is refused, is missing or is read together with others.

use keap_intercom_sync::feed::{DueReason, Feed};
use sqlx::PgPool;

use super::edit_all;
use crate::sim::{Fault, What};
use crate::world::{World, keap_id, until};

#[sqlx::test]
async fn a_failing_contact_waits_while_the_others_and_the_cursor_advance(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    world.intercom.fault(Fault::on("create").key("7").times(2).what(What::status(500)));
    let worker = world.worker().await;

    let counts = worker.sync().await;
    assert!(counts.failed >= 1 && counts.created >= 39, "{counts:?}");
    assert!(
        world.store().cursor(Feed::Backfill).await.unwrap().unwrap().walk.is_none(),
        "the walk is complete"
    );
    let line = world.log_of(7).await.remove(0);
    assert_eq!(
        (line.sync_status.as_str(), line.error_message.as_deref()),
        ("failed", Some("Intercom failed with 500"))
    );

    worker.work_off().await;
    world.assert_agrees();
}

#[sqlx::test]
async fn a_contact_that_always_fails_is_held_after_its_last_attempt(pool: PgPool) {
    let mut world = World::with_people(pool, 12).await;
    world.set("SYNC__MAX_ATTEMPTS", "4");
    world.intercom.fault(Fault::on("create").key("3").always().what(What::status(500)));
    let worker = world.worker().await;

    worker.sync().await;
    worker.work_off().await;
    let held = world.only_held(3).await;
    assert_eq!((held.attempts, held.reason.as_str()), (4, "last_try: Intercom failed with 500"));
    let tries = world
        .intercom
        .ledger()
        .iter()
        .filter(|call| call.external_id.as_deref() == Some("3"))
        .count();
    assert_eq!(tries, 4);

    // Its next change releases it.
    world.intercom.clear_faults();
    world.keap.edit(3, |person| person.given_name = Some("Revived".into()));
    worker.sync().await;
    assert!(world.held().await.is_empty());
    world.assert_agrees();
}

#[sqlx::test]
async fn a_contact_that_alone_gets_garbage_is_held_after_its_last_attempt(pool: PgPool) {
    let mut world = World::with_people(pool, 12).await;
    world.set("SYNC__MAX_ATTEMPTS", "4");
    for (key, what) in [("3", What::Status(200, "{}".into())), ("9", What::Html(400))] {
        world.intercom.fault(Fault::on("create").key(key).always().what(what));
    }
    let worker = world.worker().await;

    // After five failures in a row, of whichever contacts, a probe asks whether Intercom works.
    let _ = worker.try_sync().await;
    until("both are held", async || {
        let _ = worker.try_sync().await;
        world.held().await.len() == 2
    })
    .await;

    for held in world.held().await {
        assert!(
            held.attempts == 4
                && held
                    .reason
                    .starts_with("last_try: Intercom sent an answer that is not understood"),
            "{held:?}"
        );
    }
    assert_eq!(world.intercom.live_users().len(), 10);
}

#[sqlx::test]
async fn a_poison_contact_on_trial_does_not_block_the_others(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("SYNC__MAX_ATTEMPTS", "4");

    world.sync().await;
    edit_all(&world, "Poisoned");
    // The first contact of every page, so the first that a trial writes.
    let poison = || Fault::on("update").key("1").always().what(What::status(500));
    world.intercom.fault(Fault::on("update").always().what(What::status(500)));
    let worker = world.worker().await;
    assert!(worker.try_sync().await.is_err());

    world.intercom.clear_faults();
    world.intercom.fault(poison());
    let calls = world.intercom.calls();
    until("the others are written", async || {
        let _ = worker.try_sync().await;
        let stale = |id| {
            let name = world.user(id).name;
            name.is_none_or(|name| !name.ends_with("Poisoned"))
        };
        (2..=30).all(|id| !stale(id))
    })
    .await;
    until("the poison contact is held", async || {
        let _ = worker.try_sync().await;
        !world.held().await.is_empty()
    })
    .await;
    let held = world.only_held(1).await;
    assert_eq!((held.attempts, held.reason.as_str()), (4, "last_try: Intercom failed with 500"));
    assert!(world.intercom.calls() - calls < 70);
}

#[sqlx::test]
async fn a_contact_that_keap_does_not_have_is_logged_and_no_longer_due(pool: PgPool) {
    let world = World::with_people(pool, 3).await;
    let worker = world.worker().await;

    let counts = worker.request(&[2, 4711]).await;

    assert_eq!((counts.created, counts.skipped), (1, 1), "{counts:?}");
    assert!(
        world.log_of(4711).await[0].error_message.as_deref().unwrap().starts_with("not_in_keap")
    );
    assert_eq!(world.store().count_due().await.unwrap(), (0, 0));
}

// F72
#[sqlx::test]
async fn a_thousand_due_contacts_are_read_together(pool: PgPool) {
    let world = World::with_people(pool, 1000).await;
    let worker = world.worker().await;
    let ids: Vec<i64> = (1..=1000).collect();
    world.keap.clear_ledger();

    let counts = worker.request(&ids).await;

    assert_eq!(counts.created, 1000, "{counts:?}");
    assert!(world.keap.calls() <= 10, "{}", world.keap.calls());
    world.assert_agrees();
}

#[sqlx::test]
async fn a_request_that_arrives_while_its_contact_is_read_leads_to_another_read(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    world.sync().await;
    let worker = world.worker().await;
    // Between the read and the decision the contact changes, and a new request arrives.
    let (keap, settings) = (world.keap.clone(), world.settings());
    world.keap.fault(Fault::on("list").nth(1).what(What::apply_then_run(move |_| {
        keap.edit(2, |person| person.given_name = Some("Later".into()));
        // In a thread of its own, because this one runs the stand-in.
        let settings = settings.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let requested = async {
                keap_intercom_sync::app::store(&settings)
                    .unwrap()
                    .request(&[keap_id(2)], DueReason::Manual)
                    .await
            };
            runtime.block_on(requested).unwrap();
        })
        .join()
        .unwrap();
    })));

    worker.request(&[2]).await;

    assert_eq!(world.user(2).name.as_deref(), Some("Later Abel"));
    assert_eq!(world.store().count_due().await.unwrap(), (0, 0));
}
