//! Recording: gathers outcomes into groups and puts each into one short transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::claims::Claim;
use super::decide::{HoldReason, SkipReason};
use super::outcome::{Action, Outcome};
use super::plan::Planned;
use crate::contact::{EmailField, IntercomId, Link, LinkState};
use crate::store::{
    Counts, Cursor, DueAgain, DueReason, Feed, Group, LinkRow, LogRow, Recorded, SyncStatus,
};

/// How failed tries are spread.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    pub max_attempts: i32,
    pub base: Duration,
    pub cap: Duration,
}

impl Retries {
    /// Full jitter: anything between nothing and the step, so that many contacts do not come back together. The step is
    /// the base after the first failed attempt and doubles with each further one.
    fn delay(&self, attempts: i32) -> Duration {
        let doublings = attempts.saturating_sub(1).clamp(0, 20);
        let step = self.base.saturating_mul(1 << doublings).min(self.cap);
        step.mul_f64(rand::random())
    }
}

/// Outcomes that are gathering, with the claims that end when they are recorded.
pub struct Recording {
    pub outcomes: Vec<Recorded>,
    claims: Vec<Claim>,
    feed: Feed,
    pub run_id: Option<Uuid>,
    retries: Retries,
}

impl Recording {
    pub fn new(feed: Feed, run_id: Option<Uuid>, retries: Retries) -> Self {
        Self {
            outcomes: Vec::new(),
            claims: Vec::new(),
            feed,
            run_id,
            retries,
        }
    }

    /// Takes out what has gathered; its claims end when the returned value is dropped.
    pub fn take(&mut self) -> Self {
        let empty = Self::new(self.feed, self.run_id, self.retries);
        std::mem::replace(self, empty)
    }

    /// The group that the outcomes make, and the claims to let go of once it is recorded.
    pub fn into_group(
        self,
        cost: Counts,
        ends_run: bool,
        cursor: Option<(Feed, Cursor)>,
    ) -> (Vec<Claim>, Group) {
        let group = Group {
            cost,
            run: self.run_id,
            ends_run,
            cursor,
            ..Group::of(self.outcomes)
        };
        (self.claims, group)
    }

    /// Takes an outcome in.
    pub fn add(
        &mut self,
        planned: &Planned,
        outcome: Outcome,
        claim: Option<Claim>,
        now: DateTime<Utc>,
    ) {
        self.claims.extend(claim);
        let heir = self.inheritance(planned, &outcome);
        let mut entry = Entry {
            recording: self,
            planned,
            recorded: Recorded::nothing(planned.contact.id),
        };
        entry.put(outcome, now);
        let mut recorded = entry.recorded;
        recorded.swept = self.feed == Feed::Sweep;
        self.outcomes.push(recorded);
        self.outcomes.extend(heir);
    }

    /// The winner of a merge gets the loser's link, and is looked at: nothing of it is written there yet.
    fn inheritance(&self, planned: &Planned, outcome: &Outcome) -> Option<Recorded> {
        let Outcome::Gone {
            intercom,
            heir: Some(heir),
            ..
        } = outcome
        else {
            return None;
        };
        let link = Link {
            state: LinkState::Linked(intercom.clone()),
            fingerprint: planned.fingerprint,
            sighting: planned.sighting,
            keap_updated_at: None,
            replaced_at: None,
        };
        Some(Recorded {
            link: Some(LinkRow {
                id: *heir,
                link,
                email_digest: None,
            }),
            afresh: true,
            ..Recorded::nothing(*heir)
        })
    }
}

