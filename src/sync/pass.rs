//! One pass: one page carried through plan → write → record.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use futures_util::future::{Either, ready};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::Instant;
use uuid::Uuid;

use super::claims::{Claim, OpenPage};
use super::context::Context;
use super::decide::Decision;
use super::intents::Intents;
use super::leaving;
use super::page::{Approved, Page};
use super::plan::{Planned, Planner};
use super::plans::compare;
use super::recorder::{Ended, Gate, Recorder, Written};
use super::recording::{Recording, Retries};
use super::result::{Halt, Outcome};
use super::unexplained;
use super::vanished;
use super::write::{Target, carry_out};
use crate::contact::KeapId;
use crate::feed::{Counts, Feed, Lane};
use crate::outcome::SkipReason;
use crate::store::PlanPart;

/// Carries a page through. On `Err`, what was done is recorded, the cursor has not moved, and the
/// page is to be taken again.
///
/// Callers box it: it holds some 100 kB, and each caller would hold that in its own stack frame.
pub(super) async fn run(context: &Context, mut page: Page) -> Result<Counts, Halt> {
    let started = Instant::now();
    let fence = context.fence()?;
    let contacts = std::mem::take(&mut page.contacts);
    let missing = std::mem::take(&mut page.missing);
    let planner = Planner::of(context, &page);
    let mut planned = context.unless_cancelled(Box::pin(planner.plan(contacts))).await?;
    planned.extend(planner.plan_gone(&page.gone).await?);
    let (lost, missing) = planner.plan_missing(missing).await?;
    planned.extend(lost);
    let changed = match &page.approved {
        Some(approved) => {
            let compared = Box::pin(compare::changed(context, approved, &planned));
            Some(context.unless_cancelled(compared).await?)
        }
        None => None,
    };
    let mut recording = Recording::new(page.feed, page.run_id, Retries::of(&context.policy.sync));
    let part = |(approved, changed): (&Approved, _)| PlanPart { plan: approved.plan, changed };
    recording.plan = page.approved.as_ref().zip(changed).map(part);
    add_unseen(&planner, &mut recording, &page.unreadable, &missing).await?;

    let looking = Box::pin(vanished::look(context, page.lane, &mut planned));
    context.unless_cancelled(looking).await?;
    // A person has seen them.
    if page.approved.is_none() {
        Box::pin(leaving::brake(context, &fence, &mut planned)).await?;
        let walk = (page.feed, page.run_id);
        Box::pin(unexplained::brake(context, &fence, walk, &mut planned)).await?;
    }
    let intents = Intents::store(context, &fence, &mut planned).await?;
    let mut recorder = Recorder::new(context, fence, recording, intents);
    let halted = AtomicBool::new(false);
    let writer = Writer {
        context,
        feed: page.feed,
        lane: page.lane,
        open: &page.open,
        halted: &halted,
        gate: recorder.gate(),
    };
    let writes = planned.into_iter().map(|planned| writer.begin(planned));
    let writes =
        std::pin::pin!(stream::iter(writes).buffer_unordered(context.policy.sync.concurrency));
    recorder.take_all(writes).await?;
    let cost = context.calls(page.lane).since(page.calls);
    let (counts, ended) = recorder.finish(page.cursor, cost).await?;
    report(page.feed, page.run_id, &counts, started.elapsed());
    ended.map(|()| counts)
}

/// Writes the contacts of one page.
#[derive(Clone)]
struct Writer<'a> {
    context: &'a Context,
    feed: Feed,
    lane: Lane,
    open: &'a OpenPage,
    /// The side has stopped: no other write begins.
    halted: &'a AtomicBool,
    gate: Gate,
}

