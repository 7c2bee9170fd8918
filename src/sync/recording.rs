//! Recording: turns each outcome into the rows that are stored of it, and gathers them into groups.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::claims::Claim;
use super::decide::{Decision, Hold};
use super::fate::fate;
use super::plan::Planned;
use super::result::{Both, Outcome};
use super::tallying;
use crate::config;
use crate::contact::{
    Bases, Digest, FieldName, IntercomId, KeapId, Link, LinkState, Reading, Writes,
};
use crate::feed::{Counts, Cursor, DueReason, Feed};
use crate::outcome::{Action, HoldReason, Reason, SkipReason};
use crate::store::{
    FormerLink, Group, HoldRow, LinkRow, LogRow, PausedRow, PlanPart, Recorded, Restamp, RetryRow,
};

/// How failed attempts are spread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retries {
    max_attempts: i32,
    base: Duration,
    cap: Duration,
    /// After a write without an answer, the contact is read once more.
    recheck: Duration,
}

impl Retries {
    /// The retries that the settings ask for.
    pub(super) fn of(sync: &config::Sync) -> Self {
        let max_attempts = i32::try_from(sync.max_attempts).unwrap_or(i32::MAX);
        Self { max_attempts, base: sync.retry_base, cap: sync.retry_cap, recheck: sync.recheck }
    }

    /// The time until the next attempt. The step is the base after the first failed attempt and
    /// doubles with each further one. The time is anything between nothing and the step, so that
    /// many contacts do not come back together.
    fn delay(self, attempts: i32) -> Duration {
        let doublings = attempts.saturating_sub(1).clamp(0, 20);
        let step = self.base.saturating_mul(1 << doublings).min(self.cap);
        step.mul_f64(rand::random())
    }
}

/// Outcomes that are gathering, with the claims that end when they are recorded.
pub(super) struct Recording {
    pub outcomes: Vec<Recorded>,
    /// Intents of writes that never began.
    pub unsent: Vec<Uuid>,
    claims: Vec<Claim>,
    pub feed: Feed,
    run_id: Option<Uuid>,
    retries: Retries,
    /// The approved plan that they belong to.
    pub plan: Option<PlanPart>,
}

impl Recording {
    /// An empty recording of a page's outcomes.
    pub(super) fn new(feed: Feed, run_id: Option<Uuid>, retries: Retries) -> Self {
        let (outcomes, unsent, claims) = (Vec::new(), Vec::new(), Vec::new());
        Self { outcomes, unsent, claims, feed, run_id, retries, plan: None }
    }

    /// Whether there is nothing to record.
    pub(super) fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.unsent.is_empty()
    }

    /// Takes out what has gathered. Its claims end when the returned value is dropped.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self::new(self.feed, self.run_id, self.retries);
        std::mem::replace(self, Self { plan: self.plan.clone(), ..empty })
    }

    /// The group that the outcomes make, and the claims to end once it is recorded.
    pub(super) fn into_group(self, cost: Counts, cursor: Option<Cursor>) -> (Vec<Claim>, Group) {
        let group = Group {
            cost,
            run: self.run_id,
            ends_run: cursor.as_ref().is_some_and(Cursor::is_at_rest),
            cursor: cursor.map(|cursor| (self.feed, cursor)),
            unsent: self.unsent,
            plan: self.plan,
            recheck_after: self.retries.recheck,
            ..Group::of(self.outcomes)
        };
        (self.claims, group)
    }

    /// Takes a contact in whose side stopped. It is on a page that is taken again, unless Keap has
    /// lost it by then.
    pub(super) fn add_halted(&mut self, planned: &Planned) {
        let is_unknown = planned.is_unknown || planned.is_unknown_in_keap;
        if is_unknown || planned.keap_intent.is_some() {
            let requeued = Recorded { requeue: true, ..Recorded::new(planned.contact.id) };
            self.outcomes.push(requeued);
        } else {
            self.unsent.extend(planned.intent);
        }
    }

    /// Takes an outcome in.
    pub(super) fn add(
        &mut self,
        planned: &Planned,
        outcome: Outcome,
        claim: Option<Claim>,
        now: DateTime<Utc>,
    ) {
        self.claims.extend(claim);
        let transfer = transfer(planned, &outcome);
        let looked = has_looked(planned, &outcome);
        let is_requeued = matches!(outcome, Outcome::Requeue);
        let decision = fate(planned, &outcome);
        let mut tally = tallying::of_outcome(planned, self.feed, &outcome, now);
        let mut entry =
            Entry { recording: self, planned, recorded: Recorded::new(planned.contact.id) };
        entry.put(outcome, now);
        let mut recorded = entry.recorded;
        recorded.swept = self.feed == Feed::Sweep;
        recorded.decision = decision;
        tally.add(&tallying::of_log(&recorded));
        recorded.tally = tally;
        settle_intents(planned, looked, &mut recorded);
        // Nobody else looks at it again in time.
        let is_unknown = planned.is_unknown || planned.is_unknown_in_keap;
        recorded.requeue |= is_unknown && looked.is_some() && !is_requeued;
        self.outcomes.push(recorded);
        self.outcomes.extend(transfer);
    }
}

