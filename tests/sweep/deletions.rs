//! A contact that was deleted in Keap: what each policy does, and what proves a deletion.

use keap_intercom_sync::store::RunState;
use sqlx::PgPool;

use super::{candidates, live, settled, sweep};
use crate::process::command;
use crate::sim::people::{Shape, invented};
use crate::sim::{Fault, What};
use crate::world::World;

// F26
#[sqlx::test]
async fn a_deleted_contact_is_archived_within_one_sweep_and_the_log_says_why(pool: PgPool) {
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
    assert_eq!((line.sync_status.as_str(), line.action.as_deref()), ("synced", Some("archived")));
    assert_eq!(line.intercom_contact_id, Some(intercom));
    assert!(line.error_message.unwrap().starts_with("deleted: "));
    world.assert_agrees();
    assert_eq!(candidates(&world).await, 0);

    // The next sweep finds nothing and does not call Intercom.
    world.intercom.clear_ledger();
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (0, RunState::Done));
    assert_eq!(world.intercom.calls(), 0, "a sweep that finds nothing calls nobody");

    // A contact that appears again in Keap gets its Intercom contact back.
    world.keap.add_with_id(17, invented(16, Shape::Plain));
    worker.sync().await;
    worker.work_off().await;
    world.assert_agrees();
    assert_eq!(world.intercom.count("unarchive"), 1);
}

#[sqlx::test]
async fn unlink_keeps_the_intercom_contact_and_removes_the_link(pool: PgPool) {
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
async fn ignore_counts_deletions_and_does_nothing_else(pool: PgPool) {
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
async fn only_a_404_for_the_contact_itself_proves_that_it_is_gone(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = settled(&world).await;
    // Keap can show contact 7 neither in lists nor alone, and has deleted contact 8.
    world.keap.knobs(|knobs| {
        knobs.malformed.insert(7, serde_json::json!({ "name": 1 }));
    });
    world.keap.delete(8);

    let (counts, run) = sweep(&worker, false).await;

    assert_eq!((counts.archived, run.state), (1, RunState::Done));
    assert_eq!(world.last_action(8).await, "archived");
    assert_eq!(world.user(7).external_id.as_deref(), Some("7"));
}

// F28
#[sqlx::test]
async fn a_web_page_with_404_does_not_prove_that_a_contact_is_gone(pool: PgPool) {
    let world = World::with_people(pool, 40).await;
    let worker = settled(&world).await;
    world.keap.delete(8);
    let page = "<html><body>404 Not Found</body></html>";
    world.keap.fault(Fault::on("read").times(2).what(What::Status(404, page.into())));

    let (counts, _) = sweep(&worker, false).await;

    assert_eq!(counts.archived, 0);
    assert_eq!(world.user(8).external_id.as_deref(), Some("8"));
    world.keap.clear_faults();
    let (counts, run) = sweep(&worker, false).await;
    assert_eq!((counts.archived, run.state), (1, RunState::Done));
}

#[sqlx::test]
async fn the_command_sweeps_and_says_how_to_lift_the_brake(pool: PgPool) {
    let mut world = crate::process::world(pool, 12).await;
    world.set("RUST_LOG", "off");
    command(&world, &["sync", "--all"]).await.expect(0);
    for id in 1..=6 {
        world.keap.delete(id);
    }

    let output = command(&world, &["sync", "--sweep"]).await.expect(2).stdout;
    assert!(output.contains("Not complete: brake: ") && output.contains("--force"), "{output}");

    let status = command(&world, &["status"]).await.expect(1).stdout;
    assert!(
        status.contains("sweep     none has succeeded yet") && status.contains("; brake: "),
        "{status}"
    );

    let output = command(&world, &["sync", "--sweep", "--force"]).await.expect(0).stdout;
    assert!(output.contains("Gone from Keap: 6 archived, 0 unlinked; found late: 0"), "{output}");

    let status = command(&world, &["status"]).await.expect(1).stdout;
    assert!(status.contains("sweep     done") && status.contains("6 archived"), "{status}");

    let status = command(&world, &["status", "--json"]).await.expect(1).json();
    assert!(status["sweep"]["lastSuccessSecondsAgo"].is_number(), "{status}");
    assert_eq!(status["sweep"]["walk"], serde_json::Value::Null);
    world.assert_agrees();
    for wrong in [
        &["sync", "--force"][..],
        &["sync", "--sweep", "--all"],
        &["sync", "--sweep", "--verbose"],
        &["sync", "1", "--sweep"],
    ] {
        command(&world, wrong).await.expect(2);
    }
}
