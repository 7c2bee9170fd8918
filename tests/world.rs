//! A world for one test: both stand-ins, its own database, and the parts of the daemon that use
//! them.
//!
//! `Worker` is one process of the daemon that holds the lease. The test runs each pass by a call,
//! so that no test has to sleep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keap_intercom_sync::app::{self, Parts};
use keap_intercom_sync::config::{self, Settings, Sources};
use keap_intercom_sync::contact::KeapId;
use keap_intercom_sync::daemon;
use keap_intercom_sync::feed::{Counts, DueReason, Feed, RunReason};
use keap_intercom_sync::store::{Held, HeldLease, Lease, Store};
use keap_intercom_sync::sync::{Bulk, Context, Halt, Urgent, Work};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::sim::people::{Shape, invented};
use crate::sim::{Intercom, Keap, Person, StoredContact, verify};

pub(crate) struct World {
    pub keap: Keap,
    pub intercom: Intercom,
    pub pool: PgPool,
    pub env: BTreeMap<String, String>,
    file: Option<tempfile::NamedTempFile>,
}

/// A row of the log table, with the columns that dashboards read.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct LogLine {
    pub keap_contact_id: String,
    pub intercom_contact_id: Option<String>,
    pub sync_status: String,
    pub action: Option<String>,
    pub error_message: Option<String>,
}

impl World {
    pub(crate) async fn new(pool: PgPool) -> Self {
        let (keap, intercom) = (Keap::start().await, Intercom::start().await);
        let env = [
            ("DATABASE_URL", url_of(&pool)),
            ("KEAP_API_KEY", keap.token()),
            ("KEAP_BASE_URL", keap.base_url()),
            ("INTERCOM_ACCESS_TOKEN", intercom.token()),
            ("INTERCOM_BASE_URL", intercom.base_url()),
            ("HTTP_LISTEN", "127.0.0.1:0".into()),
            // The limits of the stand-ins apply, not those of the settings.
            ("KEAP__CALLS_PER_SECOND", "1000".into()),
            ("KEAP__CALLS_PER_MINUTE", "60000".into()),
            ("INTERCOM__CALLS_PER_10_SECONDS", "100000".into()),
            ("SYNC__RETRY_BASE_MS", "10".into()),
            ("SYNC__RETRY_CAP_SECONDS", "1".into()),
            ("SYNC__IDLE_CHECK_MS", "20".into()),
            ("SYNC__STOP_RECHECK_SECONDS", "1".into()),
            ("POLL__OVERLAP_SECONDS", "0".into()),
            ("POLL__SCHEDULE", "* * * * * *".into()),
            ("LEASE__TTL_SECONDS", "5".into()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value)).into();
        Self { keap, intercom, pool, env, file: None }
    }

    /// A world with `count` invented people in Keap. Each was last changed yesterday, in a second
    /// of its own.
    pub(crate) async fn with_people(pool: PgPool, count: usize) -> Self {
        let world = Self::new(pool).await;
        let yesterday = world.keap.clock().now_ms() - 86_400_000;
        for id in world.keap.add_many(count, |n| invented(n as u64, Shape::Plain)) {
            world.keap.set_stamp_ms(id, Some(yesterday + id * 1000));
        }
        world
    }

    pub(crate) fn set(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.env.insert(name.to_owned(), value.to_string());
        self
    }

    pub(crate) fn settings(&self) -> Settings {
        config::load(&self.sources()).unwrap()
    }

    fn sources(&self) -> Sources {
        let file = self.file.as_ref().map(|file| file.path().to_owned());
        Sources { env: self.env.clone(), file, ..Sources::default() }
    }

    /// The settings file, for what the environment cannot express.
    pub(crate) fn file(&mut self, toml: &str) {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::io::Write::write_all(&mut file, toml.as_bytes()).unwrap();
        self.file = Some(file);
    }

    /// The path of the settings file, if there is one.
    pub(crate) fn config(&self) -> Option<&str> {
        self.file.as_ref().and_then(|file| file.path().to_str())
    }

    pub(crate) fn store(&self) -> Store {
        app::store(&self.settings()).unwrap()
    }

    /// A process of the daemon that holds the lease. The lease must be free.
    pub(crate) async fn worker(&self) -> Worker {
        Worker::start(self).await
    }

    /// The whole application, as the command `run` starts it.
    pub(crate) async fn daemon(&self) -> Daemon {
        Daemon::start(self).await
    }

    /// One complete first run or poll, by a worker that releases the lease at the end.
    pub(crate) async fn sync(&self) -> Counts {
        let worker = self.worker().await;
        let counts = worker.sync().await;
        worker.stop().await;
        counts
    }

