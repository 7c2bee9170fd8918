//! Looks whether something is wrong, and tells each target until it has heard of it.
//!
//! The holder of the lease stores what is to be told, so that nothing is told twice and nothing is
//! forgotten. One trouble cannot be stored: Postgres does not answer, or takes no writes. Each
//! process keeps it in memory, and the one that held the lease when Postgres was last well tells
//! it. A process that has not seen it well since its start tells it too: then nobody knows who
//! holds the lease.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, join, join_all};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Notifier;
use super::message::Message;
use super::target::Target;
use super::undelivered::Undelivered;
use crate::report::{DatabaseTrouble, Status};
use crate::store::{Alarm, AlarmMessage, HeldLease, Store, StoreError};

/// The longest time between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The shortest one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// How long a message may still be under way after the daemon is told to stop.
const FAREWELL: Duration = Duration::from_secs(2);
/// The longest pause before a target is tried again while Postgres is away.
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// Reads how the installation stands; `Ok(None)` while the daemon still prepares the database.
pub type TakeStatus =
    dyn Fn() -> BoxFuture<'static, Result<Option<Status>, StoreError>> + Send + Sync;

/// The lease of this process, once the lanes run.
pub type FindLease = dyn Fn() -> Option<HeldLease> + Send + Sync;

/// A trouble that cannot be stored, and since when it is there.
type Unstored = Option<(DateTime<Utc>, DatabaseTrouble)>;

/// The parts of the watch.
pub struct Watch {
    pub notifier: Arc<Notifier>,
    pub store: Store,
    pub status: Box<TakeStatus>,
    pub lease: Box<FindLease>,
    pub cancel: CancellationToken,
}

impl Watch {
    /// Watches until the daemon stops. Ends at once where nobody is to be told.
    pub async fn run(self) {
        if self.notifier.targets.is_empty() {
            return self.cancel.cancelled().await;
        }
        let (away, _) = watch::channel(Unstored::None);
        let telling =
            self.notifier.targets.iter().map(|target| self.tell(target, away.subscribe()));
        // A message that is under way when the daemon stops has a moment to be recorded. Else the
        // next start would send it again.
        let stopped = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = stopped => {}
            _ = join(self.look(&away), join_all(telling)) => {}
        }
    }

    /// Waits for the next look. True: the daemon stops.
    async fn rest(&self) -> bool {
        let pause = (self.notifier.after / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => true,
            () = tokio::time::sleep(pause) => false,
        }
    }

    fn is_holder(&self) -> bool {
        (self.lease)().is_some_and(|lease| lease.is_held())
    }

    /// Takes note of what is wrong. `away`: what is wrong with Postgres, if this process is to tell
    /// it.
    async fn look(&self, away: &watch::Sender<Unstored>) {
        let mut may_tell = true;
        let mut gone: Option<(Instant, DateTime<Utc>)> = None;
        loop {
            let (status, trouble) = match (self.status)().await {
                Ok(Some(status)) if status.read_only => (None, Some(DatabaseTrouble::ReadOnly)),
                Ok(status) => (status, None),
                Err(error) if error.is_transient() => (None, Some(DatabaseTrouble::Away)),
                // The daemon ends with such an error, and says why.
                Err(_) => (None, None),
            };
            if let Some(status) = &status {
                may_tell = self.is_holder();
                self.note(status).await;
            }
            match trouble {
                Some(trouble) => {
                    let (began, since) = *gone.get_or_insert((Instant::now(), Utc::now()));
                    if may_tell && began.elapsed() >= self.notifier.after {
                        away.send_if_modified(|away| away.replace((since, trouble)).is_none());
                    }
                }
                None => {
                    gone = None;
                    away.send_replace(None);
                }
            }
            if self.rest().await {
                return;
            }
        }
    }

    async fn note(&self, status: &Status) {
        let Some(fence) = (self.lease)().and_then(|lease| lease.fence()) else { return };
        let alarms = status.alarms(self.notifier.rules, Utc::now());
        let targets: Vec<&str> = self.notifier.targets.iter().map(Target::name).collect();
        let noted = self.store.note_alarms(&fence, &alarms, self.notifier.after, &targets).await;
        log(noted, "What is wrong could not be stored for the alarms; the next look does it.");
    }

    /// Tells one target, until the daemon stops. No other target waits for it.
    async fn tell(&self, target: &Target, mut away: watch::Receiver<Unstored>) {
        let mut outage = Outage::default();
        loop {
            let now = *away.borrow_and_update();
            if outage.is_news(now) {
                outage.tell(self, target, now).await;
            } else if now.is_none() {
                self.deliver(target).await;
            }
            if self.rest().await {
                return;
            }
        }
    }

    /// Sends what waits for a target, in one message.
    async fn deliver(&self, target: &Target) {
        let Some(fence) = (self.lease)().and_then(|lease| lease.fence()) else { return };
        let news = match self.store.alarm_messages(target.name()).await {
            Ok(news) if !news.is_empty() => news,
            _ => return,
        };
        let recorded = match self.send(target, news.clone()).await {
            Ok(()) => self.store.alarms_delivered(&fence, target.name(), &news).await,
            Err(Undelivered { why, wait }) => {
                self.store.alarms_undelivered(&fence, target.name(), &why, wait).await
            }
        };
        log(recorded, "What came of an alarm could not be stored; it may be sent once more.");
    }

    async fn send(&self, target: &Target, news: Vec<AlarmMessage>) -> Result<(), Undelivered> {
        let codes: Vec<&str> = news.iter().map(|one| one.code.as_str()).collect();
        let codes = codes.join(", ");
        let notifier = &self.notifier;
        let message = Message::new(&notifier.environment, notifier.page.as_ref(), news);
        match target.send(&message).await {
            Ok(_) => {
                tracing::info!(
                    alarm.target = target.name(),
                    alarm.codes = codes,
                    "An alarm was sent."
                );
                Ok(())
            }
            Err(undelivered) => {
                tracing::warn!(
                    alarm.target = target.name(),
                    alarm.codes = codes,
                    why = undelivered.why,
                    "An alarm could not be delivered; it is tried again."
                );
                Err(undelivered)
            }
        }
    }
}

/// What one target knows of an outage of Postgres.
#[derive(Default)]
struct Outage {
    /// What it was told and does not know to be over.
    told: Unstored,
    failures: u32,
    not_before: Option<Instant>,
}

impl Outage {
    /// Whether the target is to be told now that Postgres is away, or back.
    fn is_news(&self, now: Unstored) -> bool {
        self.told.is_some() != now.is_some()
            && self.not_before.is_none_or(|time| Instant::now() >= time)
    }

    async fn tell(&mut self, watch: &Watch, target: &Target, now: Unstored) {
        let Some((since, trouble)) = now.or(self.told) else { return };
        let over_at = now.is_none().then(Utc::now);
        let Alarm { code, what, todo, stops } = trouble.alarm();
        let news = AlarmMessage { code, what, todo, stops, since, over_at, version: 1 };
        match watch.send(target, vec![news]).await {
            Ok(()) => *self = Self { told: now, ..Self::default() },
            Err(undelivered) => {
                let pause = LONGEST_PAUSE.saturating_mul(1 << self.failures.min(10));
                let pause = pause.max(undelivered.wait.unwrap_or_default()).min(LONGEST_RETRY);
                self.failures += 1;
                self.not_before = Some(Instant::now() + pause);
            }
        }
    }
}

fn log(done: Result<(), StoreError>, what: &'static str) {
    match done {
        // Another process has the lease now, and does it.
        Ok(()) | Err(StoreError::LeaseLost) => {}
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "{what}"),
    }
}
