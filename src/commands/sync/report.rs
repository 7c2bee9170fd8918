//! What `sync` prints: progress, previews of a dry run, and the summary at the end.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::contact::KeapId;
use crate::logs;
use crate::store::Counts;
use crate::sync::dry_run::Preview;

/// Off a terminal, progress made elsewhere is told this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What came of a requested contact.
pub struct Told {
    pub id: KeapId,
    pub action: String,
    pub intercom: Option<String>,
    pub why: Option<String>,
}

pub fn print_summary(json: bool, counts: &Counts, contacts: &[Told], error: Option<&str>) {
    if json {
        let contacts: Vec<_> = contacts
            .iter()
            .map(|one| json!({ "keapContactId": one.id.get(), "action": one.action, "intercomContactId": one.intercom, "error": one.why }))
            .collect();
        println!(
            "{}",
            json!({ "summary": counts, "contacts": contacts, "error": error })
        );
        return;
    }
    for one in contacts {
        println!(
            "{}",
            line(
                &one.id.to_string(),
                &one.action,
                one.intercom.as_deref(),
                one.why.as_deref()
            )
        );
    }
    if let Some(error) = error {
        println!("Not complete: {error}");
    }
    println!(
        "{} contacts: {} created, {} linked, {} updated, {} unchanged, {} skipped, {} held, {} failed; calls: Keap {}, Intercom {}",
        counts.seen,
        counts.created,
        counts.linked,
        counts.updated,
        counts.unchanged,
        counts.skipped,
        counts.held,
        counts.failed,
        counts.keap_calls,
        counts.intercom_calls,
    );
    if counts.archived + counts.unlinked + counts.late > 0 {
        println!("{}", of_sweep(counts));
    }
}

/// What a sweep found.
fn of_sweep(counts: &Counts) -> String {
    format!(
        "Gone from Keap: {} archived, {} unlinked; found late: {}",
        counts.archived, counts.unlinked, counts.late
    )
}

fn line(id: &str, action: &str, intercom: Option<&str>, why: Option<&str>) -> String {
    let intercom = intercom
        .map(|id| format!(" → Intercom {id}"))
        .unwrap_or_default();
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{id}: {action}{intercom}{why}")
}

/// The previews of a dry run, told one by one: an account may have a million.
pub struct Previews {
    json: bool,
    verbose: bool,
    any: bool,
}

impl Previews {
    pub fn new(json: bool, verbose: bool) -> Self {
        if json {
            print!("{{\"dryRun\":true,\"contacts\":[");
        }
        Self {
            json,
            verbose,
            any: false,
        }
    }

    pub fn tell(&mut self, preview: &Preview) {
        if self.json {
            let fields = || {
                preview
                    .fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), json!(value)))
                    .collect::<serde_json::Map<_, _>>()
            };
            let one = json!({
                "keapContactId": preview.keap_contact_id, "action": preview.action, "intercomContactId": preview.intercom_contact_id,
                "error": preview.reason, "fields": self.verbose.then(fields),
            });
            print!("{}{one}", if self.any { "," } else { "" });
            self.any = true;
            return;
        }
        if preview.action == "unchanged" && !self.verbose {
            return;
        }
        println!(
            "{}",
            line(
                &preview.keap_contact_id.to_string(),
                preview.action,
                preview.intercom_contact_id.as_deref(),
                preview.reason.as_deref()
            )
        );
        if self.verbose {
            for (name, value) in &preview.fields {
                println!("    {name}: {}", value.as_deref().unwrap_or("(cleared)"));
            }
        }
    }

    pub fn end(&self, counts: &Counts, stopped: Option<&str>) {
        if self.json {
            println!(
                "],\"summary\":{},\"error\":{}}}",
                json!(counts),
                json!(stopped)
            );
            return;
        }
        println!("Dry run, nothing was written.");
        print_summary(false, counts, &[], stopped);
    }
}

/// A progress line on a terminal, plain lines elsewhere; each pass of this process has its log line beside it.
pub struct Bar {
    bar: Option<ProgressBar>,
    quiet: bool,
    last_line: Mutex<Option<(Instant, Counts)>>,
}

impl Bar {
    pub fn new(json: bool) -> Self {
        let bar = (!json && stderr().is_terminal()).then(|| {
            let bar = logs::bars().add(ProgressBar::new_spinner());
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {pos} contacts, {per_sec} {msg}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            bar,
            quiet: json,
            last_line: Mutex::default(),
        }
    }

    /// Shows how far another process is.
    pub fn show(&self, counts: &Counts) {
        if let Some(bar) = &self.bar {
            return show(bar, counts);
        }
        let mut last = self
            .last_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (told_at, told) = last.unwrap_or((Instant::now(), Counts::default()));
        if last.is_none() {
            *last = Some((told_at, told));
        }
        if !self.quiet && told != *counts && told_at.elapsed() >= LINE_EVERY {
            *last = Some((Instant::now(), *counts));
            eprintln!("{} contacts so far: {}", counts.seen, of(counts));
        }
    }

    /// Follows the passes of this process.
    pub fn follow(&self, mut progress: watch::Receiver<Counts>) -> tokio::task::JoinHandle<()> {
        let bar = self.bar.clone();
        tokio::spawn(async move {
            let Some(bar) = bar else { return };
            while progress.changed().await.is_ok() {
                show(&bar, &progress.borrow_and_update());
            }
        })
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, counts: &Counts) {
    bar.set_position(u64::try_from(counts.seen).unwrap_or(0));
    bar.set_message(of(counts));
}

fn of(counts: &Counts) -> String {
    format!(
        "{} created, {} linked, {} updated, {} held, {} failed",
        counts.created, counts.linked, counts.updated, counts.held, counts.failed
    )
}