    /// Brings the time of all retries forward, and wakes a daemon that rests until the former time.
    pub(crate) async fn make_retries_due(&self) {
        let sql = "with due as (update contact_due set due_at = now() returning 1)
                   select pg_notify('keap_intercom_sync_' || md5(current_schema()), 'due'), count(*) from due";
        sqlx::query(sql).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn log(&self) -> Vec<LogLine> {
        let sql = "select keap_contact_id, intercom_contact_id, sync_status, action, error_message from keap_intercom_sync_logs order by created_at, keap_contact_id::bigint";
        sqlx::query_as(sql).fetch_all(&self.pool).await.unwrap()
    }

    pub(crate) async fn log_of(&self, id: i64) -> Vec<LogLine> {
        self.log().await.into_iter().filter(|line| line.keap_contact_id == id.to_string()).collect()
    }

    /// The latest logged action of a contact.
    pub(crate) async fn last_action(&self, id: i64) -> String {
        self.log_of(id).await.last().and_then(|line| line.action.clone()).unwrap_or_default()
    }

    pub(crate) async fn held(&self) -> Vec<Held> {
        self.store().held().await.unwrap()
    }

    /// The only held contact, which must be `id`.
    pub(crate) async fn only_held(&self, id: i64) -> Held {
        let held = self.held().await;
        assert_eq!(
            held.iter().map(|held| held.keap_contact_id).collect::<Vec<_>>(),
            [id],
            "{held:?}"
        );
        held.into_iter().next().unwrap()
    }

    /// The live Intercom user of a Keap contact. Exactly one must exist.
    pub(crate) fn user(&self, id: i64) -> StoredContact {
        let users = self.intercom.by_external_id(&id.to_string());
        assert_eq!(users.len(), 1, "contact {id} has {} Intercom contacts", users.len());
        users.into_iter().next().unwrap()
    }

    /// Keap and Intercom agree: nothing is lost and nothing is doubled.
    pub(crate) fn assert_agrees(&self) {
        let verdict = verify::verify(&self.keap, &self.intercom);
        assert!(verdict.agrees(), "{verdict:?}");
    }

    pub(crate) fn writes(&self) -> usize {
        self.intercom.count("create") + self.intercom.count("update")
    }
}

/// Whatever a test is about, nothing that the daemon sends may ever subscribe a person.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.intercom.could_subscribe(), [""; 0]);
            assert_eq!(self.keap.could_subscribe(), [""; 0]);
        }
    }
}

/// The number of migrations of this version.
pub(crate) fn migrations() -> usize {
    sqlx::migrate!().iter().count()
}

/// The URL of a pool's database, for programs that open a pool of their own.
fn url_of(pool: &PgPool) -> String {
    let name = pool.connect_options().get_database().unwrap().to_owned();
    let mut url: url::Url = std::env::var("DATABASE_URL").expect("DATABASE_URL is needed: run the tests with `make test`, or `tests/with-postgres cargo test`").parse().unwrap();
    url.set_path(&name);
    url.into()
}

pub(crate) fn ann() -> Person {
    Person::named("Ann", "Lee")
        .email("ann@example.org")
        .phone("(602) 555-0144", Some("+16025550144"))
}

pub(crate) fn keap_id(id: i64) -> KeapId {
    KeapId::new(id).unwrap()
}

/// Both lanes, driven by hand.
pub(crate) struct Syncer {
    context: Arc<Context>,
    urgent: Mutex<Urgent>,
    bulk: Mutex<Bulk>,
}

impl Syncer {
    fn new(context: Arc<Context>) -> Self {
        let urgent = Mutex::new(Urgent::new(Arc::clone(&context)));
        let bulk = Mutex::new(Bulk::without_poll(Arc::clone(&context)));
        Self { context, urgent, bulk }
    }

    /// What came of everything so far.
    pub(crate) fn progress(&self) -> watch::Receiver<Counts> {
        self.context.board.progress.subscribe()
    }

    /// A step of the urgent lane.
    pub(crate) async fn urgent_step(&self) -> Result<bool, Halt> {
        self.urgent.lock().await.step().await
    }

    /// A step of the bulk lane. `poll`: a poll is due, before and after.
    pub(crate) async fn bulk_step(&self, poll: &mut bool) -> Result<bool, Halt> {
        let mut bulk = self.bulk.lock().await;
        if *poll {
            bulk.fired();
        }
        let stepped = bulk.step().await;
        *poll = bulk.poll_is_due();
        stepped
    }
}

/// A process of the daemon that works only when a test calls it.
pub(crate) struct Worker {
    pub syncer: Arc<Syncer>,
    pub store: Store,
    pub lease: watch::Sender<Option<Lease>>,
}

impl Worker {
    async fn start(world: &World) -> Self {
        let settings = world.settings();
        let parts = Parts::build(&settings).unwrap();
        let fitted = parts.fit().await.unwrap();
        let name = uuid::Uuid::new_v4().to_string();
        let lease = parts
            .store
            .take_lease(&name, Duration::from_secs(300), None)
            .await
            .unwrap()
            .expect("the lease must be free");
        let (sender, receiver) = watch::channel(Some(lease));
        let lease_held = HeldLease::new(receiver);
        let context = parts
            .context(&fitted, lease_held, Arc::default(), CancellationToken::new())
            .await
            .unwrap();
        let syncer = Arc::new(Syncer::new(context));
        Self { syncer, store: parts.store, lease: sender }
    }

