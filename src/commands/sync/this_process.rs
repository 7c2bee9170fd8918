//! Carries the work out in this process, which holds the lease until the work is done.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::bar::Bar;
use super::report::Summary;
use super::requested::{Requested, counts_of, exit_status};
use crate::app::Parts;
use crate::commands::leased::Leased;
use crate::commands::{Ended, NOTHING_DONE, exit};
use crate::contact::KeapId;
use crate::feed::{Counts, Feed};
use crate::mapping::Fitted;
use crate::outcome::CREATE_BRAKE_REMEDY;
use crate::store::{Lease, RunState};
use crate::sync::{Bulk, Context, Halt, Urgent, Work as _, braked};

/// A side that is down is tried this often before the command gives up.
const TRIES: u32 = 6;
/// Why the command ends before all contacts are written to Keap.
const CALLS_ARE_KEPT: &str = "the calls to Keap that are left today are kept for urgent contacts, polls and other users; the contacts that wait for a write to Keap are written by the daemon, or by the next sync, when Keap counts anew";
/// A contact that has its turn may be in flight.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
/// The longest pause before another try.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Work that this process carries out.
pub(super) struct Work<'a> {
    pub parts: &'a Parts,
    pub lease_ttl: Duration,
    pub requested: &'a Requested,
    /// Walks go on until none is left, also after the requested ones.
    pub until_idle: bool,
    /// Print one JSON document.
    pub json: bool,
    /// The requested walk is a sweep.
    pub is_sweep: bool,
    pub bar: &'a Bar,
    pub cancel: &'a CancellationToken,
}

impl Work<'_> {
    /// Does the work under the lease, and prints what came of it.
    pub(super) async fn run(&self, fitted: &Fitted, held: Lease) -> Ended {
        let Self { parts, lease_ttl: ttl, cancel, .. } = *self;
        let work = async |context: &Arc<Context>| {
            let watching = self.bar.follow(context.board.progress.subscribe());
            let result = self.run_passes(context).await;
            watching.abort();
            self.bar.finish();
            result
        };
        let (context, result) = Leased { parts, ttl, cancel }.run(fitted, held, work).await?;
        self.report(&context, result).await
    }

    /// Runs passes until the requested work is done, with the contacts that become due until then.
    async fn run_passes(&self, context: &Arc<Context>) -> Result<(), Halt> {
        let store = &self.parts.store;
        let mut urgent = Urgent::new(Arc::clone(context));
        let mut bulk = Bulk::without_poll(Arc::clone(context));
        match self.requested {
            Requested::Contacts(tickets) => {
                let ids: Vec<KeapId> = tickets.iter().map(|ticket| ticket.id).collect();
                repeat_patiently(self.cancel, async || {
                    context.go_on(Feed::Due, true)?;
                    let worked = urgent.step().await?;
                    Ok(worked && !store.undone(&ids).await?.is_empty())
                })
                .await
            }
            Requested::Runs(ids) => self.walk(context, (&mut urgent, &mut bulk), ids).await,
        }
    }

    /// Works until these runs have ended, and nobody waits who became due by them.
    async fn walk(
        &self,
        context: &Context,
        (urgent, bulk): (&mut Urgent, &mut Bulk),
        ids: &[Uuid],
    ) -> Result<(), Halt> {
        repeat_patiently(self.cancel, async || {
            for feed in self.open_feeds(ids).await? {
                context.go_on(feed, false)?;
            }
            let walked = bulk.step().await?;
            let looked_again = urgent.step().await?;
            let done = self.open_feeds(ids).await?.is_empty();
            let is_over = done && !self.until_idle;
            if looked_again || (!is_over && (walked || !done)) {
                return Ok(true);
            }
            self.wait_for_paced(context, bulk).await
        })
        .await
    }

    /// The feeds of those walks that have not ended.
    async fn open_feeds(&self, ids: &[Uuid]) -> Result<Vec<Feed>, Halt> {
        let mut open = Vec::new();
        for id in ids {
            let run = self.parts.store.run(*id).await?;
            let run = run.filter(|run| !matches!(run.state, RunState::Done | RunState::Failed));
            open.extend(run.and_then(|run| Feed::parse(&run.feed)));
        }
        Ok(open)
    }

    /// Waits until the next contact may be written that the walk has found. False: there is none.
    async fn wait_for_paced(&self, context: &Context, bulk: &Bulk) -> Result<bool, Halt> {
        let Some(time) = bulk.next_paced().await? else {
            return Ok(false);
        };
        if !context.has_calls_for_paced() {
            return Err(Halt::Feed(CALLS_ARE_KEPT.into()));
        }
        tokio::select! {
            () = self.cancel.cancelled() => Err(Halt::Cancelled),
            () = tokio::time::sleep(time.max(SHORTEST_WAIT)) => Ok(true),
        }
    }

    async fn report(&self, context: &Context, result: Result<(), Halt>) -> Ended {
        let store = &self.parts.store;
        let calls = context.all_calls();
        let are_named = self.requested.are_named();
        // A command without JSON prints no contacts of a walk, so it need not read them.
        let contacts =
            if are_named || self.json { self.requested.outcomes(store).await? } else { Vec::new() };
        let named = if are_named { contacts.as_slice() } else { &[] };
        let counts = if are_named { counts_of(named) } else { *context.board.progress.borrow() };
        let counts = Counts { keap_calls: calls.keap, intercom_calls: calls.intercom, ..counts };
        let stopped = match result {
            Err(halt) => Some(halt.to_string()),
            Ok(()) => match self.requested.failure(store).await? {
                Some(failure) => Some(failure.to_string()),
                // The users that an audit or a poll finds are created after it.
                None if self.until_idle => braked(context)
                    .await
                    .ok()
                    .flatten()
                    .map(|why| format!("{why}; {CREATE_BRAKE_REMEDY}")),
                None => None,
            },
        };
        Summary {
            json: self.json,
            counts,
            contacts: &contacts,
            are_named,
            is_sweep: self.is_sweep,
            knows_calls: true,
            changed: self.requested.changed(store).await?,
            error: stopped.as_deref(),
        }
        .print();
        exit(if stopped.is_some() { NOTHING_DONE } else { exit_status(&counts, named) })
    }
}

/// Repeats a step until it has nothing to do. While a side is down, it waits and tries again.
async fn repeat_patiently(
    cancel: &CancellationToken,
    mut step: impl AsyncFnMut() -> Result<bool, Halt>,
) -> Result<(), Halt> {
    let mut tries = 0;
    loop {
        match step().await {
            Ok(true) => tries = 0,
            Ok(false) => return Ok(()),
            Err(
                halt @ (Halt::Remote { needs_person: true, .. }
                | Halt::Feed(_)
                | Halt::Panicked
                | Halt::Cancelled
                | Halt::Paused(_)
                | Halt::LeaseLost),
            ) => return Err(halt),
            Err(halt) if tries >= TRIES => return Err(halt),
            Err(halt) => {
                tries += 1;
                tracing::warn!(
                    error = &halt as &dyn std::error::Error,
                    "Waiting, then trying again."
                );
                tokio::select! {
                    () = cancel.cancelled() => return Err(halt),
                    () = tokio::time::sleep(halt.retry_in().min(MAX_PAUSE)) => {}
                }
            }
        }
    }
}
