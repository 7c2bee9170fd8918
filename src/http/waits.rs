//! Waits for outcomes. It asks the database, so it works whichever process runs the passes.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::contact::KeapId;
use crate::store::Store;

/// This many requests may wait at once. A further one is answered `queued` at once.
const MAX_WAITING_REQUESTS: usize = 64;
/// The pause before the first query. Each later pause is longer.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// The requests that wait for outcomes.
pub(super) struct Waits {
    places: Semaphore,
    store: Store,
    cancel: CancellationToken,
}

impl Waits {
    pub(super) fn new(store: Store, cancel: CancellationToken) -> Self {
        Self { places: Semaphore::new(MAX_WAITING_REQUESTS), store, cancel }
    }

    /// Waits until all contacts have outcomes, the time is over, or the daemon stops. Returns the
    /// contacts without an outcome.
    pub(super) async fn wait(&self, ids: &[KeapId], time: Duration) -> Vec<KeapId> {
        let mut undone = ids.to_vec();
        let Ok(_place) = self.places.try_acquire() else {
            return undone;
        };
        let end = Instant::now() + time;
        let mut pause = FIRST_PAUSE;
        while !undone.is_empty() && Instant::now() < end {
            tokio::select! {
                () = self.cancel.cancelled() => break,
                () = tokio::time::sleep_until((Instant::now() + pause).min(end)) => {}
            }
            pause = pause.mul_f64(1.4).min(MAX_PAUSE);
            // The request is stored, so an error of the database only means another try.
            if let Ok(still) = self.store.undone(&undone).await {
                undone = still;
            }
        }
        undone
    }
}
