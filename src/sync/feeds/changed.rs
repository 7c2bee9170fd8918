//! The `changed` feed: polls Keap for contacts changed since the cursor. The rules are in `design.md`, "Cursor".

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::Rows;
use super::walk::newest_stamp;
use crate::keap::{self, PageQuery, Place, Show};
use crate::remote::{Failure, Lane};
use crate::store::{Cursor, Feed, Walk};
use crate::sync::claims::OpenPage;
use crate::sync::outcome::Halt;
use crate::sync::pass::Page;
use crate::sync::{Calls, Syncer};

/// Keap rounds stamps by up to half a second, and two rows may share a second: this much is added to the overlap.
const ROUNDING: Duration = Duration::from_secs(2);

/// Whether Keap compares whole seconds or hidden milliseconds is unknown: "just after" is one millisecond.
const JUST_AFTER: TimeDelta = TimeDelta::milliseconds(1);

/// A stamp so far ahead of Keap's own clock is a mistake in Keap, or in the cursor: no poll may wait until it has come.
const AHEAD: TimeDelta = TimeDelta::days(1);

/// What this process remembers between polls; losing it costs one more read.
#[derive(Default)]
pub struct Memory {
    /// What lies behind `settled` filled more than a page last time: it is read again once, not at every poll.
    large: bool,
    /// When this process saw `settling` being set, by its monotonic clock.
    settling: Option<(DateTime<Utc>, Instant)>,
    /// The current poll started from `settled`, at a time when `settling` was ripe.
    ripe: bool,
    /// The last poll read more than a page and found nothing newer: where Keap cuts bounds to seconds, a bulk edit would be
    /// read again at every poll.
    repeats: bool,
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
        if self.repeats_itself(&cursor).await? {
            self.end_empty_poll().await?;
            return Ok(Some(Polled::Nothing));
        }
        let query = PageQuery {
            from: Some(start),
            until: None,
            place: Place::Start,
            up_to: None,
            page_size: self.walker.page_size(),
            show: Show::Everything,
        };
        let full = match self.poll(&query, &cursor).await {
            Ok(page) if page.rows.len() < self.walker.page_size() && page.next_token.is_none() => {
                return self.snapshot(cursor, page, open, calls).await.map(Some);
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
        let (newest, date) = self.newest_in_keap().await?;
        let end = believable(newest.max(newest_stamp(&full.rows)), date)
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
        self.changed_walk(cursor, walk, open, calls).await.map(Some)
    }

    /// Reads what has changed. An empty answer where rows were a moment ago is believed only when it is repeated.
    async fn poll(&self, query: &PageQuery, cursor: &Cursor) -> Result<keap::Page, Failure> {
        let page = self.keap.page(Lane::Bulk, query).await?;
        let rows_were_there = query.from.is_some_and(|from| from <= cursor.position);
        if page.rows.is_empty() && page.next_token.is_none() && rows_were_there {
            return self.keap.page(Lane::Bulk, query).await;
        }
        Ok(page)
    }

    /// Less than a page is everything there is: the cursor moves to the newest stamp seen.
    async fn snapshot(
        &self,
        cursor: Cursor,
        page: keap::Page,
        open: OpenPage,
        calls: Calls,
    ) -> Result<Polled, Halt> {
        if let Some(date) = page.date.filter(|date| cursor.position > *date + AHEAD) {
            return self.set_back(date).await;
        }
        let newest = believable(newest_stamp(&page.rows), page.date);
        let next = self.after_poll(cursor, newest, None);
        if page.rows.is_empty() {
            self.store
                .put_cursors(self.require_lease()?, &[(Feed::Changed, &next)])
                .await?;
            self.end_empty_poll().await?;
            return Ok(Polled::Nothing);
        }
        let Rows {
            contacts,
            unreadable,
        } = Rows::of_walk(page.rows)?;
        let run_id = Some(self.begin_poll().await?);
        let (missing, versions) = (Vec::new(), HashMap::new());
        let page = Page {
            feed: Feed::Changed,
            lane: Lane::Bulk,
            open,
            calls,
            contacts,
            unreadable,
            missing,
            gone: Vec::new(),
            versions,
            run_id,
            cursor: Some(next),
        };
        Ok(Polled::Page(Box::new(page)))
    }

    /// A cursor in the future would hide every change until then: it is set back, and everything is read once.
    async fn set_back(&self, date: DateTime<Utc>) -> Result<Polled, Halt> {
        tracing::error!(
            "The cursor of the changed feed lies in the future; it is set back to Keap's time and every contact is read once."
        );
        let cursor =
            Cursor::at(date - TimeDelta::from_std(self.overlap + ROUNDING).unwrap_or_default());
        self.store
            .put_cursors(self.require_lease()?, &[(Feed::Changed, &cursor)])
            .await?;
        self.store
            .request_run(Feed::Backfill, "cursor_in_future", None)
            .await?;
        self.end_empty_poll().await?;
        Ok(Polled::Nothing)
    }

    /// Asks for the newest stamp before a bulk edit is read once more for nothing.
    async fn repeats_itself(&self, cursor: &Cursor) -> Result<bool, Halt> {
        let repeats = self.memory().repeats;
        if !repeats || cursor.settled != cursor.position {
            return Ok(false);
        }
        let newest = self
            .keap
            .newest(Lane::Bulk)
            .await
            .map_err(Halt::of_reading)?;
        Ok(newest.stamp.is_some_and(|newest| newest <= cursor.position))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Losing or mixing up what is remembered costs a read at most.
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
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
            None => self.after_poll(cursor, walk.end, Some(&walk)),
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
            gone: Vec::new(),
            versions: HashMap::new(),
            run_id: walk.run_id,
            cursor: Some(next),
        };
        Ok(Polled::Page(Box::new(page)))
    }

