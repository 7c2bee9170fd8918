//! The context: everything that feeds and passes share.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use tokio::sync::{Mutex, OnceCell, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claims::{Claims, OpenPage};
use super::doubt::Doubt;
use super::heartbeat::Heartbeat;
use super::merge::Direction;
use super::newcomers::Creating;
use super::noticed::Noticed;
use super::pace::Pace;
use super::pause_board::PauseBoard;
use super::result::Halt;
use super::search_lag::SearchLag;
use super::under_way::UnderWay;
use super::unexplained_counts::UnexplainedCounts;
use crate::config::{self, FirstRun};
use crate::contact::{Digest, DigestKey, FieldOrder};
use crate::feed::{Counts, Feed, Lane, kept_for_opt_outs};
use crate::intercom::IntercomClient;
use crate::keap::KeapClient;
use crate::store::{Fence, HeldLease, Store, Tally};
use crate::trigger::Requests;

/// The settings that passes need, by section.
#[derive(Debug, Clone)]
pub struct Policy {
    pub keap: config::Keap,
    pub matching: config::Match,
    /// What happens to the Intercom contact of somebody who leaves the scope.
    pub left: config::Left,
    /// Whether Intercom's values travel to Keap.
    pub direction: Direction,
    /// How far a poll of Intercom looks back.
    pub intercom_overlap: TimeDelta,
    /// The largest share of the linked contacts that differs in Intercom, or leaves the scope,
    /// without a person.
    pub brake_percent: i64,
    /// Whom the settings bring into Keap.
    pub creating: Creating,
    pub poll: config::Poll,
    pub sweep: config::Sweep,
    pub erase: config::Erase,
    pub sync: config::Sync,
}

impl Policy {
    /// Whether a first start without a cursor syncs everything, not just what changes from then on.
    pub fn everything_first(&self) -> bool {
        self.poll.first_run == FirstRun::Everything
    }
}

/// Calls made to each remote so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    pub keap: i64,
    pub intercom: i64,
}

impl Calls {
    /// What was spent since then, as counts.
    pub fn since(self, before: Self) -> Counts {
        Counts {
            keap_calls: self.keap - before.keap,
            intercom_calls: self.intercom - before.intercom,
            ..Counts::default()
        }
    }

    /// The same for the charts.
    pub fn tally(self) -> Tally {
        Tally::calls(self.keap, self.intercom)
    }
}

/// What the two lanes share while they run.
pub struct Board {
    pub claims: Claims,
    /// The intents of the pages under way.
    pub intents: UnderWay,
    pub heartbeat: Heartbeat,
    /// What makes the mapping doubtful.
    pub doubt: Arc<Doubt>,
    /// Changes in Intercom that are stored as due.
    pub noticed: Noticed,
    /// How often contacts that nobody waits for are written to Keap.
    pub pace: Pace,
    pub search_lag: SearchLag,
    /// Locked while Intercom's list of changes is read: its place moves by one poll at a time.
    pub intercom_poll: Mutex<()>,
    pub pauses: Arc<PauseBoard>,
    /// The mark of plans, once it was needed.
    pub mark: OnceCell<Digest>,
    /// What the runs under way have met that no change in Keap explains.
    pub unexplained: UnexplainedCounts,
    /// Wakes the lanes for requests that other processes store.
    pub requests: Arc<Requests>,
    /// What came of everything since the start, as it is recorded.
    pub progress: watch::Sender<Counts>,
    /// The calls that the charts have counted.
    pub counted_calls: std::sync::Mutex<Calls>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            claims: Claims::default(),
            intents: UnderWay::default(),
            heartbeat: Heartbeat::default(),
            doubt: Arc::default(),
            noticed: Noticed::default(),
            pace: Pace::default(),
            search_lag: SearchLag::default(),
            intercom_poll: Mutex::default(),
            pauses: Arc::default(),
            mark: OnceCell::new(),
            unexplained: UnexplainedCounts::default(),
            requests: Arc::default(),
            progress: watch::Sender::new(Counts::default()),
            counted_calls: std::sync::Mutex::default(),
        }
    }
}

