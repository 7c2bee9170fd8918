//! What both clients share: sending within the limits, the credential, the pacer, the breaker, and
//! the classes of failure.

mod breaker;
mod call;
mod clock;
mod credential;
mod failure;
mod harmless;
pub mod lenient;
mod pacer;
mod proxy;
mod stop;
mod together;
mod transport;
mod unknown;
mod weigh;

pub use crate::feed::Lane;
pub use breaker::Kind;
pub use call::{Call, Closed, Guard, Reply, Says};
pub use clock::RemoteClock;
pub use credential::Credential;
pub use failure::{BuildError, Failure};
pub use harmless::{Condition, Harmless, Prover};
pub use pacer::{Admission, Answered, Headroom, LARGEST_LIMIT, Limits, Pacer, number, retry_after};
pub use proxy::Proxy;
pub use together::Together;
pub use transport::TransportOptions;
pub use unknown::UnknownWrites;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::Instant;

use breaker::Breaker;
use failure::Class;
use harmless::Asked;
use pacer::Started;
use stop::Stops;
use transport::Transport;
use unknown::is_refusal;

/// A remote that refuses a call for its number so often in a row has a limit that its headers do
/// not show.
const MOST_REFUSALS: u32 = 8;
/// A remote that asks for a longer pause than this counts as down: no work waits for it in memory.
const LONGEST_PATIENCE: Duration = Duration::from_secs(90);

pub struct RemoteOptions {
    pub transport: TransportOptions,
    pub credential: Credential,
    /// A route that always exists and costs little: its answer shows whether the remote is back.
    pub probe: &'static [&'static str],
    /// Whether an answer to the probe comes from the remote itself.
    pub probe_understood: fn(&Reply) -> bool,
    pub says: fn(&Reply) -> Says,
    pub limits: Box<dyn Limits>,
    /// How long a side that needs a person is left alone at most.
    pub stop_recheck: Duration,
}

/// One remote API.
pub struct Remote {
    name: &'static str,
    credential: Credential,
    probe: &'static [&'static str],
    probe_understood: fn(&Reply) -> bool,
    says: fn(&Reply) -> Says,
    transport: Transport,
    pacer: Pacer,
    breaker: Mutex<Breaker>,
    /// Notified when a trial is over.
    tried: Notify,
    /// Locked while a harmless call is under way: there is one at a time.
    asked: tokio::sync::Mutex<Asked>,
    prover: OnceLock<Box<Prover>>,
    stops: Mutex<Stops>,
    stop_recheck: Duration,
    unknown: UnknownWrites,
}

/// The state of a side, and when it is checked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Ok,
    /// A limit allows no calls for this long.
    Limited(Duration),
    /// It kept failing, so calls are paused.
    Failing(Duration),
    /// A person must act.
    Refused(Duration),
}

/// Whether the state of the side allows a call.
enum Checked<'a> {
    May(Ticket<'a>),
    /// A trial is under way; it lasts no longer than this.
    Wait(Duration),
}

/// The permission to make a call. If the call is a trial, dropping the ticket ends the trial,
/// however the call ends.
struct Ticket<'a> {
    remote: &'a Remote,
    trial: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.trial {
            lock(&self.remote.breaker).tried();
            self.remote.tried.notify_waiters();
        }
    }
}

impl Remote {
    pub fn new(options: RemoteOptions) -> Result<Self, BuildError> {
        Ok(Self {
            name: options.transport.name,
            credential: options.credential,
            probe: options.probe,
            probe_understood: options.probe_understood,
            says: options.says,
            transport: Transport::new(options.transport)?,
            pacer: Pacer::new(options.limits),
            breaker: Mutex::default(),
            tried: Notify::new(),
            asked: tokio::sync::Mutex::default(),
            prover: OnceLock::new(),
            stops: Mutex::default(),
            stop_recheck: options.stop_recheck,
            unknown: UnknownWrites::default(),
        })
    }

    /// The writes whose outcome is unknown.
    pub fn unknown_writes(&self) -> &UnknownWrites {
        &self.unknown
    }

