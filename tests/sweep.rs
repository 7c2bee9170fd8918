//! The sweep: what was deleted or merged in Keap is noticed and dealt with, and nothing else is taken for a deletion.

use keap_intercom_sync::store::{Counts, Feed, Run, RunState};
use sqlx::PgPool;

use crate::process::command;
use crate::sim::people::{Shape, invented};
use crate::sim::{Fault, Standing, What};
use crate::world::{Worker, World, ann, until};

/// Everybody is in Intercom, and nothing is called from here on but for what the test does.
async fn settled(world: &World) -> Worker {
    world.sync().await;
    let worker = world.worker().await;
    // What was read settles: no poll looks at it again.
    for _ in 0..2 {
        worker.sync().await;
        tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    }
    worker.sync().await;
    world.keap.clear_ledger();
    world.intercom.clear_ledger();
    worker
}

/// A whole sweep, with what it makes due.
async fn sweep(worker: &Worker, forced: bool) -> (Counts, Run) {
    let id = worker.store.request_sweep(forced).await.unwrap();
    let counts = step_until_done(worker).await;
    (counts, worker.store.run(id).await.unwrap().unwrap())
}

/// Steps of the bulk lane without a poll, until it has nothing to do.
async fn step_until_done(worker: &Worker) -> Counts {
    let before = *worker.syncer.progress().borrow();
    let mut poll = false;
    while worker.syncer.bulk_step(&mut poll).await.unwrap() {}
    let mut counts = *worker.syncer.progress().borrow();
    counts.seen -= before.seen;
    counts.archived -= before.archived;
    counts.unlinked -= before.unlinked;
    counts.late -= before.late;
    counts
}

async fn candidates(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from sweep_candidate")
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

fn live(world: &World) -> usize {
    world.intercom.live_users().len()
}

#[sqlx::test]
async fn f26_a_deleted_contact_is_archived_within_one_sweep_and_the_log_says_why(pool: PgPool) {
    let world = World::with_people(pool, 60).await;
    let worker = settled(&world).await;
    let intercom = world.user(17).id;
    world.keap.delete(17);
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, counts.late), (1, 0), "{counts:?}");
    assert_eq!((run.state, run.counts.archived), (RunState::Done, 1));
    assert_eq!((live(&world), world.intercom.calls()), (59, 1));
    assert!(world.intercom.by_external_id("17").is_empty());
    let line = world.log_of(17).await.pop().unwrap();
    assert_eq!(
        (line.sync_status.as_str(), line.action.as_deref()),
        ("synced", Some("archived"))
    );
    assert_eq!(line.intercom_contact_id, Some(intercom));
    assert!(line.error_message.unwrap().starts_with("deleted: "));
    world.assert_agrees();
    assert_eq!(candidates(&world).await, 0);

    // The next one finds nothing, and calls Intercom for nothing.
    world.intercom.clear_ledger();
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (0, RunState::Done));
    assert_eq!(world.intercom.calls(), 0, "an idle sweep");

    // A contact that comes back is brought back.
    world.keap.add_with_id(17, invented(16, Shape::Plain));
    worker.sync().await;
    worker.work_off().await;
    world.assert_agrees();
    assert_eq!(world.intercom.count("unarchive"), 1);
}

#[sqlx::test]
async fn unlink_leaves_the_intercom_contact_and_forgets_the_link(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("SWEEP__DELETED", "unlink");
    let worker = settled(&world).await;
    world.keap.delete(3);
    let (counts, _) = sweep(&worker, false).await;
    assert_eq!((counts.unlinked, counts.archived), (1, 0), "{counts:?}");
    assert_eq!((live(&world), world.intercom.calls()), (30, 0));
    assert_eq!(world.last_action(3).await, "unlinked");
    assert_eq!(worker.store.count_linked().await.unwrap(), 29);
}

#[sqlx::test]
async fn ignore_only_counts(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("SWEEP__DELETED", "ignore");
    let worker = settled(&world).await;
    world.keap.delete(3);
    let (_, run) = sweep(&worker, false).await;
    assert_eq!((run.state, run.counts.skipped), (RunState::Done, 1));
    assert_eq!((world.keap.count("read"), world.intercom.calls()), (0, 0));
    assert_eq!(worker.store.count_linked().await.unwrap(), 30);
    assert_eq!(candidates(&world).await, 0);
}

