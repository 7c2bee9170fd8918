//! The pacer: keeps the calls to one remote within its limits, which each client reads from the
//! headers of its remote.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::feed::Lane;

/// Whether the limits allow a call to start.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    Now,
    /// Ask again after this time, or as soon as an answer arrives.
    Wait(Duration),
    /// Too long to wait with work in memory: the side is down for this time.
    TooLong {
        why: String,
        retry_in: Duration,
    },
}

/// What a limit allows, as `check` and `status` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headroom {
    pub name: String,
    pub limit: i64,
    pub available: i64,
}

/// The times and headers of a call that was answered.
pub struct Answered<'a> {
    pub sent: Instant,
    pub received: Instant,
    pub headers: &'a HeaderMap,
    /// The remote refused it with 429.
    pub refused: bool,
    /// What `start` returned for it.
    pub ticket: u64,
}

/// The rules of one remote. All times are those of our monotonic clock.
pub trait Limits: Send {
    fn admit(&self, now: Instant, lane: Lane) -> Admission;
    /// A call starts. The returned ticket comes back with its answer.
    fn start(&mut self, now: Instant) -> u64;
    fn answered(&mut self, answered: &Answered<'_>);
    /// A call ended without an answer; whether the remote counted it is unknown.
    fn lost(&mut self, now: Instant, ticket: u64);
    fn headroom(&self, now: Instant) -> Vec<Headroom>;
}

pub struct Pacer {
    limits: Mutex<Box<dyn Limits>>,
    /// One waiter per lane checks the limits; the others queue behind it in order.
    queues: [tokio::sync::Mutex<()>; 2],
    changed: Notify,
}

/// A started call. If it is dropped without an answer, it counts as lost.
pub struct Started<'a> {
    pacer: &'a Pacer,
    pub sent: Instant,
    ticket: u64,
    answered: bool,
}

impl Pacer {
    pub fn new(limits: Box<dyn Limits>) -> Self {
        Self { limits: Mutex::new(limits), queues: Default::default(), changed: Notify::new() }
    }

    fn limits(&self) -> MutexGuard<'_, Box<dyn Limits>> {
        // Limits are plain counts: the next answers correct whatever a panic left behind.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a call may start. `Err`: the wait would be too long; why, and how long.
    pub async fn start(&self, lane: Lane) -> Result<Started<'_>, (String, Duration)> {
        let _place = self.queues[lane.index()].lock().await;
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            let wait = {
                let mut limits = self.limits();
                match limits.admit(now, lane) {
                    Admission::Now => {
                        let ticket = limits.start(now);
                        return Ok(Started { pacer: self, sent: now, ticket, answered: false });
                    }
                    Admission::Wait(wait) => wait,
                    Admission::TooLong { why, retry_in } => return Err((why, retry_in)),
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
            }
        }
    }

    /// Whether the limits would allow a call of the bulk lane now.
    pub fn look(&self, now: Instant) -> Admission {
        self.limits().admit(now, Lane::Bulk)
    }

    pub fn headroom(&self) -> Vec<Headroom> {
        self.limits().headroom(Instant::now())
    }
}

impl Started<'_> {
    pub fn answered(mut self, headers: &HeaderMap, refused: bool) {
        self.answered = true;
        let answered = Answered {
            sent: self.sent,
            received: Instant::now(),
            headers,
            refused,
            ticket: self.ticket,
        };
        self.pacer.limits().answered(&answered);
        self.pacer.changed.notify_waiters();
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.pacer.limits().lost(Instant::now(), self.ticket);
            self.pacer.changed.notify_waiters();
        }
    }
}

/// No limit is larger than this. A header that states more is ignored.
pub const LARGEST_LIMIT: i64 = 1_000_000_000;

/// After this time a remote is asked again, whatever it has asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The number in a header, if it is one.
pub fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The pause that a remote asks for, at most an hour. `None` if it asks for none.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = number(headers, RETRY_AFTER.as_str())?;
    u64::try_from(seconds).ok().map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE))
}
