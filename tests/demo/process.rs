//! A process of our own: this very program, started again with another first word. Ends when its parent does.
#![allow(dead_code)] // Each user needs a part.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// A daemon that is asked to stop has this long, and a bit.
const STOP_TIME: Duration = Duration::from_secs(8);
/// So many lines of a process's log are kept.
const LINES_KEPT: usize = 5_000;

/// Killed when it is dropped.
pub struct Process {
    child: Child,
    /// What it printed first.
    pub first_line: String,
    pub log: Arc<Log>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// What a process wrote to its standard error.
#[derive(Default)]
pub struct Log {
    lines: Mutex<Vec<String>>,
    shown: AtomicBool,
}

impl Log {
    /// From now on lines are printed as they come.
    pub fn show(&self) {
        self.shown.store(true, Ordering::Relaxed);
    }

    pub fn lines(&self) -> Vec<String> {
        self.locked().clone()
    }

    /// What went wrong, with the last lines.
    pub fn blame(&self, why: &str) -> anyhow::Error {
        let lines = self.lines();
        let last = &lines[lines.len().saturating_sub(15)..];
        anyhow::anyhow!("{why}\nThe last lines of its log:\n{}", last.join("\n"))
    }

    fn locked(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, line: String) {
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
    /// Starts this program with `words` and nothing in its environment but `env`; waits for its first line.
    pub fn start(words: &[&str], env: &[(&str, String)]) -> anyhow::Result<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(words)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("a process could not be started")?;
        let log = Arc::new(Log::default());
        let reader = child.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    log.take_in(line);
                }
            })
        });
        let stdout = child.stdout.take();
        let mut process = Process {
            child,
            first_line: String::new(),
            log,
            reader,
        };
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
        process
            .first_line
            .truncate(process.first_line.trim_end().len());
        Ok(process)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL: no chance to finish anything.
    pub fn kill(mut self) -> Arc<Log> {
        self.end();
        Arc::clone(&self.log)
    }

    /// SIGTERM; how it ended, and how long that took.
    pub async fn stop(mut self) -> anyhow::Result<(ExitStatus, Duration)> {
        let asked = Instant::now();
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).context("the process could not be asked to stop")?;
        let status = self.ended(STOP_TIME).await?;
        Ok((status, asked.elapsed()))
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
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
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
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

/// Ends this process when the pipe from its parent ends, however the parent went.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}