#[sqlx::test]
async fn f27_the_loser_of_a_merge_is_archived_and_the_winner_is_synced(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = settled(&world).await;
    assert!(world.keap.merge(8, 9));
    let (counts, _) = sweep(&worker, false).await;
    assert_eq!(counts.archived, 1, "{counts:?}");
    worker.sync().await;
    world.assert_agrees();
    assert_eq!(world.last_action(8).await, "archived");
}

/// The seventh contact is deleted, and the sweep has dealt with it; with the Intercom contact that it had.
async fn deleted(world: &World) -> (Worker, String) {
    let worker = settled(world).await;
    let intercom = world.user(7).id;
    world.intercom.reindex_now();
    assert!(world.keap.delete(7));
    sweep(&worker, false).await;
    world.intercom.clear_ledger();
    (worker, intercom)
}

/// It is made again in Keap, and gets a new id.
fn made_again(world: &World) -> i64 {
    world.keap.add(invented(6, Shape::Plain))
}

#[sqlx::test]
async fn f47_who_comes_back_under_a_new_id_gets_the_intercom_contact_that_was_archived(
    pool: PgPool,
) {
    let world = World::with_people(pool, 40).await;
    let (worker, intercom) = deleted(&world).await;
    world.intercom.reindex_now();
    let new = made_again(&world);
    worker.sync().await;
    worker.work_off().await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(new).id, intercom);
    assert_eq!(world.last_action(new).await, "linked");
    assert_eq!(
        (
            world.intercom.count("unarchive"),
            world.intercom.count("archive"),
            live(&world)
        ),
        (1, 0, 40)
    );
    world.assert_agrees();
    // The new one is its partner from now on: it goes when that goes, and comes back again.
    world.keap.delete(new);
    sweep(&worker, false).await;
    assert_eq!(world.last_action(new).await, "archived");
    world.intercom.reindex_now();
    let newer = made_again(&world);
    worker.sync().await;
    worker.work_off().await;
    assert_eq!(world.user(newer).id, intercom);
    world.assert_agrees();
}

#[sqlx::test]
async fn f47_an_index_that_still_shows_the_archived_contact_is_in_nobodys_way(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (worker, intercom) = deleted(&world).await;
    let new = made_again(&world);
    worker.sync().await;
    worker.work_off().await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(new).id, intercom);
    assert_eq!(world.last_action(new).await, "linked");
    world.assert_agrees();
}

#[sqlx::test]
async fn f47_who_comes_back_under_a_new_id_gets_the_intercom_contact_that_was_unlinked(
    pool: PgPool,
) {
    let mut world = World::with_people(pool, 40).await;
    world.set("SWEEP__DELETED", "unlink");
    let (worker, intercom) = deleted(&world).await;
    let new = made_again(&world);
    worker.sync().await;
    worker.work_off().await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(world.user(new).id, intercom);
    assert_eq!(world.last_action(new).await, "linked");
    assert_eq!(world.intercom.count("create"), 0);
    world.assert_agrees();
    // The same where search does not know the e-mail, and only the conflict names the contact.
    world.keap.delete(new);
    sweep(&worker, false).await;
    world
        .keap
        .edit(11, |person| person.emails[0].1 = "ann@example.org".into());
    worker.sync().await;
    world.keap.delete(11);
    sweep(&worker, false).await;
    let other = world.intercom.by_external_id("11").remove(0).id;
    let newest = world.keap.add(ann());
    worker.sync().await;
    worker.work_off().await;
    assert_eq!(
        (world.user(newest).id, world.intercom.count("create")),
        (other, 1)
    );
    assert_eq!(world.last_action(newest).await, "linked");
}