/// What is held of a contact whose outcome Postgres refuses to store.
pub fn refused(recorded: &Recorded, feed: Feed, run_id: Option<Uuid>) -> Recorded {
    let why = HoldReason::Refused(
        "Postgres refuses to store this outcome; the log of the daemon says why".into(),
    )
    .to_string();
    let log = LogRow {
        id: Uuid::new_v4(),
        keap_contact_id: recorded.id.get(),
        intercom_contact_id: None,
        status: SyncStatus::Failed,
        error_message: Some(why.clone()),
        action: "held".into(),
        feed: feed.as_str().to_owned(),
        run_id,
        request_id: None,
    };
    let again = DueAgain {
        id: recorded.id,
        reason: DueReason::Retry,
        delay: Duration::ZERO,
        attempts: 1,
        error: Some(why),
        held: true,
        candidates: Vec::new(),
        sighting: None,
        email_digest: None,
        version: recorded.done,
    };
    let counts = Counts {
        seen: 1,
        held: 1,
        ..Counts::default()
    };
    Recorded {
        log: Some(log),
        again: Some(again),
        swept: recorded.swept,
        counts,
        ..Recorded::nothing(recorded.id)
    }
}

/// One contact on its way into a group.
struct Entry<'a> {
    recording: &'a Recording,
    planned: &'a Planned,
    recorded: Recorded,
}

