//! `make demo`: runs the real daemon with two stand-ins and a thousand invented people, and kills
//! and stops the daemon in the middle of its work. In the end it switches the second direction on.
//!
//! The demo succeeds only if both stand-ins and the rows in Postgres agree at the end. `--stay`
//! keeps everything running. `--stand-ins` runs only the stand-ins, for a daemon that is started
//! elsewhere.
// The rules of `pedantic` are for the daemon. In a tool, the shortest code reads best.
#![allow(clippy::pedantic)]

mod both;
mod cast;
mod daemon;
mod database;
mod process;
mod recorded;
mod report;
#[path = "../sim/mod.rs"]
mod sim;
mod stay;
#[path = "../target.rs"]
mod target;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use keap_intercom_sync::feed::{Feed, RunReason};
use keap_intercom_sync::store::{RunState, Store, StoreOptions};
use tokio::signal::unix::{SignalKind, signal};

use cast::Cast;
use daemon::Settings;
use database::Database;
use process::Process;
use recorded::Recorded;
use report::{Check, Report, thousands};
use sim::verify::{Verdict, verify};
use sim::{Intercom, Keap, Stage};

/// A phase that takes longer than this has failed.
const PHASE_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// A phase is done when nothing has been left to do for this long.
const SETTLED_FOR: Duration = Duration::from_millis(1500);
/// How long the Intercom stand-in takes for an answer; the real one takes about as long.
const INTERCOM_LATENCY_MS: u64 = 150;
/// The length of a window of Intercom's limit.
const WINDOW_MS: i64 = 10_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        [daemon::WORD] => daemon::run().map(|()| true),
        [] => in_a_runtime(false),
        ["--stay"] => in_a_runtime(true),
        ["--stand-ins"] => stand_ins().map(|()| true),
        _ => Err(anyhow::anyhow!("the options are --stay and --stand-ins")),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the addresses and tokens of the stand-ins as a line of JSON and serves until a signal.
fn stand_ins() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(sim::serve_forever(0, 0, 0))?)
}

/// Runs the demo and returns whether it succeeded. Drops the database in any case.
fn in_a_runtime(stay: bool) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let database = Database::create("demo").await?;
        let ended = tokio::select! {
            ended = demo(&database, stay) => ended,
            interrupted = interrupted() => {
                println!();
                interrupted.map(|()| stay)
            }
        };
        database.remove().await?;
        ended
    })
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => Ok(ended?),
        _ = terminated.recv() => Ok(()),
    }
}

async fn demo(database: &Database, stay: bool) -> anyhow::Result<bool> {
    let started = Instant::now();
    let stage = Stage::start(0, 0).await?;
    let (keap, intercom) = (&stage.keap, &stage.intercom);
    keap.knobs(sim::keap::knobs::KeapKnobs::exact_limits);
    intercom.knobs(|knobs| {
        knobs.exact_limits();
        knobs.latency_ms = INTERCOM_LATENCY_MS;
    });
    let mut demo = Demo {
        cast: Cast::add_to(keap, intercom),
        settings: daemon::settings_for(database.url.as_str(), keap, intercom),
        keap,
        intercom,
        database,
        report: Report::new(keap, intercom),
        printed_at: Instant::now(),
    };
    // The daemon polls every second instead of every minute, so that the demo is short.
    demo.settings.push(("POLL__SCHEDULE", "* * * * * *".to_owned()));
    demo.settings.push(("ENVIRONMENT", "demo".to_owned()));
    if stay {
        stay::open_surface(&mut demo.settings).await;
    }
    println!(
        "Two stand-ins run on this machine: a Keap with {} invented people and an Intercom with {} contacts.",
        thousands(keap.len()),
        intercom.contacts().len()
    );
    println!(
        "They have the limits of the real services. Search in this Intercom shows a change a minute late.\n"
    );

    let process = demo.first_start().await?;
    let process = demo.changes(process).await?;
    demo.check_everybody(&process).await?;
    let (process, checks) = demo.both_ways(process).await?;
    let mut passed = demo.end(checks).await?;
    if stay {
        // As it is by default, and as the README shows it.
        let process = demo.one_way_again(process).await?;
        println!("\nDo both sides agree? {}", if passed { "yes" } else { "no: see ✗ above" });
        stay::stay(&stage, database, &demo.settings, process).await?;
        return Ok(passed);
    }
    demo.report.stop(process).await?;
    passed &= demo.report.logs_are_clean();
    println!(
        "\n{} The demo took {:.0} s.",
        if passed { "Both sides agree." } else { "Something is wrong: see ✗ above." },
        started.elapsed().as_secs_f64()
    );
    Ok(passed)
}