#[sqlx::test]
async fn f47_an_archived_contact_whose_keap_contact_is_there_is_not_taken(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (worker, intercom) = deleted(&world).await;
    world.intercom.reindex_now();
    // The old one is in Keap again, and no list shows it yet: nothing is linked to it.
    world.keap.knobs(|knobs| knobs.unlisted.insert(7));
    world.keap.add_with_id(7, invented(6, Shape::Plain));
    let new = made_again(&world);
    worker.sync().await;
    worker.work_off().await;
    let is_held = async || {
        let held = world.only_held(new).await;
        assert!(
            held.reason.starts_with("external_id_taken"),
            "{}",
            held.reason
        );
        let contact = world.intercom.contact(&intercom).unwrap();
        assert_eq!(
            (contact.standing, contact.external_id.as_deref()),
            (Standing::Archived, Some("7"))
        );
    };
    is_held().await;
    // Keap shows it: known again, though it has no e-mail and so no Intercom contact.
    world.keap.knobs(|knobs| knobs.unlisted.clear());
    world.keap.clock().advance_ms(5_000);
    world.keap.edit(7, |person| person.emails.clear());
    worker.sync().await;
    assert_eq!(world.last_action(7).await, "skipped");
    let id = keap_intercom_sync::contact::IntercomId::new(&*intercom).unwrap();
    assert_eq!(worker.store.let_go(&id).await.unwrap(), None);
    worker.request(&[new]).await;
    is_held().await;
    // It is gone for good: trying again gives the other one what it left.
    world.keap.delete(7);
    sqlx::query("delete from contact_link where keap_contact_id = 7")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(worker.request(&[new]).await.linked, 1);
    assert_eq!(world.user(new).id, intercom);
    assert!(world.held().await.is_empty());
    world.assert_agrees();
}

#[sqlx::test]
async fn f47_without_a_word_in_the_log_nobodys_archived_contact_is_taken(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (worker, intercom) = deleted(&world).await;
    // Its rows have gone with the years; an id that Keap does not know may be that of another system.
    sqlx::query("delete from keap_intercom_sync_logs where keap_contact_id = '7'")
        .execute(&world.pool)
        .await
        .unwrap();
    for indexed in [false, true] {
        if indexed {
            world.intercom.reindex_now();
        }
        let new = made_again(&world);
        worker.sync().await;
        worker.work_off().await;
        let held = world.only_held(new).await;
        assert!(
            held.reason.starts_with("external_id_taken"),
            "{}",
            held.reason
        );
        assert_eq!(
            world.intercom.contact(&intercom).unwrap().standing,
            Standing::Archived
        );
        world.keap.delete(new);
        worker.request(&[new]).await;
    }
}

/// Two contacts with one e-mail: the first is linked, the second is held for it.
async fn twins(world: &World) -> (i64, i64, Worker) {
    let (first, second) = (world.keap.add(ann()), world.keap.add(ann()));
    let worker = settled(world).await;
    let held = world.only_held(second).await;
    assert!(
        held.reason
            .starts_with(&format!("email_linked_to {first}:")),
        "{}",
        held.reason
    );
    (first, second, worker)
}

#[sqlx::test]
async fn f27_the_winner_of_a_merge_gets_the_intercom_contact_that_it_was_held_for(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let (loser, winner, worker) = twins(&world).await;
    let intercom = world.user(loser).id;
    assert!(world.keap.merge(loser, winner));
    worker.sync().await;
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.unlinked, counts.archived), (1, 0), "{run:?}");
    worker.work_off().await;
    assert_eq!(world.user(winner).id, intercom);
    assert_eq!(
        (world.held().await.len(), world.intercom.count("archive")),
        (0, 0)
    );
    let line = world.log_of(loser).await.pop().unwrap();
    let why = line.error_message.unwrap();
    assert!(
        why.contains(&format!("goes to Keap contact {winner}")),
        "{why}"
    );
    world.assert_agrees();
}

