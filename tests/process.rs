//! The built binary as a process: tests start it in the environment of a world, signal it and wait
//! for its end.
//!
//! It may print no name, e-mail address, phone number or secret. All people and secrets of these
//! tests contain a text of [`crate::canary::CANARIES`], and the output of every process is searched
//! for them, however the process ends (F101).

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use sqlx::PgPool;
use tokio::time::Instant;

pub(crate) use crate::canary::canary;
use crate::canary::canary_in;
pub(crate) use crate::target::Target;
use crate::world::{HANGS, World, until};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_keap-intercom-sync");

/// A world of [`canary`] people and secrets. Each person was last changed yesterday, in a second of
/// its own.
pub(crate) async fn world(pool: PgPool, people: usize) -> World {
    let mut world = World::new(pool).await;
    let yesterday = world.keap.clock().now_ms() - 86_400_000;
    for id in world.keap.add_many(people, canary) {
        world.keap.set_stamp_ms(id, Some(yesterday + id * 1000));
    }
    let mut url: url::Url = world.env["DATABASE_URL"].parse().unwrap();
    if url.password().is_none() {
        // The cluster of `with-postgres` needs no password and accepts any.
        url.set_password(Some("canary-password")).unwrap();
    }
    world
        .set("DATABASE_URL", url)
        .set("API_TOKEN", "canary-api-token-0123456789")
        .set("KEAP_WEBHOOK_SECRET", "canary-9f2c4d7ab1e8036511223344")
        .set("RUST_LOG", "debug");
    world
}

/// One process of the binary. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    target: Target,
    stdout: File,
    stderr: File,
    command: String,
}

/// How a process ended, and all that it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The one JSON document on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.stdout))
    }

    /// Fails, with all that was printed, unless it ended with this status.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self:#?}");
        self
    }
}

/// The arguments, with the settings file of the world before them if there is one.
fn with_file<'a>(world: &'a World, arguments: &[&'a str]) -> Vec<&'a str> {
    let file = world.config().map(|path| ["--config", path]);
    file.into_iter().flatten().chain(arguments.iter().copied()).collect()
}

impl Process {
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        Self::spawn(&world.env, &with_file(world, arguments))
    }

    /// The daemon. It logs JSON and the commands log text, so that the tests cover both.
    pub(crate) fn daemon(world: &World) -> Self {
        let mut env = world.env.clone();
        env.entry("LOG_FORMAT".into()).or_insert("json".into());
        Self::spawn(&env, &with_file(world, &["run"]))
    }

    /// The program through a shell script, for what only a parent process can do. `$0` is the
    /// program.
    pub(crate) fn by_shell(world: &World, script: &str, stdin: Stdio) -> Self {
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
        let target = Target::default();
        target.aim_at(&child);
        Self { child, target, stdout, stderr, command }
    }

    /// A daemon that holds the lease.
    pub(crate) async fn leader(world: &World) -> Self {
        let mut daemon = Self::daemon(world);
        daemon.says(HOLDS).await;
        daemon
    }

    pub(crate) fn target(&self) -> Target {
        self.target.clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.target.signal(signal);
    }

    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// How often a text has been logged so far.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.stderr().matches(text).count()
    }

    /// Waits until the process has logged a text. Fails if it ends before.
    pub(crate) async fn says(&mut self, text: &str) {
        let started = Instant::now();
        while self.said(text) == 0 {
            let ended = self.child.try_wait().unwrap();
            assert!(
                (ended.is_none() || self.said(text) > 0) && started.elapsed() < HANGS,
                "{:?} never logged {text:?}; ended: {ended:?}",
                self.command
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.try_wait() {
                break status;
            }
            assert!(started.elapsed() < HANGS, "{:?} does not end", self.command);
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Ended { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Waits for the end of a process that a kill ends.
    pub(crate) async fn died(self) -> Ended {
        let ended = self.ended().await;
        assert_eq!(ended.status.signal(), Some(Signal::KILL.as_raw()), "{ended:#?}");
        ended
    }

    /// Stops it in order, as systemd does, with exit status 0. It may take five seconds, and as
    /// long again on a busy machine.
    pub(crate) async fn stop(self) -> Ended {
        self.stop_by(Signal::TERM).await
    }

    pub(crate) async fn stop_by(self, signal: Signal) -> Ended {
        let signalled = Instant::now();
        self.signal(signal);
        let ended = self.ended().await.expect(0);
        assert!(
            signalled.elapsed() < Duration::from_secs(10),
            "stopping took {:?}: {ended:#?}",
            signalled.elapsed()
        );
        ended
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        self.target.reap(&mut self.child).unwrap()
    }
}

/// A daemon logs this when it may run passes.
pub(crate) const HOLDS: &str = "This process holds the lease and runs passes.";
/// A daemon logs this when another one runs the passes.
pub(crate) const STANDS_BY: &str = "Another process holds the lease; this one stands by.";

/// Runs a command to its end.
pub(crate) async fn command(world: &World, arguments: &[&str]) -> Ended {
    Process::start(world, arguments).ended().await
}

/// Waits until everybody in Keap is in Intercom and recorded, no walk is under way and no contact
/// is due.
pub(crate) async fn caught_up(world: &World) {
    until("everything is synced and recorded", async || is_caught_up(world).await).await;
}

pub(crate) async fn is_caught_up(world: &World) -> bool {
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
    // The longest check comes last.
    recorded && crate::sim::verify::verify(&world.keap, &world.intercom).agrees()
}

/// Waits until a statement of the daemon waits for a lock.
pub(crate) async fn until_it_waits_for_a_lock(world: &World) {
    let sql = "select count(*) > 0 from pg_stat_activity
                where datname = current_database() and application_name = 'keap-intercom-sync' and wait_event_type = 'Lock'";
    until("the daemon waits for a lock", async || {
        sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
    })
    .await;
}

fn text(file: &File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    // A read at an offset leaves the writer's own place in the file unchanged.
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes).expect("output is UTF-8")
}

/// Kills the process if it still runs, and searches its output for canaries.
impl Drop for Process {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            self.target.kill();
            let _ = self.target.reap(&mut self.child);
        }
        let (stdout, stderr) = (self.stdout(), self.stderr());
        if std::thread::panicking() {
            let lines: Vec<_> = stderr.lines().collect();
            let last = lines[lines.len().saturating_sub(12)..].join("\n");
            eprintln!("--- {}: {stdout}\n{last}", self.command);
            return;
        }
        // A verbose dry run shows the operator the fields that it would write.
        let shown = self.command.contains("--dry-run") && self.command.contains("--verbose");
        let printed = if shown { stderr } else { stdout + stderr.as_str() };
        for line in printed.lines() {
            assert_eq!(canary_in(line), None, "{:?} printed {line}", self.command);
        }
    }
}
