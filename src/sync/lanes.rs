//! The loop: two lanes side by side, urgent for what was asked for, bulk for the walks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Syncer;
use super::feeds::changed::Polled;
use super::feeds::sweep::Swept;
use super::outcome::Halt;
use crate::remote::Lane;
use crate::trigger::Trigger;

/// A standing fault is told at once and then this often, so that a dead remote does not fill the log.
pub(super) const TELL_EVERY: Duration = Duration::from_secs(300);

/// The last fault that was told.
#[derive(Default)]
struct Told(Option<(String, Instant)>);

impl Told {
    fn tell(&mut self, lane: &'static str, halt: &Halt) {
        let text = halt.to_string();
        let again = |(last, at): &(String, Instant)| *last == text && at.elapsed() < TELL_EVERY;
        if self.0.as_ref().is_some_and(again) {
            return;
        }
        let retry_in_ms = u64::try_from(halt.retry_in().as_millis()).unwrap_or(u64::MAX);
        let error = halt as &dyn std::error::Error;
        match halt {
            Halt::Cancelled | Halt::LeaseLost => tracing::debug!(lane, error, "The lane stopped."),
            Halt::Remote {
                needs_person: false,
                ..
            }
            | Halt::Store(_) => tracing::warn!(
                lane,
                retry_in_ms,
                error,
                "The lane waits and goes on by itself."
            ),
            Halt::Remote { .. } | Halt::Feed(_) | Halt::Panicked => tracing::error!(
                lane,
                retry_in_ms,
                error,
                "The lane stopped and needs a person; nothing is lost meanwhile."
            ),
        }
        self.0 = Some((text, Instant::now()));
    }

    fn is_well(&mut self, lane: &'static str) {
        if self.0.take().is_some() {
            tracing::info!(lane, "The lane works again.");
        }
    }
}

impl Syncer {
    /// Looks after requests and retries until the daemon stops.
    pub async fn urgent_lane(self: Arc<Self>, trigger: Arc<Trigger>) {
        let mut told = Told::default();
        while self.wake(Lane::Urgent, &trigger).await.is_some() {
            while self.may_work() {
                self.turns.turn(Lane::Urgent, Duration::ZERO);
                let syncer = Arc::clone(&self);
                let stepped = in_a_task(async move { syncer.urgent_step().await }).await;
                if !self.goes_on(Lane::Urgent, stepped, &mut told).await {
                    break;
                }
            }
        }
    }

    /// Looks after polls, backfills and sweeps until the daemon stops. A poll is due at the start and whenever the trigger fires.
    pub async fn bulk_lane(self: Arc<Self>, trigger: Arc<Trigger>) {
        let mut told = Told::default();
        let mut poll = true;
        while let Some(fired) = self.wake(Lane::Bulk, &trigger).await {
            poll |= fired;
            while self.may_work() {
                self.turns.turn(Lane::Bulk, Duration::ZERO);
                // A poll that falls due during a backfill has its turn between two of its pages.
                poll |= trigger.take();
                let syncer = Arc::clone(&self);
                let stepped = in_a_task(async move {
                    let mut poll = poll;
                    let worked = syncer.bulk_step(&mut poll).await;
                    Ok((worked, poll))
                })
                .await;
                let stepped = stepped.and_then(|(worked, still_due)| {
                    poll = still_due;
                    worked
                });
                if !self.goes_on(Lane::Bulk, stepped, &mut told).await {
                    break;
                }
            }
        }
    }

    fn may_work(&self) -> bool {
        self.require_lease().is_ok() && !self.cancel.is_cancelled()
    }

