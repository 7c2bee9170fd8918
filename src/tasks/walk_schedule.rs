//! The schedules of sweeps and audits: a walk is asked for whenever its cron line fires.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::feed::Feed;
use crate::store::{HeldLease, Store, StoreError};
use crate::trigger::Trigger;

/// Asks for a walk whenever `schedule` fires while this process holds the lease, until `cancel`.
pub async fn ask(
    feed: Feed,
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
        match store.request_scheduled(&fence, feed).await {
            Ok(()) => bulk.fire("schedule"),
            Err(StoreError::LeaseLost) => {}
            Err(error) => tracing::warn!(
                feed = feed.as_str(),
                error = &error as &dyn std::error::Error,
                "A walk could not be asked for; its schedule brings the next one."
            ),
        }
    }
}
