//! Plans that a person asks for.

use keap_intercom_sync::outcome::PlanKind;
use keap_intercom_sync::store::{Approval, RunState};
use keap_intercom_sync::sync::plans::look::look;
use sqlx::PgPool;

use super::{actions, approve, carried_out, clear, contacts, ended, plan, stored, waiting};
use crate::sim::{Fault, Person, What};
use crate::sweep::settled;
use crate::two_way::Stage;
use crate::world::{World, until};

/// A change in Keap of which no poll has heard yet.
fn rename(world: &World, id: i64, name: &str) {
    world.keap.clock().advance_ms(2_000);
    world.keap.edit(id, |person| person.family_name = Some(name.into()));
}

fn name_of(world: &World, id: i64) -> String {
    world.user(id).name.unwrap_or_default()
}

#[sqlx::test]
async fn approval_writes_the_contacts_of_the_plan_and_no_others(pool: PgPool) {
    let world = World::with_people(pool, 5).await;
    let worker = settled(&world).await;
    rename(&world, 1, "One");
    rename(&world, 2, "Two");
    let new = world.keap.add(Person::named("New", "Person").email("new@example.org"));

    let id = plan(&worker, PlanKind::All).await;

    assert_eq!(actions(&world, id).await, [("created".to_owned(), 1), ("updated".to_owned(), 2)]);
    assert_eq!(contacts(&world, id).await, [1, 2, new]);
    let counts = world.store().plan_counts(id).await.unwrap();
    let named = |count: &&keap_intercom_sync::store::PlanCount| count.word == "name";
    assert_eq!(counts.iter().find(named).map(|count| count.contacts), Some(3), "{counts:?}");
    let made = stored(&world, id).await;
    assert_eq!((made.seen, made.unchanged, made.state.as_str()), (6, 3, "waiting"));
    assert_eq!(world.writes(), 0, "a plan writes nothing");

    // It is in no plan.
    rename(&world, 3, "Three");
    clear(&world);
    let run = carried_out(&worker, id).await;

    assert_eq!((run.state, run.feed.as_str()), (RunState::Done, "plan"));
    assert_eq!((run.counts.created, run.counts.updated, run.counts.seen), (1, 2, 3));
    assert_eq!((world.intercom.count("create"), world.intercom.count("update")), (1, 2));
    // One list brings all three contacts.
    assert_eq!((world.keap.calls(), run.counts.keap_calls), (1, 1));
    assert!(name_of(&world, 1).ends_with("One") && !name_of(&world, 3).ends_with("Three"));
    let ended = stored(&world, id).await;
    assert_eq!((ended.state.as_str(), ended.changed, ended.run_id), ("done", 0, Some(run.id)));
    // The log names the run.
    let logged: i64 =
        sqlx::query_scalar("select count(*) from keap_intercom_sync_logs where run_id = $1")
            .bind(run.id)
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(logged, 3);
}

#[sqlx::test]
async fn a_contact_that_has_changed_since_is_decided_afresh_and_counted_apart(pool: PgPool) {
    let world = World::with_people(pool, 4).await;
    let worker = settled(&world).await;
    for id in 1..=3 {
        rename(&world, id, "First");
    }
    let id = plan(&worker, PlanKind::Changed).await;
    assert_eq!(contacts(&world, id).await, [1, 2, 3]);

    rename(&world, 1, "Second");
    world.keap.delete(2);
    clear(&world);
    let run = carried_out(&worker, id).await;

    assert!(name_of(&world, 1).ends_with("Second") && name_of(&world, 3).ends_with("First"));
    assert_eq!((run.counts.updated, run.counts.archived, world.writes()), (2, 0, 2));
    assert_eq!(world.intercom.live_users().len(), 4, "only a sweep archives whoever is gone");
    let changed = stored(&world, id).await.changed;
    assert_eq!(changed, 1, "the newer name; who is gone was only skipped");
}

