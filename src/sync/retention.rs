//! Retention: the holder of the lease deletes old rows, a few at a time and with pauses, so that no pass waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::is_held;
use crate::store::{Lease, Old, Store, StoreError};
use crate::trigger::Trigger;

/// Rows in one transaction: some milliseconds.
const BATCH: i64 = 1000;
/// Between two batches the database belongs to the passes.
const PAUSE: Duration = Duration::from_millis(100);
/// The same for a slow database, in times of the batch before: it is busy with old rows a fifth of the time at most.
const PAUSE_PER_BATCH: u32 = 4;

/// How long rows are kept; `None` for ever.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    pub log_rows: Option<Duration>,
    pub runs: Option<Duration>,
}

impl Keep {
    /// Whether anything ever grows too old.
    pub fn ends(&self) -> bool {
        self.log_rows.is_some() || self.runs.is_some()
    }
}

/// Deletes what is too old whenever the schedule fires and this process holds the lease, until `cancel`.
pub async fn keep_to(
    keep: Keep,
    store: Store,
    schedule: Arc<Trigger>,
    lease: watch::Receiver<Option<Lease>>,
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

/// Deletes all that is too old now, and counts it: log rows, runs.
pub async fn delete_old(
    keep: Keep,
    store: &Store,
    lease: &watch::Receiver<Option<Lease>>,
) -> Result<(u64, u64), StoreError> {
    let log_rows = delete(keep.log_rows, Old::LogRows, store, lease).await?;
    let runs = delete(keep.runs, Old::Runs, store, lease).await?;
    Ok((log_rows, runs))
}

async fn delete(
    age: Option<Duration>,
    old: Old,
    store: &Store,
    lease: &watch::Receiver<Option<Lease>>,
) -> Result<u64, StoreError> {
    let (mut deleted, mut from) = (0, None);
    while let (Some(age), true) = (age, is_held(lease)) {
        let Some(epoch) = lease.borrow().map(|lease| lease.epoch) else {
            break;
        };
        let began = Instant::now();
        let batch = store.delete_old(epoch, old, age, from, BATCH).await?;
        deleted += batch.rows;
        if batch.rows < BATCH.unsigned_abs() {
            break;
        }
        from = batch.newest;
        tokio::time::sleep(PAUSE.max(began.elapsed() * PAUSE_PER_BATCH)).await;
    }
    Ok(deleted)
}
