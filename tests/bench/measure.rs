//! One session of the daemon or of the worker: what it did, how long it took and what it used.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::daemon;
use crate::database::Database;
use crate::process::Process;
use crate::stand_ins::{Calls, StandIns};
use crate::worker;

/// How often a session looks at the progress.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Linux counts CPU time in hundredths of a second.
const TICK_MS: u64 = 10;

/// Stand-ins and a database that the daemon knows already.
pub(crate) struct Site {
    pub stand_ins: StandIns,
    pub database: Arc<Database>,
    /// Commits a second of a daemon that has nothing to do.
    pub idle_commits: f64,
}

/// What must be reached before a session ends.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// This many contacts are written and recorded.
    Written(u64),
    /// This many contacts are looked at and recorded.
    Seen(u64),
}

/// How a session ends once its goal is reached.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum End {
    Stop,
    Kill,
}

#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// Contacts that were recorded.
    pub contacts: u64,
    /// From the start of the process until all was recorded.
    pub seconds: f64,
    /// From the start of the process until Intercom got the first write.
    pub first_write_ms: Option<f64>,
    pub cpu_ms: u64,
    pub peak_kb: u64,
    /// The commits of a daemon with nothing to do are subtracted.
    pub commits: f64,
    pub calls: Calls,
    pub goal_reached: bool,
}

impl Spent {
    pub(crate) fn per_contact(&self, count: u64) -> f64 {
        count as f64 / self.contacts as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.contacts as f64 / self.seconds
    }

    pub(crate) fn cpu_per_contact(&self) -> f64 {
        self.per_contact(self.cpu_ms)
    }
}

impl Site {
    /// Starts the daemon once while Keap is empty, so that everybody who is added later counts as
    /// changed.
    pub(crate) async fn open(stand_ins: StandIns, database: Arc<Database>) -> anyhow::Result<Site> {
        let mut site = Site { stand_ins, database, idle_commits: 0.0 };
        site.idle(1).await?;
        Ok(site)
    }

    /// Measures what a daemon with nothing to do commits, without its start.
    pub(crate) async fn measure_idleness(&mut self) -> anyhow::Result<()> {
        let (short, long) = (self.idle(1).await?, self.idle(6).await?);
        self.idle_commits = (long - short).max(0) as f64 / 5.0;
        Ok(())
    }

    /// Returns the commits of a session in which nothing happens.
    async fn idle(&mut self, seconds: u64) -> anyhow::Result<i64> {
        let before = self.database.commits().await?;
        let process = daemon::start(&self.stand_ins.settings(self.database.url.as_str()))?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop(process).await?;
        Ok(self.database.commits().await? - before)
    }

