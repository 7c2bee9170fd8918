//! The `sweep` feed: finds contacts that Keap no longer has, and changes that every poll has
//! missed. Deletions and merges leave no trace in Keap's lists, so all ids are walked and compared
//! with the links. Their stamps come along and are compared too, which costs no call.
//!
//! A linked contact that no page lists is a candidate. Only Keap's 404 for it alone says that it is
//! gone. Nothing is done before the walk is whole and every candidate is looked at, because only
//! then does the brake know how many they are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::brake::Brake;
use super::by_id;
use super::walk::{Walker, sorted};
use crate::config::Deleted;
use crate::contact::{Contact, KeapId};
use crate::feed::{Counts, Cursor, Feed, Lane, Phase, Walk};
use crate::keap::Show;
use crate::outcome::RunFailure;
use crate::store::{NewPlan, NewRun, StoreError, SweepStanding, SweptPage};
use crate::sync::context::{Calls, Context, Opened};
use crate::sync::page::{Page, Rows};
use crate::sync::plan::Planner;
use crate::sync::plans::brakes;
use crate::sync::result::Halt;

/// Candidates read singly per step, between two looks at the other feeds.
pub(crate) const SWEEP_SINGLE_READS: usize = 20;
/// If more than this exist although no list shows them, the lists are broken, not behind.
pub(crate) const MAX_UNLISTED: usize = 20;

/// Why the sweep gives up when Keap's lists cannot be trusted. It is not the brake: no contact was
/// found gone, so there is nothing to force.
pub(crate) fn unlisted(shown: usize, read: usize, candidates: i64, linked: i64) -> RunFailure {
    RunFailure::Other(format!(
        "Keap's lists leave out contacts that exist: {candidates} of {linked} linked contacts are in no list, and {shown} of the {read} of them that \
         were asked for one by one are there. So the lists show nothing, and nothing was done to anybody; the next sweep tries again. \
         If that fails as well, see whether the owner of KEAP_API_KEY may list all contacts in Keap, or report it to Keap"
    ))
}

/// The result of a sweep's step.
pub(crate) enum Swept {
    /// No sweep is under way.
    Idle,
    /// The step is recorded, and another one follows.
    Step,
    /// Contacts that are gone, to be carried through a pass.
    Page(Box<Page>),
}

/// A step of the sweep under way.
struct Step {
    cursor: Cursor,
    walk: Walk,
    run_id: Uuid,
    opened: Opened,
}

/// The results of a sweep's single reads. Losing them costs some reads.
#[derive(Default)]
struct SingleReads {
    run_id: Option<Uuid>,
    read: usize,
    /// Reads that showed their contact.
    shown: usize,
}

impl SingleReads {
    fn add(&mut self, run_id: Uuid, read: usize, shown: usize) {
        if self.run_id != Some(run_id) {
            *self = Self { run_id: Some(run_id), ..Self::default() };
        }
        self.read += read;
        self.shown += shown;
    }
}

/// The `sweep` feed.
pub(crate) struct SweepFeed {
    context: Arc<Context>,
    walker: Walker,
    single_reads: SingleReads,
}

