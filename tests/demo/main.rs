//! `make demo`: two stand-ins, a thousand invented people, the real daemon, killed and stopped in the middle of its work.
//!
//! It ends well only if both stand-ins' memories and the rows in Postgres agree. `--stay` leaves it all running; `--stand-ins` is
//! the stand-ins alone, for a daemon that is started elsewhere.

mod cast;
mod daemon;
mod database;
mod process;
mod recorded;
mod report;
#[path = "../sim/mod.rs"]
mod sim;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use keap_intercom_sync::store::{Feed, RunState, Store, StoreOptions};
use tokio::signal::unix::{SignalKind, signal};

use cast::Cast;
use daemon::Settings;
use database::Database;
use process::Process;
use recorded::Recorded;
use report::{Report, thousands};
use sim::verify::{Verdict, verify};
use sim::{Intercom, Keap, Stage};

/// A phase that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const SETTLED_FOR: Duration = Duration::from_millis(1500);
/// How long the stand-in of Intercom takes for an answer, as the real one does.
const INTERCOM_LATENCY_MS: u64 = 150;
/// The length of the windows of Intercom's limit.
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

/// Tells their addresses and tokens as a line of JSON, and serves until a signal ends it.
fn stand_ins() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(sim::serve_forever(0, 0, 0))?)
}

/// Whether all went well; the database is dropped in any case.
fn in_a_runtime(stay: bool) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
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

/// Ctrl-C, or SIGTERM.
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
    keap.knobs(|knobs| knobs.exact_limits());
    intercom.knobs(|knobs| {
        knobs.exact_limits();
        knobs.latency_ms = INTERCOM_LATENCY_MS;
    });
    let mut demo = Demo {
        cast: Cast::enter(keap, intercom),
        settings: daemon::settings_for(database.url.as_str(), keap, intercom),
        keap,
        intercom,
        database,
        report: Report::new(keap, intercom),
        look_at: Instant::now(),
    };
    // Every second instead of every minute, so that nobody has to wait.
    demo.settings
        .push(("POLL__SCHEDULE", "* * * * * *".to_owned()));
    demo.settings.push(("ENVIRONMENT", "demo".to_owned()));
    println!(
        "A Keap with {} invented people and an Intercom with {} contacts, both on this machine, with the limits of",
        thousands(keap.len()),
        intercom.contacts().len()
    );
    println!(
        "the real ones. Search in this Intercom shows a change a minute late, as the real one may.\n"
    );

    let process = demo.first_start().await?;
    let process = demo.changes(process).await?;
    demo.look_at_everybody(&process).await?;
    let mut well = demo.end().await?;
    if stay {
        demo.stay(&stage, process).await?;
        return Ok(well);
    }
    demo.report.stop(process).await?;
    well &= demo.report.logs_are_clean();
    println!(
        "\n{} It took {:.0} s.",
        if well {
            "Both sides agree."
        } else {
            "Something is wrong: see ✗ above."
        },
        started.elapsed().as_secs_f64()
    );
    Ok(well)
}

struct Demo<'a> {
    cast: Cast,
    settings: Settings,
    keap: &'a Keap,
    intercom: &'a Intercom,
    database: &'a Database,
    report: Report,
    look_at: Instant,
}

/// Both sides at one moment.
pub struct Look {
    pub verdict: Verdict,
    pub recorded: Recorded,
}

impl Look {
    /// People whose Intercom contact is as it should be, or who have none with a reason.
    fn in_order(&self) -> usize {
        let Verdict {
            keap_contacts,
            different,
            missing,
            doubled,
            ..
        } = self.verdict;
        keap_contacts - different - doubled - missing
    }

    /// Nothing is left to do.
    fn is_settled(&self) -> bool {
        let held = self.recorded.held.len();
        self.in_order() + held == self.verdict.keap_contacts
            && self.recorded.due == 0
            && self.recorded.linked.len() + self.recorded.skipped.len() + held
                == self.verdict.keap_contacts
    }
}

