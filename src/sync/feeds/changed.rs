//! The `changed` feed: polls Keap for contacts changed since the cursor. The rules are in `design.md`, "Cursor".

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::Rows;
use super::walk::newest_stamp;
use crate::keap::{self, PageQuery, Place};
use crate::remote::{Failure, Lane};
use crate::store::{Cursor, Feed, Walk};
use crate::sync::claims::OpenPage;
use crate::sync::outcome::Halt;
use crate::sync::pass::Page;
use crate::sync::{Calls, Syncer};

/// Keap rounds stamps by up to half a second, and two rows may share a second: this much is added to the overlap.
const ROUNDING: Duration = Duration::from_secs(2);

/// What this process remembers between polls; losing it costs one more read.
#[derive(Default)]
pub struct Memory {
    /// What lies behind `settled` filled more than a page last time: it is read again once, not at every poll.
    large: bool,
    /// When this process saw `settling` being set, by its monotonic clock.
    settling: Option<(DateTime<Utc>, Instant)>,
    /// The current poll started from `settled`, at a time when `settling` was ripe.
    ripe: bool,
}

/// What the feed hands out.
pub enum Polled {
    Page(Box<Page>),
    /// Nothing has changed: the poll is over, its cursor stored.
    Nothing,
}

impl Syncer {
    /// The next page of the current poll. `begin`: a new poll may start, else only a walk under way goes on.
    pub(in crate::sync) async fn changed_page(&self, begin: bool) -> Result<Option<Polled>, Halt> {
        let (open, calls) = (self.claims.open_page(), self.calls(Lane::Bulk));
        let cursor = match self.store.cursor(Feed::Changed).await? {
            Some(cursor) => cursor,
            None if begin => self.first_run().await?,
            None => return Ok(None),
        };
        if let Some(walk) = cursor.walk.clone() {
            return self.changed_walk(cursor, walk, open, calls).await.map(Some);
        }
        if !begin {
            return Ok(None);
        }
        let start = self.poll_start(&cursor);
        let query = PageQuery {
            from: Some(start),
            until: None,
            place: Place::Start,
            up_to: None,
            page_size: self.walker.page_size(),
        };
        let full = match self.keap.page(Lane::Bulk, &query).await {
            Ok(page) if page.rows.len() < self.walker.page_size() && page.next_token.is_none() => {
                let newest = newest_stamp(&page.rows);
                let next = self.after_poll(cursor.clone(), newest, false);
                if page.rows.is_empty() {
                    self.store
                        .put_cursors(self.require_lease()?, &[(Feed::Changed, &next)])
                        .await?;
                    self.end_empty_poll().await?;
                    return Ok(Some(Polled::Nothing));
                }
                let run_id = Some(self.begin_poll().await?);
                let Rows {
                    contacts,
                    unreadable,
                } = Rows::of_walk(page.rows)?;
                let page = Page {
                    feed: Feed::Changed,
                    lane: Lane::Bulk,
                    open,
                    calls,
                    contacts,
                    unreadable,
                    missing: Vec::new(),
                    versions: HashMap::new(),
                    run_id,
                    cursor: Some(next),
                };
                return Ok(Some(Polled::Page(Box::new(page))));
            }
            Ok(page) => page,
            // A page that Keap cannot show whole: the walk knows how to go round what is in the way.
            Err(Failure::Again { .. }) => keap::Page {
                rows: Vec::new(),
                next_token: None,
                date: None,
            },
            Err(failure) => return Err(Halt::of_reading(failure)),
        };
        // More than a page: the window's end is fixed first and the walk begins from the lowest id, because what changes
        // while the end is asked for would be missing from the page at hand.
        let end = self
            .newest_in_keap()
            .await?
            .max(newest_stamp(&full.rows))
            .unwrap_or(start)
            .max(start);
        let run_id = Some(self.begin_poll().await?);
        let walk = Walk {
            start: Some(start),
            end: Some(end),
            last_id: None,
            page_token: None,
            run_id,
        };
        self.walker.begin();
        self.changed_walk(cursor, walk, open, calls).await.map(Some)
    }

