//! The first moments of a start: a request that needs the database waits until it is prepared, and
//! the answer to one that cannot wait so long says that the daemon is starting.

use std::time::Duration;

use axum::http::Uri;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::code::Code;
use super::problem::Problem;

/// Requests that wait at once. A further one is refused at once, so that waiting requests never
/// take all connections: half of those that there are by default.
const WAITING: usize = 256;
/// After a start that takes long, a caller comes back in this many seconds.
const COME_BACK_SECONDS: u64 = 5;

/// When a request arrived. Its time limits count from here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived(Instant);

impl Arrived {
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }

    /// What is left of a time limit.
    pub(super) fn left_of(self, limit: Duration) -> Duration {
        limit.saturating_sub(self.0.elapsed())
    }
}

/// Whether the daemon still starts.
pub(super) struct Start {
    /// True once the database is migrated.
    prepared: watch::Receiver<bool>,
    /// No request waits longer.
    limit: Duration,
    places: Semaphore,
    cancel: CancellationToken,
}

impl Start {
    pub(super) fn new(
        prepared: watch::Receiver<bool>,
        limit: Duration,
        cancel: CancellationToken,
    ) -> Self {
        Self { prepared, limit, places: Semaphore::new(WAITING), cancel }
    }

    pub(super) fn is_over(&self) -> bool {
        *self.prepared.borrow()
    }

    /// Waits until the database is prepared, but not beyond the caller's own limit, `?wait=`.
    pub(super) async fn wait(&self, arrived: Arrived, uri: &Uri) -> Result<(), Problem> {
        if self.is_over() {
            return Ok(());
        }
        let Ok(_place) = self.places.try_acquire() else {
            return Err(starting());
        };
        let limit = callers_limit(uri).map_or(self.limit, |own| own.min(self.limit));
        let mut prepared = self.prepared.clone();
        tokio::select! {
            biased;
            Ok(_) = prepared.wait_for(|prepared| *prepared) => Ok(()),
            () = self.cancel.cancelled() => Err(Problem::later(
                Code::Stopping,
                "keap-intercom-sync is stopping; nothing was stored",
                COME_BACK_SECONDS,
            )),
            () = tokio::time::sleep(arrived.left_of(limit)) => Err(starting()),
        }
    }
}

fn starting() -> Problem {
    Problem::later(
        Code::Starting,
        "keap-intercom-sync is starting and its database is not ready yet; nothing was stored",
        COME_BACK_SECONDS,
    )
}

/// The seconds of `?wait=`. The route itself refuses a query that it does not understand.
fn callers_limit(uri: &Uri) -> Option<Duration> {
    let query = uri.query()?.as_bytes();
    let (_, seconds) = url::form_urlencoded::parse(query).find(|(name, _)| name == "wait")?;
    seconds.parse().ok().map(Duration::from_secs)
}
