//! The `changed` feed: polls Keap for contacts that changed since the cursor.
//!
//! `docs/architecture.md` explains the cursor and why it never loses a change.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::ahead::{self, Watch};
use super::backfill;
use super::detour::Look;
use super::polls::Polls;
use super::pulse::ask_for_nobody;
use super::walk::{Step, Walker, sorted};
use crate::feed::{Cursor, Feed, Lane, RunReason, Walk};
use crate::keap::{self, Newest, Row, Show};
use crate::outcome::RunFailure;
use crate::remote::Failure;
use crate::store::{NewRun, Tally};
use crate::sync::context::{Context, Opened};
use crate::sync::page::Page;
use crate::sync::result::Halt;

/// Keap rounds stamps by up to half a second, and two rows may share a second: this much is added
/// to the overlap.
const ROUNDING: Duration = Duration::from_secs(2);

/// Whether Keap compares whole seconds or hidden milliseconds is unknown: "just after" is one
/// millisecond.
const JUST_AFTER: TimeDelta = TimeDelta::milliseconds(1);

/// A cursor this far ahead of Keap's own clock is a mistake. Less comes from servers of Keap whose
/// clocks differ.
const CURSOR_AHEAD: TimeDelta = TimeDelta::minutes(1);

/// What this process remembers between polls. Losing it costs one more read.
#[derive(Default)]
struct Memory {
    /// The changes after `settled` filled more than a page last time. They are read again once, not
    /// at every poll.
    large: bool,
    /// When this process saw `settling` being set, by its monotonic clock.
    settling: Option<(DateTime<Utc>, Instant)>,
    /// The overlap had passed since `settling` was set when the current poll began at `settled`.
    ripe: bool,
    /// The last poll read more than a page and found nothing newer. Where Keap cuts bounds to
    /// seconds, a bulk edit would be read again at every poll.
    repeats: bool,
    /// The walk under way has had a full page. A walk may be short: a failed page leads to one,
    /// too.
    full: bool,
}

/// What the feed hands out.
pub(crate) enum Polled {
    Page(Box<Page>),
    /// Nothing has changed: the poll is over, and its cursor is stored.
    Nothing,
}

/// The `changed` feed.
pub(crate) struct ChangedFeed {
    context: Arc<Context>,
    walker: Walker,
    memory: Memory,
    ahead: Watch,
    polls: Polls,
}