impl Demo<'_> {
    async fn first_start(&mut self) -> anyhow::Result<Process> {
        println!("1. The daemon starts for the first time: nobody is linked yet.");
        let process = daemon::start(&self.settings)?;
        let bar = self.bar();
        let half = self.keap.len() / 2;
        let look = self
            .until(&process, &bar, |look| look.in_order() >= half)
            .await?;
        self.report.keep_log(&process.kill());
        bar.finish_and_clear();
        let in_intercom = self.intercom.count_users(|id| id.is_some());
        println!(
            "   Killed in the middle (SIGKILL): {in_intercom} people are written to Intercom, {} outcomes are in Postgres.",
            look.recorded.linked.len() + look.recorded.skipped.len() + look.recorded.held.len(),
        );

        println!("   Started again.");
        let process = daemon::start(&self.settings)?;
        let bar = self.bar();
        self.until_settled(&process, &bar).await?;
        bar.finish_and_clear();
        println!("   Done: everybody is looked at.\n");
        self.report
            .phase("First start, killed once", self.keap, self.intercom);
        Ok(process)
    }

    async fn changes(&mut self, process: Process) -> anyhow::Result<Process> {
        println!("2. People change in Keap:");
        let held = self.look().await?.recorded.held;
        let twin = self.cast.twins.into_iter().find(|id| held.contains_key(id));
        let twin = twin.context("one of two people with one e-mail should be held")?;
        let mut changes = self.cast.change(self.keap);
        changes.extend(self.cast.put_right(self.keap, twin));
        for change in changes {
            println!("   - {change}");
        }
        let bar = self.bar();
        let enough = self.keap.len() - 200;
        self.until(&process, &bar, |look| look.in_order() >= enough)
            .await?;
        let took = self.report.stop(process).await?;
        bar.finish_and_clear();
        let left = self.keap.len() - self.look().await?.in_order();
        println!(
            "   Stopped in the middle (SIGTERM): it ended after {:.1} s, with {left} people still to write.",
            took.as_secs_f64()
        );
        let more = self.cast.change_a_few(self.keap);
        println!("   {more} more change in Keap while it is off. Started again.");
        let process = daemon::start(&self.settings)?;
        let bar = self.bar();
        self.until_settled(&process, &bar).await?;
        bar.finish_and_clear();
        println!("   Done: Intercom has what Keap has.\n");
        self.report
            .phase("Changes, stopped once", self.keap, self.intercom);
        Ok(process)
    }

    /// What `keap-intercom-sync sync --all` asks the daemon for.
    async fn look_at_everybody(&mut self, process: &Process) -> anyhow::Result<()> {
        println!("3. The daemon is asked to look at everybody again, as `sync --all` does.");
        let store = Store::new(&StoreOptions {
            url: self.database.url.as_str(),
            max_connections: 2,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            prepared_statements: true,
        })?;
        let run = store.request_run(Feed::Backfill, "manual", None).await?;
        let asked = Instant::now();
        let counts = loop {
            let run = store.run(run).await?.context("the run has vanished")?;
            match run.state {
                RunState::Done => break run.counts,
                RunState::Failed => {
                    anyhow::bail!("the run failed: {}", run.error.unwrap_or_default())
                }
                RunState::Requested | RunState::Running => {}
            }
            if asked.elapsed() > PATIENCE {
                return Err(process.log.blame("the run did not end"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        store.close(Duration::from_secs(1)).await;
        println!(
            "   Done: {} looked at, {} unchanged, {} without a usable e-mail, {} held.\n",
            counts.seen, counts.unchanged, counts.skipped, counts.held
        );
        self.report
            .phase("A look at everybody", self.keap, self.intercom);
        Ok(())
    }

    async fn end(&mut self) -> anyhow::Result<bool> {
        let look = self.look().await?;
        let strangers = self.cast.untouched_strangers(self.intercom);
        let office = self.cast.office;
        Ok(self.report.show(&look, self.intercom, strangers, office))
    }

    async fn look(&self) -> anyhow::Result<Look> {
        Ok(Look {
            recorded: Recorded::read(&self.database.pool).await?,
            verdict: verify(self.keap, self.intercom),
        })
    }

    /// Looks at both sides until nothing is left to do, and stays so for a moment: a last look at somebody may be under way.
    async fn until_settled(&mut self, process: &Process, bar: &ProgressBar) -> anyhow::Result<()> {
        let mut since: Option<Instant> = None;
        self.until(process, bar, |look| {
            if !look.is_settled() {
                since = None;
                return false;
            }
            since.get_or_insert_with(Instant::now).elapsed() >= SETTLED_FOR
        })
        .await?;
        Ok(())
    }

    /// Looks at both sides until `done`, and shows how far it is.
    async fn until(
        &mut self,
        process: &Process,
        bar: &ProgressBar,
        mut done: impl FnMut(&Look) -> bool,
    ) -> anyhow::Result<Look> {
        let began = Instant::now();
        self.look_at = began;
        loop {
            let look = self.look().await?;
            if done(&look) {
                return Ok(look);
            }
            if began.elapsed() > PATIENCE {
                let Look { verdict, recorded } = look;
                let due = recorded.due;
                return Err(process.log.blame(&format!(
                    "{} s are not enough: {verdict:?}, {due} due, held: {:?}",
                    PATIENCE.as_secs(),
                    recorded.held
                )));
            }
            bar.set_length(look.verdict.keap_contacts as u64);
            bar.set_position(look.in_order() as u64);
            if bar.is_hidden() && self.look_at.elapsed() >= Duration::from_secs(1) {
                self.look_at = Instant::now();
                println!(
                    "   {} of {} in order{}",
                    thousands(look.in_order()),
                    thousands(look.verdict.keap_contacts),
                    self.waits_for_window()
                );
            }
            bar.set_message(self.waits_for_window());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Says so while Intercom's window is used up.
    fn waits_for_window(&self) -> &'static str {
        let now_ms = self.intercom.clock().now_ms();
        let used_up = self
            .intercom
            .windows()
            .last()
            .is_some_and(|(start_ms, used, limit)| {
                now_ms < start_ms + WINDOW_MS && used * 100 >= limit * 98
            });
        if used_up {
            "; waiting: Intercom allows 1,667 calls in ten seconds"
        } else {
            ""
        }
    }

    /// A bar on a terminal; else it is hidden, and lines are printed.
    fn bar(&self) -> ProgressBar {
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("   {bar:40} {pos} of {len} in order{msg}");
        ProgressBar::new(self.keap.len() as u64)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    /// Leaves everything running until Ctrl-C.
    async fn stay(&self, stage: &Stage, process: Process) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let control = listener.local_addr()?;
        let (health, intercom) = (&process.first_line, self.intercom.base_url());
        let token = self.intercom.token();
        println!(
            "
Everything is still running. In another terminal:

  # Is the daemon alive?
  curl http://{health}/health

  # Change the phone number of person 7 in Keap.
  curl -H 'content-type: application/json' -d '{{\"ids\": [7], \"what\": \"phone\"}}' http://{control}/control/keap/edit

  # Two seconds later: the same person in Intercom.
  curl -H 'authorization: Bearer {token}' {intercom}/contacts/find_by_external_id/7

  # A hundred more people in Keap.
  curl -H 'content-type: application/json' -d '{{\"count\": 100, \"start\": 900000}}' http://{control}/control/keap/seed

  # Do both sides agree? How many calls have there been?
  curl http://{control}/control/verify
  curl http://{control}/control/counts
"
        );
        if self.database.url.password().is_none() {
            println!(
                "  # What Postgres says.\n  psql '{}' -c 'select * from keap_intercom_sync_logs order by created_at desc limit 5'\n",
                self.database.url
            );
        }
        println!("Ctrl-C ends it. What the daemon logs from here on:\n");
        process.log.show();
        tokio::select! {
            ended = stage.serve(listener) => Ok(ended?),
            // A daemon that ends by itself ends the show; Ctrl-C does so from outside.
            () = ends(process) => Ok(()),
        }
    }
}

async fn ends(mut process: Process) {
    while process.is_running() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
