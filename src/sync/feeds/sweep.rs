//! The `sweep` feed: deletions and merges leave no trace in Keap's lists, so all ids are walked and compared with the links.
//!
//! A linked contact that no page lists is a candidate; only Keap's 404 for it alone says that it is gone. Nothing is done
//! before the walk is whole and every candidate is looked at, because then the brake can tell how many they are.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::DateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Rows;
use crate::contact::KeapId;
use crate::remote::Lane;
use crate::store::{
    BRAKE, Counts, Cursor, Feed, Lease, Store, StoreError, SweepStanding, SweptPage, Walk,
};
use crate::sync::claims::OpenPage;
use crate::sync::outcome::Halt;
use crate::sync::pass::Page;
use crate::sync::{Calls, Syncer, is_held};
use crate::trigger::Trigger;

/// So many candidates are read one by one between two looks at the other feeds.
const SINGLE_READS: usize = 20;
/// Fewer than this are no mass change, whatever their share, unless they are all that is linked.
const FEW: i64 = 5;
/// So many that no list shows, and that are there all the same, are no lag of some rows but lists that cannot be trusted.
const MOST_UNLISTED: usize = 20;

/// Why the sweep is given up where Keap's lists cannot be trusted. Not the brake's words: nobody was found gone, so there is
/// nothing to be forced.
fn unlisted(shown: usize, read: usize, candidates: i64, linked: i64) -> String {
    format!(
        "Keap's lists leave out contacts that exist: {candidates} of {linked} linked contacts are in no list, and {shown} of the {read} of them that \
         were asked for one by one are there. So nothing can be told from the lists, and nothing was done to anybody; the next sweep tries again. \
         If that fails as well, see whether the owner of KEAP_API_KEY may list all contacts in Keap, or report it to Keap"
    )
}

/// What becomes of the Intercom contact of a contact that Keap does not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is archived; Intercom keeps it, and it comes back with its Keap contact.
    Archive,
    /// It stays; only the link goes.
    Unlink,
    /// Nothing.
    Ignore,
}

/// How many may be gone at once.
#[derive(Debug, Clone, Copy)]
pub struct Brake {
    pub contacts: i64,
    /// Of the linked contacts.
    pub percent: i64,
}

impl Brake {
    /// The limit that so many exceed, with its setting.
    fn limit(self, contacts: i64, linked: i64) -> Option<(&'static str, String)> {
        let counts = contacts >= FEW || contacts == linked;
        if contacts > self.contacts {
            Some(("sweep.brake_contacts", self.contacts.to_string()))
        } else if counts && contacts > 0 && contacts * 100 > linked * self.percent {
            Some(("sweep.brake_percent", format!("{} %", self.percent)))
        } else {
            None
        }
    }

    /// Why nothing is done, and what a person can do about it.
    fn stops(self, standing: SweepStanding) -> Option<String> {
        let SweepStanding {
            unconfirmed,
            confirmed,
            linked,
            forced,
        } = standing;
        let (key, limit) = self.limit(confirmed, linked).filter(|_| !forced)?;
        Some(format!(
            "{BRAKE}Keap answers 404 for {confirmed} of {linked} linked contacts, and {unconfirmed} more that it does not list were not looked at; \
             that is more than {key} = {limit}, so nothing was done to any of them. Look into Keap, and whether KEAP_API_KEY is that of the right \
             account. If they are meant to be gone: keap-intercom-sync sync --sweep --force, or raise {key}"
        ))
    }
}

/// How the single reads of a sweep came out. Kept in memory: a restart costs some reads more.
#[derive(Default)]
pub struct SingleReads(Mutex<(Option<Uuid>, usize, usize)>);

impl SingleReads {
    /// Adds reads of a run, of which so many showed their contact; says both of all its steps.
    fn add(&self, run_id: Uuid, read: usize, shown: usize) -> (usize, usize) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sums.0 != Some(run_id) {
            *sums = (Some(run_id), 0, 0);
        }
        sums.1 += read;
        sums.2 += shown;
        (sums.1, sums.2)
    }
}

/// What a step of the sweep came to.
pub enum Swept {
    /// None is under way.
    Idle,
    /// It is recorded; another step follows.
    Step,
    /// Contacts that are gone, to be carried through a pass.
    Page(Box<Page>),
}

/// A step of the sweep under way.
struct Step {
    cursor: Cursor,
    walk: Walk,
    run_id: Uuid,
    open: OpenPage,
    calls: Calls,
}

impl Syncer {
    /// Begins a requested sweep; the caller has seen that none is under way.
    pub(in crate::sync) async fn start_sweep(&self, run_id: Uuid) -> Result<(), Halt> {
        let walk = Walk {
            run_id: Some(run_id),
            ..Walk::default()
        };
        let cursor = Cursor {
            walk: Some(walk),
            ..Cursor::at(DateTime::UNIX_EPOCH)
        };
        self.store
            .begin_sweep(self.require_lease()?, &cursor)
            .await?;
        Ok(())
    }

