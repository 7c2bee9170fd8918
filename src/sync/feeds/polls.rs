//! Polls: the run that counts a poll, and the requests that it serves. Every run row ends, even
//! after a crash.

use std::sync::Arc;

use uuid::Uuid;

use crate::feed::{Feed, RunReason};
use crate::store::NewRun;
use crate::sync::context::Context;
use crate::sync::result::Halt;

/// The polls of this process.
pub(super) struct Polls {
    context: Arc<Context>,
    /// Requests that the next poll serves.
    asked: Vec<Uuid>,
    /// The poll under way. A poll that a fault has stopped goes on under the same row.
    open: Option<Poll>,
    /// Requests that a whole poll has served, and that are not stored as ended yet.
    served: Vec<Uuid>,
}

struct Poll {
    id: Uuid,
    /// Requests that this poll serves beside its own.
    also: Vec<Uuid>,
}

impl Polls {
    /// No poll is under way yet.
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, asked: Vec::new(), open: None, served: Vec::new() }
    }

    /// Takes up a requested poll.
    pub(super) async fn ask(&mut self, id: Uuid) -> Result<(), Halt> {
        if self.store_begin(id, RunReason::Manual).await? {
            self.asked.push(id);
        }
        Ok(())
    }

    /// The row of the poll that begins, or of the poll that a fault has stopped.
    pub(super) async fn begin(&mut self) -> Result<Uuid, Halt> {
        self.store_served().await?;
        loop {
            let (asked, open) = (&mut self.asked, &mut self.open);
            let id = open
                .get_or_insert_with(|| {
                    let mut also = std::mem::take(asked);
                    Poll { id: also.pop().unwrap_or_else(Uuid::new_v4), also }
                })
                .id;
            // A requested run keeps the reason of its row.
            if self.store_begin(id, RunReason::Schedule).await? {
                return Ok(id);
            }
            // An ended row stays ended. The poll gets another one.
            self.asked.extend(self.open.take().into_iter().flat_map(|open| open.also));
        }
    }

    /// The runs of all polls of this process.
    pub(super) fn runs(&self) -> Vec<Uuid> {
        let open = self.open.iter().flat_map(|open| open.also.iter().copied().chain([open.id]));
        open.chain(self.asked.iter().copied()).chain(self.served.iter().copied()).collect()
    }

    /// Whether a poll of this process has this run.
    pub(super) fn is_own(&self, run_id: Option<Uuid>) -> bool {
        self.open.as_ref().is_some_and(|open| Some(open.id) == run_id)
    }

    /// Ends a whole poll and the requests that it served. True if another poll was requested
    /// during it.
    pub(super) async fn end(&mut self) -> Result<bool, Halt> {
        // The poll's own row has ended with the record of its last page.
        self.served.extend(self.open.take().into_iter().flat_map(|open| open.also));
        self.store_served().await?;
        Ok(!self.asked.is_empty())
    }

    /// Ends a poll that found nothing. It has served every request.
    pub(super) async fn end_empty(&mut self) -> Result<(), Halt> {
        self.served = self.runs();
        self.asked.clear();
        self.open = None;
        self.store_served().await
    }

    async fn store_begin(&self, id: Uuid, reason: RunReason) -> Result<bool, Halt> {
        let run = NewRun { id, feed: Feed::Changed, reason, since: None };
        Ok(self.context.store.begin_run(&self.context.fence()?, &run, &[], None).await?)
    }

    async fn store_served(&mut self) -> Result<(), Halt> {
        if !self.served.is_empty() {
            self.context.store.end_runs(&self.context.fence()?, &self.served).await?;
            self.served.clear();
        }
        Ok(())
    }
}
