//! What a pass does: feeds hand out pages, a pass carries one through decide → write → record, and two lanes run passes.

pub mod claims;
pub mod decide;
pub mod dry_run;
mod feeds;
pub mod hooks;
mod lanes;
pub mod lease;
mod outcome;
mod pass;
mod plan;
mod record;
pub mod retention;
mod runs;
mod turns;
mod write;

pub use feeds::sweep::{Brake, Deleted, ask_on_schedule};
pub use outcome::Halt;
pub use pass::Page;
pub use record::Retries;
pub use write::Rules;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bucket::Bucket;
use crate::contact::DigestKey;
use crate::intercom::IntercomClient;
use crate::keap::{KeapClient, Show};
use crate::remote::Lane;
use crate::store::{Counts, Lease, Store};
use claims::Claims;
use feeds::walk::Walker;

/// What the operator set, as far as passes care.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    pub rules: Rules,
    pub retries: Retries,
    /// Writes under way at once.
    pub concurrency: usize,
    /// Outcomes recorded in one transaction, and how long the first of them waits at most.
    pub record_group: usize,
    pub record_after: Duration,
    pub page_size: usize,
    pub ids_per_call: usize,
    /// Keap calls that webhooks may cause in a day.
    pub hint_calls_per_day: u32,
    pub overlap: Duration,
    /// A first start without a cursor syncs everything, not just what changes from then on.
    pub everything_first: bool,
    /// What becomes of contacts that Keap does not have any more, and of how many at once.
    pub deleted: Deleted,
    pub brake: Brake,
    /// How often an idle lane looks for requests that other processes stored.
    pub idle_check: Duration,
}

/// Calls made to each remote so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    pub keap: i64,
    pub intercom: i64,
}

impl Calls {
    /// What was spent since then, as counts.
    fn since(self, before: Self) -> Counts {
        Counts {
            keap_calls: self.keap - before.keap,
            intercom_calls: self.intercom - before.intercom,
            ..Counts::default()
        }
    }
}

/// Everything that passes need; one per process.
pub struct Syncer {
    store: Store,
    keap: Arc<KeapClient>,
    intercom: Arc<IntercomClient>,
    key: DigestKey,
    rules: Rules,
    retries: Retries,
    concurrency: usize,
    record_group: usize,
    record_after: Duration,
    ids_per_call: usize,
    hint_calls: Bucket,
    overlap: Duration,
    everything_first: bool,
    deleted: Deleted,
    brake: Brake,
    idle_check: Duration,
    claims: Claims,
    walker: Walker,
    sweeper: Walker,
    single_reads: feeds::sweep::SingleReads,
    changed: feeds::changed::SharedMemory,
    polls: Mutex<runs::Polls>,
    lease: watch::Receiver<Option<Lease>>,
    cancel: CancellationToken,
    turns: turns::Turns,
    progress: watch::Sender<Counts>,
}

impl Syncer {
    pub fn new(
        options: SyncOptions,
        store: Store,
        keap: Arc<KeapClient>,
        intercom: Arc<IntercomClient>,
        key: DigestKey,
        lease: watch::Receiver<Option<Lease>>,
        cancel: CancellationToken,
    ) -> Self {
        let ours = lease.clone();
        intercom.write_only_while(Box::new(move || is_held(&ours)));
        Self {
            walker: Walker::new(Arc::clone(&keap), options.page_size, Show::Everything),
            sweeper: Walker::new(Arc::clone(&keap), options.page_size, Show::Stamp),
            store,
            keap,
            intercom,
            key,
            rules: options.rules,
            retries: options.retries,
            concurrency: options.concurrency,
            record_group: options.record_group,
            record_after: options.record_after,
            ids_per_call: options.ids_per_call,
            // A tenth of a day's share may go at once.
            hint_calls: Bucket::new(
                (options.hint_calls_per_day / 10).max(10),
                f64::from(options.hint_calls_per_day) / 86_400.0,
            ),
            overlap: options.overlap,
            everything_first: options.everything_first,
            deleted: options.deleted,
            brake: options.brake,
            idle_check: options.idle_check,
            claims: Claims::default(),
            single_reads: feeds::sweep::SingleReads::default(),
            changed: Mutex::default(),
            polls: Mutex::default(),
            lease,
            cancel,
            turns: turns::Turns::default(),
            progress: watch::Sender::new(Counts::default()),
        }
    }

    /// What came of everything since the start, as it is recorded.
    pub fn progress(&self) -> watch::Receiver<Counts> {
        self.progress.subscribe()
    }

    /// Whether both lanes go round: one that has hung is late.
    pub fn is_alive(&self) -> bool {
        self.turns.go_round(Instant::now())
    }

    /// Whether this process may run passes now.
    pub fn holds_lease(&self) -> bool {
        is_held(&self.lease)
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
        Calls {
            keap: urgent.keap + bulk.keap,
            intercom: urgent.intercom + bulk.intercom,
        }
    }

    /// The epoch under which this process may write now.
    fn require_lease(&self) -> Result<i64, Halt> {
        let lease = *self.lease.borrow();
        lease
            .filter(|lease| Instant::now() < lease.valid_until)
            .map(|lease| lease.epoch)
            .ok_or(Halt::LeaseLost)
    }
}

fn is_held(lease: &watch::Receiver<Option<Lease>>) -> bool {
    lease
        .borrow()
        .is_some_and(|lease| Instant::now() < lease.valid_until)
}
