//! What the handlers share: the parts that the daemon hands over, and what the surface adds.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::keys::Keys;
use super::openapi::{self, Docs};
use super::overview::OverviewCache;
use super::start::Start;
use super::ui::Entrance;
use super::waits::Waits;
use crate::bucket::Bucket;
use crate::config::InForce;
use crate::contact::{IntercomId, KeapId};
use crate::notify::Notifier;
use crate::report::{MappedFields, People, SecondDirection, SideBySide};
use crate::store::{Store, StoreError};
use crate::trigger::Trigger;

/// A request waits no longer than this for the database. Its caller can call again.
const DATABASE_TIME: Duration = Duration::from_millis(900);

/// While the daemon starts, a request waits no longer than this for the database to be prepared. It
/// leaves time for the request itself, which ends after 30 s.
pub const START_LIMIT: Duration = Duration::from_secs(25);

/// Contacts that webhooks may ask for: this many at once, and this many a second, which is a
/// million a day. Polls find the others.
const HINTED_CONTACTS: (u32, f64) = (100_000, 12.0);

/// Answers at once whether something is true now.
pub type Probe = dyn Fn() -> bool + Send + Sync;

/// Answers at once how each remote stands now.
pub type RemoteProbe = dyn Fn() -> Vec<RemoteStanding> + Send + Sync;

/// Takes a contact as Intercom's notification shows it. True if it is stored as due: it differs
/// from what was settled. False: it is no news, or no linked contact. `None`: this process does not
/// know its mapping yet.
pub(super) type HintOfIntercom =
    dyn Fn(serde_json::Value) -> BoxFuture<'static, Result<Option<bool>, StoreError>> + Send + Sync;

/// Reads a held contact and its candidates in both products, within a few seconds.
pub(super) type PeopleProbe =
    dyn Fn(KeapId, Vec<IntercomId>) -> BoxFuture<'static, People> + Send + Sync;

/// Reads a contact in both products, within a few seconds. The second id is that of the Intercom
/// contact that is linked.
pub(super) type BothSidesProbe =
    dyn Fn(KeapId, Option<IntercomId>) -> BoxFuture<'static, SideBySide> + Send + Sync;

/// A page in Keap or in Intercom.
#[derive(Debug, Clone)]
pub enum PageOf {
    Keap(KeapId),
    Intercom(IntercomId),
}

/// Finds the address of such a page. `Err` says why it is not known.
pub type FindPage = dyn Fn(PageOf) -> BoxFuture<'static, Result<String, String>> + Send + Sync;

/// What the page says of the parts that only the daemon knows.
pub struct ShownParts {
    /// The settings of this process.
    pub settings: Vec<InForce>,
    /// The mapping, once it fits both accounts.
    pub fields: watch::Receiver<Option<MappedFields>>,
    pub find_page: Box<FindPage>,
}

/// How a remote stands, as far as its client knows without a call.
#[derive(Debug, Clone)]
pub struct RemoteStanding {
    pub name: &'static str,
    /// `ok`, `limited`, `failing` or `refused`.
    pub state: &'static str,
    pub retry_in: Option<Duration>,
    /// Each limit: its name, how many calls it allows, and how many are left.
    pub limits: Vec<(String, i64, i64)>,
}

/// What the surface is built from.
pub struct HttpParts {
    pub environment: String,
    pub keys: Keys,
    pub notifier: Arc<Notifier>,
    pub store: Store,
    /// Wakes the urgent lane.
    pub urgent: Arc<Trigger>,
    /// Wakes the bulk lane.
    pub bulk: Arc<Trigger>,
    /// True once the database is prepared.
    pub prepared: watch::Receiver<bool>,
    /// How long a request waits for that: [`START_LIMIT`], in tests less.
    pub start_limit: Duration,
    /// Ends all waits when the daemon stops.
    pub cancel: CancellationToken,
    /// Whether both lanes still make progress.
    pub is_alive: Box<Probe>,
    /// Whether this process runs passes.
    pub holds_lease: Box<Probe>,
    pub remotes: Box<RemoteProbe>,
    pub changed_in_intercom: Box<HintOfIntercom>,
    pub people: Box<PeopleProbe>,
    pub both_sides: Box<BothSidesProbe>,
    /// Users of Intercom without a link may be brought into Keap.
    pub brings_newcomers: bool,
    /// The last complete poll is late when it is older than this.
    pub poll_age_limit: Duration,
    pub second: SecondDirection,
    /// Attempts before a contact is held.
    pub max_attempts: u32,
    /// People reach this surface over HTTPS, so cookies never travel without it.
    pub is_https: bool,
    pub shown: ShownParts,
}

/// What the handlers need.
pub(super) struct HttpState {
    pub environment: String,
    pub keys: Keys,
    pub notifier: Arc<Notifier>,
    pub store: Store,
    pub urgent: Arc<Trigger>,
    pub bulk: Arc<Trigger>,
    pub start: Start,
    pub waits: Waits,
    pub overview: OverviewCache,
    pub is_alive: Box<Probe>,
    pub holds_lease: Box<Probe>,
    pub remotes: Box<RemoteProbe>,
    pub changed_in_intercom: Box<HintOfIntercom>,
    pub people: Box<PeopleProbe>,
    pub both_sides: Box<BothSidesProbe>,
    pub brings_newcomers: bool,
    pub poll_age_limit: Duration,
    pub second: SecondDirection,
    pub max_attempts: u32,
    /// The door of the operator's page.
    pub entrance: Entrance,
    pub shown: ShownParts,
    /// Set once all routes are known.
    pub docs: OnceLock<Docs>,
    /// How many contacts webhooks may still ask for.
    pub hinted: Bucket,
}

impl HttpState {
    pub(super) fn new(parts: HttpParts) -> Self {
        let store = parts.store.with_deadline(DATABASE_TIME);
        Self {
            environment: parts.environment,
            keys: parts.keys,
            notifier: parts.notifier,
            start: Start::new(parts.prepared, parts.start_limit, parts.cancel.clone()),
            waits: Waits::new(store.clone(), parts.cancel),
            overview: OverviewCache::new(store.clone(), parts.second.enabled),
            is_alive: parts.is_alive,
            holds_lease: parts.holds_lease,
            remotes: parts.remotes,
            changed_in_intercom: parts.changed_in_intercom,
            people: parts.people,
            both_sides: parts.both_sides,
            brings_newcomers: parts.brings_newcomers,
            poll_age_limit: parts.poll_age_limit,
            second: parts.second,
            max_attempts: parts.max_attempts,
            entrance: Entrance::new(parts.is_https),
            shown: parts.shown,
            docs: OnceLock::new(),
            store,
            urgent: parts.urgent,
            bulk: parts.bulk,
            hinted: Bucket::new(HINTED_CONTACTS.0, HINTED_CONTACTS.1),
        }
    }

    pub(super) fn docs(&self) -> &Docs {
        self.docs.get_or_init(|| Docs::new(&openapi::empty()))
    }
}
