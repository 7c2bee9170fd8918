//! The recorder: stores a page's outcomes group by group, and waits for a database that is down.

use std::pin::Pin;
use std::time::Duration;

use chrono::Utc;
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::claims::Claim;
use super::context::Context;
use super::intents::Intents;
use super::notice::LOG_AGAIN_AFTER;
use super::plan::Planned;
use super::recording::{Recording, refused};
use super::result::{Halt, Outcome};
use crate::feed::{Counts, Cursor, Feed, Lane};
use crate::outcome::{Action, Reason};
use crate::store::{Fence, Group, Recorded};

/// The grace period: the time that calls under way get to end and be recorded after a stop.
const GRACE: Duration = Duration::from_secs(2);

/// The outcome of one contact, with the claim that protects it; or why the side stops.
pub(super) type Ended = Result<(Outcome, Option<Claim>), Halt>;

/// What has become of one contact.
pub(super) struct Written {
    pub planned: Planned,
    pub result: Ended,
}

/// Says whether the next write of a page may begin. While nothing can be recorded, nothing is
/// written.
#[derive(Clone)]
pub(super) struct Gate(watch::Receiver<bool>);

impl Gate {
    /// Waits until writes may begin.
    pub(super) async fn opened(&mut self) {
        // Writes do not wait for a recorder that has ended.
        let _ = self.0.wait_for(|open| *open).await;
    }
}

/// Records the outcomes of one page.
pub(super) struct Recorder<'a> {
    groups: Groups<'a>,
    intents: Intents,
    gathered: Recording,
    total: Counts,
    halt: Option<Halt>,
}

impl<'a> Recorder<'a> {
    /// A recorder that puts outcomes into `gathered` first.
    pub(super) fn new(
        context: &'a Context,
        fence: Fence,
        gathered: Recording,
        intents: Intents,
    ) -> Self {
        let groups = Groups { context, fence, feed: gathered.feed, gate: watch::Sender::new(true) };
        Self { groups, intents, gathered, total: Counts::default(), halt: None }
    }

    /// The gate that writes of this page go through.
    pub(super) fn gate(&self) -> Gate {
        Gate(self.groups.gate.subscribe())
    }

    /// Records outcomes as they come, until all writes have ended. After a stop, it waits only for
    /// the grace period.
    pub(super) async fn take_all(
        &mut self,
        mut writes: Pin<&mut (impl Stream<Item = Written> + Send)>,
    ) -> Result<(), Halt> {
        let context = self.groups.context;
        let policy = &context.policy;
        let mut grace = std::pin::pin!(grace_is_over(context));
        let mut flush_at = Instant::now() + policy.sync.record_after;
        loop {
            context.board.heartbeat.beat(self.groups.feed.lane(), policy.sync.record_after);
            tokio::select! {
                written = writes.next() => match written {
                    Some(written) => self.take(written),
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(flush_at) => {}
                () = &mut grace => {
                    self.halt.get_or_insert(Halt::Cancelled);
                    return Ok(());
                }
            }
            if self.gathered.outcomes.len() >= policy.sync.record_group
                || Instant::now() >= flush_at
            {
                self.flush_beside(writes.as_mut()).await?;
                flush_at = Instant::now() + policy.sync.record_after;
            }
        }
    }

    /// Records what is left, with the cursor if the page is whole. Returns the page's counts, and
    /// why the side stops, if it does.
    pub(super) async fn finish(
        mut self,
        cursor: Option<Cursor>,
        cost: Counts,
    ) -> Result<(Counts, Result<(), Halt>), Halt> {
        let cursor = cursor.filter(|_| self.halt.is_none());
        self.gathered.unsent.extend(self.intents.take_unsent(self.groups.context));
        let counts = self.groups.flush(self.gathered.take(), cursor, cost).await?;
        self.total.add(&counts);
        Ok((self.total, self.halt.map_or(Ok(()), Err)))
    }

    fn take(&mut self, Written { planned, result }: Written) {
        self.intents.close(planned.contact.id);
        match result {
            Ok((outcome, claim)) => self.gathered.add(&planned, outcome, claim, Utc::now()),
            Err(why) => {
                self.gathered.add_halted(&planned);
                self.halt.get_or_insert(why);
            }
        }
    }

    /// Records a group, and polls the calls under way, so that their answers are read in
    /// time.
    async fn flush_beside(
        &mut self,
        mut writes: Pin<&mut (impl Stream<Item = Written> + Send)>,
    ) -> Result<(), Halt> {
        let groups = self.groups.clone();
        let group = self.gathered.take();
        let mut flush = std::pin::pin!(groups.flush(group, None, Counts::default()));
        let counts = loop {
            tokio::select! {
                biased;
                counts = &mut flush => break counts?,
                Some(written) = writes.next() => self.take(written),
            }
            // At most two groups wait for a database that is slow or does not answer.
            if self.gathered.outcomes.len() >= groups.context.policy.sync.record_group {
                groups.gate.send_replace(false);
            }
        };
        self.total.add(&counts);
        Ok(())
    }
}

async fn grace_is_over(context: &Context) {
    context.cancel.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// Stores groups of one page's outcomes.
#[derive(Clone)]
struct Groups<'a> {
    context: &'a Context,
    fence: Fence,
    feed: Feed,
    /// Closed while the database is down or slow.
    gate: watch::Sender<bool>,
}

impl Groups<'_> {
    /// Records what has gathered. It waits for the database as long as no other process takes the
    /// lease, and no write begins before that.
    async fn flush(
        &self,
        gathered: Recording,
        cursor: Option<Cursor>,
        cost: Counts,
    ) -> Result<Counts, Halt> {
        if gathered.is_empty() && cursor.is_none() {
            return Ok(cost);
        }
        let (claims, mut group) = gathered.into_group(cost, cursor);
        let calls = self.context.take_calls();
        group.tally = calls.tally();
        let recorded = self.record_all(group).await;
        if recorded.is_err() {
            self.context.give_calls_back(calls);
        }
        drop(claims);
        let counts = recorded?;
        self.context.advance(&counts);
        Ok(counts)
    }