impl SweepFeed {
    /// The feed of a process.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let walker =
            Walker::new(Arc::clone(&context.keap), context.policy.keap.page_size, Show::Stamp);
        Self { context, walker, single_reads: SingleReads::default() }
    }

    /// Begins a requested sweep. The caller has seen that none is under way.
    pub(crate) async fn begin(&self, run: &NewRun) -> Result<(), Halt> {
        let walk = Walk { run_id: Some(run.id), ..Walk::default() };
        let place = Cursor { walk: Some(walk), ..Cursor::at(DateTime::UNIX_EPOCH) };
        self.context.store.begin_sweep(&self.context.fence()?, run, &place).await?;
        Ok(())
    }

    /// The next step of the sweep under way: a page of ids, some candidates to confirm, or contacts
    /// that are gone.
    pub(crate) async fn next(&mut self) -> Result<Swept, Halt> {
        let opened = self.context.open(Lane::Bulk);
        let Some(cursor) = self.context.store.cursor(Feed::Sweep).await? else {
            return Ok(Swept::Idle);
        };
        let Some(walk) = cursor.walk.clone() else {
            return Ok(Swept::Idle);
        };
        let Some(run_id) = walk.run_id else {
            return Err(StoreError::BadRow("sync_cursor").into());
        };
        let step = Step { cursor, walk, run_id, opened };
        match step.walk.phase {
            Phase::Reading => self.read(step).await,
            Phase::Judging => self.judge(step).await,
        }
    }

    /// Reads a page of ids and compares it with the links of its range. The range behind the last
    /// page is open.
    async fn read(&mut self, step: Step) -> Result<Swept, Halt> {
        let Step { cursor, walk, run_id, opened } = step;
        let found = self.walker.step(Lane::Bulk, &walk).await?;
        let rows = sorted(found.rows)?;
        let listed = ids_of(&rows);
        let Some(from) = beginning(&walk, &listed) else {
            let why = "Keap does not list its contacts in the order of their ids, so what it does not list shows nothing";
            return self.give_up(run_id, opened.calls, &RunFailure::Other(why.into())).await;
        };
        let (up_to, next) = after_page(walk, found.next, &listed);
        let (settled, stamped) = self.passed_by_polls(&rows).await?;
        let page = SweptPage {
            run_id,
            range: (from, up_to.map_or(from, KeapId::get)),
            listed,
            settled,
            stamped,
            related: self.related(&rows).await?,
            cost: self.context.calls(Lane::Bulk).since(opened.calls),
        };
        let cursor = Cursor { walk: Some(next), ..cursor };
        let counts =
            self.context.store.record_swept(&self.context.fence()?, &page, &cursor).await?;
        if counts.late > 0 {
            tracing::warn!(run.id = %run_id, contacts = counts.late, "Late arrivals: Keap shows contacts or changes that every poll had missed; they are due now.");
        }
        metrics::counter!("keap_intercom_sync_late_total")
            .increment(u64::try_from(counts.late).unwrap_or_default());
        self.context.advance(&counts);
        Ok(Swept::Step)
    }

    /// The listed contacts that no poll and no backfill finds any more: those that must be known
    /// by now, and those whose stamps every poll has passed.
    async fn passed_by_polls(
        &self,
        rows: &Rows,
    ) -> Result<(Vec<KeapId>, Vec<(KeapId, DateTime<Utc>)>), Halt> {
        let store = &self.context.store;
        let nothing = (Vec::new(), Vec::new());
        if store.cursor(Feed::Backfill).await?.is_some_and(|cursor| !cursor.is_at_rest()) {
            return Ok(nothing);
        }
        let Some(changed) = store.cursor(Feed::Changed).await? else { return Ok(nothing) };
        let stamped = rows
            .contacts
            .iter()
            .filter_map(|contact| Some((contact.id, contact.updated_at?)))
            .filter(|(_, stamp)| *stamp <= changed.position)
            .collect();
        // With `from_now`, contacts that never changed are meant to be unknown. A walk may be about
        // to read others.
        if !self.context.policy.everything_first() || !changed.is_at_rest() {
            return Ok((Vec::new(), stamped));
        }
        let is_settled =
            |stamp: Option<DateTime<Utc>>| stamp.is_none_or(|at| at <= changed.settled);
        // Who is out of scope is meant to be unknown.
        let in_scope = rows.contacts.iter().filter(|contact| contact.in_scope);
        let settled = in_scope.filter(|contact| is_settled(contact.updated_at));
        Ok((settled.map(|contact| contact.id).collect(), stamped))
    }

    /// The linked contacts whose tags differ from what was recorded. Keap lists no tag that was
    /// removed, and a tag may move no stamp.
    async fn related(&self, rows: &Rows) -> Result<Vec<KeapId>, Halt> {
        let shows = |contact: &Contact| !contact.relations.is_empty();
        if !rows.contacts.iter().any(shows) {
            return Ok(Vec::new());
        }
        let versions = HashMap::new();
        let context = &*self.context;
        let planner = Planner { context, lane: Lane::Bulk, feed: Feed::Sweep, versions: &versions };
        planner.related(&rows.contacts).await
    }

    /// Judges the candidates once the walk is whole: confirms them, then counts them, then acts on
    /// them.
    async fn judge(&mut self, step: Step) -> Result<Swept, Halt> {
        let policy = &self.context.policy;
        let standing = self.context.store.sweep_standing(step.run_id).await?;
        if policy.sweep.deleted == Deleted::Ignore {
            return self.ignore_candidates(&step, standing.unconfirmed).await;
        }
        if let Some(why) = Brake::of(&policy.sweep).stops(standing) {
            return self.give_up(step.run_id, step.opened.calls, &why).await;
        }
        if standing.unconfirmed > 0 {
            return self.confirm(&step, standing).await;
        }
        let gone = self.context.store.candidates(true, policy.keap.page_size).await?;
        let is_last = gone.len() < policy.keap.page_size;
        let cursor = Cursor { walk: Some(step.walk).filter(|_| !is_last), ..step.cursor };
        Ok(Swept::Page(Box::new(Page {
            gone,
            run_id: Some(step.run_id),
            cursor: Some(cursor),
            ..Page::of(Feed::Sweep, step.opened)
        })))
    }

    /// Lists some candidates by their ids, and reads those that are left out one by one. Only a 404
    /// is a deletion. If many of them exist, the sweep ends: thousands of single reads would find
    /// no contact gone.
    async fn confirm(&mut self, step: &Step, standing: SweepStanding) -> Result<Swept, Halt> {
        let context = Arc::clone(&self.context);
        let (store, policy) = (&context.store, &context.policy);
        let ids = store.candidates(false, policy.keap.ids_at_once()).await?;
        let (mut rows, mut alone) = by_id::list(&context, Lane::Bulk, &ids).await?;
        let later = alone.split_off(alone.len().min(SWEEP_SINGLE_READS));
        let later: HashSet<KeapId> = later.into_iter().collect();
        let (reads, listed) = (alone.len(), rows.contacts.len());
        let gone = by_id::read_alone(&context, Lane::Bulk, alone, &mut rows).await?;
        let shown_now = rows.contacts.len() - listed;
        self.single_reads.add(step.run_id, reads, shown_now);
        let SingleReads { read, shown, .. } = self.single_reads;
        if !standing.forced && shown > MAX_UNLISTED && shown * 2 > read {
            let before = i64::try_from(shown - shown_now).unwrap_or(i64::MAX);
            let candidates = standing.unconfirmed + standing.confirmed + before;
            if Brake::of(&policy.sweep).limit(candidates, standing.linked).is_some() {
                let why = unlisted(shown, read, candidates, standing.linked);
                return self.give_up(step.run_id, step.opened.calls, &why).await;
            }
        }
        let there: Vec<KeapId> =
            ids.into_iter().filter(|id| !later.contains(id) && !gone.contains(id)).collect();
        let cost = context.calls(Lane::Bulk).since(step.opened.calls);
        store.judge_candidates(&context.fence()?, step.run_id, &gone, &there, &cost).await?;
        context.advance(&cost);
        Ok(Swept::Step)
    }

    async fn ignore_candidates(&self, step: &Step, skipped: i64) -> Result<Swept, Halt> {
        if skipped > 0 {
            tracing::info!(run.id = %step.run_id, contacts = skipped, "Keap does not list some linked contacts; sweep.deleted = ignore leaves them as they are.");
        }
        let cost = self.context.calls(Lane::Bulk).since(step.opened.calls);
        self.end(step.run_id, Counts { skipped, ..cost }, (None, None)).await
    }

    /// Ends the sweep without acting on its candidates.
    async fn give_up(&self, run_id: Uuid, calls: Calls, why: &RunFailure) -> Result<Swept, Halt> {
        tracing::error!(run.id = %run_id, %why, "The sweep ends, and nothing was done.");
        let cost = self.context.calls(Lane::Bulk).since(calls);
        let plan = match why {
            RunFailure::Brake(_) => Some(Box::pin(brakes::sweep(&self.context, why)).await?),
            _ => None,
        };
        self.end(run_id, cost, (Some(why), plan.as_ref())).await
    }

    async fn end(
        &self,
        run_id: Uuid,
        counts: Counts,
        end: (Option<&RunFailure>, Option<&NewPlan>),
    ) -> Result<Swept, Halt> {
        self.context.store.end_sweep(&self.context.fence()?, run_id, &counts, end).await?;
        self.context.advance(&counts);
        Ok(Swept::Step)
    }
}

