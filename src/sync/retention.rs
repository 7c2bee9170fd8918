//! Retention: the holder of the lease deletes old rows, a few at a time and with pauses, so that no pass waits for it.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::is_held;
use crate::store::{Lease, Old, Store, StoreError};

/// How often it is looked for old rows.
const EVERY: Duration = Duration::from_secs(3600);
/// The first look comes when a start has settled.
const FIRST: Duration = Duration::from_secs(60);
/// Rows in one transaction: some ten milliseconds.
const BATCH: i64 = 1000;
/// Between two batches the database belongs to the passes.
const PAUSE: Duration = Duration::from_millis(100);

/// How long rows are kept; `None` for ever.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    pub log_rows: Option<Duration>,
    pub runs: Option<Duration>,
}

/// Deletes what is too old, again and again, while this process holds the lease, until `cancel`.
pub async fn keep_to(
    keep: Keep,
    store: Store,
    lease: watch::Receiver<Option<Lease>>,
    cancel: CancellationToken,
) {
    let forever = async {
        tokio::time::sleep(FIRST).await;
        loop {
            match delete_old(keep, &store, &lease).await {
                Ok((0, 0)) => {}
                Ok((log_rows, runs)) => {
                    tracing::info!(log_rows, runs, "Old rows were deleted.");
                }
                Err(StoreError::LeaseLost) => {}
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Old rows were not deleted; trying again in an hour."
                ),
            }
            tokio::time::sleep(EVERY).await;
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
    let mut deleted = 0;
    while let (Some(age), true) = (age, is_held(lease)) {
        let Some(epoch) = lease.borrow().map(|lease| lease.epoch) else {
            break;
        };
        let batch = store.delete_old(epoch, old, age, BATCH).await?;
        deleted += batch;
        if batch < BATCH.unsigned_abs() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(deleted)
}
