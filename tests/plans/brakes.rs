//! The plans that brakes leave.

use keap_intercom_sync::feed::RunReason;
use keap_intercom_sync::outcome::PlanKind;
use keap_intercom_sync::store::RunState;
use serde_json::json;
use sqlx::PgPool;

use super::{actions, approve, carried_out, clear, contacts, ended, stored, waiting};
use crate::mapping::mapped;
use crate::process::command;
use crate::sim::people::{Shape, invented};
use crate::sim::{Person, Seed};
use crate::sweep::settled;
use crate::two_way::Stage;
use crate::two_way::create;
use crate::world::{Worker, World, until};

/// A whole sweep, and its run.
async fn sweep(worker: &Worker, forced: bool) -> keap_intercom_sync::store::Run {
    let id = worker.request_sweep(forced).await;
    while worker.syncer.bulk_step(&mut false).await.unwrap() {}
    worker.store.run(id).await.unwrap().unwrap()
}

#[sqlx::test]
async fn a_braked_sweep_leaves_a_plan_that_archives_whom_it_names(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("SWEEP__BRAKE_CONTACTS", "3").set("SWEEP__BRAKE_PERCENT", "100");
    let worker = settled(&world).await;
    for id in 1..=8 {
        world.keap.delete(id);
    }

    let run = sweep(&worker, false).await;

    assert_eq!(run.state, RunState::Failed);
    let remedy = run.failure.unwrap().remedy();
    assert!(remedy.contains("plan show") && remedy.contains("plan approve"), "{remedy}");
    let plan = waiting(&world).await;
    assert_eq!((plan.kind(), plan.asked_by.as_str()), (Some(PlanKind::Sweep), "brake"));
    assert_eq!((plan.found_by, plan.seen), (Some(run.id), 8));
    assert_eq!(actions(&world, plan.id).await, [("archived".to_owned(), 8)]);

    // The next sweep shows the same, so it leaves no second plan. A later one shows more.
    sweep(&worker, false).await;
    assert_eq!(waiting(&world).await.id, plan.id);
    world.keap.delete(9);
    sweep(&worker, false).await;
    let newer = waiting(&world).await;
    assert_ne!(newer.id, plan.id);
    assert_eq!(stored(&world, plan.id).await.state, "replaced");
    assert_eq!(contacts(&world, newer.id).await, (1..=9).collect::<Vec<_>>());

    // One more is deleted before the approval. It is in no plan.
    world.keap.delete(20);
    clear(&world);
    let run = carried_out(&worker, newer.id).await;
    assert_eq!((run.state, run.counts.archived), (RunState::Done, 9));
    assert_eq!(world.intercom.count("archive"), 9);
    assert_eq!(world.intercom.live_users().len(), 21);
    let run = sweep(&worker, false).await;
    assert_eq!((run.state, run.counts.archived), (RunState::Done, 1));
    world.assert_agrees();
}

#[sqlx::test]
async fn a_contact_of_a_braked_sweep_that_exists_is_not_archived(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("SWEEP__BRAKE_CONTACTS", "3").set("SWEEP__BRAKE_PERCENT", "100");
    let worker = settled(&world).await;
    for id in 1..=8 {
        world.keap.delete(id);
    }
    // No list shows it, and it is there.
    world.keap.knobs(|knobs| knobs.unlisted.extend([10]));
    sweep(&worker, false).await;
    let plan = waiting(&world).await;
    clear(&world);

    let run = carried_out(&worker, plan.id).await;

    assert_eq!(run.counts.archived, 8);
    assert_eq!(world.user(10).external_id.as_deref(), Some("10"));
    assert_eq!(world.intercom.live_users().len(), 22);
}

#[sqlx::test]
async fn force_lifts_the_brake_of_a_sweep_and_ends_its_plan(pool: PgPool) {
    let mut world = World::with_people(pool, 30).await;
    world.set("SWEEP__BRAKE_CONTACTS", "3").set("SWEEP__BRAKE_PERCENT", "100");
    let worker = settled(&world).await;
    for id in 1..=8 {
        world.keap.delete(id);
    }
    sweep(&worker, false).await;
    let plan = waiting(&world).await;

    let run = sweep(&worker, true).await;

    assert_eq!((run.state, run.counts.archived), (RunState::Done, 8));
    assert_eq!(stored(&world, plan.id).await.state, "replaced");
}

