//! The installed program: its size, how soon it is ready, and how soon its commands answer.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixDatagram;

use crate::daemon::Settings;
use crate::database::Databases;
use crate::measure::{median, sorted};
use crate::phases;
use crate::table::Table;

const STARTS: usize = 20;
const READY_GOAL_MS: f64 = 100.0;
const SIZE_GOAL_MB: f64 = 15.0;
/// A start, a stop or a command that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn start(table: &mut Table, databases: &Databases) -> anyhow::Result<()> {
    eprintln!("The program itself:");
    let size = std::fs::metadata(program()?)?.len() as f64 / 1e6;
    table.count("Size of the program", format!("{size:.1} MB"), "≤ 15 MB", size <= SIZE_GOAL_MB);
    // The daemon of the site has migrated the database.
    let site = phases::site(databases).await?;
    let settings = site.stand_ins.settings(site.database.url.as_str());
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(ready_ms(&settings, &path, &manager).await?);
    }
    let times = sorted(times);
    let worst = times[times.len() - 1];
    table.goal(
        &format!("Time from a start to ready, median of {STARTS} (worst)"),
        format!("{:.0} ms ({worst:.0} ms)", median(&times)),
        "all ≤ 100 ms",
        worst <= READY_GOAL_MS,
    );
    table.row("Time of `--help`, `status`, `held`, `explain`", commands_ms(&settings, "1").await?);
    Ok(())
}

/// Measures the median times of the commands that only read.
pub(crate) async fn commands_ms(settings: &Settings, id: &str) -> anyhow::Result<String> {
    let commands: [&[&str]; 4] = [&["--help"], &["status"], &["held"], &["explain", id]];
    let mut middles = Vec::new();
    for words in commands {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let began = Instant::now();
            let mut command = Running::start(words, settings, None)?;
            let ended = command.ended().await?;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
            // No daemon runs, so `status` says that nothing works, and fails.
            anyhow::ensure!(ended || words == ["status"], "{} failed", words.join(" "));
        }
        middles.push(format!("{:.0}", median(&sorted(times))));
    }
    Ok(format!("{} ms", middles.join(", ")))
}

/// Measures from before the process exists until systemd hears that it is ready.
async fn ready_ms(
    settings: &Settings,
    path: &std::path::Path,
    manager: &UnixDatagram,
) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut daemon = Running::start(&["run"], settings, Some(path))?;
    let mut heard = [0; 4096];
    let ready = async {
        loop {
            let length = manager.recv(&mut heard).await?;
            if heard[..length].starts_with(b"READY=1") {
                return anyhow::Ok(began.elapsed());
            }
        }
    };
    let ready =
        tokio::time::timeout(PATIENCE, ready).await.context("the daemon was never ready")??;
    kill_process(Pid::from_child(&daemon.0), Signal::TERM)?;
    anyhow::ensure!(daemon.ended().await?, "the daemon did not stop well");
    // Messages of the stopped daemon must not count for the next one.
    while manager.try_recv(&mut heard).is_ok() {}
    Ok(ready.as_secs_f64() * 1000.0)
}

/// The program that `cargo build --release` makes. It lies beside the folder of the examples.
fn program() -> anyhow::Result<PathBuf> {
    let bench = std::env::current_exe()?;
    let program = bench
        .parent()
        .and_then(|examples| examples.parent())
        .map(|folder| folder.join("keap-intercom-sync"))
        .filter(|program| program.exists());
    program.context("the program is not built: start this by `make bench`")
}

/// A process of the program, killed when it is dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(
        words: &[&str],
        settings: &Settings,
        manager: Option<&std::path::Path>,
    ) -> anyhow::Result<Running> {
        let mut command = Command::new(program()?);
        command
            .args(words)
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some((_, file)) =
            settings.iter().find(|(name, _)| *name == crate::daemon::SETTINGS_FILE)
        {
            command.args(["--config", file]);
        }
        if let Some(path) = manager {
            command.env("NOTIFY_SOCKET", path);
        }
        Ok(Running(command.spawn().context("the program did not start")?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the end. Returns whether the exit status is 0.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<bool> {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.success());
            }
            anyhow::ensure!(asked.elapsed() < PATIENCE, "the program did not end");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that has ended cannot be killed, which is no fault.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
