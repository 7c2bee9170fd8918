//! Everything that says how the installation stands, read once.

use std::time::Duration;

use super::keap_queue::{DayQuota, SecondDirection};
use crate::feed::{Cursor, Feed, Phase};
use crate::pause::Pauses;
use crate::store::{
    FailingTarget, LeaseHolder, Leaving, MappingState, Overview, Plan, Run, Store, StoreError,
    TwoWay,
};
use crate::tasks::lease;

/// Runs that are shown, newest first.
const RUNS: i64 = 5;

/// Waiting plans that are shown, newest first.
const PLANS: i64 = 20;

/// The parts that only the daemon knows, in its words. `None`: nobody could be asked.
#[derive(Debug, Clone, Default)]
pub struct PartStates {
    /// `ok`, `limited`, `failing` or `refused`.
    pub keap: Option<String>,
    /// The same words as for Keap.
    pub intercom: Option<String>,
    /// `off`, `ok` or `incomplete`.
    pub webhooks: Option<String>,
    /// What Keap allows today.
    pub keap_day: Option<DayQuota>,
}

/// How the installation stands.
pub struct Status {
    /// The database takes no writes.
    pub read_only: bool,
    pub lease: Option<LeaseHolder>,
    pub is_free: bool,
    pub changed: Option<Cursor>,
    pub backfill: Option<Cursor>,
    pub sweep: Option<Cursor>,
    pub due: i64,
    pub held: i64,
    pub runs: Vec<Run>,
    /// The last sweep that has ended.
    pub last_sweep: Option<Run>,
    pub mapping: MappingState,
    /// Erasures that need a person.
    pub erasures: i64,
    /// Plans that wait for a person.
    pub plans: Vec<Plan>,
    /// Contacts that have left the scope and wait for a person.
    pub leaving: Option<Leaving>,
    /// What a person has paused.
    pub pauses: Pauses,
    /// Targets of alarms that cannot be reached.
    pub unreachable: Vec<FailingTarget>,
    pub parts: PartStates,
    /// The last successful poll is late when it is older than this.
    pub poll_age_limit: Duration,
    pub second: SecondDirection,
    /// How the second direction stands; `None` while it is off.
    pub two_way: Option<TwoWay>,
}

impl Status {
    /// Reads what the database knows.
    pub async fn take(
        store: &Store,
        parts: PartStates,
        poll_age_limit: Duration,
        second: SecondDirection,
    ) -> Result<Self, StoreError> {
        let counted = store.count_due().await?;
        let two_way = if second.enabled { Some(store.two_way().await?) } else { None };
        Self::with_counts(store, parts, (poll_age_limit, second), (counted, two_way)).await
    }

    /// The same for a page, where everything was counted a moment ago.
    pub async fn after(
        seen: Overview,
        store: &Store,
        parts: PartStates,
        poll_age_limit: Duration,
        second: SecondDirection,
    ) -> Result<Self, StoreError> {
        let counts = ((seen.due, seen.held), seen.two_way);
        Self::with_counts(store, parts, (poll_age_limit, second), counts).await
    }

    async fn with_counts(
        store: &Store,
        parts: PartStates,
        (poll_age_limit, second): (Duration, SecondDirection),
        ((due, held), two_way): ((i64, i64), Option<TwoWay>),
    ) -> Result<Self, StoreError> {
        Ok(Self {
            read_only: store.is_read_only().await?,
            lease: store.lease_holder().await?,
            is_free: lease::is_free(store).await?,
            changed: store.cursor(Feed::Changed).await?,
            backfill: store.cursor(Feed::Backfill).await?,
            sweep: store.cursor(Feed::Sweep).await?,
            due,
            held,
            runs: store.last_runs(RUNS).await?,
            last_sweep: store.last_sweep().await?,
            mapping: store.mapping_state().await?.unwrap_or_default(),
            erasures: store.waiting_erasures().await?,
            plans: store.plans(true, None, PLANS).await?,
            leaving: store.leaving().await?,
            pauses: store.pauses().await?,
            unreachable: store.failing_targets().await?,
            parts,
            poll_age_limit,
            second,
            two_way,
        })
    }

    /// How many seconds ago the last whole poll succeeded.
    pub fn poll_age(&self) -> Option<u64> {
        self.changed.as_ref().and_then(lag_seconds)
    }
}

/// Whether the sweep's walk has passed every id.
pub fn is_counted(cursor: &Cursor) -> bool {
    cursor.walk.as_ref().is_some_and(|walk| walk.phase == Phase::Judging)
}

/// The age of the last complete poll. Every change that Keap showed before it is recorded.
pub fn lag_seconds(cursor: &Cursor) -> Option<u64> {
    cursor.polled_age.map(|age| age.as_secs())
}