    /// The next step of the sweep under way: a page of ids, some candidates to confirm, or contacts that are gone.
    pub(in crate::sync) async fn sweep(&self) -> Result<Swept, Halt> {
        let (open, calls) = (self.claims.open_page(), self.calls(Lane::Bulk));
        let Some(cursor) = self.store.cursor(Feed::Sweep).await? else {
            return Ok(Swept::Idle);
        };
        let Some(walk) = cursor.walk.clone() else {
            return Ok(Swept::Idle);
        };
        let Some(run_id) = walk.run_id else {
            return Err(StoreError::BadRow("sync_cursor").into());
        };
        let step = Step {
            cursor,
            walk,
            run_id,
            open,
            calls,
        };
        if step.walk.last_id == Some(KeapId::LAST) {
            self.look_at_candidates(step).await
        } else {
            self.sweep_page(step).await
        }
    }

    /// Reads a page of ids and compares it with the links of its range. The range behind the last page is open.
    async fn sweep_page(&self, step: Step) -> Result<Swept, Halt> {
        let Step {
            cursor,
            walk,
            run_id,
            calls,
            ..
        } = step;
        let found = self.sweeper.step(Lane::Bulk, &walk).await?;
        let Rows {
            contacts,
            unreadable,
        } = Rows::of_walk(found.rows)?;
        let listed: Vec<KeapId> = contacts
            .iter()
            .map(|contact| contact.id)
            .chain(unreadable.iter().map(|(id, _)| *id))
            .collect();
        let behind = |from: i64| listed.iter().any(|id| id.get() <= from);
        let mut from = walk.last_id.map_or(0, KeapId::get);
        if walk.page_token.is_none() && behind(from) {
            // Keap no longer pages by id: its tokens begin with the first contact.
            from = 0;
        }
        if behind(from) {
            let why = "Keap does not list its contacts in the order of their ids, so nothing can be told from what it does not list";
            return self.give_up_sweep(run_id, calls, why).await;
        }
        let up_to = listed.iter().max().copied().or(walk.last_id);
        let (up_to, next) = match found.next {
            None => {
                let next = Walk {
                    last_id: Some(KeapId::LAST),
                    page_token: None,
                    ..walk
                };
                (Some(KeapId::LAST), next)
            }
            // Its token was refused: the walk begins again, and what it has found stays.
            Some(next) if listed.is_empty() && next.page_token.as_deref() == Some("") => {
                (None, next)
            }
            Some(next) => (
                up_to,
                Walk {
                    last_id: up_to,
                    ..next
                },
            ),
        };
        let settled = match self.no_poll_finds().await? {
            Some(settled) => contacts
                .iter()
                .filter(|contact| contact.updated_at.is_none_or(|stamp| stamp <= settled))
                .map(|contact| contact.id)
                .collect(),
            None => Vec::new(),
        };
        let page = SweptPage {
            run_id,
            range: (from, up_to.map_or(from, KeapId::get)),
            listed,
            settled,
            cost: self.calls(Lane::Bulk).since(calls),
        };
        let cursor = Cursor {
            walk: Some(next),
            ..cursor
        };
        let counts = self
            .store
            .record_swept(self.require_lease()?, &page, &cursor)
            .await?;
        if counts.late > 0 {
            tracing::warn!(run.id = %run_id, contacts = counts.late, "Late arrivals: Keap shows contacts that every poll had missed; they are due now.");
        }
        metrics::counter!("keap_intercom_sync_late_total")
            .increment(u64::try_from(counts.late).unwrap_or_default());
        self.progress.send_modify(|progress| progress.add(&counts));
        Ok(Swept::Step)
    }

    /// Up to which stamp no poll and no backfill brings a contact any more; `None` when that cannot be told.
    async fn no_poll_finds(&self) -> Result<Option<DateTime<chrono::Utc>>, Halt> {
        // With `from_now`, contacts that never changed are meant to be unknown.
        if !self.everything_first {
            return Ok(None);
        }
        let backfill = self.store.cursor(Feed::Backfill).await?;
        if backfill.is_some_and(|cursor| cursor.walk.is_some()) {
            return Ok(None);
        }
        let changed = self.store.cursor(Feed::Changed).await?;
        Ok(changed
            .filter(|cursor| cursor.walk.is_none())
            .map(|cursor| cursor.settled))
    }

    /// The walk is whole: candidates are confirmed, then counted, then dealt with.
    async fn look_at_candidates(&self, step: Step) -> Result<Swept, Halt> {
        let standing = self.store.sweep_standing(step.run_id).await?;
        if self.deleted == Deleted::Ignore {
            return self.ignore_candidates(&step, standing.unconfirmed).await;
        }
        if let Some(why) = self.brake.stops(standing) {
            return self.give_up_sweep(step.run_id, step.calls, &why).await;
        }
        if standing.unconfirmed > 0 {
            return self.confirm(&step, standing).await;
        }
        let limit = self.walker.page_size();
        let gone = self.store.candidates(true, limit).await?;
        let is_last = gone.len() < limit;
        let cursor = Cursor {
            walk: Some(step.walk).filter(|_| !is_last),
            ..step.cursor
        };
        Ok(Swept::Page(Box::new(Page {
            feed: Feed::Sweep,
            lane: Lane::Bulk,
            open: step.open,
            calls: step.calls,
            contacts: Vec::new(),
            unreadable: Vec::new(),
            missing: Vec::new(),
            gone,
            versions: HashMap::new(),
            run_id: Some(step.run_id),
            cursor: Some(cursor),
        })))
    }