/// How a look at the contact ended, as far as its earlier writes are concerned. `None`: it has to
/// be looked at again. `Some(false)`: a person is needed first.
fn has_looked(planned: &Planned, outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Again { .. } | Outcome::Requeue | Outcome::Paced | Outcome::Paused { .. } => None,
        Outcome::Held(_) => Some(false),
        Outcome::Skipped { reason: SkipReason::Ignored, .. } => {
            Some(matches!(planned.decision, Decision::Look(_)))
        }
        Outcome::Skipped {
            reason:
                SkipReason::StillHeld
                | SkipReason::RetryLater
                | SkipReason::Erased
                | SkipReason::ErasedAddress { .. },
            ..
        } => None,
        Outcome::Synced { .. }
        | Outcome::Gone { .. }
        | Outcome::Adopted { .. }
        | Outcome::GoneInIntercom { .. }
        | Outcome::HeldWith { .. }
        | Outcome::Skipped { .. } => Some(true),
    }
}

/// The write of this page has a certain answer, so its intent is over. An earlier write may still
/// land after the first look, so its intent is kept until the second one.
fn settle_intents(planned: &Planned, looked: Option<bool>, recorded: &mut Recorded) {
    let is_done = looked == Some(true);
    // A side may spell a value anew. Until what it shows is recorded, only the intent says that it
    // is no person's edit.
    if !planned.is_unknown && (is_done || planned.keap_intent.is_none()) {
        recorded.intents.extend(planned.intent);
    }
    if !planned.is_unknown_in_keap && is_done {
        recorded.intents.extend(planned.keap_intent.as_ref().map(|intent| intent.id));
    }
    let Some(done) = looked else {
        return;
    };
    for intent in planned.found.iter().chain(&planned.found_in_keap) {
        // Keap has answered a create that has made a contact: nothing of it lands late.
        let list = match (done, intent.rechecked || intent.has_made) {
            (false, _) => &mut recorded.waiting_intents,
            (true, false) => &mut recorded.kept_intents,
            (true, true) => &mut recorded.intents,
        };
        list.push(intent.id);
    }
}

/// Gives the link of a merged contact to its new owner. The new owner is looked at again, because
/// its own fields are not written there yet.
fn transfer(planned: &Planned, outcome: &Outcome) -> Option<Recorded> {
    let Outcome::Gone { intercom, new_owner: Some(new_owner), .. } = outcome else {
        return None;
    };
    let link = Link {
        state: LinkState::Linked(intercom.clone()),
        fingerprint: planned.fingerprint,
        sighting: planned.sighting,
        // The new owner meets this Intercom contact for the first time.
        keap_base: Some(Bases::nothing()),
        keap_updated_at: None,
        replaced_at: None,
        intercom_base: None,
        intercom_updated_at: None,
        gone_in_intercom: false,
        is_out: false,
        writes: Writes::default(),
    };
    Some(Recorded {
        link: Some(LinkRow { id: *new_owner, link, email_digest: None }),
        requeue: true,
        ..Recorded::new(*new_owner)
    })
}

