//! Answers under bad conditions: a long walk, a database that is away, a panic, a day without
//! deliveries.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use keap_intercom_sync::http;
use serde_json::json;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{OLD_SECRET, assert_problem, get as get_with_token, post, started, url, world};
use crate::sim::client;
use crate::sim::keap::hooks::HookStatus;
use crate::sim::people::{Shape, invented};
use crate::sim::verify::verify;
use crate::world::{Daemon, World, ann, until};

/// Calls per second that the stand-in for Intercom allows.
const CALLS: u32 = 200;

#[sqlx::test]
async fn a_requested_contact_does_not_wait_for_a_long_walk(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;

    let known = world.keap.add(ann());
    let body = json!({ "keap_contact_id": known });
    assert_eq!(post(&daemon, "/sync/contact", &body).await.status, 200);

    world.intercom.knobs(|knobs| {
        knobs.limit = Some(CALLS);
        knobs.window_secs = 1;
    });
    world.keap.add_many(6000, |n| invented(n as u64, Shape::Plain));
    let accepted = post(&daemon, "/sync/run", &json!({ "feed": "backfill" })).await;
    let run = accepted.json()["statusUrl"].as_str().unwrap().to_owned();
    // The share of urgent contacts stays free.
    until("the walk has used up its share of a window", async || {
        let windows = world.intercom.windows();
        windows.iter().any(|(_, used, _)| *used >= CALLS - 10)
    })
    .await;
    for turn in 0..4 {
        world.keap.edit(known, |person| person.given_name = Some(format!("Ann{turn}")));
        let windows = world.intercom.windows().len();
        let reply = post(&daemon, "/sync/contact", &body).await;
        assert_eq!(
            (reply.status, &reply.json()["action"]),
            (200, &json!("updated")),
            "{}",
            reply.json()
        );
        let windows = world.intercom.windows().len() - windows;
        // The walk itself takes dozens of windows. A slow machine may need a few for one contact.
        assert!(windows <= 4, "answered {windows} windows later");
    }
    let walk = get_with_token(&daemon, &run).await.json();
    assert_eq!(walk["state"], "running", "{walk}");
    assert!(world.intercom.count("create") < 6000);
    assert_eq!(world.intercom.refused_by_limit(), 0);
    daemon.stop().await.1.unwrap();
}

/// The lines that were logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The routes of this test stand behind the same layers, on the same server, as the real ones. All
/// runs in one thread, whose log the test reads.
#[tokio::test]
async fn a_panic_becomes_a_500_answer_and_a_log_line() {
    let lines = Lines::default();
    let writer = lines.clone();

    let subscriber =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    // With a single subscriber, a log line that another thread reaches first would stay off for all
    // threads.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logging = tracing::subscriber::set_default(subscriber);
    let panics = get(async || -> &'static str { panic!("canary of a panic") });
    let fine = get(async || "fine");
    let router = Router::new().route("/panics", panics).route("/fine", fine);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cancel = CancellationToken::new();
    let server =
        tokio::spawn(http::serve(listener, http::with_middleware(router), 10, cancel.clone()));

    let headers = [("x-request-id", "asked-1")];
    let path = |path| format!("http://{address}{path}");
    let reply = client::send("GET", &path("/panics"), &headers, "").await.unwrap();
    assert_problem(&reply, 500);
    assert_eq!(reply.header("x-request-id"), Some("asked-1"));
    assert!(!reply.json().to_string().contains("canary"));

    // The connection stays usable.
    let mut stream = TcpStream::connect(address).await.unwrap();
    for (path, status) in [("/panics", "500"), ("/fine", "200"), ("/panics", "500")] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer));
        let read = read.await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line = log.lines().find(|line| line.contains("A request failed.")).unwrap();
    assert!(
        line.contains("asked-1") && line.contains("/panics") && line.contains("status=500"),
        "{log}"
    );
    assert!(!log.contains("canary"), "{log}");
    cancel.cancel();
    server.await.unwrap();
}

/// Closes and opens the database of a world, over a connection to another one.
pub(crate) struct Door {
    outside: PgConnection,
    name: String,
}

impl Door {
    pub(crate) async fn find(world: &World) -> Self {
        let outside = std::env::var("DATABASE_URL").unwrap();
        let name = world.pool.connect_options().get_database().unwrap().to_owned();
        let outside = PgConnection::connect(&outside).await.unwrap();
        Self { outside, name }
    }

    /// Refuses new connections and ends the existing ones.
    pub(crate) async fn close(&mut self) {
        self.allow(false).await;
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(&self.name)
            .execute(&mut self.outside)
            .await
            .unwrap();
    }

    pub(crate) async fn allow(&mut self, allowed: bool) {
        let sql = format!("alter database \"{}\" allow_connections {allowed}", self.name);
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut self.outside).await.unwrap();
    }
}

async fn deliver(daemon: &Daemon, id: i64) -> (Duration, client::Reply) {
    let path = url(daemon, &format!("/webhook/keap/{OLD_SECRET}"));
    let body = json!({ "event_key": "contact.edit", "object_type": "contact", "object_keys": [{ "id": id }] });
    let sent = Instant::now();
    let reply = client::send("POST", &path, &[], body.to_string()).await.unwrap();
    (sent.elapsed(), reply)
}

async fn look(daemon: &Daemon, path: &str) -> (Duration, u16) {
    let sent = Instant::now();
    let reply = client::send("GET", &url(daemon, path), &[], "").await.unwrap();
    (sent.elapsed(), reply.status)
}

