//! Recording: a group of outcomes in one short transaction that fails unless this process holds the
//! lease.

use std::time::Duration;

use uuid::Uuid;

use super::due::RetryRow;
use super::former_link::FormerLink;
use super::hold::HoldRow;
use super::link::{LinkRow, Restamp};
use super::log::LogRow;
use super::pause::PausedRow;
use super::{
    Fence, PlanPart, Result, Store, Tally, cursor, decision, due, former_link, gone, hold, intent,
    link, log, pause, plan, plan_work, run, sweep, tally,
};
use crate::contact::KeapId;
use crate::feed::{Counts, Cursor, Feed};
use crate::outcome::{Fate, PlanKind};

/// The rows of one contact's outcome.
#[derive(Debug)]
pub struct Recorded {
    pub id: KeapId,
    /// Its link is removed.
    pub forget: bool,
    /// The link that is removed because Keap no longer has the contact.
    pub former: Option<FormerLink>,
    pub link: Option<LinkRow>,
    /// Intercom does not show its contact.
    pub gone_in_intercom: bool,
    /// It has moved its stamp, and nothing else.
    pub restamp: Option<Restamp>,
    pub log: Option<LogRow>,
    /// What was written to Keap beside that.
    pub log_to_keap: Option<LogRow>,
    /// Its due row is done, in the version that was looked at.
    pub done: Option<i64>,
    /// Its hold is over.
    pub settled: bool,
    /// What came of the decision of a person.
    pub decision: Option<(i64, Fate)>,
    pub retry: Option<RetryRow>,
    /// It waits for the end of a pause.
    pub paused: Option<PausedRow>,
    pub hold: Option<HoldRow>,
    /// The other lane had it at the same time, so it is looked at once more.
    pub requeue: bool,
    /// Its write to Keap waits for its turn.
    pub paced: bool,
    /// Intents that are over.
    pub intents: Vec<Uuid>,
    /// Intents whose contact has been read once, and is read again later.
    pub kept_intents: Vec<Uuid>,
    /// Intents whose contact waits for a person first.
    pub waiting_intents: Vec<Uuid>,
    /// It is a candidate of the sweep that has an outcome now.
    pub swept: bool,
    pub counts: Counts,
    /// What the charts count of it.
    pub tally: Tally,
}

impl Recorded {
    /// An outcome without any row yet.
    pub fn new(id: KeapId) -> Self {
        Self {
            id,
            forget: false,
            former: None,
            link: None,
            gone_in_intercom: false,
            restamp: None,
            log: None,
            log_to_keap: None,
            done: None,
            settled: false,
            decision: None,
            retry: None,
            paused: None,
            hold: None,
            requeue: false,
            paced: false,
            intents: Vec::new(),
            kept_intents: Vec::new(),
            waiting_intents: Vec::new(),
            swept: false,
            counts: Counts::default(),
            tally: Tally::default(),
        }
    }
}

/// Outcomes that become visible together.
#[derive(Debug)]
pub struct Group {
    /// Makes a repeated commit harmless.
    pub id: Uuid,
    pub outcomes: Vec<Recorded>,
    /// What reading and writing cost beside the outcomes.
    pub cost: Counts,
    /// The run that all of it is counted in.
    pub run: Option<Uuid>,
    /// This group is the run's last.
    pub ends_run: bool,
    pub cursor: Option<(Feed, Cursor)>,
    /// Intents of writes that never began.
    pub unsent: Vec<Uuid>,
    /// The approved plan that the outcomes belong to.
    pub plan: Option<PlanPart>,
    /// When a contact with a kept intent is read again.
    pub recheck_after: Duration,
    /// What the charts count beside the outcomes.
    pub tally: Tally,
}

impl Group {
    /// A group of these outcomes alone.
    pub fn of(outcomes: Vec<Recorded>) -> Self {
        Self {
            id: Uuid::new_v4(),
            outcomes,
            cost: Counts::default(),
            run: None,
            ends_run: false,
            cursor: None,
            unsent: Vec::new(),
            plan: None,
            recheck_after: Duration::ZERO,
            tally: Tally::default(),
        }
    }