/// The stamp of an unchanged contact, if it has moved. The sweep compares whole seconds, because
/// Keap rounds stamps.
fn restamp(planned: &Planned) -> Option<Restamp> {
    let stamp = planned.contact.updated_at?;
    let former = planned.link.as_ref()?.keap_updated_at;
    let has_moved = former.is_none_or(|former| (stamp - former).abs() >= TimeDelta::seconds(1));
    has_moved.then_some(Restamp { id: planned.contact.id, former, stamp })
}

/// What is stored of a contact whose outcome Postgres refuses: a hold.
pub(super) fn refused(recorded: &Recorded, feed: Feed, run_id: Option<Uuid>) -> Recorded {
    let reason = HoldReason::Refused(
        "Postgres refuses to store this outcome; the log of the daemon says why".into(),
    );
    let log = LogRow {
        id: Uuid::new_v4(),
        keap: recorded.id,
        intercom: None,
        action: Action::Held,
        reason: Some(Reason::Hold(reason.clone())),
        to_keap: false,
        feed,
        run_id,
        request_id: None,
        conflicts: None,
    };
    let hold = HoldRow {
        id: recorded.id,
        reason,
        candidates: Vec::new(),
        attempts: 1,
        sighting: None,
        keap_updated_at: None,
        email_digest: None,
        ends_in: None,
        version: recorded
            .done
            .or_else(|| recorded.retry.as_ref().and_then(|retry| retry.version))
            .or_else(|| recorded.hold.as_ref().and_then(|hold| hold.version)),
        is_rechecked: false,
    };
    let held = Recorded {
        log: Some(log),
        hold: Some(hold),
        swept: recorded.swept,
        counts: Counts { seen: 1, held: 1, ..Counts::default() },
        ..Recorded::new(recorded.id)
    };
    Recorded { tally: tallying::of_log(&held), ..held }
}

/// Whether Intercom was written. A first write undoes nobody's, so it does not count.
fn writes_intercom(action: Action, both: Option<&Both>) -> bool {
    let is_first = matches!(action, Action::Created | Action::Linked);
    !is_first && both.is_none_or(|both| both.wrote_intercom)
}

/// One contact on its way into a group.
struct Entry<'a> {
    recording: &'a Recording,
    planned: &'a Planned,
    recorded: Recorded,
}