impl Writer<'_> {
    /// What becomes of one contact. Of one that needs no write, it is known at once.
    fn begin(&self, planned: Planned) -> impl Future<Output = Written> {
        if let Decision::Skip(reason) = planned.decision {
            let result = Ok(self.skip(&planned, reason));
            return Either::Left(ready(self.end(planned, result)));
        }
        // Boxed: a write holds kilobytes, and the stream moves each of them several times.
        Either::Right(Box::pin(self.clone().write(planned)))
    }

    /// Writes one contact, unless the side has stopped since.
    async fn write(self, mut planned: Planned) -> Written {
        let this = self.clone();
        // A panic in the write of one contact must not stop the others.
        let result = AssertUnwindSafe(self.try_write(&mut planned)).catch_unwind().await;
        let result = result.unwrap_or_else(|_| {
            let why = "a mistake in keap-intercom-sync: writing this contact ended in a panic";
            Ok((Outcome::again(why), None))
        });
        if result.is_err() {
            this.halted.store(true, Ordering::Relaxed);
        }
        this.end(planned, result)
    }

    /// Notes whether the outcome of the contact's write is unknown.
    fn end(&self, mut planned: Planned, result: Ended) -> Written {
        let unknown = self.context.intercom.remote().unknown_writes();
        let unknown_in_keap = self.context.keap.remote().unknown_writes();
        let id = planned.contact.id.get();
        // Without a claim nothing was sent, and what is unknown is a matter of the other lane.
        planned.is_unknown |=
            unknown.contains(id) && !matches!(result, Ok((Outcome::Requeue, None)));
        planned.is_unknown_in_keap = planned.keap_intent.is_some() && unknown_in_keap.contains(id);
        Written { planned, result }
    }

    async fn try_write(mut self, planned: &mut Planned) -> Ended {
        self.gate.opened().await;
        if self.halted.load(Ordering::Relaxed) || self.context.cancel.is_cancelled() {
            return Err(Halt::Cancelled);
        }
        self.context.go_on(self.feed, planned.is_request())?;
        self.context.fence()?;
        let Some(claim) = self.claim(planned) else {
            return Ok((Outcome::Requeue, None));
        };
        let outcome = match &planned.search_failed {
            Some((why, delay)) => Outcome::Again { why: why.clone(), delay: *delay },
            None => self.carry_out(planned).await?,
        };
        Ok((outcome, Some(claim)))
    }

    async fn carry_out(&self, planned: &mut Planned) -> Result<Outcome, Halt> {
        let target = Target {
            context: self.context,
            lane: self.lane,
            contact: &planned.contact,
            address: planned.address.as_ref(),
            link: planned.link.as_ref(),
            decided: planned.decided.as_ref(),
            found: &planned.found,
            found_in_keap: &planned.found_in_keap,
            looks_at_intercom: planned.looks_at_intercom,
            writes: planned.writes(),
            to_keap: Mutex::default(),
            intent: planned.intent,
            borrows: AtomicBool::new(false),
            now: Utc::now(),
        };
        let id = planned.contact.id.get();
        self.context.intercom.remote().unknown_writes().forget(id);
        self.context.keap.remote().unknown_writes().forget(id);
        let pauses = &self.context.board.pauses;
        let _through = planned.is_request().then(|| pauses.let_through(id));
        let outcome = carry_out(&target, planned.decision.clone()).await;
        let to_keap = target.to_keap.into_inner().unwrap_or_else(PoisonError::into_inner);
        let borrows = target.borrows.into_inner();
        let is_linked = matches!(outcome, Ok(Outcome::Synced { .. }));
        planned.keap_intent = to_keap;
        if let Ok(Outcome::Synced { both: Some(both), .. }) = &outcome
            && let Some(now) = &both.keap
        {
            planned.shows_now(now.clone(), &self.context.key);
        }
        if is_linked || !borrows {
            return outcome;
        }
        planned.is_unknown = true;
        Ok(match outcome? {
            Outcome::Held(_) => Outcome::again(
                "an Intercom contact that was unarchived to be looked at is not archived again yet",
            ),
            outcome => outcome,
        })
    }

    /// A skip that changes a row needs a claim too: it must not undo what the other lane has done
    /// since the page was read.
    fn skip(&self, planned: &Planned, reason: SkipReason) -> (Outcome, Option<Claim>) {
        let has_row = planned.waiting.is_some() || planned.hold.is_some();
        let changes_a_row = match reason {
            SkipReason::NoEmail { logged } | SkipReason::ErasedAddress { logged } => {
                !logged || has_row
            }
            SkipReason::Unchanged => has_row || planned.settles.is_some(),
            SkipReason::OutOfScope | SkipReason::Erased => has_row,
            // Its hold stays, for when the decision is taken back.
            SkipReason::Ignored => planned.waiting.is_some(),
            SkipReason::StillHeld
            | SkipReason::RetryLater
            | SkipReason::NotInKeap
            | SkipReason::PlanWaits
            | SkipReason::GoneInIntercom => false,
        };
        let skipped = Outcome::Skipped { reason, forget: false };
        if !changes_a_row {
            return (skipped, None);
        }
        match self.open.claim(planned.contact.id, None) {
            Some(claim) => (skipped, Some(claim)),
            None => (Outcome::Requeue, None),
        }
    }

    /// Claims the contact, and its e-mail where it has no link: only such contacts can be doubled.
    fn claim(&self, planned: &Planned) -> Option<Claim> {
        let is_update = matches!(planned.decision, Decision::Update(_) | Decision::Relate(_));
        let email = planned.email_digest.filter(|_| !is_update);
        let claim = self.open.claim(planned.contact.id, email)?;
        match planned.decision {
            Decision::Transfer(_, new_owner) => Some(claim.and(self.open.claim(new_owner, None)?)),
            _ => Some(claim),
        }
    }
}

