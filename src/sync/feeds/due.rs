//! The `due` feed: requests and retries whose time has come, read from Keap together.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::by_id;
use crate::bucket::Bucket;
use crate::contact::KeapId;
use crate::feed::{Feed, Lane};
use crate::store::{DueRow, Takes};
use crate::sync::context::{Calls, Context};
use crate::sync::page::Page;
use crate::sync::result::Halt;

/// A hint that Keap's lists do not show is looked at once more after this time: lists may lag.
const SECOND_LOOK: Duration = Duration::from_secs(60);
/// Single reads per page, for linked contacts that a webhook names and no list shows.
const HINT_SINGLE_READS: u32 = 10;

/// The `due` feed.
pub(crate) struct DueFeed {
    context: Arc<Context>,
    /// Keap calls that webhooks may still cause.
    hint_calls: Bucket,
}

impl DueFeed {
    /// The feed of a process.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let per_day = context.policy.keap.webhook_calls_per_day;
        // A tenth of a day's share may go at once.
        let hint_calls = Bucket::new((per_day / 10).max(10), f64::from(per_day) / 86_400.0);
        Self { context, hint_calls }
    }

    /// The next page of due contacts, most urgent first; `None` when nothing is due.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, Halt> {
        let opened = self.context.open(Lane::Urgent);
        let due = self.take().await?;
        if due.is_empty() {
            return Ok(None);
        }
        let ids: Vec<KeapId> = due.iter().map(|row| row.id).collect();
        let (mut rows, alone) = by_id::list(&self.context, Lane::Urgent, &ids).await?;
        self.pay_for_hints(&due, opened.calls);
        let alone = self.without_hints(&due, alone).await?;
        let missing = by_id::read_alone(&self.context, Lane::Urgent, alone, &mut rows).await?;
        let versions = due.into_iter().map(|row| (row.id, row.version)).collect();
        let page = Page { missing, versions, ..Page::of(Feed::Due, opened) };
        Ok(Some(page.with(rows)))
    }

    /// Takes the due rows of a page. Anybody who knows the webhook secret can name contacts, so the
    /// calls for hints are limited.
    async fn take(&mut self) -> Result<Vec<DueRow>, Halt> {
        let Context { store, policy, board, .. } = &*self.context;
        let is_paused = |is_request| board.pauses.of_feed(Feed::Due, is_request).is_some();
        if is_paused(true) {
            return Ok(Vec::new());
        }
        let max_calls = self.hint_calls.take_some(self.hint_calls_of_a_page(), Instant::now());
        let busy = board.claims.busy();
        let takes = match max_calls {
            _ if is_paused(false) => Takes::RequestsOnly,
            0 => Takes::WithoutHints,
            _ => Takes::Everything,
        };
        let mut due = store.due(policy.keap.page_size, &busy, takes).await?;
        let mut room = max_calls as usize * policy.keap.ids_at_once();
        // Opt-outs go first, and alone.
        if due.iter().any(|row| row.is_consent) {
            due.retain(|row| row.is_consent);
        } else if !due.is_empty() && !self.context.has_calls_beside_opt_outs() {
            self.hint_calls.give_back(max_calls);
            return Err(Halt::only_opt_outs());
        }
        // What Keap shows is a ground for a write for some seconds only: no more than one list.
        if due.iter().any(|row| row.looks_at_intercom) {
            due.truncate(policy.keap.ids_at_once());
        }
        due.retain(|row| {
            let fits = !row.hinted || room > 0;
            room -= usize::from(row.hinted && fits);
            fits
        });
        let hints = due.iter().filter(|row| row.hinted).count();
        let used = u32::try_from(hints.div_ceil(policy.keap.ids_at_once())).unwrap_or(max_calls);
        self.hint_calls.give_back(max_calls.saturating_sub(used));
        Ok(due)
    }

    /// Counts the calls that a page of hints has cost beyond its lists. `before`: the calls when
    /// its reading began.
    fn pay_for_hints(&mut self, due: &[DueRow], before: Calls) {
        let lists = due.len().div_ceil(self.context.policy.keap.ids_at_once());
        let calls = self.context.calls(Lane::Urgent).since(before).keap_calls;
        let further = usize::try_from(calls).unwrap_or_default().saturating_sub(lists);
        if due.iter().any(|row| row.hinted) && further > 0 {
            let further = u32::try_from(further).unwrap_or(u32::MAX);
            self.hint_calls.take_some(further, Instant::now());
        }
    }

    /// The calls that one page of hints may cost at most.
    fn hint_calls_of_a_page(&self) -> u32 {
        let policy = &self.context.policy;
        u32::try_from(policy.keap.page_size.div_ceil(policy.keap.ids_at_once())).unwrap_or(u32::MAX)
    }

    /// Returns the contacts to read one by one. If each hint that no list shows were read, forged
    /// ids could use up the daily quota. So only a few linked ones are read, because they may be
    /// deleted. The others are listed once more later, then dropped.
    async fn without_hints(
        &mut self,
        due: &[DueRow],
        alone: Vec<KeapId>,
    ) -> Result<Vec<KeapId>, Halt> {
        let is_alone: HashSet<KeapId> = alone.into_iter().collect();
        let (hints, others): (Vec<&DueRow>, Vec<&DueRow>) =
            due.iter().filter(|row| is_alone.contains(&row.id)).partition(|row| row.hinted);
        let mut read: Vec<KeapId> = others.iter().map(|row| row.id).collect();
        if hints.is_empty() {
            return Ok(read);
        }
        let ids: Vec<KeapId> = hints.iter().map(|row| row.id).collect();
        let known = self.context.store.known(&ids).await?;
        let may_be_linked =
            |id: &KeapId| known.links.contains_key(id) || known.intents.contains_key(id);
        let mut single = self.hint_calls.take_some(HINT_SINGLE_READS, Instant::now());
        let (mut later, mut dropped) = (Vec::new(), Vec::new());
        for row in hints {
            if single > 0 && may_be_linked(&row.id) {
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
            "Webhooks name contacts that Keap does not list."
        );
        if !later.is_empty() || !dropped.is_empty() {
            let fence = self.context.fence()?;
            self.context.store.delay_hints(&fence, &later, SECOND_LOOK, &dropped).await?;
        }
        Ok(read)
    }
}