impl Entry<'_> {
    /// Fills in link, log row, due row, hold and counts.
    fn put(&mut self, outcome: Outcome, now: DateTime<Utc>) {
        self.recorded.counts.seen = 1;
        match outcome {
            Outcome::Synced {
                action,
                intercom,
                request_id,
                keap_base,
                incomplete,
                replaced,
                left_out,
                conflicts,
                fields: _,
                both,
            } => {
                let edited_on_both = i16::try_from(conflicts.len()).unwrap_or(i16::MAX);
                let reason = self.remark(&left_out, conflicts, both.as_deref());
                self.synced(action, &intercom, request_id, reason);
                self.log_conflicts(edited_on_both);
                if let Some(both) = both.as_deref() {
                    self.log_to_keap(both);
                }
                let writes = self.planned.writes().and(
                    now,
                    both.as_ref().is_some_and(|both| both.keap.is_some()),
                    writes_intercom(action, both.as_deref()),
                );
                let state = LinkState::Linked(intercom);
                self.link(state, Some(keap_base), replaced.then_some(now));
                self.remember(both);
                let has_email = !left_out.iter().any(|field| field.as_str() == FieldName::EMAIL);
                self.complete_link(writes, has_email, incomplete);
            }
            Outcome::Gone { action, intercom, new_owner } => {
                self.gone(action, intercom, new_owner);
            }
            Outcome::Adopted { intercom } => self.adopted(intercom),
            Outcome::GoneInIntercom { intercom, tagged } => {
                self.gone_in_intercom(intercom, tagged);
            }
            Outcome::Skipped { reason, forget } => self.skipped(reason, forget),
            Outcome::Requeue => self.comes_again(false),
            Outcome::Paced => self.comes_again(true),
            Outcome::Paused { why } => self.paused(why),
            Outcome::Again { why, delay } => self.again(why, delay),
            Outcome::Held(hold) => self.held(hold),
            Outcome::HeldWith { intercom, email, hold } => {
                self.held_with(intercom, email);
                self.held(hold);
            }
        }
    }

    /// `delay`: a remote failed, so the attempt does not count.
    fn again(&mut self, why: String, delay: Option<Duration>) {
        if let Some(delay) = delay {
            let attempts = self.attempts();
            return self.retry(why, attempts, delay);
        }
        let attempts = self.attempts() + 1;
        if attempts >= self.recording.retries.max_attempts {
            self.hold(Hold::new(HoldReason::LastTry(why), []), attempts);
        } else {
            self.retry(why, attempts, self.recording.retries.delay(attempts));
        }
    }

    fn synced(
        &mut self,
        action: Action,
        intercom: &IntercomId,
        request_id: Option<String>,
        reason: Option<Reason>,
    ) {
        self.count(action);
        if action != Action::Unchanged || self.is_answered() || reason.is_some() {
            self.log(action, Some(intercom.clone()), reason);
        }
        if let Some(log) = &mut self.recorded.log {
            log.request_id = request_id;
        }
        self.done();
    }

    /// It is looked at once more, and that look counts it.
    fn comes_again(&mut self, paced: bool) {
        self.recorded.counts.seen = 0;
        (self.recorded.paced, self.recorded.requeue) = (paced, !paced);
    }

    /// Counts the fields that were edited on both sides.
    fn log_conflicts(&mut self, fields: i16) {
        self.recorded.counts.conflicts = i64::from(fields > 0);
        if let Some(log) = &mut self.recorded.log {
            log.conflicts = (fields > 0).then_some(fields);
        }
    }

    /// Adds what only the writes have shown.
    fn complete_link(&mut self, writes: Writes, has_email: bool, incomplete: bool) {
        let Some(row) = &mut self.recorded.link else {
            return;
        };
        row.link.writes = writes;
        if !has_email {
            // Nobody has an address that Intercom refuses: it blocks no other contact.
            row.email_digest = None;
        }
        if incomplete {
            // The next look writes what is missing.
            row.link.fingerprint = Digest::UNKNOWN;
        }
    }

    /// Stores what Intercom shows.
    fn remember(&mut self, both: Option<Box<Both>>) {
        if let (Some(row), Some(both)) = (&mut self.recorded.link, both) {
            row.link.intercom_base = Some(both.intercom_base);
            row.link.intercom_updated_at = both.intercom_updated_at;
        }
    }

    /// Says in the log that Intercom's values were written to Keap: in a row of its own if Intercom
    /// was written, too.
    fn log_to_keap(&mut self, both: &Both) {
        if both.keap.is_none() {
            return;
        }
        let Some(log) = &mut self.recorded.log else {
            return;
        };
        if both.wrote_intercom {
            let row = LogRow {
                id: Uuid::new_v4(),
                to_keap: true,
                reason: None,
                conflicts: None,
                ..log.clone()
            };
            self.recorded.log_to_keap = Some(LogRow { action: Action::Updated, ..row });
        } else {
            log.to_keap = true;
        }
    }

    /// What the log says of the fields that were not written.
    fn remark(
        &self,
        left_out: &[FieldName],
        conflicts: Vec<FieldName>,
        both: Option<&Both>,
    ) -> Option<Reason> {
        let refused = both.map(|both| both.refused_in_keap.as_slice()).unwrap_or_default();
        let fields = &self.planned.contact.fields;
        let invalid = fields.iter().filter(|(_, reading)| **reading == Reading::Invalid);
        let invalid: Vec<FieldName> = invalid.map(|(name, _)| name.clone()).collect();
        match invalid.as_slice() {
            _ if !left_out.is_empty() => Some(Reason::FieldRefused(left_out.to_vec())),
            _ if !refused.is_empty() => Some(Reason::RefusedInKeap(refused.to_vec())),
            _ if !conflicts.is_empty() => Some(Reason::Conflict(conflicts)),
            [] => None,
            [email] if email.as_str() == FieldName::EMAIL => Some(Reason::InvalidEmail),
            _ => Some(Reason::FieldInvalid(invalid)),
        }
    }

    /// The link that the sweep finds. Its fingerprint is that of no contact, so it is written if
    /// the contact appears in Keap again.
    fn adopted(&mut self, intercom: IntercomId) {
        self.count(Action::Linked);
        self.log(Action::Linked, Some(intercom.clone()), None);
        self.link(LinkState::Linked(intercom), Some(Bases::nothing()), None);
        if let Some(row) = &mut self.recorded.link {
            row.link.intercom_base = None;
            row.link.fingerprint = Digest::UNKNOWN;
        }
        self.done();
    }

    fn gone(&mut self, action: Action, intercom: IntercomId, new_owner: Option<KeapId>) {
        self.count(action);
        self.recorded.forget = true;
        self.recorded.former =
            Some(FormerLink { keap: self.planned.contact.id, intercom: intercom.clone() });
        let gone = || {
            if self.planned.contact.in_scope {
                Reason::Deleted
            } else {
                Reason::Skip(SkipReason::OutOfScope)
            }
        };
        let reason = new_owner.map_or_else(gone, Reason::MergedInto);
        self.log(action, Some(intercom), Some(reason));
        self.done();
    }

    /// The link stays: the next change in Keap brings the contact back.
    fn gone_in_intercom(&mut self, intercom: IntercomId, tagged: bool) {
        self.count(Action::Skipped);
        self.recorded.gone_in_intercom = true;
        self.recorded.restamp = restamp(self.planned);
        let is_known = self.planned.link.as_ref().is_some_and(|link| link.gone_in_intercom);
        if !is_known || self.is_answered() {
            let reason = Reason::Skip(SkipReason::GoneInIntercom);
            self.log(Action::Skipped, Some(intercom), Some(reason));
        }
        if let Some(log) = &mut self.recorded.log {
            log.to_keap = tagged;
        }
        self.done();
    }

    fn skipped(&mut self, reason: SkipReason, forget: bool) {
        let logged = Some(Reason::Skip(reason));
        match reason {
            SkipReason::Unchanged => {
                self.count(Action::Unchanged);
                self.recorded.restamp = restamp(self.planned);
                self.settle();
                // A request is answered even where nothing had to be done. A mere re-read is only
                // counted.
                if self.is_answered() {
                    let intercom = self.planned.link.as_ref().and_then(Link::intercom).cloned();
                    self.log(Action::Unchanged, intercom, None);
                }
                self.done();
            }
            // It waits in a plan, and its due row, if it gets one, is not answered by that.
            SkipReason::PlanWaits => self.count(Action::Skipped),
            SkipReason::StillHeld => self.count(Action::Held),
            SkipReason::RetryLater => self.count(Action::Failed),
            SkipReason::NoEmail { logged: before } => {
                self.count(Action::Skipped);
                self.recorded.forget = forget;
                if !before || forget {
                    self.link(LinkState::Skipped, None, None);
                }
                if !before || self.is_requested() {
                    self.log(Action::Skipped, None, logged);
                }
                self.done();
            }
            SkipReason::OutOfScope => {
                self.count(Action::Skipped);
                self.recorded.restamp = restamp(self.planned);
                if self.is_requested() && !self.is_left_to_the_request() {
                    self.log(Action::Skipped, None, logged);
                }
                self.done();
            }
            SkipReason::Ignored => self.ignored(logged),
            // No row may name it.
            SkipReason::Erased => {
                self.count(Action::Skipped);
                self.done();
            }
            SkipReason::ErasedAddress { logged: before } => self.erased_address(before, logged),
            SkipReason::NotInKeap | SkipReason::GoneInIntercom => {
                self.count(Action::Skipped);
                self.recorded.former = self.made_and_gone();
                self.log(Action::Skipped, None, logged);
                self.done();
            }
        }
    }

    fn ignored(&mut self, logged: Option<Reason>) {
        self.count(Action::Skipped);
        if self.is_answered() {
            let intercom = self.planned.link.as_ref().and_then(Link::intercom).cloned();
            self.log(Action::Skipped, intercom, logged);
        }
        if !self.is_left_to_the_request() {
            // Its hold stays, for when the decision is taken back.
            self.recorded.done = self.version();
        }
    }

    /// `before`: the log shows it already.
    fn erased_address(&mut self, before: bool, logged: Option<Reason>) {
        self.count(Action::Skipped);
        if before {
            self.recorded.restamp = restamp(self.planned);
        } else {
            self.link(LinkState::Skipped, None, None);
        }
        if !before || self.is_requested() {
            self.log(Action::Skipped, None, logged);
        }
        self.done();
    }

    /// The contact was made for a user, and somebody has deleted it in Keap before it was linked.
    /// It is not made again.
    fn made_and_gone(&self) -> Option<FormerLink> {
        let made = self.planned.found_in_keap.iter().find(|intent| intent.has_made)?;
        Some(FormerLink { keap: self.planned.contact.id, intercom: made.intercom.clone()? })
    }

    /// Stores the link under the mapping of now, so that the contact is not compared field by field
    /// again.
    fn settle(&mut self) {
        let Planned { settles: Some(base), link: Some(link), .. } = self.planned else {
            return;
        };
        self.link(link.state.clone(), Some(base.clone()), None);
        self.recorded.restamp = None;
    }

    fn retry(&mut self, why: String, attempts: i32, delay: Duration) {
        self.count(Action::Failed);
        self.log(Action::Failed, None, Some(Reason::Failed(why.clone())));
        if !self.is_left_to_the_request() {
            self.recorded.retry = Some(RetryRow {
                id: self.planned.contact.id,
                delay,
                attempts,
                error: why,
                sighting: Some(self.planned.sighting),
                version: self.version(),
            });
        }
    }

    /// Who asked for it by name learns why nothing happens.
    fn paused(&mut self, why: String) {
        if self.planned.is_request() && self.is_answered() {
            self.count(Action::Failed);
            self.log(Action::Failed, None, Some(Reason::Failed(why.clone())));
        } else {
            self.comes_again(false);
            self.recorded.requeue = false;
        }
        if !self.is_left_to_the_request() {
            self.recorded.paused = Some(PausedRow {
                id: self.planned.contact.id,
                why,
                sighting: Some(self.planned.sighting),
                version: self.version(),
            });
        }
    }

    fn held(&mut self, hold: Hold) {
        let held_before = self.planned.hold.as_ref().map_or(0, |hold| hold.attempts);
        let attempts =
            self.planned.waiting.as_ref().map_or(held_before, |waiting| waiting.attempts);
        self.hold(hold, attempts + 1);
    }

    fn hold(&mut self, hold: Hold, attempts: i32) {
        let Hold { reason, candidates, is_archived, .. } = hold;
        self.count(Action::Held);
        if !self.is_held_as_before(&reason) {
            self.log(Action::Held, candidates.first().cloned(), Some(Reason::Hold(reason.clone())));
        }
        let ends_in = matches!(reason, HoldReason::PingPong { .. })
            .then(|| self.planned.writes().count_for(Utc::now()).to_std().unwrap_or_default());
        if !self.is_left_to_the_request() {
            self.recorded.hold = Some(HoldRow {
                id: self.planned.contact.id,
                is_rechecked: reason.ends_in_intercom() && !is_archived,
                reason,
                candidates,
                attempts,
                sighting: Some(self.planned.sighting),
                keap_updated_at: self.planned.contact.updated_at,
                email_digest: self.planned.email_digest,
                ends_in,
                version: self.version(),
            });
        }
    }

    /// The link of a contact whose Intercom contact has lost its e-mail only. Intercom shows a
    /// state that Keap never had, so the next look writes in every case.
    /// `email`: the address that the Intercom contact has. Others may wait for it.
    fn held_with(&mut self, intercom: IntercomId, email: Option<Digest>) {
        let known = self.planned.link.as_ref().filter(|link| link.intercom().is_some());
        let keap_base = known.map_or_else(|| Some(Bases::nothing()), |link| link.keap_base.clone());
        self.link(LinkState::Linked(intercom), keap_base, None);
        if let Some(row) = &mut self.recorded.link {
            // Nobody in Intercom has edited it.
            row.link.intercom_base = None;
            row.link.fingerprint = Digest::UNKNOWN;
            row.email_digest = email;
        }
    }

    /// Whether nobody asked for this look, and it ends as the one before. Such a look is not
    /// logged.
    fn is_held_as_before(&self, reason: &HoldReason) -> bool {
        let was_released =
            self.planned.waiting.as_ref().is_some_and(|waiting| waiting.reason == DueReason::Again);
        was_released && self.planned.hold.as_ref().is_some_and(|hold| hold.is_for(reason))
    }

    fn count(&mut self, action: Action) {
        self.recorded.counts.add(&Counts::of(action));
    }

    /// The failed attempts so far. The attempts of a former hold do not count.
    fn attempts(&self) -> i32 {
        self.planned.waiting.as_ref().map_or(0, |waiting| waiting.attempts)
    }

    fn version(&self) -> Option<i64> {
        self.planned.waiting.as_ref().map(|waiting| waiting.version)
    }

    fn is_requested(&self) -> bool {
        self.planned.waiting.as_ref().is_some_and(|waiting| waiting.reason.is_request())
    }

    /// Whether this look answers a request.
    fn is_answered(&self) -> bool {
        self.is_requested() && !self.is_left_to_the_request()
    }

    /// A walk may have read the contact before it was asked for: only the `due` feed answers a
    /// request.
    fn is_left_to_the_request(&self) -> bool {
        self.recording.feed != Feed::Due && self.is_requested()
    }

    fn link(
        &mut self,
        state: LinkState,
        keap_base: Option<Bases>,
        replaced_at: Option<DateTime<Utc>>,
    ) {
        let planned = self.planned;
        // Only under the same Intercom contact, and while both directions are on.
        let known = planned.link.as_ref().filter(|link| link.state == state);
        let link = Link {
            state,
            fingerprint: planned.fingerprint,
            sighting: planned.sighting,
            keap_base,
            keap_updated_at: planned.contact.updated_at,
            replaced_at,
            intercom_base: known.and_then(|link| link.intercom_base.clone()),
            intercom_updated_at: known.and_then(|link| link.intercom_updated_at),
            gone_in_intercom: false,
            is_out: !planned.contact.in_scope,
            writes: planned.writes(),
        };
        self.recorded.link =
            Some(LinkRow { id: planned.contact.id, link, email_digest: planned.email_digest });
    }

    fn log(&mut self, action: Action, intercom: Option<IntercomId>, reason: Option<Reason>) {
        self.recorded.log = Some(LogRow {
            id: Uuid::new_v4(),
            keap: self.planned.contact.id,
            intercom,
            action,
            reason,
            to_keap: false,
            feed: self.recording.feed,
            run_id: self.recording.run_id,
            request_id: None,
            conflicts: None,
        });
    }

    /// The contact is done: its due row and its hold are removed.
    fn done(&mut self) {
        if !self.is_left_to_the_request() {
            self.recorded.done = self.version();
            // The other lane may have held it since the page was planned.
            self.recorded.settled = self.planned.hold.is_some() || self.planned.waiting.is_some();
        }
    }
}