#[sqlx::test]
async fn lists_that_leave_out_contacts_leave_no_plan(pool: PgPool) {
    let world = World::with_people(pool, 100).await;
    let worker = settled(&world).await;
    world.keap.knobs(|knobs| knobs.unlisted.extend(1..=60));

    let run = sweep(&worker, false).await;

    assert_eq!(run.state, RunState::Failed);
    assert!(run.failure.unwrap().to_string().contains("lists leave out"));
    assert!(world.store().plans(false, None, 10).await.unwrap().is_empty());
}

#[sqlx::test]
async fn a_braked_audit_leaves_a_plan_that_settles_whom_it_names(pool: PgPool) {
    let stage = Stage::with(pool, "intercom", |world| {
        world.set("INTERCOM_TO_KEAP__WRITES_PER_MINUTE", "6000");
    })
    .await;
    let Stage { world, worker, .. } = &stage;
    world.keap.add_many(150, |n| invented(n as u64, Shape::Plain));
    stage.settle().await;
    for user in world.intercom.live_users() {
        world.intercom.edit(&user.id, |contact| {
            contact.custom_attributes.insert("plan".into(), json!("tin"));
        });
    }
    assert_eq!(stage.audit(RunReason::Schedule).await.state, RunState::Failed);
    let plan = waiting(world).await;
    assert_eq!(actions(world, plan.id).await, [("looked_at".to_owned(), 151)]);
    stage.clear();

    let run = carried_out(worker, plan.id).await;
    worker.work_off().await;

    assert_eq!(run.state, RunState::Done);
    assert_eq!(stage.writes(), (151, 0));
    assert_eq!(stage.plan_in_keap(), "tin");
    assert_eq!(stored(world, plan.id).await.changed, 0);
}

#[sqlx::test]
async fn braked_creates_leave_a_plan_that_lets_its_users_into_keap(pool: PgPool) {
    let stage = create::stage(pool, |world| {
        world.set("INTERCOM_TO_KEAP__CREATE_BRAKE", 3);
    })
    .await;
    for n in 0..6 {
        stage.world.intercom.add_user(Seed::with_email(&format!("canary{n}@example.org")));
    }
    stage.bring().await;
    stage.bring().await;
    assert_eq!((stage.creates(), stage.waiting().await), (3, 3));
    let plan = waiting(&stage.world).await;
    assert_eq!(plan.kind(), Some(PlanKind::Create));
    assert_eq!(actions(&stage.world, plan.id).await, [("created_in_keap".to_owned(), 3)]);

    let run = approve(&stage.worker, plan.id).await;
    let run = ended(&stage.worker, run).await;
    stage.bring().await;

    assert_eq!((stage.creates(), stage.waiting().await), (6, 0));
    let run = stage.worker.store.run(run.id).await.unwrap().unwrap();
    assert_eq!((run.state, run.counts.created_in_keap), (RunState::Done, 3));
}

#[sqlx::test]
async fn a_braked_mapping_leaves_a_plan_and_its_approval_settles_the_mapping(pool: PgPool) {
    let mut world = World::with_people(pool, 10).await;
    world.set("SYNC__RECORD_AFTER_MS", 10);
    world.intercom.add_attribute("job", "string", &[]);
    for id in 1..=3 {
        world.keap.edit_quietly(id, |person| person.job_title = Some(format!("Job {id}")));
    }
    world.sync().await;
    world.file(&mapped(&[("job_title", "attribute:job", "")]));
    let daemon = world.daemon().await;
    until("the plan waits", async || {
        world.store().plans(true, None, 10).await.unwrap_or_default().len() == 1
    })
    .await;
    daemon.stop().await.1.unwrap();
    let plan = waiting(&world).await;
    assert_eq!(plan.kind(), Some(PlanKind::Mapping));
    assert_eq!(contacts(&world, plan.id).await, [1, 2, 3]);
    let status = command(&world, &["status"]).await.expect(1).stdout;
    assert!(status.contains("plan show") && status.contains("plan approve"), "{status}");
    clear(&world);

    let text = command(&world, &["plan", "approve"]).await.expect(0).stdout;

    assert!(text.contains("3 updated"), "{text}");
    assert_eq!(world.writes(), 3);
    let daemon = world.daemon().await;
    until("the mapping is settled", async || {
        let state = world.store().mapping_state().await.unwrap_or_default().unwrap_or_default();
        state.target.is_empty() && state.waits().is_none()
    })
    .await;
    daemon.stop().await.1.unwrap();
    assert_eq!(world.writes(), 3, "nothing is written twice");
    assert!(world.store().plans(true, None, 10).await.unwrap().is_empty());
}