#[sqlx::test]
async fn f27_a_held_loser_is_held_no_longer(pool: PgPool) {
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

#[sqlx::test]
async fn f27_a_winner_with_an_intercom_contact_of_its_own_keeps_it_and_gets_the_email(
    pool: PgPool,
) {
    let world = World::with_people(pool, 40).await;
    world
        .intercom
        .knobs(|knobs| knobs.put_email_conflict = true);
    let worker = settled(&world).await;
    let (loser, winner) = (8, 9);
    let (losers, winners) = (world.user(loser).id, world.user(winner).id);
    let email = world.keap.person(loser).unwrap().emails[0].1.clone();
    world
        .keap
        .edit(winner, |person| person.emails[0].1 = email.clone());
    worker.sync().await;
    let held = world.only_held(winner).await;
    assert!(
        held.reason
            .starts_with(&format!("email_linked_to {loser}:")),
        "{}",
        held.reason
    );
    assert!(world.keap.merge(loser, winner));
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, counts.unlinked), (1, 0), "{run:?}");
    // Nobody needs to ask.
    worker.work_off().await;
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    assert_eq!(
        (world.user(winner).id, world.user(winner).email),
        (winners, Some(email))
    );
    // What was archived is still archived, and only the e-mail is taken from it.
    let contact = world.intercom.contact(&losers).unwrap();
    assert_eq!(
        (
            contact.standing,
            contact.external_id.as_deref(),
            contact.email.as_deref()
        ),
        (Standing::Archived, Some("8"), Some(""))
    );
    assert!(contact.name.is_some());
    assert_eq!(world.intercom.count("archive"), 2);
    worker.sync().await;
    world.assert_agrees();
}

#[sqlx::test]
async fn f29_an_empty_or_half_list_archives_nobody(pool: PgPool) {
    let mut world = World::with_people(pool, 120).await;
    world.set("KEAP__PAGE_SIZE", "50");
    let worker = settled(&world).await;
    let empty = r#"{"contacts":[],"next_page_token":""}"#;
    // Every page is empty; then only the first is full.
    for full in [0, 1] {
        world.keap.fault(
            Fault::on("list")
                .skip(full)
                .times(2)
                .what(What::Status(200, empty.into())),
        );
        let (counts, run) = sweep(&worker, false).await;
        assert_eq!(
            (counts.archived, run.state, run.error),
            (0, RunState::Done, None)
        );
        assert_eq!(world.keap.faults_waiting(), 0);
    }
    assert_eq!((live(&world), world.intercom.calls()), (120, 0));
    assert_eq!(worker.store.count_linked().await.unwrap(), 120);
}

#[sqlx::test]
async fn f29_lists_that_leave_out_many_end_the_sweep_after_few_calls(pool: PgPool) {
    let world = World::with_people(pool, 400).await;
    let worker = settled(&world).await;
    // Two are gone indeed, among those that are only hidden.
    world.keap.knobs(|knobs| knobs.unlisted.extend(1..=300));
    world.keap.delete(3);
    world.keap.delete(303);
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!(
        (counts.archived, counts.late, run.state),
        (0, 0, RunState::Failed)
    );
    let why = run.error.unwrap();
    assert!(
        why.contains("lists leave out contacts that exist") && why.contains("nothing was done"),
        "{why}"
    );
    assert!(!why.starts_with("brake: "), "nobody is asked to force it");
    assert!(
        world.keap.count("read") <= 40,
        "{}",
        world.keap.count("read")
    );
    // The calls of the steps that ended it are counted once.
    assert_eq!(
        run.counts.keap_calls,
        i64::try_from(world.keap.calls()).unwrap()
    );
    assert_eq!((live(&world), world.intercom.calls()), (400, 0));
    assert_eq!(worker.store.count_linked().await.unwrap(), 400);
    assert_eq!(candidates(&world).await, 0);
    let cursor = worker.store.cursor(Feed::Sweep).await.unwrap().unwrap();
    assert!(cursor.walk.is_none() && cursor.polled_age.is_none());

    // Forced, each is asked for by itself, and only what Keap answers 404 for is gone.
    world.keap.clear_ledger();
    let (counts, run) = sweep(&worker, true).await;
    assert_eq!((counts.archived, run.state), (2, RunState::Done), "{run:?}");
    assert!(
        world.keap.count("read") >= 300,
        "{}",
        world.keap.count("read")
    );
    assert_eq!(live(&world), 398);

    // Keap lists them again: the next sweep finds what there is to find.
    world.keap.knobs(|knobs| knobs.unlisted.clear());
    world.keap.delete(4);
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (1, RunState::Done), "{run:?}");
    world.assert_agrees();
}