    async fn changed_walk(
        &self,
        cursor: Cursor,
        walk: Walk,
        open: OpenPage,
        calls: Calls,
    ) -> Result<Polled, Halt> {
        let step = self.walker.step(Lane::Bulk, &walk).await?;
        let next = match step.next {
            Some(next) => Cursor {
                walk: Some(next),
                ..cursor
            },
            None => self.after_poll(cursor, walk.end, true),
        };
        let Rows {
            contacts,
            unreadable,
        } = Rows::of_walk(step.rows)?;
        let page = Page {
            feed: Feed::Changed,
            lane: Lane::Bulk,
            open,
            calls,
            contacts,
            unreadable,
            missing: Vec::new(),
            versions: HashMap::new(),
            run_id: walk.run_id,
            cursor: Some(next),
        };
        Ok(Polled::Page(Box::new(page)))
    }

    /// Where the next poll starts: just after what is settled, so that rows which become visible late are still found.
    ///
    /// Whether Keap compares whole seconds or hidden milliseconds is unknown: "just after" is one millisecond.
    fn poll_start(&self, cursor: &Cursor) -> DateTime<Utc> {
        let mut memory = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let here = memory
            .settling
            .filter(|(settling, _)| *settling == cursor.settling)
            .map(|(_, since)| since.elapsed());
        if here.is_none() {
            memory.settling = Instant::now()
                .checked_sub(cursor.settling_age)
                .map(|since| (cursor.settling, since));
        }
        let age = here.unwrap_or(cursor.settling_age);
        let ripe = age >= self.overlap + ROUNDING;
        memory.ripe = ripe;
        let from = if memory.large && !ripe {
            cursor.position
        } else {
            cursor.settled
        };
        from + TimeDelta::milliseconds(1)
    }

    /// The cursor once a poll is whole: the position never goes back.
    fn after_poll(&self, cursor: Cursor, newest: Option<DateTime<Utc>>, walked: bool) -> Cursor {
        let mut memory = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let position = newest.map_or(cursor.position, |newest| newest.max(cursor.position));
        let (settled, settling) = if memory.ripe {
            (cursor.settling, position)
        } else {
            (cursor.settled, cursor.settling)
        };
        memory.large = if memory.ripe {
            walked && settling > settled
        } else {
            memory.large || walked
        };
        memory.ripe = false;
        if settling != cursor.settling {
            memory.settling = Some((settling, Instant::now()));
        }
        Cursor {
            position,
            settled,
            settling,
            walk: None,
            ..cursor
        }
    }

    /// What a first start without a cursor does: a decided case.
    async fn first_run(&self) -> Result<Cursor, Halt> {
        // Nothing in Keap yet: whatever comes is new.
        let newest = self.newest_in_keap().await?.unwrap_or(DateTime::UNIX_EPOCH);
        let settled = TimeDelta::from_std(self.overlap + ROUNDING)
            .ok()
            .and_then(|back| newest.checked_sub_signed(back))
            .unwrap_or(newest);
        let cursor = Cursor {
            settled,
            settling: settled,
            ..Cursor::at(newest)
        };
        let epoch = self.require_lease()?;
        if self.everything_first {
            tracing::info!(
                "First start without a cursor: every contact in Keap is synced (poll.first_run = everything), and changes from now on."
            );
            if let Some(replaced) = self
                .store
                .cursor(Feed::Backfill)
                .await?
                .and_then(|cursor| cursor.walk?.run_id)
            {
                self.store
                    .end_runs(&[replaced], Some("replaced by the first full walk"))
                    .await?;
            }
            let run_id = Uuid::new_v4();
            self.begin_run(run_id, Feed::Backfill, "first_run").await?;
            let everything = super::backfill::start(None, run_id);
            self.store
                .put_cursors(
                    epoch,
                    &[(Feed::Changed, &cursor), (Feed::Backfill, &everything)],
                )
                .await?;
        } else {
            tracing::info!(
                "First start without a cursor: only changes from now on are synced (poll.first_run = from_now)."
            );
            self.store
                .put_cursors(epoch, &[(Feed::Changed, &cursor)])
                .await?;
        }
        Ok(cursor)
    }

    /// The newest update stamp in Keap; by Keap's clock where it refuses to sort by it.
    async fn newest_in_keap(&self) -> Result<Option<DateTime<Utc>>, Halt> {
        let newest = self
            .keap
            .newest(Lane::Bulk)
            .await
            .map_err(Halt::of_reading)?;
        Ok(newest.stamp.or(newest.date.filter(|_| newest.any)))
    }
}

/// The memory of the feed, shared by the lane's polls.
pub type SharedMemory = Mutex<Memory>;
