//! Contacts that are archived, deleted or merged in Intercom. Nothing is deleted in Keap.

use keap_intercom_sync::feed::RunReason;
use keap_intercom_sync::store::RunState;
use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use crate::process::command;
use crate::sim::people::{Shape, invented};
use crate::sim::{Person, Seed};

/// An audit believes the list of users only for links that were written an hour ago.
async fn age(stage: &Stage) {
    let sql = "update contact_link set updated_at = updated_at - interval '2 h', based_at = based_at - interval '2 h'";
    sqlx::query(sql).execute(&stage.world.pool).await.unwrap();
}

/// An audit, and what follows of it.
async fn audit(stage: &Stage, reason: RunReason) -> RunState {
    let run = stage.audit(reason).await;
    stage.worker.work_off().await;
    run.state
}

async fn reasons(stage: &Stage, id: i64) -> Vec<String> {
    let lines = stage.world.log_of(id).await.into_iter();
    lines.filter_map(|line| line.error_message).collect()
}

const GONE: &str = "gone_in_intercom: the Intercom contact was archived or deleted there";

#[sqlx::test]
async fn who_is_archived_or_deleted_is_read_once_and_the_next_change_in_keap_brings_it_back(
    pool: PgPool,
) {
    let stage = Stage::new(pool, "newest").await;
    let bob = stage.world.keap.add(Person::named("Bob", "Ray").email("bob@example.org"));
    stage.settle().await;
    let [of_ann, of_bob] = [stage.id, bob].map(|id| stage.world.user(id).id);
    stage.world.intercom.archive(&of_ann);
    stage.world.intercom.delete(&of_bob);
    age(&stage).await;
    // A look lists them, reads nobody by id and writes nothing.
    stage.world.intercom.reindex_now();
    stage.clear();
    let told = command(&stage.world, &["sync", "--audit"]).await.expect(1).stdout;
    for id in [stage.id, bob] {
        let line = format!("{id} is linked to a contact that the list of Intercom's users misses");
        assert!(told.lines().any(|shown| shown == line), "{line}: {told}");
    }
    assert!(
        told.contains("0 contacts compared, 0 differ.\nMissing in the list: 2 contacts"),
        "{told}"
    );
    let told = command(&stage.world, &["sync", "--audit", "--json"]).await.expect(1).json();
    assert_eq!(told, json!({ "compared": 0, "differ": [], "missing": [stage.id, bob] }));
    assert_eq!(stage.world.intercom.count("read"), 0);
    stage.clear();
    assert_eq!(audit(&stage, RunReason::Schedule).await, RunState::Done);
    assert_eq!(stage.world.intercom.count("read"), 2, "{:?}", stage.world.intercom.kinds());
    assert_eq!(stage.writes(), (0, 0));
    for id in [stage.id, bob] {
        assert_eq!(reasons(&stage, id).await, [GONE]);
    }

    // It is known now.
    command(&stage.world, &["sync", "--audit"]).await.expect(0);
    stage.clear();
    audit(&stage, RunReason::Schedule).await;
    assert_eq!(stage.world.intercom.count("read"), 0);
    assert_eq!(reasons(&stage, bob).await.len(), 1);

    stage.edit_plan_in_keap("silver");
    stage.look().await;
    assert_eq!(stage.world.user(stage.id).id, of_ann, "the same contact is live again");
    assert_eq!(stage.plan_in_intercom(), "silver");

    // Archived once more, it is noticed once more.
    stage.world.intercom.archive(&of_ann);
    age(&stage).await;
    stage.clear();
    audit(&stage, RunReason::Schedule).await;
    assert_eq!(stage.world.intercom.count("read"), 1);
}

#[sqlx::test]
async fn a_contact_that_comes_back_in_intercom_is_watched_again(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let user = stage.world.user(stage.id).id;
    let archive_and_audit = async || {
        stage.world.intercom.archive(&user);
        age(&stage).await;
        stage.clear();
        audit(&stage, RunReason::Schedule).await;
        stage.world.intercom.count("read")
    };
    assert_eq!(archive_and_audit().await, 1);
    stage.world.intercom.unarchive(&user);
    audit(&stage, RunReason::Schedule).await;
    assert_eq!(archive_and_audit().await, 1);
}

#[sqlx::test]
async fn the_link_follows_a_merge_in_intercom(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let survivor = stage.world.intercom.add_user(Seed::with_email("ann.lee@example.org"));
    let loser = stage.world.user(stage.id).id;
    stage.world.intercom.merge(&loser, &survivor);
    age(&stage).await;
    assert_eq!(audit(&stage, RunReason::Schedule).await, RunState::Done);
    assert_eq!(stage.world.user(stage.id).id, survivor);
    stage.settle().await;
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn a_list_that_is_cut_short_is_not_believed_and_costs_no_call_for_each(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    stage.world.keap.add_many(620, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    for user in stage.world.intercom.live_users() {
        stage.world.intercom.archive(&user.id);
    }
    age(&stage).await;
    stage.clear();
    let run = stage.audit(RunReason::Schedule).await;
    assert_eq!(run.state, RunState::Failed);
    let why = run.failure.unwrap();
    let text = why.to_string();
    assert!(text.starts_with("621 of 621 linked contacts are missing in the list"), "{text}");
    stage.worker.work_off().await;
    assert_eq!(stage.world.intercom.count("read"), 0);

    // A person lifts the brake, and the calls stay bounded.
    assert_eq!(audit(&stage, RunReason::Manual).await, RunState::Done);
    assert_eq!(stage.world.intercom.count("read"), 500);
    audit(&stage, RunReason::Manual).await;
    assert_eq!(stage.world.intercom.count("read"), 621);
    assert_eq!(stage.writes(), (0, 0));
}
