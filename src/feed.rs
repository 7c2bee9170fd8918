//! Feeds: the sources of contacts to look at, with their cursors and their counts.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::contact::KeapId;
use crate::outcome::Action;

/// A source of contacts to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feed {
    /// The poll: contacts that changed since the cursor.
    Changed,
    /// Every contact, or all that changed since a given time.
    Backfill,
    /// Finds linked contacts that Keap no longer has.
    Sweep,
    /// Compares every linked contact in Intercom with what was settled.
    Audit,
    /// Requests and retries. It has no cursor: its rows are its place.
    Due,
    /// The contacts of a plan that a person has approved. Its rows are its place, too.
    Plan,
}

impl Feed {
    /// Every feed.
    pub const ALL: [Self; 6] =
        [Self::Changed, Self::Backfill, Self::Sweep, Self::Audit, Self::Due, Self::Plan];

    /// The feed's name in tables, URLs and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Backfill => "backfill",
            Self::Sweep => "sweep",
            Self::Audit => "audit",
            Self::Due => "due",
            Self::Plan => "plan",
        }
    }

    /// The lane that runs the feed's passes.
    pub fn lane(self) -> Lane {
        match self {
            Self::Due => Lane::Urgent,
            Self::Changed | Self::Backfill | Self::Sweep | Self::Audit | Self::Plan => Lane::Bulk,
        }
    }

    /// The feed of a stored name; `None` for a name that another release stored.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feed| feed.as_str() == text)
    }
}

/// One of the two loops that run passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Requests and retries. A share of each limit is kept for it.
    Urgent,
    /// The walks: polls, backfills and sweeps.
    Bulk,
}

impl Lane {
    /// The lane's name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Bulk => "bulk",
        }
    }

    /// The lane's place in an array with one entry per lane.
    pub fn index(self) -> usize {
        match self {
            Self::Urgent => 0,
            Self::Bulk => 1,
        }
    }
}

/// Why a contact is due. Requests go before retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueReason {
    /// A person or a script asked for it.
    Manual,
    /// A webhook named it.
    Webhook,
    /// An attempt failed, and the time of the next one has come.
    Retry,
    /// A change of another contact concerns it, or both lanes had it at the same time.
    Again,
}

impl DueReason {
    const ALL: [Self; 4] = [Self::Manual, Self::Webhook, Self::Retry, Self::Again];

    /// The reason's name in tables and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Webhook => "webhook",
            Self::Retry => "retry",
            Self::Again => "again",
        }
    }

    /// The reason of a stored name; `None` for a name that another release stored.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// Lower goes first.
    pub fn priority(self) -> i16 {
        match self {
            Self::Manual => 0,
            Self::Webhook => 1,
            Self::Retry | Self::Again => 2,
        }
    }

    /// Whether a caller may wait for the outcome. Such an outcome is always logged.
    pub fn is_request(self) -> bool {
        matches!(self, Self::Manual | Self::Webhook)
    }
}

/// The turn of a due contact whose opt-out waits: before everything else.
pub const CONSENT_TURN: i16 = -1;
/// The turn of a due contact whose write to Keap has a pace: a walk has made it due, or so many
/// others have changed that nobody waits for this one. It comes after everything else.
pub const PACED_TURN: i16 = 3;

/// Calls to Keap in a day that polls, sweeps and edits of people take.
const OTHER_CALLS_A_DAY: i64 = 3_000;

/// The calls of Keap's day that are not for writes that nobody waits for: the reserve, and what the
/// others still take until the day ends. `day_left`: in seconds.
pub fn kept_calls(limit: i64, reserve_percent: u32, day_left: i64) -> i64 {
    let reserve = limit * i64::from(reserve_percent) / 100;
    let others = OTHER_CALLS_A_DAY.min((limit - reserve) / 2);
    (reserve + others * day_left / DAY_SECONDS).max(kept_for_opt_outs(limit))
}

/// The calls of Keap's day that are for opt-outs alone: whoever unsubscribes must not wait until
/// midnight.
pub fn kept_for_opt_outs(limit: i64) -> i64 {
    (limit / 100).min(300)
}

pub const DAY_SECONDS: i64 = 86_400;

/// The seconds until Keap's day ends: at midnight UTC.
pub fn day_left(now: DateTime<Utc>) -> i64 {
    DAY_SECONDS - now.timestamp().rem_euclid(DAY_SECONDS)
}

/// Why a walk is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunReason {
    /// Its cron line fired.
    Schedule,
    /// The first start had no cursor.
    FirstRun,
    /// A person or a script asked for it.
    Manual,
    /// A person asked for it, and the brake on mass changes does not apply.
    Forced,
    /// The cursor lay in the future and was set back.
    CursorInFuture,
    /// Webhooks did not arrive for a while.
    HooksWereDead,
}

impl RunReason {
    /// The reason's name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::FirstRun => "first_run",
            Self::Manual => "manual",
            Self::Forced => "forced",
            Self::CursorInFuture => "cursor_in_future",
            Self::HooksWereDead => "hooks_were_dead",
        }
    }

    /// The reasons of walks that repeat by themselves. No caller waits for such a run.
    pub const COMES_AGAIN: [Self; 2] = [Self::Schedule, Self::FirstRun];
}

