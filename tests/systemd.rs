//! The daemon under systemd, which these tests play: its notify socket, its watchdog, its listening socket and its signals.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sqlx::PgPool;
use tempfile::TempDir;

use crate::process::{HOLDS, Process, STANDS_BY, caught_up, world};
use crate::world::{World, until};

/// The service manager's end: what it was told, in order.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
    told: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            dir,
            told: Vec::new(),
        }
    }

    /// Gives the daemon what a unit with a watchdog of so many milliseconds gives.
    fn adopt(&self, world: &mut World, watchdog_ms: u64) {
        let path = self.dir.path().join("notify");
        world
            .set("NOTIFY_SOCKET", path.display())
            .set("WATCHDOG_USEC", watchdog_ms * 1000);
    }

    fn listen(&mut self) -> &[String] {
        let mut bytes = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            self.told.extend(text.lines().map(str::to_owned));
        }
        &self.told
    }

    fn count(&mut self, line: &str) -> usize {
        self.listen()
            .iter()
            .filter(|told| told.starts_with(line))
            .count()
    }

    async fn hears(&mut self, line: &str, times: usize) {
        until(line, async || self.count(line) >= times).await;
    }

    fn place(&self, line: &str) -> usize {
        let place = self.told.iter().position(|told| told.starts_with(line));
        place.unwrap_or_else(|| panic!("{line} was never told: {:?}", self.told))
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
async fn ready_status_watchdog_reloading_stopping_are_told_in_this_order(pool: PgPool) {
    let mut world = world(pool, 3).await;
    let mut manager = Manager::new();
    manager.adopt(&mut world, 400);
    let mut daemon = Process::daemon(&world);
    daemon.says(HOLDS).await;
    manager.hears("WATCHDOG=1", 3).await;
    caught_up(&world).await;
    manager.hears("STATUS=Polling", 1).await;
    assert!(manager.place("READY=1") < manager.place("STATUS=Polling"));
    let fed = manager.count("WATCHDOG=1");
    manager.hears("WATCHDOG=1", fed + 1).await;
    assert_eq!(
        manager.count("RELOADING=1") + manager.count("STOPPING=1"),
        0
    );

    // Nothing has changed: told as begun and ended, and the lanes go on.
    daemon.signal(Signal::HUP);
    manager.hears("READY=1", 2).await;
    assert_eq!(manager.count("MONOTONIC_USEC="), 1);
    assert!(manager.place("STATUS=Polling") < manager.place("RELOADING=1"));
    assert_eq!(daemon.said(HOLDS), 1);

    let ended = daemon.stop().await;
    assert_eq!(manager.count("STOPPING=1"), 1);
    let last = manager.listen().last().unwrap().clone();
    assert!(
        manager.place("STOPPING=1") > manager.place("RELOADING=1") && !last.starts_with("READY"),
        "{:?}\n{}",
        manager.told,
        ended.stderr
    );
}

#[sqlx::test(migrations = false)]
async fn ready_waits_for_postgres_and_a_second_process_is_ready_as_standby(pool: PgPool) {
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
    manager.hears("STATUS=Waiting for Postgres.", 1).await;
    manager.hears("WATCHDOG=1", 3).await;
    assert_eq!(manager.count("READY=1"), 0, "{:?}", manager.told);
    daemon.stop().await;

    world.set("DATABASE_URL", right);
    // A manager that nobody listens for any more would fill up, and block whoever tells it something.
    drop(manager);
    let first = Process::leader(&world).await;
    let mut manager = Manager::new();
    manager.adopt(&mut world, 400);
    let mut second = Process::daemon(&world);
    second.says(STANDS_BY).await;
    manager.hears("READY=1", 1).await;
    manager.hears("STATUS=Standing by", 1).await;
    first.stop().await;
    manager.hears("STATUS=Polling", 1).await;
    second.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_process_that_stands_still_feeds_no_watchdog(pool: PgPool) {
    let mut world = world(pool, 1).await;
    let mut manager = Manager::new();
    manager.adopt(&mut world, 200);
    let daemon = Process::leader(&world).await;
    manager.hears("WATCHDOG=1", 2).await;
    daemon.signal(Signal::STOP);
    let fed = manager.count("WATCHDOG=1");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(manager.count("WATCHDOG=1"), fed);
    daemon.signal(Signal::CONT);
    manager.hears("WATCHDOG=1", fed + 1).await;
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_reload_takes_new_credentials_and_settings_and_refuses_bad_ones(pool: PgPool) {
    let mut world = world(pool, 2).await;
    let mut manager = Manager::new();
    manager.adopt(&mut world, 10_000);
    let credentials = manager.dir.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let write = |name: &str, text: &str| std::fs::write(credentials.join(name), text).unwrap();
    let right = world.env.remove("INTERCOM_ACCESS_TOKEN").unwrap();
    // What the unit gives for secrets that are not there.
    write("KEAP_WEBHOOK_SECRET", "\n");
    world.env.remove("KEAP_WEBHOOK_SECRET");
    write("INTERCOM_ACCESS_TOKEN", "canary-wrong-token-0123456789");
    world.set("CREDENTIALS_DIRECTORY", credentials.display());
    let mut daemon = Process::daemon(&world);
    daemon.says("needs a person").await;
    assert_eq!(world.writes(), 0);

    write("INTERCOM_ACCESS_TOKEN", &right);
    daemon.signal(Signal::HUP);
    manager.hears("READY=1", 2).await;
    daemon.says("intercom.access_token").await;
    caught_up(&world).await;

    // Two mistakes: both are told by name, nothing is taken over, and the work goes on.
    write("INTERCOM_ACCESS_TOKEN", "canary with blanks is no token");
    write("INTERCOM_ACCESS_TOKE", "canary");
    daemon.signal(Signal::HUP);
    manager.hears("READY=1", 3).await;
    daemon.says("did you mean INTERCOM_ACCESS_TOKEN?").await;
    assert_eq!(daemon.said("The new settings are refused"), 2);
    manager
        .hears("STATUS=The new settings are refused", 1)
        .await;
    world.keap.add(crate::process::canary(77));
    caught_up(&world).await;
    daemon.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_socket_that_systemd_passes_queues_requests_during_an_upgrade(pool: PgPool) {
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
    let asked = std::thread::spawn(move || {
        let ask = |_| {
            std::thread::sleep(Duration::from_millis(10));
            health(address)
        };
        (0..100).map(ask).collect::<Vec<_>>()
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopped = Instant::now();
    first.stop().await;
    let mut second = activated();
    second.says(HOLDS).await;
    let answers = tokio::task::spawn_blocking(|| asked.join().unwrap())
        .await
        .unwrap();
    for answer in &answers {
        let answer = answer.as_ref().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    assert_eq!(answers.len(), 100);
    assert!(stopped.elapsed() < Duration::from_secs(20));
    second.stop().await;
}
