//! A world for one test: both stand-ins, a database of its own, and the daemon's parts over them.
//!
//! `Worker` is one process of the daemon: it holds the lease and runs passes when it is told to, so that no test sleeps and hopes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keap_intercom_sync::app::{self, Parts};
use keap_intercom_sync::config::{self, Settings, Sources};
use keap_intercom_sync::contact::KeapId;
use keap_intercom_sync::store::{Counts, DueReason, Feed, Held, Lease, Store};
use keap_intercom_sync::sync::{Halt, Syncer};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::sim::people::{Shape, invented};
use crate::sim::{Intercom, Keap, Person, StoredContact, verify};

pub struct World {
    pub keap: Keap,
    pub intercom: Intercom,
    pub pool: PgPool,
    pub env: BTreeMap<String, String>,
}

/// A row of the log as dashboards see it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LogLine {
    pub keap_contact_id: String,
    pub intercom_contact_id: Option<String>,
    pub sync_status: String,
    pub action: Option<String>,
    pub error_message: Option<String>,
}

impl World {
    pub async fn new(pool: PgPool) -> Self {
        let (keap, intercom) = (Keap::start().await, Intercom::start().await);
        let env = [
            ("DATABASE_URL", url_of(&pool)),
            ("KEAP_API_KEY", keap.token()),
            ("KEAP_BASE_URL", keap.base_url()),
            ("INTERCOM_ACCESS_TOKEN", intercom.token()),
            ("INTERCOM_BASE_URL", intercom.base_url()),
            ("HTTP_LISTEN", "127.0.0.1:0".into()),
            // No limits of ours beside those of the stand-ins.
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
        Self {
            keap,
            intercom,
            pool,
            env,
        }
    }

    /// The same, with so many invented people in Keap, each last changed in a second of yesterday's of their own.
    pub async fn with_people(pool: PgPool, count: usize) -> Self {
        let world = Self::new(pool).await;
        let yesterday = world.keap.clock().now_ms() - 86_400_000;
        for id in world
            .keap
            .add_many(count, |n| invented(n as u64, Shape::Plain))
        {
            world.keap.set_stamp_ms(id, Some(yesterday + id * 1000));
        }
        world
    }

    pub fn set(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.env.insert(name.to_owned(), value.to_string());
        self
    }

    pub fn settings(&self) -> Settings {
        config::load(&Sources {
            env: self.env.clone(),
            ..Sources::default()
        })
        .unwrap()
    }

    pub fn store(&self) -> Store {
        app::store(&self.settings()).unwrap()
    }

    /// A process of the daemon that holds the lease. The one before it must be gone.
    pub async fn worker(&self) -> Worker {
        Worker::start(self).await
    }

    /// The whole application, as `run` runs it.
    pub async fn daemon(&self) -> Daemon {
        Daemon::start(self).await
    }

    /// One whole first run, or poll, by a worker of its own.
    pub async fn sync(&self) -> Counts {
        let worker = self.worker().await;
        let counts = worker.sync().await;
        worker.stop().await;
        counts
    }

    pub async fn log(&self) -> Vec<LogLine> {
        let sql = "select keap_contact_id, intercom_contact_id, sync_status, action, error_message from keap_intercom_sync_logs order by created_at, keap_contact_id::bigint";
        sqlx::query_as(sql).fetch_all(&self.pool).await.unwrap()
    }

    pub async fn log_of(&self, id: i64) -> Vec<LogLine> {
        self.log()
            .await
            .into_iter()
            .filter(|line| line.keap_contact_id == id.to_string())
            .collect()
    }

    /// The latest action told of a contact.
    pub async fn last_action(&self, id: i64) -> String {
        self.log_of(id)
            .await
            .last()
            .and_then(|line| line.action.clone())
            .unwrap_or_default()
    }

    pub async fn held(&self) -> Vec<Held> {
        self.store().held().await.unwrap()
    }

    /// The one held contact, which must be this one.
    pub async fn only_held(&self, id: i64) -> Held {
        let held = self.held().await;
        assert_eq!(
            held.iter()
                .map(|held| held.keap_contact_id)
                .collect::<Vec<_>>(),
            [id],
            "{held:?}"
        );
        held.into_iter().next().unwrap()
    }

    /// The live Intercom user of a Keap contact; there must be exactly one.
    pub fn user(&self, id: i64) -> StoredContact {
        let users = self.intercom.by_external_id(&id.to_string());
        assert_eq!(
            users.len(),
            1,
            "contact {id} has {} Intercom contacts",
            users.len()
        );
        users.into_iter().next().unwrap()
    }

    /// Both memories agree: nothing lost, nothing doubled.
    pub fn assert_agrees(&self) {
        let verdict = verify::verify(&self.keap, &self.intercom);
        assert!(verdict.agrees(), "{verdict:?}");
    }

    pub fn writes(&self) -> usize {
        self.intercom.count("create") + self.intercom.count("update")
    }
}

/// How many migrations this version has.
pub fn migrations() -> usize {
    sqlx::migrate!().iter().count()
}

/// The database of a pool as a URL, for programs that make a pool of their own.
fn url_of(pool: &PgPool) -> String {
    let name = pool.connect_options().get_database().unwrap().to_owned();
    let mut url: url::Url = std::env::var("DATABASE_URL").expect("DATABASE_URL is needed: run the tests with `make test`, or `tests/with-postgres cargo test`").parse().unwrap();
    url.set_path(&name);
    url.into()
}

pub fn ann() -> Person {
    Person::named("Ann", "Lee")
        .email("ann@example.org")
        .phone("(602) 555-0144", Some("+16025550144"))
}

pub fn keap_id(id: i64) -> KeapId {
    KeapId::new(id).unwrap()
}

/// A process of the daemon, driven by hand.
pub struct Worker {
    pub syncer: Arc<Syncer>,
    pub store: Store,
    pub lease: watch::Sender<Option<Lease>>,
}

impl Worker {
    async fn start(world: &World) -> Self {
        let settings = world.settings();
        let parts = Parts::build(&settings).unwrap();
        let name = uuid::Uuid::new_v4().to_string();
        let lease = parts
            .store
            .take_lease(&name, Duration::from_secs(300), None)
            .await
            .unwrap()
            .expect("the lease must be free");
        let (sender, receiver) = watch::channel(Some(lease));
        let syncer = Arc::new(
            parts
                .syncer(receiver, CancellationToken::new())
                .await
                .unwrap(),
        );
        Self {
            syncer,
            store: parts.store,
            lease: sender,
        }
    }

