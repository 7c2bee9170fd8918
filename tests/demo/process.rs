//! A child process: this same program, started with another first argument. It ends when its parent
//! ends.
#![allow(dead_code)] // The demo and the bench each use a part.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;

use crate::target::Target;

/// How long a process may take to stop. The daemon promises a little less.
const STOP_TIME: Duration = Duration::from_secs(8);
/// Most lines of a log that are kept.
const LINES_KEPT: usize = 5_000;

/// A running process. Dropping it kills the process.
pub(crate) struct Process {
    child: Child,
    target: Target,
    /// The first line that it printed.
    pub first_line: String,
    pub log: Arc<Log>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// The lines that a process wrote to its standard error.
#[derive(Default)]
pub(crate) struct Log {
    lines: Mutex<Vec<String>>,
    shown: AtomicBool,
}

impl Log {
    /// Prints each new line from now on.
    pub(crate) fn show(&self) {
        self.shown.store(true, Ordering::Relaxed);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.locked().clone()
    }

    /// Whether further lines are dropped.
    pub(crate) fn is_full(&self) -> bool {
        self.locked().len() == LINES_KEPT
    }

    /// An error that says why, followed by the last lines of the log.
    pub(crate) fn blame(&self, why: &str) -> anyhow::Error {
        let lines = self.lines();
        let last = &lines[lines.len().saturating_sub(15)..];
        anyhow::anyhow!("{why}\nThe last lines of its log:\n{}", last.join("\n"))
    }

    fn locked(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: String) {
        if self.shown.load(Ordering::Relaxed) {
            println!("  | {line}");
        }
        let mut lines = self.locked();
        if lines.len() < LINES_KEPT {
            lines.push(line);
        }
    }
}

impl Process {
    /// Starts this program with the arguments `words` and only `env` as its environment. Waits for
    /// its first line.
    pub(crate) fn start(words: &[&str], env: &[(&str, String)]) -> anyhow::Result<Process> {
        Process::start_as(&Target::default(), words, env)
    }

    /// As [`Process::start`]. `target` reaches the process from its first moment on.
    pub(crate) fn start_as(
        target: &Target,
        words: &[&str],
        env: &[(&str, String)],
    ) -> anyhow::Result<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(words)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start a process")?;
        target.aim_at(&child);
        let log = Arc::new(Log::default());
        let reader = child.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    log.push(line);
                }
            })
        });
        let stdout = child.stdout.take();
        let target = target.clone();
        let mut process = Process { child, target, first_line: String::new(), log, reader };
        let mut stdout = BufReader::new(stdout.context("the process has no standard output")?);
        stdout.read_line(&mut process.first_line)?;
        if process.first_line.is_empty() {
            process.end();
            anyhow::bail!(
                "the {} did not start:\n{}",
                words.join(" "),
                process.log.lines().join("\n")
            );
        }
        process.first_line.truncate(process.first_line.trim_end().len());
        Ok(process)
    }

    pub(crate) fn target(&self) -> Target {
        self.target.clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.target.reap(&mut self.child), Ok(None))
    }

    /// Sends SIGKILL, so the process cannot finish anything.
    pub(crate) fn kill(mut self) -> Arc<Log> {
        self.end();
        Arc::clone(&self.log)
    }

    /// Sends SIGTERM. Returns how the process ended and how long that took.
    pub(crate) async fn stop(mut self) -> anyhow::Result<(ExitStatus, Duration)> {
        let asked = Instant::now();
        self.target.signal(Signal::TERM);
        let status = self.ended(STOP_TIME).await?;
        Ok((status, asked.elapsed()))
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.target.reap(&mut self.child)? {
                self.end();
                return Ok(status);
            }
            anyhow::ensure!(
                asked.elapsed() < within,
                "a process did not end within {} s",
                within.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn end(&mut self) {
        // Both do nothing if the process has already ended, which is fine.
        self.target.kill();
        let _ = self.target.reap(&mut self.child);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends this process when the pipe from its parent closes, however the parent ended.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}
