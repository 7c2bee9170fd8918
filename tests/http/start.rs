//! The first moments of a start, while another process holds the lock of the migrations: requests
//! wait, and a request that cannot wait is answered that the daemon is starting.

use std::sync::Arc;
use std::time::Duration;

use keap_intercom_sync::app;
use keap_intercom_sync::http::{self, HttpParts, Keys, ShownParts};
use keap_intercom_sync::trigger::Trigger;
use serde_json::{Value, json};
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{OLD_SECRET, TOKEN, assert_problem, url, world};
use crate::process::until_it_waits_for_a_lock;
use crate::sim::Person;
use crate::sim::client::{self, Reply};
use crate::world::{Daemon, World, ann, until};

/// The lock that a program holds while it migrates.
struct MigrationLock(PoolConnection<Postgres>);

impl MigrationLock {
    const KEY: i64 = 0x6b65_6170_6963_7379;

    async fn take(pool: &PgPool) -> Self {
        let mut connection = pool.acquire().await.unwrap();
        let lock = sqlx::query("select pg_advisory_lock($1)").bind(Self::KEY);
        lock.execute(&mut *connection).await.unwrap();
        Self(connection)
    }

    async fn release(mut self) {
        let unlock = sqlx::query("select pg_advisory_unlock($1)").bind(Self::KEY);
        unlock.execute(&mut *self.0).await.unwrap();
    }
}

/// A daemon that cannot finish its start, and what keeps it from it.
async fn starting(pool: &PgPool) -> (World, Daemon, MigrationLock) {
    let world = world(pool.clone()).await;
    let lock = MigrationLock::take(pool).await;
    let daemon = world.daemon().await;
    until_it_waits_for_a_lock(&world).await;
    (world, daemon, lock)
}

/// A request that another task sends.
fn asking(url: String, body: Value) -> tokio::task::JoinHandle<Reply> {
    tokio::spawn(async move {
        let token = format!("Bearer {TOKEN}");
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        client::send("POST", &url, &headers, body.to_string()).await.unwrap()
    })
}

fn ask_for(daemon: &Daemon, id: i64) -> tokio::task::JoinHandle<Reply> {
    asking(url(daemon, "/sync/contact"), json!({ "keap_contact_id": id }))
}

fn event(id: i64) -> Value {
    json!({ "event_key": "contact.edit", "object_type": "contact", "object_keys": [{ "id": id }] })
}

async fn look(daemon: &Daemon, path: &str) -> (u16, Value) {
    let reply = client::send("GET", &url(daemon, path), &[], "").await.unwrap();
    (reply.status, reply.json())
}

#[sqlx::test(migrations = false)]
async fn a_request_during_the_migrations_waits_and_is_served(pool: PgPool) {
    let (world, daemon, lock) = starting(&pool).await;
    let asked_for = world.keap.add(ann());
    let delivered = world.keap.add(Person::named("Bob", "Ray").email("bob@example.org"));

    let request = ask_for(&daemon, asked_for);
    let delivery = asking(url(&daemon, &format!("/webhook/keap/{OLD_SECRET}")), event(delivered));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!request.is_finished() && !delivery.is_finished(), "both wait");
    lock.release().await;

    let reply = request.await.unwrap();
    assert_eq!((reply.status, &reply.json()["action"]), (200, &json!("created")));
    let reply = delivery.await.unwrap();
    assert_eq!((reply.status, &reply.json()["contacts"]), (200, &json!(1)), "{}", reply.json());
    until("the contact of the delivery", async || {
        world.intercom.by_external_id(&delivered.to_string()).len() == 1
    })
    .await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test(migrations = false)]
async fn while_the_daemon_starts_only_what_needs_the_database_waits(pool: PgPool) {
    let (world, daemon, lock) = starting(&pool).await;

    assert_eq!(look(&daemon, "/health").await.0, 200);
    let (status, ready) = look(&daemon, "/ready").await;
    assert_eq!((status, &ready["checks"]["database"]["state"]), (503, &json!("starting")));
    assert_eq!(super::get(&daemon, "/metrics").await.status, 200);
    let path = url(&daemon, "/webhook/keap/wrong");
    assert_problem(&client::send("POST", &path, &[], "{}").await.unwrap(), 401);

    // Its own limit is over at once.
    let id = world.keap.add(ann());
    let body = json!({ "keap_contact_id": id });
    let reply = super::post(&daemon, "/sync/contact?wait=0", &body).await;
    assert_problem(&reply, 503);
    assert!(reply.json()["error"].as_str().unwrap().contains("starting"), "{}", reply.json());
    assert!(reply.header("retry-after").is_some());

    lock.release().await;
    until("readiness", async || look(&daemon, "/ready").await.0 == 200).await;
    assert_eq!(super::post(&daemon, "/sync/contact", &body).await.status, 200);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_daemon_that_stops_while_it_starts_ends_the_requests_that_wait(pool: PgPool) {
    let (world, daemon, _lock) = starting(&pool).await;
    let request = ask_for(&daemon, world.keap.add(ann()));
    tokio::time::sleep(Duration::from_millis(300)).await;

    daemon.stop().await.1.unwrap();

    let reply = request.await.unwrap();
    assert_problem(&reply, 503);
    assert!(reply.json()["error"].as_str().unwrap().contains("stopping"), "{}", reply.json());
}

#[sqlx::test(migrations = false)]
async fn a_start_that_takes_too_long_is_named_in_the_answer(pool: PgPool) {
    let world = world(pool).await;
    let cancel = CancellationToken::new();
    let (_never, prepared) = watch::channel(false);
    let [router, _] = http::routers(HttpParts {
        people: Box::new(|_, _| unreachable!("no page is read")),
        both_sides: Box::new(|_, _| unreachable!("no page is read")),
        notifier: Arc::new(app::notifier(&world.settings()).unwrap()),
        environment: "test".into(),
        keys: Keys::new(Some(&TOKEN.into()), &[OLD_SECRET.into()]),
        store: world.store(),
        urgent: Arc::new(Trigger::default()),
        bulk: Arc::new(Trigger::default()),
        prepared,
        start_limit: Duration::from_millis(100),
        cancel: cancel.clone(),
        is_alive: Box::new(|| true),
        holds_lease: Box::new(|| false),
        remotes: Box::new(Vec::new),
        changed_in_intercom: Box::new(|_| Box::pin(async { Ok(None) })),
        brings_newcomers: false,
        poll_age_limit: Duration::from_secs(1),
        second: keap_intercom_sync::report::SecondDirection::default(),
        max_attempts: 1,
        is_https: false,
        shown: ShownParts {
            settings: Vec::new(),
            fields: watch::channel(None).1,
            find_page: Box::new(|_| Box::pin(async { Err("nobody asks".into()) })),
        },
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(http::serve(listener, router, 10, cancel.clone()));

    for path in ["/sync/contact".to_owned(), format!("/webhook/keap/{OLD_SECRET}")] {
        let reply = asking(format!("http://{address}{path}"), event(1)).await.unwrap();
        assert_problem(&reply, 503);
        assert!(reply.json()["error"].as_str().unwrap().contains("starting"), "{}", reply.json());
    }

    cancel.cancel();
    server.await.unwrap();
}