    /// Lists some candidates by their ids and reads those that are left out one by one. Whatever is no 404 is no deletion.
    /// Where many are there, it ends: thousands of single reads would find nobody gone.
    async fn confirm(&self, step: &Step, standing: SweepStanding) -> Result<Swept, Halt> {
        let ids = self.store.candidates(false, self.ids_per_call).await?;
        let (mut rows, mut alone) = self.list_by_id(Lane::Bulk, &ids).await?;
        let later: HashSet<KeapId> = alone
            .split_off(alone.len().min(SINGLE_READS))
            .into_iter()
            .collect();
        let (reads, listed) = (alone.len(), rows.contacts.len());
        let gone = self.read_alone(Lane::Bulk, alone, &mut rows).await?;
        let shown_now = rows.contacts.len() - listed;
        let (read, shown) = self.single_reads.add(step.run_id, reads, shown_now);
        if !standing.forced && shown > MOST_UNLISTED && shown * 2 > read {
            let before = i64::try_from(shown - shown_now).unwrap_or(i64::MAX);
            let candidates = standing.unconfirmed + standing.confirmed + before;
            if self.brake.limit(candidates, standing.linked).is_some() {
                let why = unlisted(shown, read, candidates, standing.linked);
                return self.give_up_sweep(step.run_id, step.calls, &why).await;
            }
        }
        let there: Vec<KeapId> = ids
            .into_iter()
            .filter(|id| !later.contains(id) && !gone.contains(id))
            .collect();
        let cost = self.calls(Lane::Bulk).since(step.calls);
        self.store
            .judge_candidates(self.require_lease()?, step.run_id, &gone, &there, &cost)
            .await?;
        self.progress.send_modify(|progress| progress.add(&cost));
        Ok(Swept::Step)
    }

    async fn ignore_candidates(&self, step: &Step, skipped: i64) -> Result<Swept, Halt> {
        if skipped > 0 {
            tracing::info!(run.id = %step.run_id, contacts = skipped, "Keap does not list some linked contacts; sweep.deleted = ignore leaves them as they are.");
        }
        let counts = Counts {
            skipped,
            ..self.calls(Lane::Bulk).since(step.calls)
        };
        self.end_sweep(step.run_id, counts, None).await
    }

    /// Ends the sweep with nothing done.
    async fn give_up_sweep(&self, run_id: Uuid, calls: Calls, why: &str) -> Result<Swept, Halt> {
        tracing::error!(run.id = %run_id, why, "The sweep ends, and nothing was done.");
        let cost = self.calls(Lane::Bulk).since(calls);
        self.end_sweep(run_id, cost, Some(why)).await
    }

    async fn end_sweep(
        &self,
        run_id: Uuid,
        counts: Counts,
        error: Option<&str>,
    ) -> Result<Swept, Halt> {
        self.store
            .end_sweep(self.require_lease()?, run_id, &counts, error)
            .await?;
        self.progress.send_modify(|progress| progress.add(&counts));
        Ok(Swept::Step)
    }
}

/// Asks for a sweep whenever `schedule` fires, while this process holds the lease, until `cancel`.
pub async fn ask_on_schedule(
    store: Store,
    schedule: Arc<Trigger>,
    bulk: Arc<Trigger>,
    lease: watch::Receiver<Option<Lease>>,
    cancel: CancellationToken,
) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = schedule.fired() => {}
        }
        if !is_held(&lease) {
            continue;
        }
        match store.request_scheduled_sweep().await {
            Ok(()) => bulk.fire("sweep"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "The sweep could not be asked for; its schedule brings the next."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_stops_many_and_a_large_share_and_not_a_few() {
        let brake = Brake {
            contacts: 100,
            percent: 5,
        };
        let stops = |confirmed, linked, forced| {
            let standing = SweepStanding {
                unconfirmed: 0,
                confirmed,
                linked,
                forced,
            };
            brake.stops(standing)
        };
        for (confirmed, linked, stopped) in [
            (0, 0, false),
            (0, 10, false),
            (4, 10, false),
            (5, 10, true),
            (3, 3, true),
            (5, 100, false),
            (6, 100, true),
            (100, 100_000, false),
            (101, 100_000, true),
        ] {
            assert_eq!(
                stops(confirmed, linked, false).is_some(),
                stopped,
                "{confirmed} of {linked}"
            );
            assert_eq!(stops(confirmed, linked, true), None);
        }
        assert!(stops(101, 100_000, false).unwrap().contains("--force"));
    }
}
