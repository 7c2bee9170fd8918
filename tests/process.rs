//! The built binary as a process of its own: started in a world's environment, signalled, waited for with a bound.
//!
//! Nobody's name, e-mail address, phone number or secret may appear in what it prints. The people and secrets here are
//! recognisable ([`CANARIES`]), and every process is checked when it ends, in whatever way.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::sim::{Person, What};
use crate::world::{World, until};

/// What is nobody's business: the secrets of both stand-ins, and every name, address and number of [`canary`].
const CANARIES: [&str; 3] = ["canary", "1777555", "(777)"];

const PROGRAM: &str = env!("CARGO_BIN_EXE_keap-intercom-sync");

/// A guard against hangs; nothing is measured.
const HANGS: Duration = Duration::from_secs(30);

/// A person that is recognised wherever a part of them is printed.
pub fn canary(number: usize) -> Person {
    let digits = format!("{number:04}");
    Person::named(&format!("Canary{number}"), "Canarysson")
        .email(&format!("canary.{number}@canary.example"))
        .phone(
            &format!("(777) 555-{digits}"),
            Some(&format!("+1777555{digits}")),
        )
}

/// A world of recognisable people, each last changed in a second of yesterday's of their own, and of recognisable secrets.
pub async fn world(pool: PgPool, people: usize) -> World {
    let mut world = World::new(pool).await;
    let yesterday = world.keap.clock().now_ms() - 86_400_000;
    for id in world.keap.add_many(people, canary) {
        world.keap.set_stamp_ms(id, Some(yesterday + id * 1000));
    }
    let mut url: url::Url = world.env["DATABASE_URL"].parse().unwrap();
    if url.password().is_none() {
        // A cluster of `with-postgres` trusts everybody and asks for none.
        url.set_password(Some("canary-password")).unwrap();
    }
    world
        .set("DATABASE_URL", url)
        .set("API_TOKEN", "canary-api-token-0123456789")
        .set("KEAP_WEBHOOK_SECRET", "canary-9f2c4d7ab1e8036511223344")
        .set("RUST_LOG", "debug");
    world
}

/// A process, to be killed or stopped from wherever: also by a stand-in in the middle of a call.
#[derive(Clone)]
pub struct Target(Arc<Mutex<Option<Pid>>>);

impl Target {
    /// Does nothing once the process has been waited for, because its id may be another's by then.
    pub fn signal(&self, signal: Signal) {
        let pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *pid {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
            let ended = match signal {
                Signal::KILL => WaitIdOptions::EXITED,
                Signal::STOP => WaitIdOptions::STOPPED,
                _ => return,
            };
            // Returns when not one thread of it runs any more; it stays to be waited for.
            let _ = waitid(WaitId::Pid(pid), ended | WaitIdOptions::NOWAIT);
        }
    }

    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Killed when the call has arrived and nothing was done.
    pub fn dies_before(&self) -> What {
        let target = self.clone();
        What::run_then(move |_| target.kill(), What::Refuse)
    }

    /// Killed when the call is done and not answered.
    pub fn dies_after(&self) -> What {
        let target = self.clone();
        What::apply_then_run(move |_| target.kill())
    }
}

/// One process of the binary. It is killed when it is dropped.
pub struct Process {
    child: Child,
    target: Target,
    stdout: File,
    stderr: File,
    command: String,
}

/// How a process ended, and all that it printed.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The one JSON document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.stdout))
    }

    /// Fails, with all that was printed, unless it ended with this status.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self:#?}");
        self
    }
}

impl Process {
    pub fn start(world: &World, arguments: &[&str]) -> Self {
        Self::spawn(&world.env, arguments)
    }

    /// The daemon. Its log is JSON, so that both forms are seen by the tests.
    pub fn daemon(world: &World) -> Self {
        let mut env = world.env.clone();
        env.entry("LOG_FORMAT".into()).or_insert("json".into());
        Self::spawn(&env, &["run"])
    }