/// Everything that feeds and passes need; one per process.
pub struct Context {
    pub store: Store,
    pub keap: Arc<KeapClient>,
    pub intercom: Arc<IntercomClient>,
    pub key: DigestKey,
    /// The order in which bases are stored.
    pub fields: FieldOrder,
    pub policy: Policy,
    pub lease: HeldLease,
    pub cancel: CancellationToken,
    pub board: Board,
}

/// Where the reading of a page began.
pub struct Opened {
    /// Remembers what the other lane finishes at the same time.
    pub open: OpenPage,
    /// The calls made before.
    pub calls: Calls,
}

impl Context {
    /// Begins the reading of a page. Call it before the first call to Keap.
    pub fn open(&self, lane: Lane) -> Opened {
        Opened { open: self.board.claims.open_page(), calls: self.calls(lane) }
    }

    /// The proof under which this process may record now.
    pub fn fence(&self) -> Result<Fence, Halt> {
        self.lease.fence().ok_or(Halt::LeaseLost)
    }

    /// Whether both lanes make progress. A lane that hangs is late.
    pub fn is_alive(&self) -> bool {
        self.board.heartbeat.is_alive(Instant::now())
    }

    /// Whether a lane may take another step.
    pub fn may_work(&self) -> bool {
        self.lease.is_held() && !self.cancel.is_cancelled()
    }

    /// Fails with the pause that stops a feed. `is_request`: a person or a script asked for it.
    pub fn go_on(&self, feed: Feed, is_request: bool) -> Result<(), Halt> {
        match self.board.pauses.of_feed(feed, is_request) {
            Some(why) => Err(Halt::Paused(why)),
            None => Ok(()),
        }
    }

    /// Whether a pause stops a feed.
    pub fn is_paused(&self, feed: Feed) -> bool {
        self.board.pauses.of_feed(feed, false).is_some()
    }

    /// Calls made for one lane.
    pub fn calls(&self, lane: Lane) -> Calls {
        let signed = |calls: u64| i64::try_from(calls).unwrap_or(i64::MAX);
        Calls {
            keap: signed(self.keap.remote().calls_of(lane)),
            intercom: signed(self.intercom.remote().calls_of(lane)),
        }
    }

    /// Calls made for both lanes.
    pub fn all_calls(&self) -> Calls {
        let (urgent, bulk) = (self.calls(Lane::Urgent), self.calls(Lane::Bulk));
        Calls { keap: urgent.keap + bulk.keap, intercom: urgent.intercom + bulk.intercom }
    }

    /// The calls since they were taken last. Whoever takes them stores them with the next record,
    /// or gives them back.
    pub fn take_calls(&self) -> Calls {
        let all = self.all_calls();
        let mut counted =
            self.board.counted_calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = std::mem::replace(&mut *counted, all);
        Calls { keap: all.keap - before.keap, intercom: all.intercom - before.intercom }
    }

    /// The calls could not be stored, so they are taken with the next record.
    pub fn give_calls_back(&self, calls: Calls) {
        let mut counted =
            self.board.counted_calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counted.keap -= calls.keap;
        counted.intercom -= calls.intercom;
    }

    /// Adds to the progress that commands show.
    pub fn advance(&self, counts: &Counts) {
        self.board.progress.send_modify(|progress| progress.add(counts));
    }

    /// Gives up reading when the daemon stops. Nothing is written yet.
    pub async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Halt::Cancelled),
            done = work => done,
        }
    }

    /// Whether Keap's day has calls left for writes that nobody waits for.
    pub fn has_calls_for_paced(&self) -> bool {
        self.board.pace.has_calls(&self.keap.remote().headroom(), Utc::now())
    }

    /// Whether Keap's day has calls left for others than opt-outs.
    pub fn has_calls_beside_opt_outs(&self) -> bool {
        let travels = self.policy.direction.to_keap && self.fields.has_consent_to_keap();
        let headroom = self.keap.remote().headroom();
        let mut of_a_day = headroom.iter().filter(|limit| limit.name.ends_with("per day"));
        !travels || of_a_day.all(|day| day.available > kept_for_opt_outs(day.limit))
    }

    /// Waits until Intercom takes calls. Until then nothing is read from Keap, because Keap counts
    /// calls by the day.
    pub async fn intercom_is_ready(&self, lane: Lane) -> Result<(), Halt> {
        let ready = async { self.intercom.remote().ready(lane).await.map_err(Halt::of_reading) };
        self.unless_cancelled(ready).await
    }
}
