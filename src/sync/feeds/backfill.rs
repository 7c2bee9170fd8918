//! The `backfill` feed: the same walk over everything, or over all that changed since a given time,
//! with a cursor of its own.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::walk::{Step, Walker, sorted};
use crate::feed::{Cursor, Feed, Lane, Walk};
use crate::keap::Show;
use crate::store::NewRun;
use crate::sync::context::Context;
use crate::sync::page::Page;
use crate::sync::result::Halt;

/// A cursor at the beginning of a backfill.
pub(super) fn beginning(since: Option<DateTime<Utc>>, run_id: Uuid) -> Cursor {
    let walk = Walk {
        // Whether Keap's bound includes its own instant is unknown, and stamps are rounded.
        start: since.map(|since| since - TimeDelta::seconds(1)),
        run_id: Some(run_id),
        ..Walk::default()
    };
    Cursor { walk: Some(walk), ..Cursor::at(DateTime::UNIX_EPOCH) }
}

/// The `backfill` feed.
pub(crate) struct BackfillFeed {
    context: Arc<Context>,
    walker: Walker,
}

impl BackfillFeed {
    /// The feed of a process.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let walker =
            Walker::new(Arc::clone(&context.keap), context.policy.keap.page_size, Show::Everything);
        Self { context, walker }
    }

    /// The next page of the backfill under way, if there is one.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, Halt> {
        let opened = self.context.open(Lane::Bulk);
        let Some(cursor) = self.context.store.cursor(Feed::Backfill).await? else {
            return Ok(None);
        };
        let Some(walk) = cursor.walk.clone() else {
            return Ok(None);
        };
        let Step { rows, next, .. } = self.walker.step(Lane::Bulk, &walk).await?;
        let page = Page {
            run_id: walk.run_id,
            cursor: Some(Cursor { walk: next, ..cursor }),
            ..Page::of(Feed::Backfill, opened)
        };
        Ok(Some(page.with(sorted(rows)?)))
    }

    /// Begins a requested backfill. The caller has seen that none is under way. `changed`: the
    /// cursor of the polls, where they have none yet.
    pub(crate) async fn begin(&self, run: &NewRun, changed: Option<&Cursor>) -> Result<(), Halt> {
        let place = beginning(run.since, run.id);
        let places: Vec<(Feed, &Cursor)> = changed
            .map(|changed| (Feed::Changed, changed))
            .into_iter()
            .chain([(Feed::Backfill, &place)])
            .collect();
        self.context.store.begin_run(&self.context.fence()?, run, &places, None).await?;
        Ok(())
    }
}