fn ids_of(rows: &Rows) -> Vec<KeapId> {
    let unreadable = rows.unreadable.iter().map(|(id, _)| *id);
    rows.contacts.iter().map(|contact| contact.id).chain(unreadable).collect()
}

/// The id behind which the page's range begins; `None` if the ids are out of order.
fn beginning(walk: &Walk, listed: &[KeapId]) -> Option<i64> {
    let behind = |from: i64| listed.iter().any(|id| id.get() <= from);
    let from = walk.last_id.map_or(0, KeapId::get);
    if !behind(from) {
        return Some(from);
    }
    // Keap no longer pages by id: its tokens begin with the first contact.
    (walk.page_token.is_none() && !behind(0)).then_some(0)
}

/// The id up to which the page's range reaches, and the walk after the page.
fn after_page(walk: Walk, next: Option<Walk>, listed: &[KeapId]) -> (Option<KeapId>, Walk) {
    let up_to = listed.iter().max().copied().or(walk.last_id);
    match next {
        None => {
            let judging = Walk { phase: Phase::Judging, last_id: None, page_token: None, ..walk };
            (Some(KeapId::LAST), judging)
        }
        // Keap refused the walk's token. The walk begins again, and its candidates stay.
        Some(next) if listed.is_empty() && next.page_token.as_deref() == Some("") => (None, next),
        Some(next) => (up_to, Walk { last_id: up_to, ..next }),
    }
}
