//! The sweep: it notices contacts that were deleted or merged in Keap, and never mistakes anything
//! else for a deletion.

mod brake;
mod deletions;
mod merges;
mod restored;
mod stamps;
mod walk;

use keap_intercom_sync::feed::Counts;
use keap_intercom_sync::store::Run;

use crate::world::{Worker, World};

/// Everybody is in Intercom and no poll reads a contact again, so that every later call is caused
/// by the test. No other worker may hold the lease.
pub(crate) async fn settled(world: &World) -> Worker {
    // A cursor settles when Postgres shows that its overlap has passed. The first round settles the
    // first position, and the second round the last one.
    for _ in 0..2 {
        // The position of the polls stays behind Keap's own clock.
        world.keap.clock().advance_ms(2_000);
        world.sync().await;
        let sql = "update sync_cursor set settling_since = settling_since - interval '1 hour' where feed = 'changed'";
        sqlx::query(sql).execute(&world.pool).await.unwrap();
    }
    world.sync().await;
    let worker = world.worker().await;
    worker.sync().await;
    world.keap.clear_ledger();
    world.intercom.clear_ledger();
    worker
}

/// Why a run failed.
fn why(run: &Run) -> String {
    run.failure.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// A whole sweep: what it counted, and its run.
async fn sweep(worker: &Worker, forced: bool) -> (Counts, Run) {
    let id = worker.request_sweep(forced).await;
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
    sqlx::query_scalar("select count(*) from sweep_candidate").fetch_one(&world.pool).await.unwrap()
}

fn live(world: &World) -> usize {
    world.intercom.live_users().len()
}