#[sqlx::test]
async fn a_mass_leaving_leaves_a_plan_that_archives_whom_it_names(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file("[filter]\nkeap_tags_any = [\"Customer\"]\nleft = \"archive\"\n");
    let customer = world.keap.add_tag("Customer");
    let ids: Vec<i64> = (0..130)
        .map(|n| world.keap.add(Person::named("P", "Lee").email(&format!("p{n}@example.org"))))
        .collect();
    for id in &ids {
        world.keap.apply_tag(*id, customer);
    }
    let worker = world.worker().await;
    worker.backfill().await;
    world.keap.clock().advance_ms(2_000);
    for id in &ids[..120] {
        world.keap.remove_tag(*id, customer);
    }
    for _ in 0..2 {
        worker.backfill().await;
    }
    let plan = waiting(&world).await;
    assert_eq!((plan.kind(), plan.seen), (Some(PlanKind::Leaving), 120));
    assert_eq!(actions(&world, plan.id).await, [("archived".to_owned(), 120)]);
    // One of them comes back.
    world.keap.apply_tag(ids[0], customer);
    clear(&world);

    let run = carried_out(&worker, plan.id).await;

    assert_eq!((run.counts.archived, world.intercom.count("archive")), (119, 119));
    assert_eq!(world.intercom.live_users().len(), 11);
    assert_eq!(stored(&world, plan.id).await.changed, 1);
}

/// Keap shows everybody in another form from now on, and moves no stamp.
fn reshape(world: &World, people: i64) {
    for id in 1..=people {
        world.keap.edit_quietly(id, |person| person.family_name = Some("Reshaped".into()));
    }
}

async fn walk(worker: &Worker, reason: RunReason) -> keap_intercom_sync::store::Run {
    let feed = keap_intercom_sync::feed::Feed::Backfill;
    let id = worker.store.request_run(feed, reason, None).await.unwrap();
    ended(worker, id).await
}

#[sqlx::test]
async fn writes_that_no_change_in_keap_explains_wait_in_a_plan(pool: PgPool) {
    let world = World::with_people(pool, 130).await;
    let worker = settled(&world).await;
    reshape(&world, 120);
    // A person has edited this one.
    world.keap.clock().advance_ms(2_000);
    world.keap.edit(130, |person| person.family_name = Some("Edited".into()));

    let run = walk(&worker, RunReason::HooksWereDead).await;

    assert_eq!((run.state, run.counts.skipped, run.counts.updated), (RunState::Done, 120, 1));
    assert_eq!(world.writes(), 1, "an edit never waits");
    let plan = waiting(&world).await;
    assert_eq!((plan.kind(), plan.seen), (Some(PlanKind::Unexplained), 120));
    assert!(plan.why.unwrap().contains("sync.brake_percent = 10 %"));
    // The next run shows the same contacts: they wait in the same plan.
    walk(&worker, RunReason::HooksWereDead).await;
    assert_eq!((waiting(&world).await.id, waiting(&world).await.seen), (plan.id, 120));
    clear(&world);

    let run = carried_out(&worker, plan.id).await;

    assert_eq!((run.state, run.counts.updated, world.writes()), (RunState::Done, 120, 120));
    assert_eq!(stored(&world, plan.id).await.changed, 0);
    world.assert_agrees();
}

#[sqlx::test]
async fn a_run_that_somebody_asks_for_or_without_the_brake_writes_them(pool: PgPool) {
    let mut world = World::with_people(pool, 130).await;
    let worker = settled(&world).await;
    reshape(&world, 120);
    walk(&worker, RunReason::HooksWereDead).await;
    assert_eq!(world.writes(), 0);
    let run = walk(&worker, RunReason::Manual).await;
    assert_eq!((run.counts.updated, world.writes()), (120, 120));

    worker.stop().await;
    world.set("SYNC__BRAKE_PERCENT", 0);
    let worker = world.worker().await;
    for id in 1..=120 {
        world.keap.edit_quietly(id, |person| person.family_name = Some("Again".into()));
    }
    let run = walk(&worker, RunReason::HooksWereDead).await;
    assert_eq!(run.counts.updated, 120);
}
