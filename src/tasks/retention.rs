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
    pub log_rows: Option<Duration>,
    pub runs: Option<Duration>,
}

impl Keep {
    /// Whether any row ever gets too old.
    pub fn ends(&self) -> bool {
        self.log_rows.is_some() || self.runs.is_some()
    }
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
                Ok((0, 0)) => {}
                Ok((log_rows, runs)) => {
                    tracing::info!(log_rows, runs, "Old rows were deleted.");
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

/// Deletes every row that is too old now. Returns how many: log rows, runs.
pub async fn delete_old(
    keep: Keep,
    store: &Store,
    lease: &HeldLease,
) -> Result<(u64, u64), StoreError> {
    let log_rows = delete(keep.log_rows, Old::LogRows, store, lease).await?;
    let runs = delete(keep.runs, Old::Runs, store, lease).await?;
    delete(keep.runs, Old::Plans, store, lease).await?;
    Ok((log_rows, runs))
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
