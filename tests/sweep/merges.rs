//! Two contacts that were merged in Keap.

use sqlx::PgPool;

use super::{settled, sweep};
use crate::sim::Standing;
use crate::world::{Worker, World, ann};

/// Two contacts with one e-mail: the first is linked, and the second is held for its e-mail.
async fn twins(world: &World) -> (i64, i64, Worker) {
    let (first, second) = (world.keap.add(ann()), world.keap.add(ann()));
    let worker = settled(world).await;
    let held = world.only_held(second).await;
    assert!(held.reason.starts_with(&format!("email_linked_to {first}:")), "{}", held.reason);
    (first, second, worker)
}

// F27
#[sqlx::test]
async fn the_loser_of_a_merge_is_archived_and_the_winner_is_synced(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = settled(&world).await;

    assert!(world.keap.merge(8, 9));

    let (counts, _) = sweep(&worker, false).await;
    assert_eq!(counts.archived, 1, "{counts:?}");

    worker.sync().await;
    world.assert_agrees();
    assert_eq!(world.last_action(8).await, "archived");
}

// F27
#[sqlx::test]
async fn the_winner_of_a_merge_gets_the_intercom_contact_that_it_was_held_for(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (loser, winner, worker) = twins(&world).await;
    let intercom = world.user(loser).id;

    assert!(world.keap.merge(loser, winner));

    worker.sync().await;
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.unlinked, counts.archived), (1, 0), "{run:?}");

    worker.work_off().await;
    assert_eq!(world.user(winner).id, intercom);
    assert_eq!((world.held().await.len(), world.intercom.count("archive")), (0, 0));
    let line = world.log_of(loser).await.pop().unwrap();
    let why = line.error_message.unwrap();
    assert!(why.contains(&format!("goes to Keap contact {winner}")), "{why}");
    world.assert_agrees();
}

// F27
#[sqlx::test]
async fn a_held_loser_of_a_merge_is_released(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (winner, loser, worker) = twins(&world).await;
    assert!(world.keap.merge(loser, winner));

    let (counts, _) = sweep(&worker, false).await;
    assert_eq!((counts.unlinked, counts.archived), (0, 0));

    worker.work_off().await;
    assert!(world.held().await.is_empty());
    assert_eq!(world.last_action(loser).await, "skipped");

    worker.sync().await;
    world.assert_agrees();
}

// F27
#[sqlx::test]
async fn a_linked_winner_of_a_merge_keeps_its_intercom_contact_and_gets_the_email(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    world.intercom.knobs(|knobs| knobs.put_email_conflict = true);
    let worker = settled(&world).await;
    let (loser, winner) = (8, 9);
    let (losers, winners) = (world.user(loser).id, world.user(winner).id);
    let email = world.keap.person(loser).unwrap().emails[0].1.clone();
    world.keap.edit(winner, |person| person.emails[0].1 = email.clone());

    worker.sync().await;
    let held = world.only_held(winner).await;
    assert!(held.reason.starts_with(&format!("email_linked_to {loser}:")), "{}", held.reason);
    assert!(world.keap.merge(loser, winner));

    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, counts.unlinked), (1, 0), "{run:?}");

    // Nobody has to request it.
    worker.work_off().await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!((world.user(winner).id, world.user(winner).email), (winners, Some(email)));
    // The Intercom contact of the loser stays archived and loses only its e-mail.
    let contact = world.intercom.contact(&losers).unwrap();
    assert_eq!(
        (contact.standing, contact.external_id.as_deref(), contact.email.as_deref()),
        (Standing::Archived, Some("8"), Some(""))
    );
    assert!(contact.name.is_some());
    assert_eq!(world.intercom.count("archive"), 2);

    worker.sync().await;
    world.assert_agrees();
}