impl ChangedFeed {
    /// The feed of a process.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let walker =
            Walker::new(Arc::clone(&context.keap), context.policy.keap.page_size, Show::Everything);
        let polls = Polls::new(Arc::clone(&context));
        Self { context, walker, memory: Memory::default(), ahead: Watch::default(), polls }
    }

    /// Takes up a requested poll.
    pub(crate) async fn ask(&mut self, run_id: Uuid) -> Result<(), Halt> {
        self.polls.ask(run_id).await
    }

    /// Moves the cursor to a time that a person has chosen. What this process remembers of former
    /// polls is about another place.
    pub(crate) async fn set_cursor(&mut self, to: DateTime<Utc>) -> Result<(), Halt> {
        // Whether Keap's bound includes its own instant is unknown, and stamps are rounded.
        let to = to - TimeDelta::seconds(1);
        if self.context.store.move_cursor(&self.context.fence()?, to).await? {
            self.memory = Memory::default();
            self.ahead = Watch::default();
            tracing::info!(position = %to, "The cursor of the polls is set by hand.");
        }
        Ok(())
    }

    /// Whether a poll of this process has this run. A poll that another process began has a window
    /// that ends before this poll was asked for.
    pub(crate) fn is_own(&self, run_id: Option<Uuid>) -> bool {
        self.polls.is_own(run_id)
    }

    /// The runs that this process carries out and that have no place yet.
    pub(crate) fn own_runs(&self) -> Vec<Uuid> {
        self.polls.runs()
    }

    /// Forgets the polls of a former lease.
    pub(crate) fn forget_polls(&mut self) {
        self.polls = Polls::new(Arc::clone(&self.context));
    }

    /// Ends a whole poll. True if another one was requested during it.
    pub(crate) async fn end(&mut self) -> Result<bool, Halt> {
        self.polls.end().await
    }

    /// The next page of the current poll. `begin`: a new poll may start, else only a walk under way
    /// goes on.
    pub(crate) async fn next(&mut self, begin: bool) -> Result<Option<Polled>, Halt> {
        let opened = self.context.open(Lane::Bulk);
        let cursor = match self.context.store.cursor(Feed::Changed).await? {
            Some(cursor) => cursor,
            None if begin => self.first_run().await?,
            None => return Ok(None),
        };
        if let Some(walk) = cursor.walk.clone() {
            return self.walk(cursor, walk, opened).await.map(Some);
        }
        if !begin {
            return Ok(None);
        }
        self.poll(cursor, opened).await.map(Some)
    }

    /// Begins a poll.
    async fn poll(&mut self, cursor: Cursor, opened: Opened) -> Result<Polled, Halt> {
        let start = self.poll_start(&cursor);
        if self.repeats_itself(&cursor).await? {
            self.polls.end_empty().await?;
            return Ok(Polled::Nothing);
        }
        let window = Walk { start: Some(start), ..Walk::default() };
        let (look, whole) = self.look(&window, &cursor).await?;
        let date = match &look {
            Look::All(page) | Look::Part(page) => page.date,
            Look::Fails { date } => *date,
        };
        if let Some(date) = date.filter(|date| cursor.position > *date + CURSOR_AHEAD) {
            return self.set_back(date).await;
        }
        // The position is fixed before the walk begins with the lowest id. What changes during the
        // walk has later stamps.
        let end = match look {
            Look::All(page) => return self.snapshot(cursor, page, whole, opened).await,
            Look::Part(page) => {
                // Where Keap neither sorts by stamp nor sends a time, the page at hand says it.
                let of_page = page.rows.iter().filter_map(Row::updated_at).max();
                furthest(&self.newest_in_keap().await?).or(of_page)
            }
            Look::Fails { date } => date.map(ahead::position),
        };
        let walk = Walk { end, run_id: Some(self.polls.begin().await?), ..window };
        // Stored before its first page, so that a walk which never gets further is seen to stand
        // still.
        self.put(&Cursor { walk: Some(walk.clone()), ..cursor.clone() }).await?;
        self.walk(cursor, walk, opened).await
    }

    /// Looks at what has changed. An empty answer where rows were a moment ago is believed only
    /// when it is repeated. False: contacts far ahead of Keap's clock are left out.
    async fn look(&mut self, window: &Walk, cursor: &Cursor) -> Result<(Look, bool), Halt> {
        let mut until = self.ahead.begin();
        let mut look = self.walker.look(Lane::Bulk, window, until).await?;
        if let (Some(stamp), Look::All(page)) = (until, &look)
            && self.ahead.is_reached(stamp, page.date)
        {
            until = None;
            look = self.walker.look(Lane::Bulk, window, until).await?;
        }
        let rows_were_there = window.start.is_some_and(|start| start <= cursor.position);
        if rows_were_there && matches!(&look, Look::All(page) if page.rows.is_empty()) {
            look = self.walker.look(Lane::Bulk, window, until).await?;
        }
        Ok((look, until.is_none()))
    }

    /// Takes a page that is not full. It holds every change, so the cursor moves to the newest
    /// stamp in it. `whole`: nothing is left out.
    async fn snapshot(
        &mut self,
        mut cursor: Cursor,
        page: keap::Page,
        whole: bool,
        opened: Opened,
    ) -> Result<Polled, Halt> {
        if whole {
            self.ahead.take(&page.rows, page.date);
            cursor.ahead = self.ahead.end(self.walker.page_size());
        }
        let newest = ahead::newest(page.rows.iter().filter_map(Row::updated_at), page.date);
        let next = self.after_poll(cursor, newest, None);
        if page.rows.is_empty() {
            self.put(&next).await?;
            self.polls.end_empty().await?;
            return Ok(Polled::Nothing);
        }
        let rows = sorted(page.rows)?;
        let run_id = Some(self.polls.begin().await?);
        let page = Page { run_id, cursor: Some(next), ..Page::of(Feed::Changed, opened) };
        Ok(Polled::Page(Box::new(page.with(rows))))
    }

    /// Sets back a cursor that lies in the future, because it would hide every change until then.
    /// Then everything is read once.
    async fn set_back(&mut self, date: DateTime<Utc>) -> Result<Polled, Halt> {
        tracing::error!(
            "The cursor of the changed feed lies in the future. It is set back to Keap's time, and every contact is read once."
        );
        let back = self.context.policy.poll.overlap + ROUNDING;
        let cursor = Cursor::at(date - TimeDelta::from_std(back).unwrap_or_default());
        let fence = self.context.fence()?;
        self.context.store.set_back(&fence, &cursor, RunReason::CursorInFuture).await?;
        self.polls.end_empty().await?;
        Ok(Polled::Nothing)
    }

    /// Whether a poll would only read the last bulk edit again: Keap has no newer stamp.
    async fn repeats_itself(&self, cursor: &Cursor) -> Result<bool, Halt> {
        if !self.memory.repeats || cursor.settled != cursor.position {
            return Ok(false);
        }
        let Newest { stamps, date, .. } = match self.context.keap.newest(Lane::Bulk).await {
            // Perhaps Keap cannot show the newest contact. The poll finds out.
            Err(Failure::Again { .. }) => return Ok(false),
            newest => newest.map_err(Halt::of_reading)?,
        };
        let newest = stamps.into_iter().find(|stamp| !ahead::is_ahead(*stamp, date));
        Ok(newest.is_some_and(|newest| newest <= cursor.position))
    }

    async fn walk(
        &mut self,
        mut cursor: Cursor,
        walk: Walk,
        opened: Opened,
    ) -> Result<Polled, Halt> {
        let Step { rows, date, next } = self.walker.step(Lane::Bulk, &walk).await?;
        let begins = walk.last_id.is_none() && walk.page_token.is_none();
        let is_full = rows.len() >= self.walker.page_size();
        self.memory.full = is_full || (self.memory.full && !begins);
        self.ahead.take(&rows, date);
        let next = match next {
            Some(next) => Cursor { walk: Some(next), ..cursor },
            None => {
                cursor.ahead = self.ahead.end(self.walker.page_size());
                self.after_poll(cursor, walk.end, Some(&walk))
            }
        };
        let page =
            Page { run_id: walk.run_id, cursor: Some(next), ..Page::of(Feed::Changed, opened) };
        Ok(Polled::Page(Box::new(page.with(sorted(rows)?))))
    }

    /// Where the next poll starts: just after what is settled, so that rows which become visible
    /// late are still found.
    fn poll_start(&mut self, cursor: &Cursor) -> DateTime<Utc> {
        let here = self
            .memory
            .settling
            .filter(|(settling, _)| *settling == cursor.settling)
            .map(|(_, since)| since.elapsed());
        if here.is_none() {
            self.memory.settling = Instant::now()
                .checked_sub(cursor.settling_age)
                .map(|since| (cursor.settling, since));
        }
        let age = here.unwrap_or(cursor.settling_age);
        let ripe = age >= self.context.policy.poll.overlap + ROUNDING;
        self.memory.ripe = ripe;
        let from = if self.memory.large && !ripe { cursor.position } else { cursor.settled };
        from + JUST_AFTER
    }

    /// The cursor once a poll is whole. The position never goes back. `walked`: the walk that it
    /// took. Only a walk over more than a page is not read again.
    fn after_poll(
        &mut self,
        cursor: Cursor,
        newest: Option<DateTime<Utc>>,
        walked: Option<&Walk>,
    ) -> Cursor {
        let memory = &mut self.memory;
        let position = newest.map_or(cursor.position, |newest| newest.max(cursor.position));
        // A walk that another process began may have started behind what was to be settled.
        let from_settled =
            |walk: &Walk| walk.start.is_some_and(|start| start <= cursor.settled + JUST_AFTER);
        let ripe = memory.ripe && walked.is_none_or(from_settled);
        let (settled, settling) =
            if ripe { (cursor.settling, position) } else { (cursor.settled, cursor.settling) };
        let large = walked.is_some() && memory.full;
        memory.repeats = large && position == cursor.position && settled == position;
        memory.large = if ripe { large && settling > settled } else { memory.large || large };
        memory.ripe = false;
        if settling != cursor.settling {
            memory.settling = Some((settling, Instant::now()));
        }
        Cursor { position, settled, settling, walk: None, ..cursor }
    }

    /// The cursor of a feed that has none: at the newest change in Keap, or behind it where
    /// contacts that become visible late are still to be read. `whole`: a walk over everything
    /// begins now.
    pub(crate) async fn first_cursor(&self, whole: bool) -> Result<Cursor, Halt> {
        let newest_in_keap = self.newest_in_keap().await?;
        // Without a stamp Keap is empty, and every later contact is new.
        let newest = furthest(&newest_in_keap).unwrap_or(DateTime::UNIX_EPOCH);
        // What comes late has an older stamp: the walk finds it anyway, and it is no later change.
        // Only the newest second may not be over yet.
        let is_over = newest_in_keap.date.is_some_and(|date| date - newest > TimeDelta::seconds(2));
        let back = if whole {
            self.context.policy.poll.overlap + ROUNDING
        } else if is_over {
            Duration::ZERO
        } else {
            ROUNDING
        };
        let settled = TimeDelta::from_std(back)
            .ok()
            .and_then(|back| newest.checked_sub_signed(back))
            .unwrap_or(newest);
        Ok(Cursor { settled, settling: settled, ..Cursor::at(newest) })
    }

    /// Begins without a cursor, as the settings say.
    async fn first_run(&self) -> Result<Cursor, Halt> {
        let whole = self.context.policy.everything_first();
        let cursor = self.first_cursor(whole).await?;
        if !whole {
            tracing::info!(
                "First start without a cursor: only changes from now on are synced (poll.first_run = from_now)."
            );
            self.put(&cursor).await?;
            return Ok(cursor);
        }
        tracing::info!(
            "First start without a cursor: every contact in Keap is synced (poll.first_run = everything), and changes from now on."
        );
        let (store, fence) = (&self.context.store, self.context.fence()?);
        let under_way = store.cursor(Feed::Backfill).await?.and_then(|cursor| cursor.walk);
        if let Some(Walk { start: None, run_id: Some(run_id), .. }) = under_way {
            // A walk over everything is under way. It begins anew, because contacts before its
            // place may have changed without a cursor that would show it.
            let everything = backfill::beginning(None, run_id);
            let cursors = [(Feed::Changed, &cursor), (Feed::Backfill, &everything)];
            store.put_cursors(&fence, &cursors, &Tally::default()).await?;
            return Ok(cursor);
        }
        let (id, reason) = (Uuid::new_v4(), RunReason::FirstRun);
        let run = NewRun { id, feed: Feed::Backfill, reason, since: None };
        let everything = backfill::beginning(None, id);
        let places = [(Feed::Changed, &cursor), (Feed::Backfill, &everything)];
        let why = "replaced by the first full walk, which reads the same contacts";
        let why = RunFailure::Other(why.into());
        let replaced = under_way.and_then(|walk| walk.run_id).map(|replaced| (replaced, &why));
        store.begin_run(&fence, &run, &places, replaced).await?;
        Ok(cursor)
    }

    async fn put(&self, cursor: &Cursor) -> Result<(), Halt> {
        let fence = self.context.fence()?;
        let calls = self.context.take_calls();
        let cursors = [(Feed::Changed, cursor)];
        let stored = self.context.store.put_cursors(&fence, &cursors, &calls.tally()).await;
        if stored.is_err() {
            self.context.give_calls_back(calls);
        }
        Ok(stored?)
    }

    /// The newest update stamps in Keap, and Keap's clock.
    async fn newest_in_keap(&self) -> Result<Newest, Halt> {
        let keap = &self.context.keap;
        match keap.newest(Lane::Bulk).await {
            // The newest contact itself may be the one that Keap cannot show.
            Err(Failure::Again { why, .. }) => match ask_for_nobody(keap, Lane::Bulk).await {
                Ok(page) => Ok(Newest { stamps: Vec::new(), date: page.date, any: true }),
                Err(_) => Err(Halt::of_reading(Failure::again(why))),
            },
            newest => newest.map_err(Halt::of_reading),
        }
    }
}

/// The furthest position that a walk which begins now may lead to. Where Keap does not sort by
/// stamp, or all its newest stamps are too new, its clock says it.
fn furthest(newest: &Newest) -> Option<DateTime<Utc>> {
    let stamps = newest.stamps.iter().copied();
    let by_clock = newest.date.filter(|_| newest.any).map(ahead::position);
    ahead::newest(stamps, newest.date).or(by_clock)
}