    /// Waits for the trigger (true) or the next look (false); `None` when the daemon stops.
    async fn wake(&self, lane: Lane, trigger: &Trigger) -> Option<bool> {
        self.turns.turn(lane, self.idle_check);
        let mut lease = self.lease.clone();
        lease.mark_unchanged();
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            () = trigger.fired() => Some(true),
            _ = lease.changed() => Some(false),
            () = tokio::time::sleep(self.idle_check) => Some(false),
        }
    }

    /// Whether the next step follows at once. When something is wrong it is told, and waited for as long as it asks.
    async fn goes_on(&self, lane: Lane, stepped: Result<bool, Halt>, told: &mut Told) -> bool {
        let name = match lane {
            Lane::Urgent => "urgent",
            Lane::Bulk => "bulk",
        };
        match stepped {
            Ok(worked) => {
                told.is_well(name);
                worked
            }
            Err(halt) => {
                told.tell(name, &halt);
                let rest = halt.retry_in();
                self.turns.turn(lane, rest);
                tokio::select! {
                    () = self.cancel.cancelled() => {}
                    () = tokio::time::sleep(rest) => {}
                }
                true
            }
        }
    }

    /// One page of due contacts. False when nothing is due.
    pub async fn urgent_step(&self) -> Result<bool, Halt> {
        self.intercom_is_ready(Lane::Urgent).await?;
        let Some(page) = self.unless_cancelled(self.due_page()).await? else {
            return Ok(false);
        };
        self.run_pass(page).await?;
        Ok(true)
    }

    /// A page of changes, one of the backfill and one of the sweep, so that none waits for the whole of another. False when all
    /// are done.
    pub async fn bulk_step(&self, poll: &mut bool) -> Result<bool, Halt> {
        *poll |= self.unless_cancelled(self.take_requests()).await?;
        self.intercom_is_ready(Lane::Bulk).await?;
        let changed = self.changed_step(poll).await;
        // A fault of one feed's own leaves the other its turn; a remote or a database that is down is down for both.
        let down = |stepped: &Result<bool, Halt>| {
            matches!(
                stepped,
                Err(Halt::Remote { .. } | Halt::Store(_) | Halt::Cancelled | Halt::LeaseLost)
            )
        };
        if down(&changed) {
            return changed;
        }
        let backfill = self.backfill_step().await;
        if down(&backfill) {
            return backfill;
        }
        let sweep = self.sweep_step().await;
        Ok(changed? | backfill? | sweep?)
    }

    /// What Intercom cannot take is not read from Keap, whose calls are counted by the day.
    async fn intercom_is_ready(&self, lane: Lane) -> Result<(), Halt> {
        let ready = async {
            let ready = self.intercom.remote().ready(lane).await;
            ready.map_err(Halt::of_reading)
        };
        self.unless_cancelled(ready).await
    }

    async fn changed_step(&self, poll: &mut bool) -> Result<bool, Halt> {
        let page = match self.unless_cancelled(self.changed_page(*poll)).await? {
            None => return Ok(false),
            Some(Polled::Nothing) => {
                *poll = false;
                return Ok(false);
            }
            Some(Polled::Page(page)) => page,
        };
        let ends = page
            .cursor
            .as_ref()
            .is_some_and(|cursor| cursor.walk.is_none());
        // A walk that another process began ends at a time before this poll was asked for.
        let own = self.is_own_poll(page.run_id);
        self.run_pass(*page).await?;
        if ends {
            let asked_again = self.end_poll().await?;
            *poll = asked_again || (*poll && !own);
        }
        Ok(true)
    }

    async fn backfill_step(&self) -> Result<bool, Halt> {
        let Some(page) = self.unless_cancelled(self.backfill_page()).await? else {
            return Ok(false);
        };
        self.run_pass(page).await?;
        Ok(true)
    }

    async fn sweep_step(&self) -> Result<bool, Halt> {
        match self.unless_cancelled(self.sweep()).await? {
            Swept::Idle => Ok(false),
            Swept::Step => Ok(true),
            Swept::Page(page) => {
                self.run_pass(*page).await?;
                Ok(true)
            }
        }
    }

    /// Reading may be given up at any time: nothing has been done yet.
    pub(super) async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Halt::Cancelled),
            done = work => done,
        }
    }
}

/// Runs a step in a task of its own, so that a panic ends the step and not the lane.
async fn in_a_task<T: Send + 'static>(
    step: impl Future<Output = Result<T, Halt>> + Send + 'static,
) -> Result<T, Halt> {
    tokio::spawn(step)
        .await
        .unwrap_or_else(|_| Err(Halt::Panicked))
}