#[sqlx::test]
async fn a_kill_in_the_middle_writes_nobody_twice(pool: PgPool) {
    let mut world = World::with_people(pool, 7).await;
    world.set("KEAP__PAGE_SIZE", "3");
    let worker = settled(&world).await;
    for id in 1..=7 {
        rename(&world, id, "Again");
    }
    let id = plan(&worker, PlanKind::All).await;
    clear(&world);
    let run = approve(&worker, id).await;
    worker.syncer.bulk_step(&mut false).await.unwrap();
    assert_eq!(world.writes(), 3, "one page");

    // The process dies, and the next one takes the lease.
    worker.stop().await;
    let worker = world.worker().await;
    let run = ended(&worker, run).await;

    assert_eq!((run.state, run.counts.updated, world.writes()), (RunState::Done, 7, 7));
    let plan = stored(&world, id).await;
    assert_eq!((plan.state.as_str(), plan.changed), ("done", 0));
}

#[sqlx::test]
async fn a_stop_in_the_middle_of_a_page_takes_nobody_for_changed(pool: PgPool) {
    let mut world = World::with_people(pool, 4).await;
    world.set("SYNC__CONCURRENCY", "1");
    let worker = settled(&world).await;
    for id in 1..=4 {
        rename(&world, id, "Again");
    }
    let id = plan(&worker, PlanKind::All).await;
    clear(&world);
    let run = approve(&worker, id).await;
    // Intercom goes away after two of them.
    world.intercom.fault(Fault::on("update").skip(2).always().what(What::Refuse));
    while worker.syncer.bulk_step(&mut false).await.is_ok() {}
    world.intercom.clear_faults();
    worker.stop().await;
    let left: i64 = sqlx::query_scalar("select count(*) from plan_contact where outcome is null")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    // The third one may have been written, for all that is known: it is due by itself now.
    assert!((1..=2).contains(&left), "who is written is recorded with the plan: {left} are left");
    let worker = world.worker().await;
    clear(&world);
    until("Intercom is called again", async || worker.syncer.bulk_step(&mut false).await.is_ok())
        .await;
    let run = ended(&worker, run).await;

    worker.work_off().await;
    assert_eq!((run.state, world.writes()), (RunState::Done, 2));
    assert_eq!(stored(&world, id).await.changed, 0);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_plan_is_carried_out_once_and_a_dropped_one_never(pool: PgPool) {
    let world = World::with_people(pool, 3).await;
    let worker = settled(&world).await;
    rename(&world, 1, "One");
    let (first, second) = (plan(&worker, PlanKind::All).await, plan(&worker, PlanKind::All).await);
    let store = &worker.store;

    assert!(store.drop_plan(first, "http").await.unwrap());
    assert!(!store.drop_plan(first, "http").await.unwrap());
    let refused = store.approve_plan(first, "command").await.unwrap();
    assert!(matches!(refused, Some(Approval::No(plan)) if plan.state == "dropped"));
    assert_eq!(waiting(&world).await.id, second);
    clear(&world);
    carried_out(&worker, second).await;
    let again = store.approve_plan(second, "command").await.unwrap();
    assert!(matches!(again, Some(Approval::No(plan)) if plan.state == "done"));
    assert!(!store.drop_plan(second, "http").await.unwrap());
    while worker.syncer.bulk_step(&mut false).await.unwrap() {}

    assert_eq!(world.writes(), 1);
    assert!(store.approve_plan(uuid::Uuid::new_v4(), "command").await.unwrap().is_none());
}

#[sqlx::test]
async fn a_plan_of_a_sweep_archives_whom_it_names(pool: PgPool) {
    let world = World::with_people(pool, 6).await;
    let worker = settled(&world).await;
    world.keap.delete(2);
    world.keap.delete(5);

    let id = plan(&worker, PlanKind::Sweep).await;

    assert_eq!(actions(&world, id).await, [("archived".to_owned(), 2)]);
    assert_eq!(contacts(&world, id).await, [2, 5]);
    world.keap.delete(6);
    clear(&world);
    let run = carried_out(&worker, id).await;
    assert_eq!((run.counts.archived, world.intercom.count("archive")), (2, 2));
    assert_eq!(world.intercom.live_users().len(), 4, "the third one is in no plan");
    assert_eq!(world.last_action(5).await, "archived");
    assert_eq!(stored(&world, id).await.changed, 0);
}

#[sqlx::test]
async fn a_plan_of_another_mapping_or_account_is_refused(pool: PgPool) {
    let mut world = World::with_people(pool, 3).await;
    let worker = settled(&world).await;
    rename(&world, 1, "One");
    let id = plan(&worker, PlanKind::All).await;
    worker.stop().await;
    world.file(&crate::mapping::tables(&[("email", "email", ""), ("phone", "phone", "")]));
    let worker = world.worker().await;
    clear(&world);

    let run = carried_out(&worker, id).await;

    assert_eq!(run.state, RunState::Failed);
    let why = run.failure.unwrap().to_string();
    assert!(why.contains("another mapping, or for another account"), "{why}");
    assert_eq!(world.writes(), 0);
    let plan = stored(&world, id).await;
    assert_eq!((plan.state.as_str(), plan.why), ("failed", Some(why)));
}

#[sqlx::test]
async fn held_and_failing_contacts_are_listed_and_left_alone(pool: PgPool) {
    let world = World::with_people(pool, 2).await;
    let worker = settled(&world).await;
    for _ in 0..2 {
        world.intercom.add_user(crate::sim::Seed::with_email("twin@example.org"));
    }
    let twin = world.keap.add(Person::named("Twin", "Lee").email("twin@example.org"));
    let id = plan(&worker, PlanKind::All).await;
    assert_eq!(actions(&world, id).await, [("held".to_owned(), 1)]);
    assert_eq!(contacts(&world, id).await, [twin]);
    clear(&world);

    let run = carried_out(&worker, id).await;

    assert_eq!((run.state, run.counts.seen), (RunState::Done, 0));
    assert_eq!((world.keap.calls(), world.intercom.calls()), (0, 0));
}

#[sqlx::test]
async fn a_plan_of_both_directions_writes_what_it_showed(pool: PgPool) {
    let stage = Stage::new(pool, "newest").await;
    let Stage { world, worker, .. } = &stage;
    stage.edit_plan_in_intercom("bronze", 5);
    world.intercom.reindex_now();
    stage.clear();

    let id = plan(worker, PlanKind::Audit).await;

    assert_eq!(actions(world, id).await, [("updated".to_owned(), 1)]);
    let counts = world.store().plan_counts(id).await.unwrap();
    assert!(
        counts.iter().any(|count| count.what == "to_keap" && count.word == "plan"),
        "{counts:?}"
    );
    assert_eq!(stage.writes(), (0, 0));
    let run = carried_out(worker, id).await;
    worker.work_off().await;
    assert_eq!(run.state, RunState::Done);
    assert_eq!((stage.plan_in_keap(), stage.writes()), ("bronze".into(), (1, 0)));
    assert_eq!(stored(world, id).await.changed, 0);

    // Somebody edits it once more before the approval.
    stage.edit_plan_in_intercom("silver", 10);
    world.intercom.reindex_now();
    let id = plan(worker, PlanKind::Audit).await;
    stage.edit_plan_in_intercom("tin", 20);
    carried_out(worker, id).await;
    worker.work_off().await;
    assert_eq!((stage.plan_in_keap(), stored(world, id).await.changed), ("tin".into(), 1));
}

#[sqlx::test]
async fn an_audit_is_planned_only_where_both_directions_are_on(pool: PgPool) {
    let world = World::with_people(pool, 1).await;
    let worker = settled(&world).await;
    let refused = Box::pin(look(worker.context(), PlanKind::Audit)).await.unwrap_err();
    assert!(refused.to_string().contains("intercom_to_keap.enabled = true"), "{refused}");
}

#[sqlx::test]
async fn an_erasure_takes_the_contact_out_of_every_plan(pool: PgPool) {
    let world = World::with_people(pool, 2).await;
    let worker = settled(&world).await;
    rename(&world, 1, "One");
    rename(&world, 2, "Two");
    let id = plan(&worker, PlanKind::All).await;
    worker
        .store
        .request_erasure(crate::world::keap_id(1), keap_intercom_sync::store::Door::Command, false)
        .await
        .unwrap();
    while worker.syncer.urgent_step().await.unwrap() {}

    assert_eq!(contacts(&world, id).await, [2]);
    clear(&world);
    carried_out(&worker, id).await;
    assert_eq!(world.writes(), 1);
}
