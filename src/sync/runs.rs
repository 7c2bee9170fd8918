//! Runs: who asked for a walk, under which row it is counted, and that each row ends, whoever crashes meanwhile.

use std::sync::{MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Syncer;
use super::outcome::Halt;
use crate::store::{Feed, StoreError};

/// The polls of this process.
#[derive(Default)]
pub struct Polls {
    /// The lease's epoch under which the rows of former processes were seen to.
    epoch: Option<i64>,
    /// Requests that the next poll serves.
    asked: Vec<Uuid>,
    /// The poll under way; one that a fault stopped goes on under the same row.
    open: Option<Poll>,
}

#[derive(Clone)]
struct Poll {
    id: Uuid,
    /// Requests that this poll serves beside its own.
    also: Vec<Uuid>,
}

impl Syncer {
    fn polls(&self) -> MutexGuard<'_, Polls> {
        // Lists of ids are whole at any time.
        self.polls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up walks that were asked for. True when a poll was.
    pub(super) async fn take_requests(&self) -> Result<bool, Halt> {
        self.take_over_runs().await?;
        let requested = self.store.requested_runs().await?;
        let walking = |cursor: Option<crate::store::Cursor>| {
            cursor.is_some_and(|cursor| cursor.walk.is_some())
        };
        let mut backfill = walking(self.store.cursor(Feed::Backfill).await?);
        let mut sweep = walking(self.store.cursor(Feed::Sweep).await?);
        let mut poll = false;
        for run in requested {
            match Feed::parse(&run.feed) {
                Some(Feed::Changed) => {
                    self.store
                        .begin_run(run.id, Feed::Changed, &run.reason, None)
                        .await?;
                    self.polls().asked.push(run.id);
                    poll = true;
                }
                // A second one waits for the first, because contacts behind its place are to be read again.
                Some(Feed::Backfill) if backfill => {}
                Some(Feed::Backfill) => {
                    self.store
                        .begin_run(run.id, Feed::Backfill, &run.reason, run.since)
                        .await?;
                    self.start_backfill(run.id, run.since).await?;
                    backfill = true;
                }
                Some(Feed::Sweep) if sweep => {}
                Some(Feed::Sweep) => {
                    self.store
                        .begin_run(run.id, Feed::Sweep, &run.reason, None)
                        .await?;
                    self.start_sweep(run.id).await?;
                    sweep = true;
                }
                Some(Feed::Due) | None => return Err(StoreError::BadRow("sync_run").into()),
            }
        }
        Ok(poll)
    }

    /// Once per lease: what a former holder had begun and not stored a place for is asked for anew.
    async fn take_over_runs(&self) -> Result<(), Halt> {
        let epoch = self.require_lease()?;
        if self.polls().epoch == Some(epoch) {
            return Ok(());
        }
        self.store.take_over_runs(epoch).await?;
        *self.polls() = Polls {
            epoch: Some(epoch),
            ..Polls::default()
        };
        Ok(())
    }

    /// The row of the poll that begins, or of the one that a fault stopped.
    pub(super) async fn begin_poll(&self) -> Result<Uuid, Halt> {
        let id = {
            let mut polls = self.polls();
            if polls.open.is_none() {
                let mut also = std::mem::take(&mut polls.asked);
                let id = also.pop().unwrap_or_else(Uuid::new_v4);
                polls.open = Some(Poll { id, also });
            }
            polls
                .open
                .as_ref()
                .map_or_else(Uuid::new_v4, |open| open.id)
        };
        // A requested run keeps the reason of its row.
        self.begin_run(id, Feed::Changed, "schedule").await?;
        Ok(id)
    }

    /// Whether a poll of this process goes by this run.
    pub(super) fn is_own_poll(&self, run_id: Option<Uuid>) -> bool {
        self.polls()
            .open
            .as_ref()
            .is_some_and(|open| Some(open.id) == run_id)
    }

    /// The poll is whole: whoever asked for it is served. True when somebody asked again meanwhile.
    pub(super) async fn end_poll(&self) -> Result<bool, Halt> {
        let open = self.polls().open.clone();
        if let Some(open) = open {
            self.store.end_runs(&open.also, None).await?;
            self.polls().open = None;
        }
        Ok(!self.polls().asked.is_empty())
    }

    /// A poll that found nothing has served whoever asked for one.
    pub(super) async fn end_empty_poll(&self) -> Result<(), Halt> {
        let served = {
            let polls = self.polls();
            let open = polls
                .open
                .iter()
                .flat_map(|open| open.also.iter().copied().chain([open.id]));
            polls.asked.iter().copied().chain(open).collect::<Vec<_>>()
        };
        if !served.is_empty() {
            self.store.end_runs(&served, None).await?;
            let mut polls = self.polls();
            polls.asked.retain(|id| !served.contains(id));
            polls.open = None;
        }
        Ok(())
    }

    pub(super) async fn begin_run(&self, id: Uuid, feed: Feed, reason: &str) -> Result<(), Halt> {
        self.store
            .begin_run(id, feed, reason, None::<DateTime<Utc>>)
            .await?;
        Ok(())
    }
}