    /// Runs the daemon until it reaches the goal, or until the time is over.
    pub(crate) async fn daemon(
        &mut self,
        goal: Goal,
        end: End,
        within: Duration,
    ) -> anyhow::Result<Spent> {
        self.stand_ins.clear().await?;
        let commits_before = self.database.commits().await?;
        let mut progress = Progress::open(&self.database, goal).await?;
        let started = Instant::now();
        let process = daemon::start(&self.stand_ins.settings(self.database.url.as_str()))?;
        let mut spent = Spent::default();
        loop {
            if spent.first_write_ms.is_none() && matches!(goal, Goal::Written(_)) {
                let calls = self.stand_ins.calls().await?.intercom;
                if calls.of("create") + calls.of("update") > 0 {
                    spent.first_write_ms = Some(started.elapsed().as_secs_f64() * 1000.0);
                } else if started.elapsed() < Duration::from_secs(5) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
            }
            spent.contacts = progress.look().await?;
            spent.seconds = started.elapsed().as_secs_f64();
            spent.goal_reached = spent.contacts >= goal.count();
            if spent.goal_reached {
                break;
            }
            if started.elapsed() > within {
                eprintln!("{}", process.log.blame("The goal is not reached."));
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        (spent.cpu_ms, spent.peak_kb) = used(&process)?;
        let looks = progress.close().await?;
        match end {
            End::Kill => drop(process.kill()),
            End::Stop => stop(process).await?,
        }
        spent.calls = self.stand_ins.calls().await?;
        let commits = self.database.commits().await? - commits_before - looks;
        spent.commits = commits as f64 - self.idle_commits * started.elapsed().as_secs_f64();
        Ok(spent)
    }

    /// Runs the worker over the contacts `first..=last`.
    pub(crate) async fn worker(&mut self, first: i64, last: i64) -> anyhow::Result<(Spent, u64)> {
        self.stand_ins.clear().await?;
        let started = Instant::now();
        let words = [worker::WORD, &first.to_string(), &last.to_string()];
        let settings = self.stand_ins.settings(self.database.url.as_str());
        let mut process = Process::start(&words, &settings)?;
        // The worker prints the number of failures when it is done.
        let failed = loop {
            if let Some(line) = process.log.lines().first() {
                break line.parse().map_err(|_| process.log.blame("the worker failed"))?;
            }
            anyhow::ensure!(process.is_running(), process.log.blame("the worker ended"));
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let seconds = started.elapsed().as_secs_f64();
        let (cpu_ms, peak_kb) = used(&process)?;
        process.kill();
        let spent = Spent {
            contacts: u64::try_from(last - first + 1)?,
            seconds,
            cpu_ms,
            peak_kb,
            calls: self.stand_ins.calls().await?,
            ..Spent::default()
        };
        Ok((spent, failed))
    }
}

impl Goal {
    fn count(self) -> u64 {
        match self {
            Goal::Written(count) | Goal::Seen(count) => count,
        }
    }
}

pub(crate) async fn stop(process: Process) -> anyhow::Result<()> {
    let log = process.log.clone();
    let (status, _) = process.stop().await?;
    if status.success() {
        Ok(())
    } else {
        Err(log.blame(&format!("the daemon did not stop well: {status}")))
    }
}

/// Reads the progress over a connection of its own. Each look is a commit.
pub(crate) struct Progress {
    connection: PgConnection,
    sql: &'static str,
    before: i64,
    looks: i64,
}

impl Progress {
    pub(crate) async fn open(database: &Database, goal: Goal) -> anyhow::Result<Progress> {
        let sql = match goal {
            Goal::Written(_) => {
                "select coalesce(sum(created + linked + updated), 0)::bigint from sync_run"
            }
            Goal::Seen(_) => "select coalesce(sum(seen), 0)::bigint from sync_run",
        };
        let mut progress = Progress {
            connection: PgConnection::connect(database.url.as_str()).await?,
            sql,
            before: 0,
            looks: 0,
        };
        progress.before = progress.read().await?;
        Ok(progress)
    }

    async fn read(&mut self) -> anyhow::Result<i64> {
        self.looks += 1;
        Ok(sqlx::query_scalar(self.sql).fetch_one(&mut self.connection).await?)
    }

    pub(crate) async fn look(&mut self) -> anyhow::Result<u64> {
        let now = self.read().await?;
        Ok(u64::try_from(now - self.before)?)
    }

    pub(crate) async fn close(self) -> anyhow::Result<i64> {
        self.connection.close().await?;
        Ok(self.looks)
    }
}

/// Returns the CPU time in milliseconds and the peak memory in kB of a process.
fn used(process: &Process) -> anyhow::Result<(u64, u64)> {
    let pid = process.pid();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field may hold blanks and brackets. User and system time are fields 14 and 15.
    let (_, rest) = stat.rsplit_once(')').context("a stat line has a bracket")?;
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Ok((ticks * TICK_MS, memory_kb(process, "VmHWM:")?))
}

/// Returns a size from the status of a process, in kB.
pub(crate) fn memory_kb(process: &Process, name: &str) -> anyhow::Result<u64> {
    status_field(&Path::new("/proc").join(process.pid().to_string()), name)
}

/// Returns a number from the status of a process or thread. `folder` is its folder in /proc.
pub(crate) fn status_field(folder: &Path, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(folder.join("status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("the status of a process has a {name}"))
}

pub(crate) fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// Returns the middle of sorted numbers, or the mean of the middle two.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}