    /// A poll, the backfill if there is one, and everything that becomes due on the way, until there is nothing to do.
    pub async fn sync(&self) -> Counts {
        self.try_sync().await.unwrap()
    }

    pub async fn try_sync(&self) -> Result<Counts, Halt> {
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

    /// Everything that is due, waiting for retries whose time comes soon.
    pub async fn work_off(&self) -> Counts {
        let before = *self.syncer.progress().borrow();
        while self.store.count_due().await.unwrap().0 > 0 {
            if !self.syncer.urgent_step().await.unwrap() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        minus(*self.syncer.progress().borrow(), before)
    }

    pub async fn request(&self, ids: &[i64]) -> Counts {
        let ids: Vec<KeapId> = ids.iter().map(|id| keap_id(*id)).collect();
        self.store.request(&ids, DueReason::Manual).await.unwrap();
        let before = *self.syncer.progress().borrow();
        while self.syncer.urgent_step().await.unwrap() {}
        minus(*self.syncer.progress().borrow(), before)
    }

    /// Reads everything again.
    pub async fn backfill(&self) -> Counts {
        self.store
            .request_run(Feed::Backfill, "manual", None)
            .await
            .unwrap();
        self.sync().await
    }

    /// Ends in order: the lease is given back.
    pub async fn stop(self) {
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
        unchanged: -before.unchanged,
        skipped: -before.skipped,
        held: -before.held,
        failed: -before.failed,
        archived: -before.archived,
        unlinked: -before.unlinked,
        late: -before.late,
        keap_calls: -before.keap_calls,
        intercom_calls: -before.intercom_calls,
    };
    let mut difference = now;
    difference.add(&negative);
    difference
}

/// The application in this process, with its own schedule.
pub struct Daemon {
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
            async move { app::run(&settings, listener, cancel).await }
        });
        Self {
            address,
            cancel,
            task,
        }
    }

    /// Stops in order; says how long it took and how it ended.
    pub async fn stop(self) -> (Duration, anyhow::Result<()>) {
        let asked = tokio::time::Instant::now();
        self.cancel.cancel();
        let ended = self.task.await.unwrap();
        (asked.elapsed(), ended)
    }
}

/// Waits for what must come true soon; fails with what was waited for.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !holds().await {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Without a database most tests fail; this one says what to do.
#[test]
fn a_database_is_there() {
    assert!(
        std::env::var_os("DATABASE_URL").is_some(),
        "the tests need a Postgres: run `make test`, or `tests/with-postgres cargo test`, or set DATABASE_URL to a server whose role may create databases"
    );
}