// F75, F81
#[sqlx::test]
async fn during_an_outage_of_the_database_each_route_answers_at_once(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    let mut door = Door::find(&world).await;
    let soon = Duration::from_secs(5);

    for _ in 0..2 {
        door.close().await;
        for _ in 0..5 {
            let (took, reply) = deliver(&daemon, id).await;
            assert_problem(&reply, 503);
            assert!(reply.header("retry-after").is_some());
            assert!(took < soon, "{took:?}");
        }
        let sent = Instant::now();
        let reply = post(&daemon, "/sync/contact", &json!({ "keap_contact_id": id })).await;
        assert_problem(&reply, 503);
        assert!(sent.elapsed() < soon, "{:?}", sent.elapsed());
        until("the daemon is not ready", async || look(&daemon, "/ready").await.1 == 503).await;
        for _ in 0..5 {
            let (took, status) = look(&daemon, "/health").await;
            assert_eq!(status, 200);
            assert!(took < soon, "{took:?}");
        }
        assert_eq!(look(&daemon, "/ready").await.1, 503);
        door.allow(true).await;
        until("the daemon is ready", async || look(&daemon, "/ready").await.1 == 200).await;
    }
    let (_, reply) = deliver(&daemon, id).await;
    assert_eq!(reply.status, 200, "{}", reply.json());

    until("the contact is in Intercom", async || {
        world.intercom.by_external_id(&id.to_string()).len() == 1
    })
    .await;
    assert_eq!(world.writes(), 1);
    daemon.stop().await.1.unwrap();
}

/// Everything between Keap and the daemon: a proxy, or the internet. Closed, it cuts every
/// connection.
struct Gate {
    address: std::net::SocketAddr,
    open: Arc<AtomicBool>,
    /// Whether a connection found the gate closed.
    refused: Arc<AtomicBool>,
}

impl Gate {
    async fn before(daemon: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self {
            address: listener.local_addr().unwrap(),
            open: Arc::new(AtomicBool::new(true)),
            refused: Arc::default(),
        };
        let (open, refused) = (Arc::clone(&gate.open), Arc::clone(&gate.refused));
        tokio::spawn(async move {
            while let Ok((mut outer, _)) = listener.accept().await {
                if !open.load(Ordering::Relaxed) {
                    refused.store(true, Ordering::Relaxed);
                    continue;
                }
                tokio::spawn(async move {
                    if let Ok(mut inner) = TcpStream::connect(daemon).await {
                        let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
            }
        });
        gate
    }
}

/// Seconds that a day of Keap's schedule takes.
const DAY: f64 = 8.64;

// F76
#[sqlx::test]
async fn after_a_day_without_deliveries_every_change_arrives(pool: PgPool) {
    let mut world = world(pool).await;
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    let gate = Gate::before(address).await;
    drop(reserved);
    world
        .set("HTTP_LISTEN", address)
        .set("HTTP_PUBLIC_URL", format!("http://{}", gate.address))
        .set("KEAP_WEBHOOK_SECRET", OLD_SECRET)
        .set("HOOKS__SCHEDULE", "* * * * * *");
    world.keap.knobs(|knobs| {
        knobs.hook_time_scale = DAY / 86_400.0;
        knobs.hook_duplicate = true;
        knobs.hook_shuffle = true;
    });
    let daemon = started(&world).await;
    let all = |status| {
        let hooks = world.keap.hooks();
        hooks.len() == 3 && hooks.iter().all(|hook| hook.status == status)
    };
    let recorded = async || world.store().overview().await.unwrap().hooks_verified == 3;
    until("three subscriptions are verified", async || {
        all(HookStatus::Verified) && recorded().await
    })
    .await;

    // A good day: every delivery comes twice, in any order.
    let people = world.keap.add_many(100, |n| invented(n as u64, Shape::Plain));
    for turn in 0..5 {
        for id in people.iter().skip(turn).step_by(3) {
            world.keap.edit(*id, |person| person.given_name = Some(format!("Turn{turn}")));
        }
        // Spreads the deliveries over the day.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A contact that is deleted in Keap stays in Intercom.
    let arrived = async || {
        let verdict = verify(&world.keap, &world.intercom);
        verdict.equal == verdict.syncable
            && verdict.doubled == 0
            && world.store().count_due().await.unwrap().0 == 0
    };
    until("the changes of a good day are synced", arrived).await;
    assert_eq!(world.intercom.count("create"), 100);

    // A day on which no delivery gets through. Keap tries each four times and gives up.
    gate.open.store(false, Ordering::Relaxed);
    let began = Instant::now();
    let mut more = Vec::new();
    for hour in 0..24_usize {
        let id = people[hour * 4];
        world.keap.edit(id, |person| person.given_name = Some(format!("Hour{hour}")));
        more.extend(
            world.keap.add_many(2, |n| invented((1000 + hour * 10 + n) as u64, Shape::Plain)),
        );
        if hour % 6 == 5 {
            world.keap.delete(people[hour * 4 - 2]);
        }
        let next = began + Duration::from_secs_f64(DAY / 24.0 * (hour + 1) as f64);
        tokio::time::sleep_until(next.into()).await;
    }
    assert!(all(HookStatus::Inactive), "{:?}", world.keap.hooks());
    assert!(gate.refused.load(Ordering::Relaxed));
    assert!(!arrived().await, "no change arrived in another way");
    assert_eq!(look(&daemon, "/ready").await.1, 200, "polling is not affected");

    gate.open.store(true, Ordering::Relaxed);
    until("everything is synced and the hooks are verified", async || {
        all(HookStatus::Verified) && recorded().await && arrived().await
    })
    .await;
    for id in &more {
        world.user(*id);
    }
    assert_eq!(verify(&world.keap, &world.intercom).strangers, 4);
    assert_eq!(world.intercom.count("create"), 148);
    // Deliveries bring later changes again.
    world.keap.edit(more[0], |person| person.given_name = Some("Later".into()));
    until("a change of the next day is synced", arrived).await;
    daemon.stop().await.1.unwrap();
}