    /// A poll, a backfill if one is requested, and everything that becomes due until they end.
    pub(crate) async fn sync(&self) -> Counts {
        Box::pin(self.try_sync()).await.unwrap()
    }

    pub(crate) async fn try_sync(&self) -> Result<Counts, Halt> {
        let before = *self.syncer.progress().borrow();
        let mut poll = true;
        loop {
            let walked = self.syncer.bulk_step(&mut poll).await?;
            let looked = self.syncer.urgent_step().await?;
            if !walked && !looked && !poll {
                break;
            }
        }
        Ok(minus(*self.syncer.progress().borrow(), before))
    }

    /// Everything that is due, including retries that become due soon.
    pub(crate) async fn work_off(&self) -> Counts {
        let before = *self.syncer.progress().borrow();
        while self.store.count_due().await.unwrap().0 > 0 {
            let mut poll = false;
            let is_paced = self.store.next_paced().await.unwrap().is_some();
            let worked = self.syncer.urgent_step().await.unwrap()
                || (is_paced && self.syncer.bulk_step(&mut poll).await.unwrap());
            if !worked {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        minus(*self.syncer.progress().borrow(), before)
    }

    pub(crate) async fn request(&self, ids: &[i64]) -> Counts {
        let ids: Vec<KeapId> = ids.iter().map(|id| keap_id(*id)).collect();
        self.store.request(&ids, DueReason::Manual).await.unwrap();
        let before = *self.syncer.progress().borrow();
        while self.syncer.urgent_step().await.unwrap() {}
        minus(*self.syncer.progress().borrow(), before)
    }

    /// What the lanes stand on.
    pub(crate) fn context(&self) -> &Context {
        &self.syncer.context
    }

    /// The lease as background tasks see it.
    pub(crate) fn held_lease(&self) -> HeldLease {
        HeldLease::new(self.lease.subscribe())
    }

    /// Asks for a sweep. `forced`: the brake does not stop it.
    pub(crate) async fn request_sweep(&self, forced: bool) -> uuid::Uuid {
        let reason = if forced { RunReason::Forced } else { RunReason::Manual };
        self.store.request_run(Feed::Sweep, reason, None).await.unwrap()
    }

    /// Reads every contact again.
    pub(crate) async fn backfill(&self) -> Counts {
        self.store.request_run(Feed::Backfill, RunReason::Manual, None).await.unwrap();
        self.sync().await
    }

    /// Stops in order: it releases the lease.
    pub(crate) async fn stop(self) {
        let lease = *self.lease.borrow();
        self.store.release_lease(&lease.unwrap()).await.unwrap();
    }
}

fn minus(now: Counts, before: Counts) -> Counts {
    let negative = Counts {
        seen: -before.seen,
        created: -before.created,
        linked: -before.linked,
        updated: -before.updated,
        restored: -before.restored,
        unchanged: -before.unchanged,
        skipped: -before.skipped,
        held: -before.held,
        failed: -before.failed,
        archived: -before.archived,
        unlinked: -before.unlinked,
        late: -before.late,
        conflicts: -before.conflicts,
        created_in_keap: -before.created_in_keap,
        keap_calls: -before.keap_calls,
        intercom_calls: -before.intercom_calls,
    };
    let mut difference = now;
    difference.add(&negative);
    difference
}

/// The application inside the test's process, with its own schedule.
pub(crate) struct Daemon {
    pub address: std::net::SocketAddr,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Daemon {
    async fn start(world: &World) -> Self {
        let settings = world.settings();
        let listener = TcpListener::bind(settings.http.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        let task = tokio::spawn({
            let cancel = cancel.clone();
            async move { daemon::run(&settings, listener, cancel).await }
        });
        Self { address, cancel, task }
    }

    /// Stops in order. Returns how long that took, and the result.
    pub(crate) async fn stop(self) -> (Duration, anyhow::Result<()>) {
        let requested = tokio::time::Instant::now();
        self.cancel.cancel();
        let ended = self.task.await.unwrap();
        (requested.elapsed(), ended)
    }
}

/// A guard against hangs. It measures nothing, so it is longer than a busy machine needs.
pub(crate) const HANGS: Duration = Duration::from_secs(120);

/// Waits until a condition holds. Fails after [`HANGS`] and names the condition.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !holds().await {
        assert!(started.elapsed() < HANGS, "this did not become true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Without a database most tests fail. This one names the remedy.
#[test]
fn a_database_is_configured() {
    assert!(
        std::env::var_os("DATABASE_URL").is_some(),
        "the tests need a Postgres: run `make test`, or `tests/with-postgres cargo test`, or set DATABASE_URL to a server whose role may create databases"
    );
}
