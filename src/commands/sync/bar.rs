//! The progress of `sync`: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::commands::look::{count, number};
use crate::feed::Counts;
use crate::logs;

/// Without a terminal, the progress of another process is printed this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

const WITHOUT_TOTAL: &str = "{spinner} {human_pos} contacts, {per_sec} {wide_msg}";
const WITH_TOTAL: &str =
    "{bar:24} {human_pos} of about {human_len} contacts, {per_sec}, {eta} left {wide_msg}";
const WAITING: &str = "{spinner} {wide_msg}";

/// What is shown of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// What the work waits for.
    Waits(String),
    Counts(Counts),
}

/// The log lines of the passes stand beside it.
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    quiet: bool,
    /// How many contacts the work is about, as far as that is known.
    total: Option<u64>,
    sweep: bool,
    last_line: Mutex<Option<(Instant, Shown)>>,
}

impl Bar {
    /// `quiet`: shows nothing. `total`: how many contacts there are to look at, if that is known.
    pub(super) fn new(quiet: bool, total: Option<i64>, sweep: bool) -> Self {
        let total = total.and_then(|total| u64::try_from(total).ok()).filter(|total| *total > 0);
        let bar = (!quiet && stderr().is_terminal()).then(|| {
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let bar = logs::bars().add(bar);
            set_style(&bar, if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL });
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, quiet, total, sweep, last_line: Mutex::default() }
    }

    /// Shows the progress of another process.
    pub(super) fn show(&self, shown: &Shown) {
        if let Some(bar) = &self.bar {
            match shown {
                Shown::Waits(what) => {
                    set_style(bar, WAITING);
                    bar.set_message(what.clone());
                }
                Shown::Counts(counts) => {
                    let with_total = self.total.is_some();
                    set_style(bar, if with_total { WITH_TOTAL } else { WITHOUT_TOTAL });
                    show(bar, counts, self.sweep);
                }
            }
            return;
        }
        let mut last = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = match &*last {
            // A wait is announced at once, because nothing else says what happens.
            None => matches!(shown, Shown::Waits(_)),
            Some((at, before)) => before != shown && at.elapsed() >= LINE_INTERVAL,
        };
        if !is_due || self.quiet {
            last.get_or_insert_with(|| (Instant::now(), shown.clone()));
            return;
        }
        *last = Some((Instant::now(), shown.clone()));
        match shown {
            Shown::Waits(what) => errln!("{what}"),
            Shown::Counts(counts) => {
                errln!(
                    "{} so far: {}",
                    count(counts.seen, "contact"),
                    in_words(counts, self.sweep)
                );
            }
        }
    }

    /// Shows the progress of this process.
    pub(super) fn follow(
        &self,
        mut progress: watch::Receiver<Counts>,
    ) -> tokio::task::JoinHandle<()> {
        let (bar, sweep) = (self.bar.clone(), self.sweep);
        tokio::spawn(async move {
            let Some(bar) = bar else { return };
            while progress.changed().await.is_ok() {
                show(&bar, &progress.borrow_and_update(), sweep);
            }
        })
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

fn show(bar: &ProgressBar, counts: &Counts, sweep: bool) {
    let seen = u64::try_from(counts.seen).unwrap_or(0);
    // The total is what was known before. More contacts may have come since.
    if bar.length().is_some_and(|length| length < seen) {
        bar.set_length(seen);
    }
    bar.set_position(seen);
    bar.set_message(in_words(counts, sweep));
}

fn in_words(counts: &Counts, sweep: bool) -> String {
    if sweep {
        return format!(
            "{} archived, {} unlinked, {} late",
            number(counts.archived),
            number(counts.unlinked),
            number(counts.late)
        );
    }
    format!(
        "{} created, {} linked, {} updated, {} held, {} failed",
        number(counts.created),
        number(counts.linked),
        number(counts.updated),
        number(counts.held),
        number(counts.failed)
    )
}
