//! Everything that `status` shows, read once.

use std::time::Duration;

use serde_json::Value;

use crate::commands::ask;
use crate::config::Settings;
use crate::feed::{Cursor, Feed, Phase};
use crate::store::{LeaseHolder, MappingState, Run, Store, StoreError};
use crate::tasks::lease;

/// Runs that are shown, newest first.
const RUNS: i64 = 5;

/// Everything that the command shows, read once.
pub(super) struct Snapshot {
    /// The database takes no writes.
    pub read_only: bool,
    pub lease: Option<LeaseHolder>,
    pub is_free: bool,
    pub changed: Option<Cursor>,
    pub backfill: Option<Cursor>,
    pub sweep: Option<Cursor>,
    pub due: i64,
    pub held: i64,
    pub linked: i64,
    pub runs: Vec<Run>,
    pub mapping: MappingState,
    /// What the daemon on this machine says about the remotes and its hooks, if one answers.
    daemon: Option<Value>,
    /// The last successful poll is late when it is older than this.
    pub poll_age_limit: Duration,
}

impl Snapshot {
    pub(super) async fn take(
        store: &Store,
        settings: &Settings,
        stale_after: Option<u64>,
    ) -> Result<Self, StoreError> {
        let (due, held) = store.count_due().await?;
        Ok(Self {
            read_only: store.is_read_only().await?,
            lease: store.lease_holder().await?,
            is_free: lease::is_free(store).await?,
            changed: store.cursor(Feed::Changed).await?,
            backfill: store.cursor(Feed::Backfill).await?,
            sweep: store.cursor(Feed::Sweep).await?,
            due,
            held,
            linked: store.count_linked().await?,
            runs: store.last_runs(RUNS).await?,
            mapping: store.mapping_state().await?.unwrap_or_default(),
            daemon: ask::daemon(settings, "/ready")
                .await
                .ok()
                .map(|(_, document)| document)
                .filter(|document| document["checks"].is_object()),
            poll_age_limit: stale_after.map_or(settings.http.ready_poll_age, Duration::from_secs),
        })
    }

    /// How many seconds ago the last whole poll succeeded.
    pub(super) fn poll_age(&self) -> Option<u64> {
        self.changed.as_ref().and_then(lag_seconds)
    }

    /// The state of a part, as the daemon gives it.
    pub(super) fn state_of(&self, part: &str) -> Option<&str> {
        self.daemon.as_ref()?["checks"][part]["state"].as_str()
    }
}

/// Whether the sweep's walk has passed every id.
pub(super) fn is_counted(cursor: &Cursor) -> bool {
    cursor.walk.as_ref().is_some_and(|walk| walk.phase == Phase::Judging)
}

/// The age of the last complete poll. Every change that Keap showed before it is recorded.
pub(super) fn lag_seconds(cursor: &Cursor) -> Option<u64> {
    cursor.polled_age.map(|age| age.as_secs())
}
