//! Retention: the holder of the lease deletes old rows in small batches with pauses, so that no
//! pass waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::store::{HeldLease, Old, Store, StoreError};
use crate::trigger::Trigger;

/// Rows per transaction. Deleting them takes some milliseconds.
const ROWS_PER_BATCH: i64 = 1000;
/// The shortest pause between two batches, in which passes have the database for themselves.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause after a slow batch, as a multiple of the batch's own time. So old rows take at most a
/// fifth of the time.
const PAUSE_PER_BATCH: u32 = 4;

/// How long rows are kept. `None` keeps them for ever.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Rows of the log, and decisions that have ended.
    pub log_rows: Option<Duration>,
    pub runs: Option<Duration>,
}

/// Deletes old rows whenever the schedule fires while this process holds the lease, until `cancel`.
pub async fn keep_to(
    keep: Keep,
    store: Store,
    schedule: Arc<Trigger>,
    lease: HeldLease,
    cancel: CancellationToken,
) {
    let forever = async {
        loop {
            schedule.fired().await;
            match delete_old(keep, &store, &lease).await {
                Ok(Deleted { log_rows: 0, runs: 0, decisions: 0 }) => {}
                Ok(Deleted { log_rows, runs, decisions }) => {
                    tracing::info!(log_rows, runs, decisions, "Old rows were deleted.");
                }
                Err(StoreError::LeaseLost) => {}
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Old rows were not all deleted; the schedule brings the next try."
                ),
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = forever => {}
    }
}

/// How many rows were deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    pub log_rows: u64,
    pub runs: u64,
    pub decisions: u64,
}

/// Deletes every row that is too old now, and adds up the counters of days that are over.
pub async fn delete_old(
    keep: Keep,
    store: &Store,
    lease: &HeldLease,
) -> Result<Deleted, StoreError> {
    if let Some(fence) = lease.fence() {
        store.tidy_tallies(&fence).await?;
    }
    delete(keep.runs, Old::Plans, store, lease).await?;
    Ok(Deleted {
        log_rows: delete(keep.log_rows, Old::LogRows, store, lease).await?,
        runs: delete(keep.runs, Old::Runs, store, lease).await?,
        decisions: delete(keep.log_rows, Old::Decisions, store, lease).await?,
    })
}

async fn delete(
    age: Option<Duration>,
    old: Old,
    store: &Store,
    lease: &HeldLease,
) -> Result<u64, StoreError> {
    let (mut deleted, mut from) = (0, None);
    while let (Some(age), Some(fence)) = (age, lease.fence()) {
        let began = Instant::now();
        let batch = store.delete_old(&fence, old, age, from, ROWS_PER_BATCH).await?;
        deleted += batch.rows;
        if batch.rows < ROWS_PER_BATCH.unsigned_abs() {
            break;
        }
        from = batch.newest;
        tokio::time::sleep(PAUSE.max(began.elapsed() * PAUSE_PER_BATCH)).await;
    }
    Ok(deleted)
}
