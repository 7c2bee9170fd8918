//! Recording: gathers outcomes into groups and puts each into one short transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::claims::Claim;
use super::decide::{HoldReason, SkipReason};
use super::outcome::{Action, Outcome};
use super::plan::Planned;
use crate::contact::{EmailField, IntercomId, Link, LinkState};
use crate::store::{Counts, DueAgain, DueReason, Feed, Group, LinkRow, LogRow, SyncStatus};

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

/// A group that is being filled, with the claims that end when it is recorded.
pub struct Recording {
    pub group: Group,
    pub counts: Counts,
    claims: Vec<Claim>,
    pub feed: Feed,
    pub run_id: Option<Uuid>,
    retries: Retries,
}

impl Recording {
    pub fn new(feed: Feed, run_id: Option<Uuid>, retries: Retries) -> Self {
        Self {
            group: Group::default(),
            counts: Counts::default(),
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

    /// How many outcomes are waiting to be recorded.
    pub fn len(&self) -> usize {
        usize::try_from(self.counts.seen).unwrap_or(usize::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.counts.seen == 0
    }

    /// Takes an outcome in: link, log row, due row, counts.
    pub fn add(
        &mut self,
        planned: &Planned,
        outcome: Outcome,
        claim: Option<Claim>,
        now: DateTime<Utc>,
    ) {
        self.counts.seen += 1;
        self.claims.extend(claim);
        let requested = planned.waiting.as_ref().is_some_and(|waiting| {
            matches!(waiting.reason, DueReason::Manual | DueReason::Webhook)
        });
        match outcome {
            Outcome::Synced {
                action,
                intercom,
                request_id,
                replaced,
            } => {
                *self.counted(action) += 1;
                self.link(
                    planned,
                    LinkState::Linked(intercom.clone()),
                    replaced.then_some(now),
                );
                let note = (planned.contact.email == EmailField::Invalid)
                    .then(|| "the e-mail in Keap is not a valid address: Intercom keeps its own, the other fields were written".to_owned());
                self.log(
                    planned,
                    SyncStatus::Synced,
                    action.as_str(),
                    Some(&intercom),
                    note,
                    request_id,
                );
                self.done(planned);
            }
            Outcome::Skipped {
                reason: SkipReason::Unchanged,
                ..
            } => {
                self.counts.unchanged += 1;
                // A request is answered even where there was nothing to do; a mere re-read is only counted.
                if requested {
                    let intercom = planned.link.as_ref().and_then(|link| match &link.state {
                        LinkState::Linked(id) => Some(id.clone()),
                        LinkState::Skipped => None,
                    });
                    self.log(
                        planned,
                        SyncStatus::Synced,
                        "unchanged",
                        intercom.as_ref(),
                        None,
                        None,
                    );
                }
                self.done(planned);
            }
            Outcome::Skipped {
                reason: SkipReason::StillHeld,
                ..
            } => self.counts.held += 1,
            Outcome::Skipped {
                reason: SkipReason::RetryLater,
                ..
            } => self.counts.failed += 1,
            Outcome::Skipped {
                reason: reason @ SkipReason::NoEmail { told },
                forget,
            } => {
                self.counts.skipped += 1;
                if forget {
                    self.group.forgotten.push(planned.contact.id);
                }
                if !told || forget {
                    self.link(planned, LinkState::Skipped, None);
                }
                if !told || requested {
                    self.log(
                        planned,
                        SyncStatus::Skipped,
                        "skipped",
                        None,
                        Some(reason.to_string()),
                        None,
                    );
                }
                self.done(planned);
            }
            Outcome::Skipped {
                reason: reason @ SkipReason::NotInKeap,
                ..
            } => {
                self.counts.skipped += 1;
                self.log(
                    planned,
                    SyncStatus::Skipped,
                    "skipped",
                    None,
                    Some(reason.to_string()),
                    None,
                );
                self.done(planned);
            }
            Outcome::Afresh => {
                // Counted when it is looked at.
                self.counts.seen -= 1;
                self.group.afresh.push(planned.contact.id);
            }
            Outcome::Again { why } => {
                let attempts = planned
                    .waiting
                    .as_ref()
                    .filter(|waiting| !waiting.held)
                    .map_or(0, |waiting| waiting.attempts)
                    + 1;
                if attempts >= self.retries.max_attempts {
                    self.hold(planned, HoldReason::LastTry(why), Vec::new(), attempts);
                } else {
                    self.counts.failed += 1;
                    self.log(
                        planned,
                        SyncStatus::Failed,
                        "failed",
                        None,
                        Some(why.clone()),
                        None,
                    );
                    self.due(planned, self.retries.delay(attempts), attempts, why, None);
                }
            }
            Outcome::Held(hold) => {
                let attempts = planned
                    .waiting
                    .as_ref()
                    .map_or(0, |waiting| waiting.attempts)
                    + 1;
                self.hold(planned, hold.reason, hold.candidates, attempts);
            }
        }
    }

    fn counted(&mut self, action: Action) -> &mut i64 {
        match action {
            Action::Created => &mut self.counts.created,
            Action::Linked => &mut self.counts.linked,
            Action::Updated => &mut self.counts.updated,
        }
    }

    fn hold(
        &mut self,
        planned: &Planned,
        reason: HoldReason,
        candidates: Vec<IntercomId>,
        attempts: i32,
    ) {
        self.counts.held += 1;
        let why = reason.to_string();
        self.log(
            planned,
            SyncStatus::Failed,
            "held",
            candidates.first(),
            Some(why.clone()),
            None,
        );
        self.due(planned, Duration::ZERO, attempts, why, Some(candidates));
    }

    fn link(&mut self, planned: &Planned, state: LinkState, replaced_at: Option<DateTime<Utc>>) {
        let link = Link {
            state,
            fingerprint: planned.fingerprint,
            sighting: planned.sighting,
            keap_updated_at: planned.contact.updated_at,
            replaced_at,
        };
        self.group.links.push(LinkRow {
            id: planned.contact.id,
            link,
            email_digest: planned.email_digest,
        });
    }

    fn log(
        &mut self,
        planned: &Planned,
        status: SyncStatus,
        action: &str,
        intercom: Option<&IntercomId>,
        why: Option<String>,
        request_id: Option<String>,
    ) {
        self.group.logs.push(LogRow {
            id: Uuid::new_v4(),
            keap_contact_id: planned.contact.id.get(),
            intercom_contact_id: intercom.map(ToString::to_string),
            status,
            error_message: why,
            action: action.to_owned(),
            feed: self.feed.as_str().to_owned(),
            run_id: self.run_id,
            request_id,
        });
    }

    fn done(&mut self, planned: &Planned) {
        if let Some(waiting) = &planned.waiting {
            self.group.done.push((planned.contact.id, waiting.version));
        }
    }

    /// `held_for`: the candidates of a contact that is held.
    fn due(
        &mut self,
        planned: &Planned,
        delay: Duration,
        attempts: i32,
        error: String,
        held_for: Option<Vec<IntercomId>>,
    ) {
        self.group.again.push(DueAgain {
            id: planned.contact.id,
            reason: DueReason::Retry,
            delay,
            attempts,
            error: Some(error),
            held: held_for.is_some(),
            candidates: held_for.unwrap_or_default(),
            sighting: Some(planned.sighting),
            version: planned.waiting.as_ref().map(|waiting| waiting.version),
        });
    }
}