    /// The credential that the next call carries.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The proxy that calls go through.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.transport.proxy()
    }

    /// Calls made since the start, including probes and refused calls.
    pub fn calls(&self) -> u64 {
        self.calls_of(Lane::Urgent) + self.calls_of(Lane::Bulk)
    }

    pub fn calls_of(&self, lane: Lane) -> u64 {
        self.transport.calls_of(lane)
    }

    /// The state of the side, without a call.
    pub fn standing(&self) -> Standing {
        let now = Instant::now();
        let stops = lock(&self.stops);
        if stops.is_stopped() {
            return Standing::Refused(stops.left(now));
        }
        drop(stops);
        if let Some(pause) = lock(&self.breaker).open_for(now) {
            return Standing::Failing(pause);
        }
        match self.pacer.look(now) {
            Admission::TooLong { retry_in, .. } => Standing::Limited(retry_in),
            Admission::Now | Admission::Wait(_) => Standing::Ok,
        }
    }

    pub fn headroom(&self) -> Vec<Headroom> {
        self.pacer.headroom()
    }

    /// Makes a call within the limits, and waits for them as long as needed. A call that the remote
    /// refused without reading it is made again: for its number, or once after a 401 that was not
    /// about the credential.
    pub async fn send(&self, lane: Lane, call: &Call<'_>) -> Result<Reply, Failure> {
        let mut was_unauthorized = false;
        for _ in 0..MOST_REFUSALS {
            // A call that may not be made takes nothing of the limits.
            call.may_go().map_err(|closed| self.closed(closed))?;
            let (started, ticket) = self.admit(lane, call.kind).await?;
            call.may_go().map_err(|closed| self.closed(closed))?;
            let (sent, credential) = (Instant::now(), self.credential.header());
            self.unknown.begin(call);
            let reply = match self.transport.send(lane, call, credential.clone()).await {
                Ok(reply) => reply,
                Err(why) => {
                    drop(started);
                    return Err(self.weigh(lane, call, ticket.trial, sent, why).await);
                }
            };
            if is_refusal(reply.status) {
                self.unknown.answered(call);
            }
            started.answered(&reply.headers, reply.status == 429);
            let replaced = || credential != self.credential.header();
            if let Some(again) = self.reason_to_repeat(&reply, replaced)? {
                tracing::debug!(remote = self.name, "A call is repeated: {again}.");
                continue;
            }
            let what = match self.class_of(call, &reply) {
                Class::Answer => {
                    if !is_refusal(reply.status) {
                        self.unknown.answered(call);
                    }
                    self.succeeded(call.kind, ticket.trial);
                    return Ok(reply);
                }
                Class::Failed(what) => {
                    self.pause_as_asked(&reply);
                    what
                }
                Class::Refused(what) => {
                    self.check_service(lane, sent).await?;
                    if reply.status == 401 && !was_unauthorized {
                        was_unauthorized = true;
                        continue;
                    }
                    what
                }
            };
            let why = format!("{} {what}", self.name);
            return Err(self.weigh(lane, call, ticket.trial, sent, why).await);
        }
        Err(self.down("keeps refusing calls for their number (429)", Duration::from_secs(60)))
    }

    /// The failure of a write that may not be made.
    pub fn closed(&self, closed: Closed) -> Failure {
        match closed {
            Closed::Paused(why) => Failure::Paused { why },
            Closed::LeaseLost => Failure::Down {
                why: format!("{} is not called: this process no longer holds the lease", self.name),
                retry_in: Duration::from_secs(1),
            },
        }
    }

    /// Why the same call is made again at once; `None` for an answer that counts. Fails if the
    /// remote asks for a pause that no call waits for.
    fn reason_to_repeat(
        &self,
        reply: &Reply,
        credential_replaced: impl FnOnce() -> bool,
    ) -> Result<Option<&'static str>, Failure> {
        match (reply.status, reply.retry_after()) {
            (429, Some(retry_in)) if retry_in > LONGEST_PATIENCE => {
                Err(self.down("asks to be left alone (429)", retry_in))
            }
            (429, _) => Ok(Some("the remote refused it for its number (429)")),
            // An answer to the former credential says nothing about the new one.
            (401, _) if credential_replaced() => Ok(Some("its credential has been replaced")),
            _ => Ok(None),
        }
    }

    fn succeeded(&self, kind: Kind, trial: bool) {
        lock(&self.breaker).succeeded(kind, trial);
        lock(&self.stops).forget();
    }

    /// Leaves a failing server alone for as long as it asks for.
    fn pause_as_asked(&self, reply: &Reply) {
        let asked = reply.retry_after().filter(|pause| reply.status >= 500 && !pause.is_zero());
        if let Some(pause) = asked {
            lock(&self.breaker).pause(Instant::now(), pause);
        }
    }

    /// Stops the side until a person acts, or until it is looked at again.
    fn stop(&self, why: &str, status: u16) -> Failure {
        lock(&self.stops).stop(why, status, self.stop_recheck)
    }

    /// Reads an answer. One that cannot be read is a passing failure, because half an answer and a
    /// maintenance page look the same.
    pub fn parse<T: DeserializeOwned>(&self, reply: &Reply) -> Result<T, Failure> {
        self.parse_borrowed(&reply.body)
    }

    pub fn parse_borrowed<'de, T: serde::Deserialize<'de>>(
        &self,
        body: &'de [u8],
    ) -> Result<T, Failure> {
        // The parser's own text may quote what it read.
        serde_json::from_slice(body).map_err(|error| {
            Failure::again(format!(
                "{} sent an answer that is not understood (at line {}, column {})",
                self.name,
                error.line(),
                error.column()
            ))
        })
    }

    fn down(&self, what: &str, retry_in: Duration) -> Failure {
        Failure::Down { why: format!("{} {what}", self.name), retry_in }
    }

    /// Checks whether the side may be called, without a call that is about a contact. There is no
    /// need to read contacts for a side that accepts nothing.
    pub async fn ready(&self, lane: Lane) -> Result<(), Failure> {
        match self.check_side(lane, Kind::Read).await? {
            Checked::May(_) | Checked::Wait(_) => Ok(()),
        }
    }

    /// Waits until one call may be made. Fails at once if the side is stopped or down.
    async fn admit(&self, lane: Lane, kind: Kind) -> Result<(Started<'_>, Ticket<'_>), Failure> {
        let ticket = loop {
            let tried = self.tried.notified();
            let mut tried = std::pin::pin!(tried);
            tried.as_mut().enable();
            match self.check_side(lane, kind).await? {
                Checked::May(ticket) => break ticket,
                // The trial decides for this call too.
                Checked::Wait(longest) => {
                    let _ = tokio::time::timeout(longest, tried).await;
                }
            }
        };
        // The answer to a harmless call that is under way decides for this call too.
        drop(self.asked.lock().await);
        let started =
            self.pacer.start(lane).await.map_err(|(why, retry_in)| self.down(&why, retry_in))?;
        if ticket.trial {
            return Ok((started, ticket));
        }
        // The state may have changed while this call waited.
        match self.check_side(lane, kind).await? {
            Checked::May(ticket) => Ok((started, ticket)),
            Checked::Wait(_) => Err(self.down(
                "is left alone for a moment, until another call has shown that it is back",
                Duration::from_millis(250),
            )),
        }
    }

    async fn check_side(&self, lane: Lane, kind: Kind) -> Result<Checked<'_>, Failure> {
        loop {
            lock(&self.stops).check(Instant::now())?;
            let admission = lock(&self.breaker).admit(Instant::now(), kind);
            let trial = match admission {
                breaker::Admission::Call => false,
                breaker::Admission::Trial => true,
                breaker::Admission::Wait(longest) => return Ok(Checked::Wait(longest)),
                breaker::Admission::Pause(retry_in) => {
                    return Err(
                        self.down("is left alone for a moment, because it kept failing", retry_in)
                    );
                }
                breaker::Admission::Probe => {
                    self.probe(lane).await?;
                    continue;
                }
            };
            let ticket = Ticket { remote: self, trial };
            if lock(&self.stops).is_over(Instant::now()) {
                drop(ticket);
                self.look_again(lane).await?;
                continue;
            }
            return Ok(Checked::May(ticket));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values under these locks are replaced as a whole, so a panic cannot leave one half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
