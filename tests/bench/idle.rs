//! The daemon with nothing to do: how often it wakes, and how much memory it keeps.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::database::Databases;
use crate::measure::{Goal, Progress, status_field};
use crate::phases;
use crate::start::Running;
use crate::table::Table;

const LINKS: u64 = 2_000;
/// The default schedule brings one poll a minute, so each window holds one.
const WINDOW: Duration = Duration::from_secs(60);
/// Connections of the first sync are closed after 20 s without work.
const SETTLE: Duration = Duration::from_secs(30);
/// A first sync of so few contacts that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

const WAKE_UPS_GOAL: f64 = 2.0;
const MEMORY_GOAL_KB: u64 = 15 * 1024;

/// Measures the program that has just synced everybody: its memory is larger than after a restart.
pub(crate) async fn idle(table: &mut Table, databases: &Databases) -> anyhow::Result<()> {
    eprintln!("The daemon with nothing to do:");
    let site = phases::site(databases).await?;
    site.stand_ins.add_people(LINKS).await?;
    let mut progress = Progress::open(&site.database, Goal::Written(LINKS)).await?;
    let settings = site.stand_ins.settings(site.database.url.as_str());
    let daemon = Running::start(&["run"], &settings, None)?;
    let started = Instant::now();
    while progress.look().await? < LINKS {
        anyhow::ensure!(started.elapsed() < PATIENCE, "the first sync did not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    progress.close().await?;
    tokio::time::sleep(SETTLE).await;

    let before = wake_ups(daemon.id())?;
    tokio::time::sleep(WINDOW).await;
    let a_second = (wake_ups(daemon.id())? - before) as f64 / WINDOW.as_secs_f64();
    let memory_kb = status_field(&process(daemon.id()), "VmRSS:")?;

    table.count(
        &format!("Wake-ups a second, idle with {LINKS} links and one poll a minute"),
        format!("{a_second:.1}"),
        "≤ 2",
        a_second <= WAKE_UPS_GOAL,
    );
    table.count(
        "… resident memory",
        format!("{:.1} MB", memory_kb as f64 / 1024.0),
        "≤ 15 MB",
        memory_kb <= MEMORY_GOAL_KB,
    );
    Ok(())
}

/// How often threads of the process have waited for something and gone on.
fn wake_ups(id: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir(process(id).join("task"))? {
        // A thread may end between the two reads.
        sum += status_field(&thread?.path(), "voluntary_ctxt_switches:").unwrap_or(0);
    }
    anyhow::ensure!(sum > 0, "the daemon is gone");
    Ok(sum)
}

fn process(id: u32) -> std::path::PathBuf {
    Path::new("/proc").join(id.to_string())
}
