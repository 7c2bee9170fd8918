//! The daemon under systemd. The tests play systemd: the notify socket, the watchdog, the listening
//! socket and the signals.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sqlx::PgPool;
use tempfile::TempDir;

use crate::process::{HOLDS, Process, STANDS_BY, caught_up, world};
use crate::world::{World, until};

/// The service manager: the notifications that it received, in order.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
    received: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, dir, received: Vec::new() }
    }

    /// Sets the environment that a unit with this watchdog sets.
    fn adopt(&self, world: &mut World, watchdog_ms: u64) {
        let path = self.dir.path().join("notify");
        world.set("NOTIFY_SOCKET", path.display()).set("WATCHDOG_USEC", watchdog_ms * 1000);
    }

    fn receive(&mut self) -> &[String] {
        let mut bytes = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            self.received.extend(text.lines().map(str::to_owned));
        }
        &self.received
    }

    fn count(&mut self, line: &str) -> usize {
        self.receive().iter().filter(|received| received.starts_with(line)).count()
    }

    async fn gets(&mut self, line: &str, times: usize) {
        until(line, async || self.count(line) >= times).await;
    }

    fn place(&self, line: &str) -> usize {
        let place = self.received.iter().position(|received| received.starts_with(line));
        place.unwrap_or_else(|| panic!("{line} was never announced: {:?}", self.received))
    }
}