    /// Where the next poll starts: just after what is settled, so that rows which become visible late are still found.
    fn poll_start(&self, cursor: &Cursor) -> DateTime<Utc> {
        let mut memory = self.memory();
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
        from + JUST_AFTER
    }

    /// The cursor once a poll is whole: the position never goes back. `walked`: the walk that it took.
    fn after_poll(
        &self,
        cursor: Cursor,
        newest: Option<DateTime<Utc>>,
        walked: Option<&Walk>,
    ) -> Cursor {
        let mut memory = self.memory();
        let position = newest.map_or(cursor.position, |newest| newest.max(cursor.position));
        // A walk that another process began may have started behind what was to be settled.
        let from_settled = |walk: &Walk| {
            walk.start
                .is_some_and(|start| start <= cursor.settled + JUST_AFTER)
        };
        let ripe = memory.ripe && walked.is_none_or(from_settled);
        let (settled, settling) = if ripe {
            (cursor.settling, position)
        } else {
            (cursor.settled, cursor.settling)
        };
        memory.repeats = walked.is_some() && position == cursor.position && settled == position;
        memory.large = if ripe {
            walked.is_some() && settling > settled
        } else {
            memory.large || walked.is_some()
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
        let (newest, date) = self.newest_in_keap().await?;
        let newest = believable(newest, date).unwrap_or(DateTime::UNIX_EPOCH);
        // What comes late has an older stamp: the first walk finds it anyway, and it is no later change. Only the newest second
        // may not be over yet.
        let is_over = date.is_some_and(|date| date - newest > TimeDelta::seconds(2));
        let back = if self.everything_first {
            self.overlap + ROUNDING
        } else if is_over {
            Duration::ZERO
        } else {
            ROUNDING
        };
        let settled = TimeDelta::from_std(back)
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
            let under_way = self
                .store
                .cursor(Feed::Backfill)
                .await?
                .and_then(|cursor| cursor.walk);
            if under_way.as_ref().is_some_and(|walk| walk.start.is_none()) {
                // Somebody has asked for just that.
                self.store
                    .put_cursors(epoch, &[(Feed::Changed, &cursor)])
                    .await?;
                return Ok(cursor);
            }
            if let Some(replaced) = under_way.and_then(|walk| walk.run_id) {
                self.store
                    .end_runs(
                        &[replaced],
                        Some("replaced by the first full walk, which reads the same contacts"),
                    )
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

    /// The newest update stamp in Keap, by Keap's clock where it refuses to sort by it; and that clock.
    async fn newest_in_keap(&self) -> Result<(Option<DateTime<Utc>>, Option<DateTime<Utc>>), Halt> {
        let newest = match self.keap.newest(Lane::Bulk).await {
            // The newest contact itself may be the one that Keap cannot show.
            Err(Failure::Again { why, .. }) => match self.walker.ask_for_nobody(Lane::Bulk).await {
                Ok(page) => return Ok((page.date, page.date)),
                Err(_) => return Err(Halt::of_reading(Failure::again(why))),
            },
            newest => newest.map_err(Halt::of_reading)?,
        };
        Ok((
            newest.stamp.or(newest.date.filter(|_| newest.any)),
            newest.date,
        ))
    }
}

/// A stamp, or Keap's own time where the stamp is far ahead of it.
fn believable(newest: Option<DateTime<Utc>>, date: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    let (Some(stamp), Some(date)) = (newest, date) else {
        return newest;
    };
    if stamp <= date + AHEAD {
        return newest;
    }
    tracing::error!(%stamp, "A contact in Keap carries an update stamp far in the future; the cursor stays at Keap's own time.");
    Some(date)
}

/// The memory of the feed, shared by the lane's polls.
pub type SharedMemory = Mutex<Memory>;