#[sqlx::test]
async fn f29_the_next_sweep_counts_from_nothing_and_a_few_hidden_ones_stop_none(pool: PgPool) {
    let mut world = World::with_people(pool, 200).await;
    world.set("SWEEP__BRAKE_PERCENT", "20");
    let worker = settled(&world).await;
    // As many as the brake lets pass, though more than the bound: each is asked for, and nothing else comes of it.
    world.keap.knobs(|knobs| knobs.unlisted.extend(1..=30));
    world.keap.delete(150);
    for _ in 0..2 {
        world.keap.clear_ledger();
        let (_, run) = sweep(&worker, false).await;
        assert_eq!(run.state, RunState::Done, "{run:?}");
        assert!(world.keap.count("read") >= 30);
    }
    assert_eq!(world.last_action(150).await, "archived");
    assert_eq!(live(&world), 199);
    // More than that are only hidden: it ends.
    world.keap.knobs(|knobs| knobs.unlisted.extend(1..=60));
    let (_, run) = sweep(&worker, false).await;
    assert!(
        run.error.as_deref().unwrap().contains("lists leave out"),
        "{run:?}"
    );
    // Where most are gone indeed, lists are as good as before.
    world
        .keap
        .knobs(|knobs| knobs.unlisted = (66..=95).collect());
    for id in 31..=65 {
        world.keap.delete(id);
    }
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!(
        (counts.archived, run.state),
        (35, RunState::Done),
        "{run:?}"
    );
    // And more than the brake lets pass are the brake's.
    world
        .keap
        .knobs(|knobs| knobs.unlisted = (1..=20).collect());
    for id in 96..=145 {
        world.keap.delete(id);
    }
    let (_, run) = sweep(&worker, false).await;
    assert!(
        run.error.as_deref().unwrap().starts_with("brake: "),
        "{run:?}"
    );
    assert_eq!(live(&world), 164);
}

#[sqlx::test]
async fn f29_a_refusal_in_the_middle_archives_nobody_and_the_sweep_goes_on_later(pool: PgPool) {
    let mut world = World::with_people(pool, 120).await;
    world.set("KEAP__PAGE_SIZE", "50");
    let worker = settled(&world).await;
    world.keap.delete(5);
    for (kind, nth) in [("list", 2), ("read", 1)] {
        world.keap.fault(
            Fault::on(kind)
                .nth(nth)
                .what(What::Status(403, "{}".into())),
        );
    }
    worker.store.request_sweep(false).await.unwrap();
    let mut poll = false;
    let mut halts = 0;
    until("the sweep is whole", async || {
        match worker.syncer.bulk_step(&mut poll).await {
            Ok(worked) => !worked,
            Err(_) => {
                halts += 1;
                assert_eq!(live(&world), 120);
                false
            }
        }
    })
    .await;
    assert!(halts >= 2, "{halts}");
    assert_eq!(world.last_action(5).await, "archived");
    assert_eq!(live(&world), 119);
}

#[sqlx::test]
async fn only_a_404_for_the_contact_itself_says_that_it_is_gone(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = settled(&world).await;
    // Keap cannot show it, neither in lists nor by itself.
    world.keap.knobs(|knobs| {
        knobs.malformed.insert(7, serde_json::json!({ "name": 1 }));
    });
    world.keap.delete(8);
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (1, RunState::Done));
    assert_eq!(world.last_action(8).await, "archived");
    assert_eq!(world.user(7).external_id.as_deref(), Some("7"));
}

#[sqlx::test]
async fn s21_the_brake_holds_by_number_and_force_lifts_it(pool: PgPool) {
    let mut world = World::with_people(pool, 100).await;
    world
        .set("SWEEP__BRAKE_CONTACTS", "3")
        .set("SWEEP__BRAKE_PERCENT", "100");
    let worker = settled(&world).await;
    for id in 11..=15 {
        world.keap.delete(id);
    }
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (0, RunState::Failed));
    let why = run.error.unwrap();
    assert!(
        why.contains("sweep.brake_contacts = 3") && why.contains("sync --sweep --force"),
        "{why}"
    );
    assert_eq!((live(&world), world.intercom.calls()), (100, 0));
    assert_eq!(candidates(&world).await, 0);
    let cursor = worker.store.cursor(Feed::Sweep).await.unwrap().unwrap();
    assert!(cursor.walk.is_none() && cursor.polled_age.is_none());

    let (counts, run) = sweep(&worker, true).await;
    assert_eq!((counts.archived, run.state), (5, RunState::Done));
    assert_eq!(live(&world), 95);
    world.assert_agrees();
}