fn health(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[sqlx::test(migrations = false)]
async fn notifications_arrive_in_order_from_ready_to_stopping(pool: PgPool) {
    let mut world = world(pool, 3).await;
    let mut manager = Manager::new();
    manager.adopt(&mut world, 400);

    let mut daemon = Process::daemon(&world);
    daemon.says(HOLDS).await;
    manager.gets("WATCHDOG=1", 3).await;
    caught_up(&world).await;
    manager.gets("STATUS=Polling", 1).await;
    assert!(manager.place("READY=1") < manager.place("STATUS=Polling"));

    let fed = manager.count("WATCHDOG=1");
    manager.gets("WATCHDOG=1", fed + 1).await;
    assert_eq!(manager.count("RELOADING=1") + manager.count("STOPPING=1"), 0);

    // Nothing has changed: the reload is announced as begun and ended, and the lanes keep running.
    daemon.signal(Signal::HUP);
    manager.gets("READY=1", 2).await;
    assert_eq!(manager.count("MONOTONIC_USEC="), 1);
    assert!(manager.place("STATUS=Polling") < manager.place("RELOADING=1"));
    assert_eq!(daemon.said(HOLDS), 1);

    let ended = daemon.stop().await;
    assert_eq!(manager.count("STOPPING=1"), 1);
    let last = manager.receive().last().unwrap().clone();
    assert!(
        manager.place("STOPPING=1") > manager.place("RELOADING=1") && !last.starts_with("READY"),
        "{:?}\n{}",
        manager.received,
        ended.stderr
    );
}

#[sqlx::test(migrations = false)]
async fn ready_is_announced_when_postgres_answers_and_also_by_a_standby(pool: PgPool) {
    let mut world = world(pool, 1).await;
    let mut manager = Manager::new();
    manager.adopt(&mut world, 400);
    let right = world.env["DATABASE_URL"].clone();
    let mut nowhere: url::Url = right.parse().unwrap();
    nowhere.set_host(Some("127.0.0.1")).unwrap();
    nowhere.set_port(Some(1)).unwrap();
    nowhere.set_query(None);
    world.set("DATABASE_URL", nowhere);

    let daemon = Process::daemon(&world);
    manager.gets("STATUS=Waiting for Postgres.", 1).await;
    manager.gets("WATCHDOG=1", 3).await;

    assert_eq!(manager.count("READY=1"), 0, "{:?}", manager.received);
    daemon.stop().await;

    world.set("DATABASE_URL", right);
    // The socket of a manager that reads no longer would fill up and block the daemon.
    drop(manager);
    let first = Process::leader(&world).await;
    let mut manager = Manager::new();
    manager.adopt(&mut world, 400);
    let mut second = Process::daemon(&world);
    second.says(STANDS_BY).await;
    manager.gets("READY=1", 1).await;
    manager.gets("STATUS=Standing by", 1).await;
    first.stop().await;
    manager.gets("STATUS=Polling", 1).await;
    second.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_paused_process_feeds_no_watchdog(pool: PgPool) {
    let mut world = world(pool, 1).await;
    let mut manager = Manager::new();
    manager.adopt(&mut world, 200);
    let daemon = Process::leader(&world).await;
    manager.gets("WATCHDOG=1", 2).await;

    daemon.signal(Signal::STOP);
    let fed = manager.count("WATCHDOG=1");
    // Shows that nothing happens: two and a half times the watchdog's limit.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(manager.count("WATCHDOG=1"), fed);
    daemon.signal(Signal::CONT);
    manager.gets("WATCHDOG=1", fed + 1).await;
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_reload_takes_new_credentials_and_refuses_wrong_ones(pool: PgPool) {
    let mut world = world(pool, 2).await;
    let mut manager = Manager::new();
    manager.adopt(&mut world, 10_000);
    let credentials = manager.dir.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let write = |name: &str, text: &str| std::fs::write(credentials.join(name), text).unwrap();
    let right = world.env.remove("INTERCOM_ACCESS_TOKEN").unwrap();
    // The unit passes an empty file for a secret that does not exist.
    write("KEAP_WEBHOOK_SECRET", "\n");
    world.env.remove("KEAP_WEBHOOK_SECRET");
    write("INTERCOM_ACCESS_TOKEN", "canary-wrong-token-0123456789");
    world.set("CREDENTIALS_DIRECTORY", credentials.display());

    let mut daemon = Process::daemon(&world);
    daemon.says("needs a person").await;
    assert_eq!(world.writes(), 0);

    write("INTERCOM_ACCESS_TOKEN", &right);
    daemon.signal(Signal::HUP);
    manager.gets("READY=1", 2).await;
    daemon.says("intercom.access_token").await;
    caught_up(&world).await;

    // Two mistakes: both are named, no setting is taken over, and the work continues.
    write("INTERCOM_ACCESS_TOKEN", "canary with blanks is no token");
    write("INTERCOM_ACCESS_TOKE", "canary");
    daemon.signal(Signal::HUP);
    manager.gets("READY=1", 3).await;
    daemon.says("did you mean INTERCOM_ACCESS_TOKEN?").await;
    assert_eq!(daemon.said("The new settings are refused"), 2);
    manager.gets("STATUS=The new settings are refused", 1).await;
    world.keap.add(crate::process::canary(77));
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_socket_from_systemd_queues_requests_during_an_upgrade(pool: PgPool) {
    let world = world(pool, 1).await;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let activated = || {
        let socket: OwnedFd = socket.try_clone().unwrap().into();
        Process::by_shell(
            &world,
            r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" run"#,
            Stdio::from(socket),
        )
    };
    let mut first = activated();
    first.says(HOLDS).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let caller = std::thread::spawn({
        let sent = Arc::clone(&sent);
        move || {
            let ask = |_| {
                std::thread::sleep(Duration::from_millis(10));
                sent.fetch_add(1, Ordering::Relaxed);
                health(address)
            };
            (0..100).map(ask).collect::<Vec<_>>()
        }
    });
    until("requests are under way", async || sent.load(Ordering::Relaxed) >= 20).await;
    let stopped = Instant::now();
    first.stop().await;
    let mut second = activated();
    second.says(HOLDS).await;

    let answers = tokio::task::spawn_blocking(|| caller.join().unwrap()).await.unwrap();
    for answer in &answers {
        let answer = answer.as_ref().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    assert_eq!(answers.len(), 100);
    assert!(stopped.elapsed() < Duration::from_secs(20));
    second.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_manager_that_reads_nothing_does_not_stop_the_daemon(pool: PgPool) {
    let mut world = world(pool, 3).await;
    let manager = Manager::new();
    // The socket is full after a few notifications.
    manager.adopt(&mut world, 40);

    let mut daemon = Process::daemon(&world);
    daemon.says(HOLDS).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let id = world.keap.add(crate::world::ann());

    until("a later contact is synced", async || {
        !world.intercom.by_external_id(&id.to_string()).is_empty()
    })
    .await;
    daemon.stop().await;
}