    /// The counts of the outcomes, and their cost.
    pub fn counts(&self) -> Counts {
        let mut counts = self.cost;
        self.outcomes.iter().for_each(|outcome| counts.add(&outcome.counts));
        counts
    }

    fn ids(&self, wanted: fn(&Recorded) -> bool) -> Vec<KeapId> {
        self.outcomes.iter().filter(|outcome| wanted(outcome)).map(|outcome| outcome.id).collect()
    }

    /// Of all outcomes together.
    fn intents(&self, wanted: fn(&Recorded) -> &[Uuid]) -> Vec<Uuid> {
        self.outcomes.iter().flat_map(wanted).copied().collect()
    }

    fn rows<'a, T>(&'a self, row: impl Fn(&'a Recorded) -> Option<T>) -> Vec<T> {
        self.outcomes.iter().filter_map(row).collect()
    }
}

impl Store {
    /// Records a group. It may be repeated with the same group when the answer was lost.
    pub async fn record(&self, fence: &Fence, group: &Group) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            // It comes before the due rows, as where somebody decides: then neither waits in a
            // circle.
            decision::settle(tx, &group.rows(|outcome| outcome.decision)).await?;
            link::remove(tx, &group.ids(|outcome| outcome.forget)).await?;
            former_link::put(tx, group.rows(|outcome| outcome.former.as_ref())).await?;
            link::put(tx, group.rows(|outcome| outcome.link.as_ref())).await?;
            gone::note(tx, &group.ids(|outcome| outcome.gone_in_intercom)).await?;
            link::restamp(tx, group.rows(|outcome| outcome.restamp.as_ref())).await?;
            let logged = log::put(tx, group.rows(|outcome| outcome.log.as_ref())).await?;
            log::put(tx, group.rows(|outcome| outcome.log_to_keap.as_ref())).await?;
            if group.run.is_none() {
                let restored = group.ids(|outcome| outcome.counts.restored > 0);
                let conflicts = group.ids(|outcome| outcome.counts.conflicts > 0);
                run::count_found(tx, &restored, &conflicts).await?;
            }
            hold::settle(tx, &group.ids(|outcome| outcome.settled)).await?;
            due::remove(tx, group.rows(|outcome| Some((outcome.id, outcome.done?)))).await?;
            let mut retries = group.rows(|outcome| outcome.retry.clone());
            let holds = group.rows(|outcome| outcome.hold.as_ref());
            retries.extend(hold::put(tx, holds).await?);
            due::put_retries(tx, retries).await?;
            pause::put_waiting(tx, group.rows(|outcome| outcome.paused.as_ref())).await?;
            due::put_again(tx, &group.ids(|outcome| outcome.requeue)).await?;
            due::put_paced(tx, &group.ids(|outcome| outcome.paced)).await?;
            intent::remove(tx, &group.intents(|outcome| &outcome.intents)).await?;
            intent::remove(tx, &group.unsent).await?;
            let kept = group.intents(|outcome| &outcome.kept_intents);
            intent::keep(tx, &kept, Some(group.recheck_after)).await?;
            let waiting = group.intents(|outcome| &outcome.waiting_intents);
            intent::keep(tx, &waiting, None).await?;
            sweep::remove(tx, &group.ids(|outcome| outcome.swept)).await?;
            if let Some(part) = &group.plan {
                plan_work::settle(tx, part, &group.ids(|_| true)).await?;
            }
            if let Some(id) = &group.run {
                run::count(tx, *id, group.id, &group.counts(), group.ends_run).await?;
                if group.cursor.is_none() {
                    cursor::touch(tx, *id).await?;
                }
            }
            if let Some((feed, cursor)) = &group.cursor {
                cursor::put(tx, *feed, cursor).await?;
                if *feed == Feed::Sweep && cursor.is_at_rest() {
                    sweep::remove_all(tx).await?;
                    plan::outdate(tx, PlanKind::Sweep).await?;
                }
            }
            let is_repeated =
                logged == 0 && group.outcomes.iter().any(|outcome| outcome.log.is_some());
            if is_repeated {
                return Ok(());
            }
            let of_outcomes = group.outcomes.iter().map(|outcome| &outcome.tally);
            tally::put(tx, of_outcomes.chain([&group.tally])).await
        })
    }
}