/// What a walk does now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// It reads pages of contacts.
    #[default]
    Reading,
    /// A sweep has read all pages. It confirms and counts the contacts that no page listed, then
    /// acts on them.
    Judging,
}

/// A walk that has not moved for this time stands still. The slowest page that makes progress takes
/// less.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(5 * 60);

/// Whether a walk that has not moved for this time stands still. `poll_age`: the age from which a
/// poll is late, which may be less.
pub fn stands_still(still_for: Duration, poll_age: Duration) -> bool {
    still_for > STANDS_STILL_AFTER.min(poll_age)
}

/// The place of a walk inside its window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    pub start: Option<DateTime<Utc>>,
    /// The position of the polls once this walk has ended.
    pub end: Option<DateTime<Utc>>,
    pub phase: Phase,
    /// The walk continues after this id.
    pub last_id: Option<KeapId>,
    /// The place, if Keap refuses to page by id.
    pub page_token: Option<String>,
    pub run_id: Option<Uuid>,
}

/// Contacts whose update stamps are ahead of Keap's own clock: a mistake in Keap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    pub contacts: i64,
    /// One of them.
    pub example: KeapId,
    /// The furthest of their stamps.
    pub until: DateTime<Utc>,
}

/// How far a feed has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Every contact with a stamp up to here is recorded.
    pub position: DateTime<Utc>,
    /// Nothing with a stamp up to here can still become visible late.
    pub settled: DateTime<Utc>,
    /// Becomes `settled` once the overlap has passed since it was set.
    pub settling: DateTime<Utc>,
    /// The contacts with stamps ahead of Keap's clock that the last whole poll read.
    pub ahead: Option<Ahead>,
    pub walk: Option<Walk>,
    /// How long ago `settling` was set, by Postgres's clock. Read only.
    pub settling_age: Duration,
    /// Time since a whole poll last succeeded. Read only.
    pub polled_age: Option<Duration>,
    /// Time since the walk under way last moved, or since the lease was taken. Read only.
    pub still_for: Option<Duration>,
}

impl Cursor {
    /// A cursor with nothing to settle and no walk.
    pub fn at(position: DateTime<Utc>) -> Self {
        Self {
            position,
            settled: position,
            settling: position,
            ahead: None,
            walk: None,
            settling_age: Duration::ZERO,
            polled_age: None,
            still_for: None,
        }
    }

    /// Whether the feed is at rest: it has no walk under way.
    pub fn is_at_rest(&self) -> bool {
        self.walk.is_none()
    }
}

/// The outcomes of the contacts that were looked at, and the calls that they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub seen: i64,
    pub created: i64,
    pub linked: i64,
    pub updated: i64,
    /// They got their owner's value back in Intercom.
    pub restored: i64,
    pub unchanged: i64,
    pub skipped: i64,
    pub held: i64,
    pub failed: i64,
    /// Keap no longer has them, and their Intercom contacts were archived.
    pub archived: i64,
    /// Keap no longer has them, and only their links were removed.
    pub unlinked: i64,
    /// A sweep or an audit found them after every poll had missed them. They became due.
    pub late: i64,
    /// They have a field that was edited on both sides. They count among the others, too.
    pub conflicts: i64,
    /// They were made in Keap for users of Intercom.
    pub created_in_keap: i64,
    pub keap_calls: i64,
    pub intercom_calls: i64,
}

impl Counts {
    /// One contact with this action. `seen` is left to the caller.
    pub fn of(action: Action) -> Self {
        let mut counts = Self::default();
        *match action {
            Action::Created => &mut counts.created,
            Action::Linked => &mut counts.linked,
            Action::Updated => &mut counts.updated,
            Action::Restored => &mut counts.restored,
            Action::Unchanged => &mut counts.unchanged,
            Action::Archived => &mut counts.archived,
            Action::Unlinked => &mut counts.unlinked,
            Action::Skipped => &mut counts.skipped,
            Action::Held => &mut counts.held,
            Action::Failed => &mut counts.failed,
        } = 1;
        counts
    }

    /// Adds the counts of another part of the work.
    pub fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.created += other.created;
        self.linked += other.linked;
        self.updated += other.updated;
        self.restored += other.restored;
        self.unchanged += other.unchanged;
        self.skipped += other.skipped;
        self.held += other.held;
        self.failed += other.failed;
        self.archived += other.archived;
        self.unlinked += other.unlinked;
        self.late += other.late;
        self.conflicts += other.conflicts;
        self.created_in_keap += other.created_in_keap;
        self.keap_calls += other.keap_calls;
        self.intercom_calls += other.intercom_calls;
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stored_name_is_read_back() {
        for feed in Feed::ALL {
            assert_eq!(Feed::parse(feed.as_str()), Some(feed));
        }
        for reason in DueReason::ALL {
            assert_eq!(DueReason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(Feed::parse("elsewhere"), None);
    }
}
