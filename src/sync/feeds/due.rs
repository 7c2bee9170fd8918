//! The `due` feed: requests and retries whose time has come, read from Keap together.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::contact::KeapId;
use crate::remote::{Failure, Lane};
use crate::store::{DueRow, Feed};
use crate::sync::Syncer;
use crate::sync::feeds::Rows;
use crate::sync::outcome::Halt;
use crate::sync::pass::Page;

/// A hint that Keap's lists do not show is looked at once more after this time: lists may lag.
const SECOND_LOOK: Duration = Duration::from_secs(60);
/// So many contacts of one page that a webhook speaks of, that are linked, and that no list shows are read by themselves.
const SINGLE_READS: u32 = 10;

impl Syncer {
    /// The next page of due contacts, most urgent first; `None` when nothing is due.
    pub(in crate::sync) async fn due_page(&self) -> Result<Option<Page>, Halt> {
        let (open, calls) = (self.claims.open_page(), self.calls(Lane::Urgent));
        // Anybody who knows the webhook secret can name contacts: what looking at them costs has a bound.
        let most_calls = self
            .hint_calls
            .take_some(self.hint_calls_of_a_page(), Instant::now());
        let mut due = self
            .store
            .due(self.walker.page_size(), &self.claims.busy(), most_calls > 0)
            .await?;
        let mut room = most_calls as usize * self.ids_per_call;
        due.retain(|row| {
            let fits = !row.hinted || room > 0;
            room -= usize::from(row.hinted && fits);
            fits
        });
        let hints = due.iter().filter(|row| row.hinted).count();
        let used = u32::try_from(hints.div_ceil(self.ids_per_call)).unwrap_or(most_calls);
        self.hint_calls.give_back(most_calls.saturating_sub(used));
        if due.is_empty() {
            return Ok(None);
        }
        let ids: Vec<KeapId> = due.iter().map(|row| row.id).collect();
        let (mut rows, alone) = self.list_by_id(Lane::Urgent, &ids).await?;
        let alone = self.without_hints(&due, alone).await?;
        let missing = self.read_alone(Lane::Urgent, alone, &mut rows).await?;
        let versions = due.into_iter().map(|row| (row.id, row.version)).collect();
        Ok(Some(Page {
            feed: Feed::Due,
            lane: Lane::Urgent,
            open,
            calls,
            contacts: rows.contacts,
            unreadable: rows.unreadable,
            missing,
            gone: Vec::new(),
            versions,
            run_id: None,
            cursor: None,
        }))
    }

    /// What one page of hints may cost at most.
    fn hint_calls_of_a_page(&self) -> u32 {
        u32::try_from(self.walker.page_size().div_ceil(self.ids_per_call)).unwrap_or(u32::MAX)
    }

    /// Takes the hints out of what the lists did not show. Reading each by itself would let forged ids burn the daily quota:
    /// a few that are linked are read, because they may be deleted; the others are listed once more later, then dropped.
    async fn without_hints(&self, due: &[DueRow], alone: Vec<KeapId>) -> Result<Vec<KeapId>, Halt> {
        let is_alone: HashSet<KeapId> = alone.into_iter().collect();
        let (hints, others): (Vec<&DueRow>, Vec<&DueRow>) = due
            .iter()
            .filter(|row| is_alone.contains(&row.id))
            .partition(|row| row.hinted);
        let mut read: Vec<KeapId> = others.iter().map(|row| row.id).collect();
        if hints.is_empty() {
            return Ok(read);
        }
        let ids: Vec<KeapId> = hints.iter().map(|row| row.id).collect();
        let linked = self.store.known(&ids).await?.links;
        let mut single = self.hint_calls.take_some(SINGLE_READS, Instant::now());
        let (mut later, mut dropped) = (Vec::new(), Vec::new());
        for row in hints {
            if single > 0 && linked.contains_key(&row.id) {
                single -= 1;
                read.push(row.id);
            } else if row.attempts > 0 {
                dropped.push(row.clone());
            } else {
                later.push(row.clone());
            }
        }
        self.hint_calls.give_back(single);
        tracing::debug!(
            later = later.len(),
            dropped = dropped.len(),
            "Webhooks speak of contacts that Keap does not list."
        );
        if !later.is_empty() || !dropped.is_empty() {
            self.store
                .put_off_hints(self.require_lease()?, &later, SECOND_LOOK, &dropped)
                .await?;
        }
        Ok(read)
    }

    /// Reads contacts in chunks. One that a list leaves out is read by itself: lists may lag, and only a 404 says that it is gone.
    pub(in crate::sync) async fn read_by_id(
        &self,
        lane: Lane,
        ids: &[KeapId],
    ) -> Result<(Rows, Vec<KeapId>), Halt> {
        let (mut rows, alone) = self.list_by_id(lane, ids).await?;
        let missing = self.read_alone(lane, alone, &mut rows).await?;
        Ok((rows, missing))
    }

    /// Reads contacts in chunks. What the lists leave out, or cannot show, comes back by itself.
    pub(super) async fn list_by_id(
        &self,
        lane: Lane,
        ids: &[KeapId],
    ) -> Result<(Rows, Vec<KeapId>), Halt> {
        let mut rows = Rows::default();
        let mut alone = Vec::new();
        let mut chunks: Vec<&[KeapId]> = ids.chunks(self.ids_per_call).rev().collect();
        while let Some(chunk) = chunks.pop() {
            match self.keap.by_ids(lane, chunk).await {
                Ok(found) => {
                    let found = Rows::sort(found);
                    alone.extend(chunk.iter().copied().filter(|id| !found.holds(*id)));
                    rows.extend(found);
                }
                // One contact that Keap cannot show fails the whole list: halves are tried, down to the contact itself.
                Err(Failure::Again { why, .. } | Failure::Never { why }) => {
                    self.unless_keap_is_down(lane, &why).await?;
                    match chunk {
                        [one] => alone.push(*one),
                        _ => {
                            let (first, second) = chunk.split_at(chunk.len() / 2);
                            chunks.extend([second, first]);
                        }
                    }
                }
                Err(failure) => return Err(Halt::of_reading(failure)),
            }
        }
        Ok((rows, alone))
    }

    /// Reads contacts one by one; returns those that Keap does not have.
    pub(super) async fn read_alone(
        &self,
        lane: Lane,
        alone: Vec<KeapId>,
        rows: &mut Rows,
    ) -> Result<Vec<KeapId>, Halt> {
        let mut missing = Vec::new();
        for id in alone {
            match self.keap.by_id(lane, id).await {
                Ok(Some(row)) => rows.extend(Rows::sort(vec![row])),
                Ok(None) => missing.push(id),
                Err(Failure::Again { why, .. } | Failure::Never { why }) => {
                    self.unless_keap_is_down(lane, &why).await?;
                    rows.unreadable.push((id, why));
                }
                Err(failure) => return Err(Halt::of_reading(failure)),
            }
        }
        Ok(missing)
    }

    /// Tells a contact that Keap cannot show from a Keap that fails: an outage uses up nobody's attempts.
    async fn unless_keap_is_down(&self, lane: Lane, why: &str) -> Result<(), Halt> {
        if self.walker.keap_answers(lane).await {
            return Ok(());
        }
        Err(Halt::of_reading(Failure::again(why)))
    }
}