impl Entry<'_> {
    /// Link, log row, due row, counts.
    fn put(&mut self, outcome: Outcome, now: DateTime<Utc>) {
        let planned = self.planned;
        self.recorded.counts.seen = 1;
        match outcome {
            Outcome::Synced {
                action,
                intercom,
                request_id,
                replaced,
            } => {
                *self.counted(action) += 1;
                self.link(LinkState::Linked(intercom.clone()), replaced.then_some(now));
                let note = (planned.contact.email == EmailField::Invalid)
                    .then(|| "the e-mail in Keap is not a valid address: Intercom keeps its own, the other fields were written".to_owned());
                self.log(
                    SyncStatus::Synced,
                    action.as_str(),
                    Some(&intercom),
                    note,
                    request_id,
                );
                self.done();
            }
            Outcome::Gone {
                action,
                intercom,
                heir,
            } => {
                let gone = "Keap does not have this contact any more (404)";
                let why = heir.map_or_else(
                    || format!("deleted: {gone}; it was deleted, or merged into another"),
                    |heir| format!("merged: {gone}; its Intercom contact goes to Keap contact {heir}, which was held for it"),
                );
                *self.counted(action) += 1;
                self.recorded.forget = true;
                self.log(
                    SyncStatus::Synced,
                    action.as_str(),
                    Some(&intercom),
                    Some(why),
                    None,
                );
                self.done();
            }
            Outcome::Skipped {
                reason: SkipReason::Unchanged,
                ..
            } => {
                self.recorded.counts.unchanged += 1;
                // A request is answered even where there was nothing to do; a mere re-read is only counted.
                if self.is_requested() && !self.is_left_to_the_request() {
                    let intercom = planned.link.as_ref().and_then(|link| match &link.state {
                        LinkState::Linked(id) => Some(id.clone()),
                        LinkState::Skipped => None,
                    });
                    self.log(
                        SyncStatus::Synced,
                        "unchanged",
                        intercom.as_ref(),
                        None,
                        None,
                    );
                }
                self.done();
            }
            Outcome::Skipped {
                reason: SkipReason::StillHeld,
                ..
            } => self.recorded.counts.held += 1,
            Outcome::Skipped {
                reason: SkipReason::RetryLater,
                ..
            } => self.recorded.counts.failed += 1,
            Outcome::Skipped {
                reason: reason @ SkipReason::NoEmail { told },
                forget,
            } => {
                self.recorded.counts.skipped += 1;
                self.recorded.forget = forget;
                if !told || forget {
                    self.link(LinkState::Skipped, None);
                }
                if !told || self.is_requested() {
                    self.log(
                        SyncStatus::Skipped,
                        "skipped",
                        None,
                        Some(reason.to_string()),
                        None,
                    );
                }
                self.done();
            }
            Outcome::Skipped {
                reason: reason @ SkipReason::NotInKeap,
                ..
            } => {
                self.recorded.counts.skipped += 1;
                self.log(
                    SyncStatus::Skipped,
                    "skipped",
                    None,
                    Some(reason.to_string()),
                    None,
                );
                self.done();
            }
            Outcome::Afresh => {
                // Counted when it is looked at.
                self.recorded.counts.seen = 0;
                self.recorded.afresh = true;
            }
            Outcome::Again { why, put_off } => {
                let attempts = planned
                    .waiting
                    .as_ref()
                    .filter(|waiting| !waiting.held)
                    .map_or(0, |waiting| waiting.attempts)
                    + i32::from(put_off.is_none());
                if put_off.is_none() && attempts >= self.recording.retries.max_attempts {
                    self.hold(HoldReason::LastTry(why), Vec::new(), attempts);
                } else {
                    self.recorded.counts.failed += 1;
                    self.log(SyncStatus::Failed, "failed", None, Some(why.clone()), None);
                    let delay = put_off.unwrap_or(self.recording.retries.delay(attempts));
                    self.due(delay, attempts, why, None);
                }
            }
            Outcome::Held(hold) => {
                let attempts = planned
                    .waiting
                    .as_ref()
                    .map_or(0, |waiting| waiting.attempts)
                    + 1;
                self.hold(hold.reason, hold.candidates, attempts);
            }
        }
    }

    fn counted(&mut self, action: Action) -> &mut i64 {
        match action {
            Action::Created => &mut self.recorded.counts.created,
            Action::Linked => &mut self.recorded.counts.linked,
            Action::Updated => &mut self.recorded.counts.updated,
            Action::Archived => &mut self.recorded.counts.archived,
            Action::Unlinked => &mut self.recorded.counts.unlinked,
        }
    }

    fn is_requested(&self) -> bool {
        self.planned
            .waiting
            .as_ref()
            .is_some_and(|waiting| matches!(waiting.reason, DueReason::Manual | DueReason::Webhook))
    }

    /// A walk may have read the contact before it was asked for: only the `due` feed answers a request.
    fn is_left_to_the_request(&self) -> bool {
        self.recording.feed != Feed::Due && self.is_requested()
    }

    fn hold(&mut self, reason: HoldReason, candidates: Vec<IntercomId>, attempts: i32) {
        self.recorded.counts.held += 1;
        let why = reason.to_string();
        self.log(
            SyncStatus::Failed,
            "held",
            candidates.first(),
            Some(why.clone()),
            None,
        );
        self.due(Duration::ZERO, attempts, why, Some(candidates));
    }

    fn link(&mut self, state: LinkState, replaced_at: Option<DateTime<Utc>>) {
        let planned = self.planned;
        let link = Link {
            state,
            fingerprint: planned.fingerprint,
            sighting: planned.sighting,
            keap_updated_at: planned.contact.updated_at,
            replaced_at,
        };
        self.recorded.link = Some(LinkRow {
            id: planned.contact.id,
            link,
            email_digest: planned.email_digest,
        });
    }

    fn log(
        &mut self,
        status: SyncStatus,
        action: &str,
        intercom: Option<&IntercomId>,
        why: Option<String>,
        request_id: Option<String>,
    ) {
        self.recorded.log = Some(LogRow {
            id: Uuid::new_v4(),
            keap_contact_id: self.planned.contact.id.get(),
            intercom_contact_id: intercom.map(ToString::to_string),
            status,
            error_message: why,
            action: action.to_owned(),
            feed: self.recording.feed.as_str().to_owned(),
            run_id: self.recording.run_id,
            request_id,
        });
    }

    fn done(&mut self) {
        if let Some(waiting) = self
            .planned
            .waiting
            .as_ref()
            .filter(|_| !self.is_left_to_the_request())
        {
            self.recorded.done = Some(waiting.version);
        }
    }

    /// `held_for`: the candidates of a contact that is held.
    fn due(
        &mut self,
        delay: Duration,
        attempts: i32,
        error: String,
        held_for: Option<Vec<IntercomId>>,
    ) {
        if self.is_left_to_the_request() {
            return;
        }
        self.recorded.again = Some(DueAgain {
            id: self.planned.contact.id,
            reason: DueReason::Retry,
            delay,
            attempts,
            error: Some(error),
            held: held_for.is_some(),
            candidates: held_for.unwrap_or_default(),
            sighting: Some(self.planned.sighting),
            email_digest: self.planned.email_digest,
            version: self.planned.waiting.as_ref().map(|waiting| waiting.version),
        });
    }
}
