//! `make bench`: counts and ratios of the daemon against stand-ins with a memory, as a table in
//! markdown.
//!
//! Everything runs on loopback and stops by itself. `quick` takes under five minutes, the whole of
//! it some fifteen. `start`, `idle`, `counts`, `mapping`, `two-way`, `pages` and `retention` each
//! run one phase alone, and `quick` before it makes the phase small.
// The rules of `pedantic` are for the daemon. In a tool, the shortest code reads best.
#![allow(clippy::pedantic)]

#[path = "../demo/daemon.rs"]
mod daemon;
#[path = "../demo/database.rs"]
mod database;
mod http;
mod idle;
mod mapping;
mod measure;
mod pages;
mod phases;
#[path = "../demo/process.rs"]
mod process;
mod retention;
#[path = "../sim/mod.rs"]
mod sim;
mod stand_ins;
mod start;
mod table;
#[path = "../target.rs"]
mod target;
mod two_way;
mod worker;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use database::Databases;
use phases::Sizes;
use table::Table;

/// The whole never takes this long, even on a slow machine.
const MOST_TIME: Duration = Duration::from_secs(20 * 60);

/// The phases that can run alone.
const PHASES: [&str; 7] = ["start", "idle", "counts", "mapping", "two-way", "pages", "retention"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = match words.as_slice() {
        [daemon::WORD] => daemon::run().map(|()| true),
        [stand_ins::WORD] => stand_ins::run().map(|()| true),
        [worker::WORD, first, last] => worker::run(first, last).map(|()| true),
        [] => in_a_runtime(&Sizes::FULL, ""),
        ["quick"] => in_a_runtime(&Sizes::QUICK, ""),
        [phase] if PHASES.contains(phase) => in_a_runtime(&Sizes::FULL, phase),
        ["quick", phase] if PHASES.contains(phase) => in_a_runtime(&Sizes::QUICK, phase),
        _ => {
            Err(anyhow::anyhow!("the options are quick, or one phase alone: {}", PHASES.join(", ")))
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

/// Returns whether every count keeps its promise. Drops the databases in any case.
fn in_a_runtime(sizes: &Sizes, phase: &str) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let databases = Databases::default();
        let mut terminated = signal(SignalKind::terminate())?;
        let ended = tokio::select! {
            ended = bench(&databases, sizes, phase) => ended,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminated.recv() => Err(anyhow::anyhow!("interrupted")),
            () = tokio::time::sleep(MOST_TIME) => Err(anyhow::anyhow!("given up: it takes too long")),
        };
        databases.remove().await?;
        ended
    })
}

async fn bench(databases: &Databases, sizes: &Sizes, phase: &str) -> anyhow::Result<bool> {
    let started = Instant::now();
    if cfg!(debug_assertions) {
        eprintln!("This is no release build: its times say nothing.");
    }
    let mut table = Table::default();
    let wanted = |name| phase.is_empty() || phase == name;
    if wanted("start") {
        start::start(&mut table, databases).await?;
    }
    if wanted("idle") {
        idle::idle(&mut table, databases).await?;
    }
    if wanted("others") || wanted("counts") {
        phases::counts(&mut table, databases, sizes).await?;
    }
    if wanted("mapping") {
        mapping::mapping(&mut table, databases, sizes).await?;
    }
    if wanted("two-way") {
        two_way::two_way(&mut table, databases).await?;
    }
    if wanted("others") {
        phases::beside_the_worker(&mut table, databases, sizes).await?;
        phases::limits(&mut table, databases).await?;
        phases::memory(&mut table, databases, sizes).await?;
        http::surface(&mut table, databases).await?;
    }
    if wanted("pages") {
        pages::pages(&mut table, databases, sizes.pages).await?;
    }
    if wanted("retention") {
        retention::retention(&mut table, databases, sizes.retention).await?;
    }
    if let (true, Some(million)) = (wanted("others"), sizes.resumed) {
        phases::killed_and_resumed(&mut table, databases, million).await?;
    }
    println!("{}\n", table::machine(&database::server()?).await?);
    let missed = table.show();
    for measure in missed {
        println!("\nMissed: {measure}");
    }
    println!("\nIt took {:.0} s.", started.elapsed().as_secs_f64());
    Ok(missed.is_empty())
}
