//! The schedule of the sweep: asks for one whenever its cron line fires.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::store::{HeldLease, Store, StoreError};
use crate::trigger::Trigger;

/// Asks for a sweep whenever `schedule` fires while this process holds the lease, until `cancel`.
pub async fn ask(
    store: Store,
    schedule: Arc<Trigger>,
    bulk: Arc<Trigger>,
    lease: HeldLease,
    cancel: CancellationToken,
) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = schedule.fired() => {}
        }
        let Some(fence) = lease.fence() else {
            continue;
        };
        match store.request_scheduled_sweep(&fence).await {
            Ok(()) => bulk.fire("sweep"),
            Err(StoreError::LeaseLost) => {}
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "The sweep could not be asked for; its schedule brings the next one."
            ),
        }
    }
}