#[sqlx::test]
async fn s21_the_brake_holds_by_share_and_costs_few_calls(pool: PgPool) {
    let mut world = World::with_people(pool, 200).await;
    world.set("SWEEP__BRAKE_PERCENT", "10");
    let worker = settled(&world).await;
    for id in 1..=150 {
        world.keap.delete(id);
    }
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (0, RunState::Failed));
    let why = run.error.unwrap();
    assert!(why.contains("sweep.brake_percent = 10 %"), "{why}");
    assert!(
        world.keap.count("read") <= 40,
        "{}",
        world.keap.count("read")
    );
    assert_eq!((live(&world), world.intercom.calls()), (200, 0));
}

#[sqlx::test]
async fn a_sweep_resumes_where_it_was_stopped(pool: PgPool) {
    let mut world = World::with_people(pool, 500).await;
    world.set("KEAP__PAGE_SIZE", "100");
    let worker = settled(&world).await;
    for id in [50, 250, 450] {
        world.keap.delete(id);
    }
    let run = worker.store.request_sweep(false).await.unwrap();
    let mut poll = false;
    for _ in 0..3 {
        worker.syncer.bulk_step(&mut poll).await.unwrap();
    }
    let cursor = worker.store.cursor(Feed::Sweep).await.unwrap().unwrap();
    assert_eq!(cursor.walk.unwrap().last_id.unwrap().get(), 302);
    assert_eq!(candidates(&world).await, 2);
    worker.stop().await;

    world.keap.clear_ledger();
    let worker = world.worker().await;
    step_until_done(&worker).await;
    let run = worker.store.run(run).await.unwrap().unwrap();
    assert_eq!((run.state, run.counts.archived), (RunState::Done, 3));
    assert!(
        world.keap.count("list") <= 6,
        "{}",
        world.keap.count("list")
    );
    world.assert_agrees();
}

#[sqlx::test]
async fn a_stop_between_two_archives_repeats_nothing(pool: PgPool) {
    let mut world = World::with_people(pool, 100).await;
    world
        .set("SYNC__CONCURRENCY", "1")
        .set("SYNC__RECORD_GROUP", "1");
    let worker = settled(&world).await;
    for id in 21..=24 {
        world.keap.delete(id);
    }
    world.intercom.fault(
        Fault::on("archive")
            .nth(3)
            .what(What::Status(401, "{}".into())),
    );
    worker.store.request_sweep(false).await.unwrap();
    let mut poll = false;
    until("the sweep is whole", async || {
        matches!(worker.syncer.bulk_step(&mut poll).await, Ok(false))
    })
    .await;
    assert_eq!(live(&world), 96);
    assert_eq!(
        world.intercom.count("archive"),
        5,
        "four, and the refused one"
    );
    assert_eq!(candidates(&world).await, 0);
}

#[sqlx::test]
async fn f12_what_becomes_visible_after_the_overlap_is_found_by_the_sweep(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = settled(&world).await;
    // Two come with a stamp of now, and are shown half an hour later; the polls move on meanwhile.
    world
        .keap
        .knobs(|knobs| knobs.visibility_delay_ms = 1_800_000);
    let late = world.keap.add(ann());
    world.keap.knobs(|knobs| knobs.visibility_delay_ms = 0);
    world.keap.clock().advance_ms(60_000);
    world
        .keap
        .edit(4, |person| person.given_name = Some("Moved".into()));
    for _ in 0..3 {
        worker.sync().await;
        tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    }
    world.keap.clock().advance_ms(1_800_000);
    worker.sync().await;
    assert!(world.intercom.by_external_id(&late.to_string()).is_empty());
    // One that the next poll brings is no late arrival.
    let fresh = world.keap.add(invented(900, Shape::Plain));
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.late, run.counts.late), (1, 1), "{counts:?}");
    worker.work_off().await;
    assert_eq!(world.user(late).name.as_deref(), Some("Ann Lee"));
    assert!(world.intercom.by_external_id(&fresh.to_string()).is_empty());
    worker.sync().await;
    world.assert_agrees();

    // Known ones are no late arrivals, those that were skipped included.
    let nobody = world.keap.add(crate::sim::Person::named("No", "Mail"));
    worker.sync().await;
    let (counts, _) = sweep(&worker, false).await;
    assert_eq!(counts.late, 0, "{nobody} is known as skipped");
}

