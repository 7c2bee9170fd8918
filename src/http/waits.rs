//! Waiting for outcomes: through the database, so that it works whichever process runs the passes.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::contact::KeapId;
use crate::store::Store;

/// So many requests wait at once; a further one is answered `queued` at once.
const WAITING: usize = 64;
/// The first look at the database comes after this, later ones ever more slowly.
const FIRST_LOOK: Duration = Duration::from_millis(25);
const SLOWEST_LOOK: Duration = Duration::from_millis(500);

/// Those who wait for outcomes.
pub struct Waits {
    places: Semaphore,
    store: Store,
    cancel: CancellationToken,
}

impl Waits {
    pub fn new(store: Store, cancel: CancellationToken) -> Self {
        Self {
            places: Semaphore::new(WAITING),
            store,
            cancel,
        }
    }

    /// Waits until the requests have outcomes, and returns those that have none when the time is over or the daemon stops.
    pub async fn wait(&self, ids: &[KeapId], time: Duration) -> Vec<KeapId> {
        let mut undone = ids.to_vec();
        let Ok(_place) = self.places.try_acquire() else {
            return undone;
        };
        let end = Instant::now() + time;
        let mut pause = FIRST_LOOK;
        while !undone.is_empty() && Instant::now() < end {
            tokio::select! {
                () = self.cancel.cancelled() => break,
                () = tokio::time::sleep_until((Instant::now() + pause).min(end)) => {}
            }
            pause = pause.mul_f64(1.4).min(SLOWEST_LOOK);
            // What is asked for is stored: a database that fails now is asked again.
            if let Ok(still) = self.store.undone(&undone).await {
                undone = still;
            }
        }
        undone
    }
}