struct Demo<'a> {
    cast: Cast,
    settings: Settings,
    keap: &'a Keap,
    intercom: &'a Intercom,
    database: &'a Database,
    report: Report,
    /// When progress was last printed as a line.
    printed_at: Instant,
}

/// Both sides and Postgres at one moment.
pub(crate) struct Snapshot {
    pub(crate) verdict: Verdict,
    pub(crate) recorded: Recorded,
}

impl Snapshot {
    /// The number of people whose Intercom user is equal, or who need none.
    pub(crate) fn in_sync(&self) -> usize {
        let Verdict { keap_contacts, different, missing, doubled, .. } = self.verdict;
        keap_contacts - different - doubled - missing
    }

    /// Whether nothing is left to do.
    fn is_settled(&self) -> bool {
        let held = self.recorded.held.len();
        self.in_sync() + held == self.verdict.keap_contacts
            && self.recorded.due == 0
            && self.recorded.linked.len() + self.recorded.skipped.len() + held
                == self.verdict.keap_contacts
    }
}

impl Demo<'_> {
    async fn first_start(&mut self) -> anyhow::Result<Process> {
        println!("1. The daemon starts for the first time. No contact is linked yet.");
        let process = daemon::start(&self.settings)?;
        let bar = self.bar();
        let half = self.keap.len() / 2;
        let snapshot = self.until(&process, &bar, |snapshot| snapshot.in_sync() >= half).await?;
        self.report.keep_log(&process.kill());
        bar.finish_and_clear();
        let in_intercom = self.intercom.count_users(|id| id.is_some());
        println!(
            "   The demo kills it half-way (SIGKILL). Intercom has {in_intercom} of the people, Postgres has {} outcomes.",
            snapshot.recorded.linked.len()
                + snapshot.recorded.skipped.len()
                + snapshot.recorded.held.len(),
        );

        println!("   The daemon starts again.");
        let process = daemon::start(&self.settings)?;
        let bar = self.bar();
        self.until_settled(&process, &bar).await?;
        bar.finish_and_clear();
        println!("   Done: every person in Keap has an outcome.\n");
        self.report.phase("First start, killed once", self.keap, self.intercom);
        Ok(process)
    }

    async fn changes(&mut self, process: Process) -> anyhow::Result<Process> {
        println!("2. People change in Keap:");
        let held = self.snapshot().await?.recorded.held;
        let twin = self.cast.twins.into_iter().find(|id| held.contains_key(id));
        let twin = twin.context("one of the two people with the same e-mail should be held")?;
        let mut changes = self.cast.change(self.keap);
        changes.extend(self.cast.fix_two_cases(self.keap, twin));
        for change in changes {
            println!("   - {change}");
        }
        let bar = self.bar();
        let enough = self.keap.len() - 200;
        self.until(&process, &bar, |snapshot| snapshot.in_sync() >= enough).await?;
        let took = self.report.stop(process).await?;
        bar.finish_and_clear();
        let left = self.keap.len() - self.snapshot().await?.in_sync();
        println!(
            "   The demo stops it half-way (SIGTERM). It ends after {:.1} s, with {left} people left to write.",
            took.as_secs_f64()
        );
        let more = self.cast.change_a_few(self.keap);
        println!("   {more} more people change in Keap while it is off. The daemon starts again.");
        let process = daemon::start(&self.settings)?;
        let bar = self.bar();
        self.until_settled(&process, &bar).await?;
        bar.finish_and_clear();
        println!("   Done: Intercom is in step with Keap again.\n");
        self.report.phase("Changes, stopped once", self.keap, self.intercom);
        Ok(process)
    }

    /// Requests a walk over all contacts, as `keap-intercom-sync sync --all` does.
    async fn check_everybody(&mut self, process: &Process) -> anyhow::Result<()> {
        println!("3. The demo asks the daemon to check every contact again, as `sync --all` does.");
        let store = Store::new(&StoreOptions {
            url: self.database.url.as_str(),
            max_connections: 2,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            prepared_statements: true,
        })?;
        let run = store.request_run(Feed::Backfill, RunReason::Manual, None).await?;
        let asked = Instant::now();
        let counts = loop {
            let run = store.run(run).await?.context("the run has vanished")?;
            match run.state {
                RunState::Done => break run.counts,
                RunState::Failed => {
                    let why = run.failure.map(|failure| failure.to_string()).unwrap_or_default();
                    anyhow::bail!("the run failed: {why}")
                }
                RunState::Requested | RunState::Running => {}
            }
            if asked.elapsed() > PHASE_TIMEOUT {
                return Err(process.log.blame("the run did not end"));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        };
        store.close(Duration::from_secs(1)).await;
        println!(
            "   Done: {} checked, {} unchanged, {} without a usable e-mail, {} held.\n",
            thousands(usize::try_from(counts.seen)?),
            counts.unchanged,
            counts.skipped,
            counts.held
        );
        self.report.phase(report::CHECK_OF_ALL, self.keap, self.intercom);
        Ok(())
    }

    /// `more`: what was checked on the way.
    async fn end(&mut self, more: Vec<Check>) -> anyhow::Result<bool> {
        let snapshot = self.snapshot().await?;
        let strangers = self.cast.untouched_strangers(self.intercom);
        let office = self.cast.office;
        Ok(self.report.show(&snapshot, self.intercom, strangers, office, more))
    }

    async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(Snapshot {
            recorded: Recorded::read(&self.database.pool).await?,
            verdict: verify(self.keap, self.intercom),
        })
    }

    /// Waits until nothing is left to do. This must stay true for a moment, because the daemon may
    /// still be checking somebody.
    async fn until_settled(&mut self, process: &Process, bar: &ProgressBar) -> anyhow::Result<()> {
        let mut since: Option<Instant> = None;
        self.until(process, bar, |snapshot| {
            if !snapshot.is_settled() {
                since = None;
                return false;
            }
            since.get_or_insert_with(Instant::now).elapsed() >= SETTLED_FOR
        })
        .await?;
        Ok(())
    }

    /// Waits until `done`, and shows the progress.
    async fn until(
        &mut self,
        process: &Process,
        bar: &ProgressBar,
        mut done: impl FnMut(&Snapshot) -> bool,
    ) -> anyhow::Result<Snapshot> {
        let began = Instant::now();
        self.printed_at = began;
        loop {
            let snapshot = self.snapshot().await?;
            if done(&snapshot) {
                return Ok(snapshot);
            }
            if began.elapsed() > PHASE_TIMEOUT {
                let Snapshot { verdict, recorded } = snapshot;
                let due = recorded.due;
                return Err(process.log.blame(&format!(
                    "the daemon is not done after {} s: {verdict:?}, {due} due, held: {:?}",
                    PHASE_TIMEOUT.as_secs(),
                    recorded.held
                )));
            }
            bar.set_length(snapshot.verdict.keap_contacts as u64);
            bar.set_position(snapshot.in_sync() as u64);
            if bar.is_hidden() && self.printed_at.elapsed() >= Duration::from_secs(1) {
                self.printed_at = Instant::now();
                println!(
                    "   {} of {} in step{}",
                    thousands(snapshot.in_sync()),
                    thousands(snapshot.verdict.keap_contacts),
                    self.waits_for_window()
                );
            }
            bar.set_message(self.waits_for_window());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A note for the progress line while Intercom's window is used up, else an empty text.
    fn waits_for_window(&self) -> &'static str {
        let now_ms = self.intercom.clock().now_ms();
        let used_up = self.intercom.windows().last().is_some_and(|(start_ms, used, limit)| {
            now_ms < start_ms + WINDOW_MS && used * 100 >= limit * 98
        });
        if used_up { "; waiting, because Intercom allows 1,667 calls in ten seconds" } else { "" }
    }

    /// A progress bar on a terminal. Elsewhere it is hidden, and progress is printed as lines.
    fn bar(&self) -> ProgressBar {
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("   {bar:40} {pos} of {len} in step{msg}");
        ProgressBar::new(self.keap.len() as u64)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}