#[sqlx::test]
async fn from_now_does_not_sweep_in_what_was_there_before(pool: PgPool) {
    let mut world = World::with_people(pool, 20).await;
    world.set("POLL__FIRST_RUN", "from_now");
    let worker = settled(&world).await;
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.late, run.state), (0, RunState::Done));
}

#[sqlx::test]
async fn a_sweep_costs_one_call_a_page(pool: PgPool) {
    let mut world = World::with_people(pool, 1000).await;
    world.set("KEAP__PAGE_SIZE", "100");
    let worker = settled(&world).await;
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.seen, run.state), (1000, RunState::Done));
    assert!(world.keap.calls() <= 12, "{}", world.keap.calls());
    assert_eq!(world.intercom.calls(), 0);
    assert!(
        world
            .keap
            .ledger()
            .iter()
            .all(|call| !call.query.contains("given_name"))
    );
}

#[sqlx::test]
async fn a_keap_that_pages_by_token_alone_is_swept_as_well(pool: PgPool) {
    let mut world = World::with_people(pool, 300).await;
    world.set("KEAP__PAGE_SIZE", "50");
    let worker = settled(&world).await;
    world
        .keap
        .knobs(|knobs| knobs.ignore_contact_id_filter = true);
    for id in [1, 51, 150, 300] {
        world.keap.delete(id);
    }
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (4, RunState::Done), "{run:?}");
    assert_eq!(live(&world), 296);
}

#[sqlx::test]
async fn the_schedule_asks_for_one_sweep_at_a_time(pool: PgPool) {
    let mut world = World::with_people(pool, 20).await;
    world.set("SWEEP__SCHEDULE", "* * * * * *");
    let daemon = world.daemon().await;
    let done = async || -> i64 {
        sqlx::query_scalar("select count(*) from sync_run where feed = 'sweep' and state = 'done'")
            .fetch_one(&world.pool)
            .await
            .unwrap_or_default()
    };
    until("everybody is synced", async || live(&world) == 20).await;
    world.keap.delete(9);
    until("the deletion is noticed", async || live(&world) == 19).await;
    until("sweeps follow each other", async || done().await >= 2).await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_command_sweeps_and_says_how_the_brake_is_lifted(pool: PgPool) {
    let mut world = crate::process::world(pool, 12).await;
    world.set("RUST_LOG", "off");
    command(&world, &["sync", "--all"]).await.expect(0);
    for id in 1..=6 {
        world.keap.delete(id);
    }
    let told = command(&world, &["sync", "--sweep"]).await.expect(2).stdout;
    assert!(
        told.contains("Not complete: brake: ") && told.contains("--force"),
        "{told}"
    );
    let status = command(&world, &["status"]).await.expect(0).stdout;
    assert!(
        status.contains("sweep     none has succeeded yet") && status.contains("; brake: "),
        "{status}"
    );
    let told = command(&world, &["sync", "--sweep", "--force"])
        .await
        .expect(0)
        .stdout;
    assert!(
        told.contains("Gone from Keap: 6 archived, 0 unlinked; found late: 0"),
        "{told}"
    );
    let status = command(&world, &["status"]).await.expect(0).stdout;
    assert!(
        status.contains("sweep     done") && status.contains("archived 6, unlinked 0, late 0"),
        "{status}"
    );
    let status = command(&world, &["status", "--json"])
        .await
        .expect(0)
        .json();
    assert!(
        status["sweep"]["lastSuccessSecondsAgo"].is_number(),
        "{status}"
    );
    assert_eq!(status["sweep"]["walk"], serde_json::Value::Null);
    world.assert_agrees();
    for wrong in [
        &["sync", "--force"][..],
        &["sync", "--sweep", "--all"],
        &["sync", "--sweep", "--dry-run"],
        &["sync", "1", "--sweep"],
    ] {
        command(&world, wrong).await.expect(2);
    }
}
