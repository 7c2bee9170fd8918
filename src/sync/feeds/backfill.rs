//! The `backfill` feed: the same walk over everything, or over all that changed since a time, with a cursor of its own.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Rows;
use crate::remote::Lane;
use crate::store::{Cursor, Feed, Walk};
use crate::sync::Syncer;
use crate::sync::outcome::Halt;
use crate::sync::pass::Page;

/// A cursor at the beginning of a backfill.
pub fn start(since: Option<DateTime<Utc>>, run_id: Uuid) -> Cursor {
    let walk = Walk {
        // Whether Keap's bound includes its own instant is unknown, and stamps are rounded.
        start: since.map(|since| since - TimeDelta::seconds(1)),
        run_id: Some(run_id),
        ..Walk::default()
    };
    Cursor {
        walk: Some(walk),
        ..Cursor::at(DateTime::UNIX_EPOCH)
    }
}

impl Syncer {
    /// The next page of the backfill under way, if there is one.
    pub(in crate::sync) async fn backfill_page(&self) -> Result<Option<Page>, Halt> {
        let (open, calls) = (self.claims.open_page(), self.calls(Lane::Bulk));
        let Some(cursor) = self.store.cursor(Feed::Backfill).await? else {
            return Ok(None);
        };
        let Some(walk) = cursor.walk.clone() else {
            return Ok(None);
        };
        let run_id = walk.run_id;
        let step = self.walker.step(Lane::Bulk, &walk).await?;
        let Rows {
            contacts,
            unreadable,
        } = Rows::of_walk(step.rows)?;
        let cursor = Some(Cursor {
            walk: step.next,
            ..cursor
        });
        Ok(Some(Page {
            feed: Feed::Backfill,
            lane: Lane::Bulk,
            open,
            calls,
            contacts,
            unreadable,
            missing: Vec::new(),
            gone: Vec::new(),
            versions: HashMap::new(),
            run_id,
            cursor,
        }))
    }

    /// Begins a requested backfill; the caller has seen that none is under way.
    pub(in crate::sync) async fn start_backfill(
        &self,
        run_id: Uuid,
        since: Option<DateTime<Utc>>,
    ) -> Result<(), Halt> {
        self.store
            .put_cursors(
                self.require_lease()?,
                &[(Feed::Backfill, &start(since, run_id))],
            )
            .await?;
        Ok(())
    }
}
