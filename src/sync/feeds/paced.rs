//! Due contacts that nobody waits for: their writes to Keap have a pace.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::by_id;
use crate::contact::KeapId;
use crate::feed::{Feed, Lane};
use crate::sync::context::Context;
use crate::sync::page::Page;
use crate::sync::result::Halt;

/// How long nobody looks again where the calls of the day are left to others.
const NO_CALLS_PAUSE: Duration = Duration::from_secs(300);

/// The turn of these contacts comes in the bulk lane, so the day's reserve holds for them.
pub(crate) struct PacedFeed {
    context: Arc<Context>,
}

impl PacedFeed {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// The next contacts that have room in this minute; `None` if none waits, or there is no room.
    pub(crate) async fn next(&self) -> Result<Option<Page>, Halt> {
        let Context { store, policy, board, .. } = &*self.context;
        let is_paused = board.pauses.of_due_to_keap(false).is_some();
        if is_paused || !self.context.has_calls_for_paced() {
            return Ok(None);
        }
        let (room, at_once) = board.pace.room(Instant::now());
        // One list shows all of them, and they are written while it is fresh.
        let most = room.max(at_once).min(policy.keap.ids_at_once());
        let due = store.paced(most, &board.claims.busy()).await?;
        if due.is_empty() || due.len() > room {
            return Ok(None);
        }
        let opened = self.context.open(Lane::Bulk);
        let ids: Vec<KeapId> = due.iter().map(|row| row.id).collect();
        let (rows, missing) = by_id::read(&self.context, Lane::Bulk, &ids).await?;
        let versions = due.into_iter().map(|row| (row.id, row.version)).collect();
        let page = Page { lane: Lane::Bulk, missing, versions, ..Page::of(Feed::Due, opened) };
        Ok(Some(page.with(rows)))
    }

    /// The time until the next of them may be written; `None` if none waits, or a pause stops all.
    pub(crate) async fn next_in(context: &Context) -> Result<Option<Duration>, Halt> {
        if context.board.pauses.of_due_to_keap(false).is_some() {
            return Ok(None);
        }
        let next = context.store.next_paced().await?;
        let pause = if context.has_calls_for_paced() {
            context.board.pace.until_room(Instant::now())
        } else {
            NO_CALLS_PAUSE
        };
        Ok(next.map(|next| next.max(pause)))
    }
}
