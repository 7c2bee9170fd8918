//! `make soak`: kills and cuts a live daemon at every remote call and every COMMIT of a run, and
//! lets it live through random worlds. After each case, one checker says what does not hold.
//!
//! The daemon is a process of its own, and a kill is a SIGKILL. Everything runs on loopback and
//! stops by itself. A seed draws people, changes and faults; the machine still decides which calls
//! run side by side, so a case that has failed may need several tries to fail again.
// The rules of `pedantic` are for the daemon. In a tool, the shortest code reads best.
#![allow(clippy::pedantic)]

#[path = "../canary.rs"]
mod canary;
mod case;
mod cast;
mod changes;
#[path = "../checker/mod.rs"]
mod checker;
#[path = "../demo/daemon.rs"]
mod daemon;
#[path = "../demo/database.rs"]
mod database;
mod life;
mod options;
#[path = "../postgres_proxy.rs"]
mod postgres_proxy;
#[path = "../postgres_wire.rs"]
mod postgres_wire;
#[path = "../demo/process.rs"]
mod process;
mod scene;
#[path = "../sim/mod.rs"]
mod sim;
mod story;
mod strikes;
#[path = "../target.rs"]
mod target;
mod worlds;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::signal::unix::{SignalKind, signal};

use case::Case;
use database::Database;
use life::Played;
use options::{Options, PHASES};

/// How often progress is printed.
const PRINT_EVERY: Duration = Duration::from_secs(10);
/// Threads for the stand-ins. Some of them wait for a process to start or to die.
const THREADS: usize = 8;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        [daemon::WORD] => daemon::run().map(|()| true),
        words => {
            // The last line of a run that fails is its result, so the command comes first.
            println!("This command repeats it: make soak ARGS=\"{}\"", words.join(" "));
            Options::read(words).and_then(in_a_runtime)
        }
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

/// Returns whether no case has failed.
fn in_a_runtime(options: Options) -> anyhow::Result<bool> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let template = Arc::new(Database::create("soak_template").await?);
        let ended = tokio::select! {
            ended = run(&options, &template) => ended,
            interrupted = interrupted() => interrupted.and(Ok(false)),
        };
        template.remove().await?;
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

async fn run(options: &Options, template: &Arc<Database>) -> anyhow::Result<bool> {
    sqlx::migrate!().run(&template.pool).await?;
    // Nobody may be connected to a database that is copied.
    template.pool.close().await;
    let mut sizes = Vec::new();
    if options.needs_sizes() {
        let measured = PHASES.map(|phase| strikes::measure(phase, template));
        sizes = futures_util::future::try_join_all(measured).await?;
        for (phase, size) in PHASES.iter().zip(&sizes) {
            println!(
                "A run without faults ({phase:?}): {} calls to Keap, {} to Intercom, {} commits.",
                size.keap, size.intercom, size.commits
            );
        }
    }
    let cases = options.cases(&sizes);
    let mut tally = Tally::new(cases.len());
    println!("{} cases, {} side by side.", cases.len(), options.jobs);
    let mut played = stream::iter(cases)
        .map(|case| {
            let template = Arc::clone(template);
            async move {
                let played = tokio::spawn(async move { play(case, &template).await }).await;
                (case, played.map_err(anyhow::Error::from).and_then(|played| played))
            }
        })
        .buffer_unordered(options.jobs);
    while let Some((case, played)) = played.next().await {
        tally.add(case, played);
    }
    Ok(tally.show())
}

async fn play(case: Case, template: &Database) -> anyhow::Result<Played> {
    match case {
        Case::Strike(strike) => strikes::play(strike, template).await,
        Case::World(seed) => worlds::play(seed, template).await,
    }
}

/// What came of all cases so far.
struct Tally {
    began: Instant,
    printed: Instant,
    all: usize,
    done: usize,
    worlds: usize,
    kills: usize,
    cuts: usize,
    not_reached: usize,
    failed: Vec<Case>,
}

impl Tally {
    fn new(all: usize) -> Tally {
        let now = Instant::now();
        Tally {
            began: now,
            printed: now,
            all,
            done: 0,
            worlds: 0,
            kills: 0,
            cuts: 0,
            not_reached: 0,
            failed: Vec::new(),
        }
    }

    fn add(&mut self, case: Case, played: anyhow::Result<Played>) {
        self.done += 1;
        self.worlds += usize::from(matches!(case, Case::World(_)));
        let wrong = match played {
            Ok(played) => {
                self.kills += played.kills;
                self.cuts += played.cuts;
                self.not_reached += usize::from(!played.reached);
                let findings = played.findings.iter().map(|finding| format!("  {finding}\n"));
                let findings: String = findings.collect();
                (!findings.is_empty()).then(|| format!("{findings}{}", played.log.join("\n")))
            }
            Err(error) => Some(format!("  {error:#}")),
        };
        if let Some(wrong) = wrong {
            self.failed.push(case);
            println!("✗ {case}\n{wrong}\n  Repeat it: make soak ARGS=\"--case {case}\"");
        }
        if self.printed.elapsed() > PRINT_EVERY {
            self.printed = Instant::now();
            println!("{} of {} cases, {} failed", self.done, self.all, self.failed.len());
        }
    }

    /// Prints the result and returns whether no case has failed.
    fn show(&self) -> bool {
        for case in &self.failed {
            println!("✗ failed: make soak ARGS=\"--case {case}\"");
        }
        println!(
            "{} {} cases: {} worlds, {} kills, {} cuts, {} faults not reached, {} failures. It took {:.0} s.",
            if self.failed.is_empty() { "✓" } else { "✗" },
            self.done,
            self.worlds,
            self.kills,
            self.cuts,
            self.not_reached,
            self.failed.len(),
            self.began.elapsed().as_secs_f64()
        );
        self.failed.is_empty() && self.done == self.all
    }
}