    /// Records a group. If Postgres refuses it, each outcome is recorded by itself.
    async fn record_all(&self, group: Group) -> Result<Counts, Halt> {
        match self.record(&group).await {
            Err(Halt::Store(error)) if error.is_refusal() => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Postgres refuses a group of outcomes; each is recorded by itself."
                );
                self.record_one_by_one(group).await
            }
            recorded => {
                recorded?;
                count(&group);
                Ok(group.counts())
            }
        }
    }

    /// Records a group. Tries again while the database is down.
    async fn record(&self, group: &Group) -> Result<(), Halt> {
        let Context { store, cancel, board, .. } = self.context;
        let mut logged: Option<Instant> = None;
        loop {
            match store.record(&self.fence, group).await {
                Ok(()) => {
                    self.gate.send_replace(true);
                    return Ok(());
                }
                Err(error) if error.is_transient() && !cancel.is_cancelled() => {
                    self.gate.send_replace(false);
                    // A database that is down stops both lanes, and neither hangs.
                    board.heartbeat.beat(Lane::Urgent, Duration::ZERO);
                    board.heartbeat.beat(Lane::Bulk, Duration::ZERO);
                    if logged.is_none_or(|at| at.elapsed() > LOG_AGAIN_AFTER) {
                        logged = Some(Instant::now());
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "Outcomes cannot be recorded. Nothing is written until they are; this is tried again."
                        );
                    }
                    tokio::select! {
                        () = tokio::time::sleep(Halt::Store(error).retry_in()) => {}
                        () = cancel.cancelled() => {}
                    }
                }
                Err(error) => {
                    self.gate.send_replace(true);
                    return Err(error.into());
                }
            }
        }
    }

    /// Finds the outcome that Postgres refuses. It holds that contact, and records the others.
    async fn record_one_by_one(&self, group: Group) -> Result<Counts, Halt> {
        let Group {
            outcomes, cost, run, ends_run, cursor, unsent, plan, recheck_after, tally, ..
        } = group;
        let mut counts = Counts::default();
        for outcome in outcomes {
            let held = refused(&outcome, self.feed, run);
            let of_one = |outcome: Recorded| Group {
                run,
                recheck_after,
                plan: plan.clone(),
                ..Group::of(vec![outcome])
            };
            let single = of_one(outcome);
            let single = match self.record(&single).await {
                Err(Halt::Store(error)) if error.is_refusal() => {
                    tracing::error!(
                        keap.contact_id = held.id.get(),
                        error = &error as &dyn std::error::Error,
                        "Postgres refuses the outcome of a contact; it is held."
                    );
                    let held = of_one(held);
                    self.record(&held).await?;
                    held
                }
                recorded => recorded.map(|()| single)?,
            };
            counts.add(&single.counts());
        }
        let rest = Group { cost, run, ends_run, cursor, unsent, tally, ..Group::of(Vec::new()) };
        self.record(&rest).await?;
        counts.add(&rest.counts());
        Ok(counts)
    }
}

/// Counts contacts by what was done, and by the code of the reason.
fn count(group: &Group) {
    for outcome in &group.outcomes {
        let to_keap = outcome.log.as_ref().is_some_and(|log| log.to_keap);
        if to_keap || outcome.log_to_keap.is_some() {
            metrics::counter!("keap_intercom_sync_writes_to_keap_total").increment(1);
        }
        if outcome.log.as_ref().is_some_and(|log| log.conflicts.is_some()) {
            metrics::counter!("keap_intercom_sync_conflicts_total").increment(1);
        }
        let (action, reason) = match &outcome.log {
            Some(log) => (log.action, log.reason.as_ref().map_or("", Reason::code)),
            None if outcome.counts.unchanged > 0 => (Action::Unchanged, ""),
            None => continue,
        };
        metrics::counter!("keap_intercom_sync_contacts_total", "action" => action.code(), "reason" => reason)
            .increment(1);
    }
}
