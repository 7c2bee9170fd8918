//! One pass: one page carried through decide → write → record.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;
use uuid::Uuid;

use super::claims::{Claim, OpenPage};
use super::decide::{Decision, SkipReason};
use super::outcome::{Halt, Outcome};
use super::plan::{Planned, Planner};
use super::record::Recording;
use super::write::Write;
use super::{Calls, Syncer};
use crate::contact::{Contact, KeapId};
use crate::remote::{Failure, Lane};
use crate::store::{Counts, Cursor, Feed};

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
            run_id,
            cursor,
        } = page;
        let planner = Planner {
            store: &self.store,
            intercom: &self.intercom,
            key: &self.key,
            rules: self.rules,
            lane,
            feed,
        };
        let planned = planner.plan(contacts).await?;
        let mut recording = Recording::new(feed, run_id, self.retries);
        let mut total = Counts::default();
        self.add_unseen(&mut recording, unreadable, missing).await?;

        let halted = AtomicBool::new(false);
        let writes = planned
            .into_iter()
            .map(|planned| self.write(planned, &open, lane, &halted));
        let mut writes = std::pin::pin!(stream::iter(writes).buffer_unordered(self.concurrency));
        let mut halt = None;
        let mut flush_at = Instant::now() + self.record_after;
        loop {
            tokio::select! {
                written = writes.next() => match written {
                    None => break,
                    Some(Written { planned, result: Ok((outcome, claim)) }) => recording.add(&planned, outcome, claim, Utc::now()),
                    Some(Written { result: Err(why), .. }) => { halt.get_or_insert(why); }
                },
                () = tokio::time::sleep_until(flush_at) => {}
                () = self.grace_is_over() => { halt.get_or_insert(Halt::Cancelled); break; }
            }
            if recording.len() >= self.record_group || Instant::now() >= flush_at {
                self.flush(&mut recording, &mut total, None).await?;
                flush_at = Instant::now() + self.record_after;
            }
        }
        let whole = halt.is_none();
        let now = self.calls();
        recording.counts.keap_calls = now.keap - calls.keap;
        recording.counts.intercom_calls = now.intercom - calls.intercom;
        let cursor = cursor.filter(|_| whole).map(|cursor| (feed, cursor));
        self.flush(&mut recording, &mut total, cursor).await?;
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
    ) -> Written {
        // A contact that makes our code panic is one contact's trouble.
        let result = AssertUnwindSafe(self.try_write(&planned, open, lane, halted))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                Ok((
                    Outcome::Again {
                        why:
                            "a mistake in keap-intercom-sync: writing this contact ended in a panic"
                                .into(),
                    },
                    None,
                ))
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
    ) -> Result<(Outcome, Option<Claim>), Halt> {
        if let Decision::Skip(reason) = planned.decision {
            return Ok((
                Outcome::Skipped {
                    reason,
                    forget: false,
                },
                None,
            ));
        }
        if halted.load(Ordering::Relaxed) || self.cancel.is_cancelled() {
            return Err(Halt::Cancelled);
        }
        self.require_lease()?;
        // Only contacts without a link can be doubled by their e-mail.
        let email = planned
            .email_digest
            .filter(|_| !matches!(planned.decision, Decision::Update(_)));
        let Some(claim) = open.claim(planned.contact.id, email) else {
            return Ok((Outcome::Afresh, None));
        };
        let outcome = match (&planned.search_failed, &planned.decision) {
            (Some(Failure::Never { why } | Failure::Again { why }), _) => {
                Outcome::Again { why: why.clone() }
            }
            (_, decision) => {
                let write = Write {
                    intercom: &self.intercom,
                    rules: self.rules,
                    lane,
                    contact: &planned.contact,
                    link: planned.link.as_ref(),
                    now: Utc::now(),
                };
                write.carry_out(decision.clone()).await?
            }
        };
        Ok((outcome, Some(claim)))
    }

    /// Contacts that were asked for or listed, and that Keap did not show.
    async fn add_unseen(
        &self,
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
        for (id, why) in unreadable {
            let waits = waiting.remove(&id);
            if waits.as_ref().is_some_and(|waits| waits.held) {
                continue;
            }
            recording.add(
                &Planned::unseen(id, waits, &self.key),
                Outcome::Again { why },
                None,
                Utc::now(),
            );
        }
        for id in missing {
            let planned = Planned::unseen(id, waiting.remove(&id), &self.key);
            recording.add(
                &planned,
                Outcome::Skipped {
                    reason: SkipReason::NotInKeap,
                    forget: false,
                },
                None,
                Utc::now(),
            );
        }
        Ok(())
    }

    /// Records what has gathered. Waits for the database as long as the lease lasts: writes do not go on meanwhile.
    async fn flush(
        &self,
        recording: &mut Recording,
        total: &mut Counts,
        cursor: Option<(Feed, Cursor)>,
    ) -> Result<(), Halt> {
        if recording.is_empty() && recording.group.afresh.is_empty() && cursor.is_none() {
            return Ok(());
        }
        let full = recording.take();
        let mut group = full.group;
        group.run = full.run_id.map(|run| (run, full.counts));
        group.ends_run = cursor
            .as_ref()
            .is_some_and(|(_, cursor)| cursor.walk.is_none());
        group.cursor = cursor;
        loop {
            let epoch = self.require_lease()?;
            match self.store.record(epoch, &group).await {
                Ok(()) => break,
                Err(error) if error.is_passing() && !self.cancel.is_cancelled() => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Outcomes could not be recorded; trying again."
                    );
                    tokio::time::sleep(Halt::Store(error).retry_in()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        total.add(&full.counts);
        self.progress
            .send_modify(|progress| progress.add(&full.counts));
        Ok(())
    }

    async fn grace_is_over(&self) {
        self.cancel.cancelled().await;
        tokio::time::sleep(GRACE).await;
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
        keap_calls,
        intercom_calls,
    } = *counts;
    let run = run_id.map(|run| run.to_string());
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
            keap_calls,
            intercom_calls,
            duration_ms,
            "A pass is recorded."
        );
    }
}
