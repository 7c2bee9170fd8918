//! The last look at the database, kept for a second: however often `/ready` and `/metrics` are
//! asked, the database is asked once.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::store::{Overview, Store, StoreError};

/// Every request within this time gets the same overview.
const OVERVIEW_AGE: Duration = Duration::from_secs(1);

/// The last overview, with its time.
pub(super) struct OverviewCache {
    store: Store,
    /// The second direction is on.
    is_two_way: bool,
    last: Mutex<Option<(Instant, Option<Overview>)>>,
}

impl OverviewCache {
    pub(super) fn new(store: Store, is_two_way: bool) -> Self {
        Self { store, is_two_way, last: Mutex::default() }
    }

    /// Looks now: a person sees what the last button did.
    pub(super) async fn read(&self) -> Result<Overview, StoreError> {
        let mut overview = self.store.overview().await?;
        if self.is_two_way {
            overview.two_way = Some(self.store.two_way().await?);
        }
        Ok(overview)
    }

    /// `None` while the database does not answer.
    pub(super) async fn get(&self) -> Option<Overview> {
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, overview)) if at.elapsed() < OVERVIEW_AGE => overview.clone(),
            _ => {
                let overview = self.read().await;
                if let Err(error) = &overview {
                    tracing::debug!(
                        error = error as &dyn std::error::Error,
                        "The database gave no overview."
                    );
                }
                let overview = overview.ok();
                *last = Some((Instant::now(), overview.clone()));
                overview
            }
        }
    }
}
