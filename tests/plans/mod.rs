//! Plans: a look that a person approves. Approval carries out what was shown, once, and nothing
//! else.

mod asked;
mod brakes;
mod surfaces;

use keap_intercom_sync::outcome::PlanKind;
use keap_intercom_sync::store::{Approval, Plan, Run, RunState};
use keap_intercom_sync::sync::plans::look::look;
use uuid::Uuid;

use crate::world::{Worker, World};

/// Looks, and stores the plan.
async fn plan(worker: &Worker, kind: PlanKind) -> Uuid {
    let new = Box::pin(look(worker.context(), kind)).await.unwrap();
    worker.store.put_plan(None, "command", &new).await.unwrap()
}

/// How many contacts of a plan have each action.
async fn actions(world: &World, id: Uuid) -> Vec<(String, i64)> {
    let counts = world.store().plan_counts(id).await.unwrap();
    let actions = counts.into_iter().filter(|count| count.what == "action");
    let mut actions: Vec<_> = actions.map(|count| (count.word, count.contacts)).collect();
    actions.sort();
    actions
}

/// The contacts of a plan, by their Keap ids.
async fn contacts(world: &World, id: Uuid) -> Vec<i64> {
    let contacts = world.store().plan_contacts(id, None, 0, 1_000).await.unwrap();
    let mut ids: Vec<i64> = contacts.into_iter().filter_map(|one| one.keap_contact_id).collect();
    ids.sort_unstable();
    ids
}

async fn approve(worker: &Worker, id: Uuid) -> Uuid {
    match worker.store.approve_plan(id, "command").await.unwrap() {
        Some(Approval::Run(run)) => run,
        other => panic!("{other:?}"),
    }
}

/// Steps of the bulk lane until the run has ended.
async fn ended(worker: &Worker, run: Uuid) -> Run {
    for _ in 0..1_000 {
        let stored = worker.store.run(run).await.unwrap().unwrap();
        if matches!(stored.state, RunState::Done | RunState::Failed) {
            return stored;
        }
        worker.syncer.bulk_step(&mut false).await.unwrap();
    }
    panic!("the run does not end");
}

/// Approves a plan and carries it out.
async fn carried_out(worker: &Worker, id: Uuid) -> Run {
    let run = approve(worker, id).await;
    ended(worker, run).await
}

async fn stored(world: &World, id: Uuid) -> Plan {
    world.store().plan(id).await.unwrap().unwrap()
}

/// The only plan that waits.
async fn waiting(world: &World) -> Plan {
    let mut plans = world.store().plans(true, None, 10).await.unwrap();
    assert_eq!(plans.len(), 1, "{plans:?}");
    plans.remove(0)
}

fn clear(world: &World) {
    world.keap.clear_ledger();
    world.intercom.clear_ledger();
}