    /// By way of a shell, for what only a parent process can do. `$0` is the program.
    pub fn by_shell(world: &World, script: &str, stdin: Stdio) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, PROGRAM]).stdin(stdin);
        Self::launch(shell, &world.env, script.to_owned())
    }

    fn spawn(env: &BTreeMap<String, String>, arguments: &[&str]) -> Self {
        let mut program = Command::new(PROGRAM);
        program.args(arguments).stdin(Stdio::null());
        Self::launch(program, env, arguments.join(" "))
    }

    fn launch(mut program: Command, env: &BTreeMap<String, String>, command: String) -> Self {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let child = program
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(env)
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        Self {
            child,
            target: Target(Arc::new(Mutex::new(Some(pid)))),
            stdout,
            stderr,
            command,
        }
    }

    /// A daemon that has the lease.
    pub async fn leader(world: &World) -> Self {
        let mut daemon = Self::daemon(world);
        daemon.says(HOLDS).await;
        daemon
    }

    pub fn target(&self) -> Target {
        self.target.clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        self.target.signal(signal);
    }

    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// How often a text was logged so far.
    pub fn said(&self, text: &str) -> usize {
        self.stderr().matches(text).count()
    }

    /// Waits until it has logged this; fails if it ends before.
    pub async fn says(&mut self, text: &str) {
        let started = Instant::now();
        while self.said(text) == 0 {
            let ended = self.child.try_wait().unwrap();
            assert!(
                (ended.is_none() || self.said(text) > 0) && started.elapsed() < HANGS,
                "{:?} never said {text:?}; ended: {ended:?}",
                self.command
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for its end, and checks what it printed.
    pub async fn ended(mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.try_wait() {
                break status;
            }
            assert!(started.elapsed() < HANGS, "{:?} does not end", self.command);
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Ended {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// Waits until somebody else has killed it.
    pub async fn died(self) -> Ended {
        let ended = self.ended().await;
        assert_eq!(
            ended.status.signal(),
            Some(Signal::KILL.as_raw()),
            "{ended:#?}"
        );
        ended
    }

    /// Stops it in order, as systemd does: within five seconds, with exit status 0.
    pub async fn stop(self) -> Ended {
        self.stop_by(Signal::TERM).await
    }

    pub async fn stop_by(self, signal: Signal) -> Ended {
        let asked = Instant::now();
        self.signal(signal);
        let ended = self.ended().await.expect(0);
        assert!(
            asked.elapsed() < Duration::from_secs(6),
            "stopping took {:?}: {ended:#?}",
            asked.elapsed()
        );
        ended
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        // Under the lock: nobody signals a process that is being waited for.
        let mut pid = self.target.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = self.child.try_wait().unwrap()?;
        *pid = None;
        Some(status)
    }
}

/// What a daemon says when it may run passes.
pub const HOLDS: &str = "This process holds the lease and runs passes.";
/// What a daemon says when another one may.
pub const STANDS_BY: &str = "Another process holds the lease; this one stands by.";

/// Runs a command to its end.
pub async fn command(world: &World, arguments: &[&str]) -> Ended {
    Process::start(world, arguments).ended().await
}

/// Waits until everybody in Keap is in Intercom and recorded, no walk is under way and nothing is due.
pub async fn caught_up(world: &World) {
    until("everything is synced and recorded", async || {
        is_caught_up(world).await
    })
    .await;
}

pub async fn is_caught_up(world: &World) -> bool {
    let newest = world.keap.ids().into_iter();
    let newest = newest.filter_map(|id| world.keap.stamp_ms(id)).max();
    // Keap shows whole seconds.
    let newest = newest.unwrap_or(0) / 1000 * 1000;
    let sql = "select count(*) = $1 and not exists (select from contact_due)
                      and not exists (select from sync_cursor where walking)
                      and exists (select from sync_cursor where feed = 'changed' and position >= to_timestamp($2::float8 / 1000))
                 from contact_link where state = 'linked'";
    let recorded = sqlx::query_scalar(sql)
        .bind(i64::try_from(world.keap.len()).unwrap())
        .bind(newest)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    // Last, because it takes the longest.
    recorded && crate::sim::verify::verify(&world.keap, &world.intercom).agrees()
}

/// Waits until a statement of a daemon waits for a lock.
pub async fn until_it_waits_for_a_lock(world: &World) {
    let sql = "select count(*) > 0 from pg_stat_activity
                where datname = current_database() and application_name = 'keap-intercom-sync' and wait_event_type = 'Lock'";
    until("the daemon waits for a lock", async || {
        sqlx::query_scalar(sql)
            .fetch_one(&world.pool)
            .await
            .unwrap()
    })
    .await;
}

fn text(file: &File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    // Read at a place: the writer's own place in the file stays as it is.
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).expect("output is UTF-8")
}

/// Kills what still runs and checks all that was printed.
impl Drop for Process {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            self.target.kill();
            let _ = self.child.wait();
            *self.target.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let (stdout, stderr) = (self.stdout(), self.stderr());
        if std::thread::panicking() {
            let lines: Vec<_> = stderr.lines().collect();
            let last = lines[lines.len().saturating_sub(12)..].join("\n");
            eprintln!("--- {}: {stdout}\n{last}", self.command);
            return;
        }
        // A dry run that is told to shows the operator what would be written.
        let shown = self.command.contains("--dry-run") && self.command.contains("--verbose");
        let printed = if shown { stderr } else { stdout + &stderr };
        for line in printed.lines() {
            let lower = line.to_lowercase();
            let found = CANARIES.iter().find(|canary| lower.contains(*canary));
            assert_eq!(found, None, "{:?} printed {line}", self.command);
        }
    }
}
