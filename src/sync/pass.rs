//! One pass: one page carried through decide → write → record.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::claims::{Claim, OpenPage};
use super::decide::{Decision, SkipReason};
use super::feeds::sweep::Deleted;
use super::lanes::TELL_EVERY;
use super::outcome::{Halt, Outcome};
use super::plan::{Planned, Planner};
use super::record::{self, Recording};
use super::write::Write;
use super::{Calls, Syncer};
use crate::contact::{Contact, KeapId, LinkState};
use crate::remote::Lane;
use crate::store::{Counts, Cursor, Feed, Group};

/// After a stop is asked for, calls that are under way get this long to end and be recorded.
const GRACE: Duration = Duration::from_secs(2);

/// A bounded batch of contacts from one feed, read from Keap.
pub struct Page {
    pub feed: Feed,
    pub lane: Lane,
    pub open: OpenPage,
    /// Calls made before the page was read.
    pub calls: Calls,
    pub contacts: Vec<Contact>,
    /// Contacts that Keap could not show, with the reason.
    pub unreadable: Vec<(KeapId, String)>,
    /// Contacts that Keap does not have.
    pub missing: Vec<KeapId>,
    /// Linked contacts that Keap does not have any more, as was confirmed and counted.
    pub gone: Vec<KeapId>,
    /// The version of each due row that the page was made for.
    pub versions: HashMap<KeapId, i64>,
    pub run_id: Option<Uuid>,
    /// Where the feed stands once every contact of this page is recorded.
    pub cursor: Option<Cursor>,
}

/// What a write task came back with.
struct Written {
    planned: Planned,
    result: Result<(Outcome, Option<Claim>), Halt>,
}

impl Syncer {
    /// Carries a page through. On `Err` what was done is recorded, the cursor has not moved, and the page is to be taken again.
    pub async fn run_pass(&self, page: Page) -> Result<Counts, Halt> {
        let started = Instant::now();
        let Page {
            feed,
            lane,
            open,
            calls,
            contacts,
            unreadable,
            missing,
            gone,
            versions,
            run_id,
            cursor,
        } = page;
        let epoch = self.require_lease()?;
        let (store, intercom, key, rules) = (&self.store, &self.intercom, &self.key, self.rules);
        let planner = Planner {
            store,
            intercom,
            key,
            rules,
            lane,
            feed,
            versions: &versions,
        };
        let mut planned = self.unless_cancelled(planner.plan(contacts)).await?;
        planned.extend(self.plan_gone(gone).await?);
        let mut recording = Recording::new(feed, run_id, self.retries);
        self.add_unseen(&planner, &mut recording, unreadable, missing)
            .await?;

        let halted = AtomicBool::new(false);
        let (gate, gate_seen) = watch::channel(true);
        let writes = planned
            .into_iter()
            .map(|planned| self.write(planned, &open, lane, &halted, gate_seen.clone()));
        let mut writes = std::pin::pin!(stream::iter(writes).buffer_unordered(self.concurrency));
        let mut grace = std::pin::pin!(self.grace_is_over());
        let (mut halt, mut total) = (None, Counts::default());
        let mut take =
            |recording: &mut Recording, Written { planned, result }: Written| match result {
                Ok((outcome, claim)) => recording.add(&planned, outcome, claim, Utc::now()),
                Err(why) => drop(halt.get_or_insert(why)),
            };
        let mut flush_at = Instant::now() + self.record_after;
        loop {
            self.turns.turn(lane, self.record_after);
            tokio::select! {
                written = writes.next() => match written {
                    Some(written) => take(&mut recording, written),
                    None => break,
                },
                () = tokio::time::sleep_until(flush_at) => {}
                () = &mut grace => {
                    halt.get_or_insert(Halt::Cancelled);
                    break;
                }
            }
            if recording.outcomes.len() < self.record_group && Instant::now() < flush_at {
                continue;
            }
            // Calls that are under way are looked after meanwhile, or their answers would come too late.
            let group = recording.take();
            let mut flush =
                std::pin::pin!(self.flush(epoch, group, None, Counts::default(), &gate));
            let counts = loop {
                tokio::select! {
                    biased;
                    counts = &mut flush => break counts?,
                    Some(written) = writes.next() => take(&mut recording, written),
                }
                // A database that is slow, or does not answer, never has more than two groups to catch up with.
                if recording.outcomes.len() >= self.record_group {
                    gate.send_replace(false);
                }
            };
            total.add(&counts);
            flush_at = Instant::now() + self.record_after;
        }
        let cost = self.calls(lane).since(calls);
        let cursor = cursor
            .filter(|_| halt.is_none())
            .map(|cursor| (feed, cursor));
        total.add(
            &self
                .flush(epoch, recording.take(), cursor, cost, &gate)
                .await?,
        );
        report(feed, run_id, &total, started.elapsed());
        halt.map_or(Ok(total), Err)
    }