/// Adds the outcomes of contacts that were requested or listed, and that Keap did not show.
async fn add_unseen(
    planner: &Planner<'_>,
    recording: &mut Recording,
    unreadable: &[(KeapId, String)],
    missing: &[KeapId],
) -> Result<(), Halt> {
    let of_unreadable = unreadable.iter().map(|(id, _)| *id);
    let ids: Vec<KeapId> = of_unreadable.chain(missing.iter().copied()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut known = planner.known(&ids).await?;
    // A row about a contact that is erased would name it again.
    let erased = std::mem::take(&mut known.erased);
    let mut add = |id: KeapId, outcome: &dyn Fn(&Planned) -> Outcome| {
        let planned = Planned::unseen(id, &mut known, &planner.context.key);
        let outcome = outcome(&planned);
        recording.add(&planned, outcome, None, Utc::now());
    };
    let skipped = |reason| Outcome::Skipped { reason, forget: false };
    for id in ids.iter().filter(|id| erased.contains(id)) {
        add(*id, &|_| skipped(SkipReason::Erased));
    }
    for (id, why) in unreadable.iter().filter(|(id, _)| !erased.contains(id)) {
        add(*id, &|planned| unreadable_outcome(planner, planned, why));
    }
    for id in missing.iter().filter(|id| !erased.contains(id)) {
        add(*id, &|_| skipped(SkipReason::NotInKeap));
    }
    Ok(())
}

/// An unreadable contact does not show whether it has changed. So a walk that meets it again uses
/// up no attempt.
fn unreadable_outcome(planner: &Planner<'_>, planned: &Planned, why: &str) -> Outcome {
    let skipped = |reason| Outcome::Skipped { reason, forget: false };
    if planner.feed != Feed::Due && planned.is_held() {
        return skipped(SkipReason::StillHeld);
    }
    match &planned.waiting {
        Some(waiting) if planner.retry_waits(waiting) => skipped(SkipReason::RetryLater),
        _ => Outcome::again(why),
    }
}

/// Logs one line for a pass. A pass in which nothing happened is logged at debug level.
fn report(feed: Feed, run_id: Option<Uuid>, counts: &Counts, took: Duration) {
    let run = run_id.map(|run| run.to_string());
    metrics::histogram!("keap_intercom_sync_pass_seconds", "feed" => feed.as_str()).record(took);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if counts.seen == counts.unchanged {
        tracing::debug!(
            feed = feed.as_str(),
            run.id = run,
            seen = counts.seen,
            unchanged = counts.unchanged,
            keap_calls = counts.keap_calls,
            intercom_calls = counts.intercom_calls,
            duration_ms,
            "A pass found nothing to write."
        );
    } else {
        tracing::info!(
            feed = feed.as_str(),
            run.id = run,
            seen = counts.seen,
            created = counts.created,
            linked = counts.linked,
            updated = counts.updated,
            restored = counts.restored,
            unchanged = counts.unchanged,
            skipped = counts.skipped,
            held = counts.held,
            failed = counts.failed,
            archived = counts.archived,
            unlinked = counts.unlinked,
            keap_calls = counts.keap_calls,
            intercom_calls = counts.intercom_calls,
            duration_ms,
            "A pass is recorded."
        );
    }
}