    /// Writes one contact, unless the side has stopped meanwhile.
    async fn write(
        &self,
        planned: Planned,
        open: &OpenPage,
        lane: Lane,
        halted: &AtomicBool,
        gate: watch::Receiver<bool>,
    ) -> Written {
        // A contact that makes our code panic is one contact's trouble.
        let result = AssertUnwindSafe(self.try_write(&planned, open, lane, halted, gate))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                let why =
                    "a mistake in keap-intercom-sync: writing this contact ended in a panic".into();
                Ok((Outcome::Again { why, put_off: None }, None))
            });
        if result.is_err() {
            halted.store(true, Ordering::Relaxed);
        }
        Written { planned, result }
    }

    async fn try_write(
        &self,
        planned: &Planned,
        open: &OpenPage,
        lane: Lane,
        halted: &AtomicBool,
        mut gate: watch::Receiver<bool>,
    ) -> Result<(Outcome, Option<Claim>), Halt> {
        let id = planned.contact.id;
        if let Decision::Skip(reason) = planned.decision {
            let mut claim = None;
            // A skip that changes a row must not undo what the other lane has done since the page was read.
            let changes_a_row = match reason {
                SkipReason::NoEmail { told } => !told || planned.waiting.is_some(),
                SkipReason::Unchanged => planned.waiting.is_some(),
                SkipReason::StillHeld | SkipReason::RetryLater | SkipReason::NotInKeap => false,
            };
            if changes_a_row {
                claim = open.claim(id, None);
                if claim.is_none() {
                    return Ok((Outcome::Afresh, None));
                }
            }
            return Ok((
                Outcome::Skipped {
                    reason,
                    forget: false,
                },
                claim,
            ));
        }
        // What cannot be recorded is not written.
        let _ = gate.wait_for(|open| *open).await;
        if halted.load(Ordering::Relaxed) || self.cancel.is_cancelled() {
            return Err(Halt::Cancelled);
        }
        self.require_lease()?;
        // Only contacts without a link can be doubled by their e-mail.
        let email = planned
            .email_digest
            .filter(|_| !matches!(planned.decision, Decision::Update(_)));
        let mut claim = open.claim(id, email);
        if let Decision::HandOver(_, heir) = planned.decision {
            claim = claim.and_then(|claim| Some(claim.and(open.claim(heir, None)?)));
        }
        let Some(claim) = claim else {
            return Ok((Outcome::Afresh, None));
        };
        let outcome = match &planned.search_failed {
            Some((why, put_off)) => Outcome::Again {
                why: why.clone(),
                put_off: *put_off,
            },
            None => {
                let write = Write {
                    store: &self.store,
                    keap: &self.keap,
                    intercom: &self.intercom,
                    rules: self.rules,
                    lane,
                    contact: &planned.contact,
                    link: planned.link.as_ref(),
                    now: Utc::now(),
                };
                write.carry_out(planned.decision.clone()).await?
            }
        };
        Ok((outcome, Some(claim)))
    }

    /// Contacts that are gone from Keap and still linked, with what the policy wants for them.
    async fn plan_gone(&self, gone: Vec<KeapId>) -> Result<Vec<Planned>, Halt> {
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let mut known = self.store.known(&gone).await?;
        let heirs = self.store.heirs(&gone).await?;
        let planned = gone.into_iter().filter_map(|id| {
            let link = known.links.remove(&id)?;
            let LinkState::Linked(intercom) = &link.state else {
                return None;
            };
            let decision = match self.deleted {
                Deleted::Ignore => return None,
                _ if heirs.contains_key(&id) => {
                    Decision::HandOver(intercom.clone(), *heirs.get(&id)?)
                }
                Deleted::Archive => Decision::Archive(intercom.clone()),
                Deleted::Unlink => Decision::Unlink(intercom.clone()),
            };
            Some(Planned {
                decision,
                link: Some(link),
                ..Planned::unseen(id, known.waiting.remove(&id), &self.key)
            })
        });
        Ok(planned.collect())
    }

    /// Contacts that were asked for or listed, and that Keap did not show.
    async fn add_unseen(
        &self,
        planner: &Planner<'_>,
        recording: &mut Recording,
        unreadable: Vec<(KeapId, String)>,
        missing: Vec<KeapId>,
    ) -> Result<(), Halt> {
        let ids: Vec<KeapId> = unreadable
            .iter()
            .map(|(id, _)| *id)
            .chain(missing.iter().copied())
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut waiting = self.store.known(&ids).await?.waiting;
        let outcomes = unreadable
            .into_iter()
            .map(|(id, why)| (id, Outcome::again(why)));
        let gone = || Outcome::Skipped {
            reason: SkipReason::NotInKeap,
            forget: false,
        };
        for (id, outcome) in outcomes.chain(missing.into_iter().map(|id| (id, gone()))) {
            let planned = Planned::unseen(id, planner.waiting(id, waiting.remove(&id)), &self.key);
            let outcome = match (&outcome, &planned.waiting) {
                // It cannot be told whether it has changed: a walk that meets it again uses up no attempt.
                (Outcome::Again { .. }, Some(waits)) if planner.feed != Feed::Due && waits.held => {
                    Outcome::Skipped {
                        reason: SkipReason::StillHeld,
                        forget: false,
                    }
                }
                (Outcome::Again { .. }, Some(waits)) if planner.retry_waits(waits) => {
                    Outcome::Skipped {
                        reason: SkipReason::RetryLater,
                        forget: false,
                    }
                }
                _ => outcome,
            };
            recording.add(&planned, outcome, None, Utc::now());
        }
        Ok(())
    }

    /// Records what has gathered, and waits for the database for as long as no other process takes the lease. Writes do not
    /// begin meanwhile.
    async fn flush(
        &self,
        epoch: i64,
        recording: Recording,
        cursor: Option<(Feed, Cursor)>,
        cost: Counts,
        gate: &watch::Sender<bool>,
    ) -> Result<Counts, Halt> {
        if recording.outcomes.is_empty() && cursor.is_none() {
            return Ok(cost);
        }
        let ends_run = cursor
            .as_ref()
            .is_some_and(|(_, cursor)| cursor.walk.is_none());
        let (claims, group) = recording.into_group(cost, ends_run, cursor);
        let counts = match self.record(epoch, &group, gate).await {
            Err(Halt::Store(error)) if error.is_refusal() => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Postgres refuses a group of outcomes; each is recorded by itself."
                );
                self.record_one_by_one(epoch, group, gate).await?
            }
            recorded => {
                recorded?;
                count(&group);
                group.counts()
            }
        };
        drop(claims);
        self.progress.send_modify(|progress| progress.add(&counts));
        Ok(counts)
    }

    async fn record(
        &self,
        epoch: i64,
        group: &Group,
        gate: &watch::Sender<bool>,
    ) -> Result<(), Halt> {
        let mut told: Option<Instant> = None;
        loop {
            match self.store.record(epoch, group).await {
                Ok(()) => {
                    gate.send_replace(true);
                    return Ok(());
                }
                Err(error) if error.is_passing() && !self.cancel.is_cancelled() => {
                    gate.send_replace(false);
                    // A database that is down stops both lanes; neither hangs.
                    self.turns.turn(Lane::Urgent, Duration::ZERO);
                    self.turns.turn(Lane::Bulk, Duration::ZERO);
                    if told.is_none_or(|at| at.elapsed() > TELL_EVERY) {
                        told = Some(Instant::now());
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "Outcomes cannot be recorded; trying again, and nothing is written meanwhile."
                        );
                    }
                    tokio::select! {
                        () = tokio::time::sleep(Halt::Store(error).retry_in()) => {}
                        () = self.cancel.cancelled() => {}
                    }
                }
                Err(error) => {
                    gate.send_replace(true);
                    return Err(error.into());
                }
            }
        }
    }

    /// Finds the outcome that Postgres refuses: its contact is held, the others are recorded.
    async fn record_one_by_one(
        &self,
        epoch: i64,
        group: Group,
        gate: &watch::Sender<bool>,
    ) -> Result<Counts, Halt> {
        let Group {
            outcomes,
            cost,
            run,
            ends_run,
            cursor,
            ..
        } = group;
        let feed = cursor.as_ref().map_or(Feed::Due, |(feed, _)| *feed);
        let mut counts = Counts::default();
        for outcome in outcomes {
            let held = record::refused(&outcome, feed, run);
            let of_one = |outcome| Group {
                run,
                ..Group::of(vec![outcome])
            };
            let single = of_one(outcome);
            let single = match self.record(epoch, &single, gate).await {
                Err(Halt::Store(error)) if error.is_refusal() => {
                    tracing::error!(
                        keap.contact_id = held.id.get(),
                        error = &error as &dyn std::error::Error,
                        "Postgres refuses the outcome of a contact; it is held."
                    );
                    let held = of_one(held);
                    self.record(epoch, &held, gate).await?;
                    held
                }
                recorded => recorded.map(|()| single)?,
            };
            counts.add(&single.counts());
        }
        let rest = Group {
            cost,
            run,
            ends_run,
            cursor,
            ..Group::of(Vec::new())
        };
        self.record(epoch, &rest, gate).await?;
        counts.add(&rest.counts());
        Ok(counts)
    }

    async fn grace_is_over(&self) {
        self.cancel.cancelled().await;
        tokio::time::sleep(GRACE).await;
    }
}

/// Counts contacts by what was done, and why not where the reason is a word.
fn count(group: &Group) {
    for outcome in &group.outcomes {
        let (action, reason) = match &outcome.log {
            Some(log) => {
                let why = log.error_message.as_deref().unwrap_or_default();
                let reason = why.split(':').next().unwrap_or_default();
                let word = reason.len() <= 24
                    && reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                (log.action.clone(), if word { reason } else { "other" })
            }
            None if outcome.counts.unchanged > 0 => ("unchanged".to_owned(), ""),
            None => continue,
        };
        metrics::counter!("keap_intercom_sync_contacts_total", "action" => action, "reason" => reason.to_owned()).increment(1);
    }
}

/// One line a pass; a pass in which nothing happened is told at debug level.
fn report(feed: Feed, run_id: Option<Uuid>, counts: &Counts, took: Duration) {
    let Counts {
        seen,
        created,
        linked,
        updated,
        unchanged,
        skipped,
        held,
        failed,
        archived,
        unlinked,
        late: _,
        keap_calls,
        intercom_calls,
    } = *counts;
    let run = run_id.map(|run| run.to_string());
    metrics::histogram!("keap_intercom_sync_pass_seconds", "feed" => feed.as_str()).record(took);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if seen == unchanged {
        tracing::debug!(
            feed = feed.as_str(),
            run.id = run,
            seen,
            unchanged,
            keap_calls,
            intercom_calls,
            duration_ms,
            "A pass found nothing to write."
        );
    } else {
        tracing::info!(
            feed = feed.as_str(),
            run.id = run,
            seen,
            created,
            linked,
            updated,
            unchanged,
            skipped,
            held,
            failed,
            archived,
            unlinked,
            keap_calls,
            intercom_calls,
            duration_ms,
            "A pass is recorded."
        );
    }
}
