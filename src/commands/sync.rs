//! `sync`: the same passes once, in the foreground; through the daemon's lease where a daemon runs.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::run::stop_on_signals;
use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, exit};
use crate::app::{self, Parts};
use crate::config::{Migrate, Needed, Settings};
use crate::contact::KeapId;
use crate::store::{Counts, DueReason, DueTicket, Feed, RunState, Store};
use crate::sync::dry_run::{Preview, Scope};
use crate::sync::{Halt, Syncer, lease};

/// A side that is down is tried this often before the command gives up.
const TRIES: u32 = 6;
/// How often a walk or request that the daemon carries out is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct SyncArgs {
    /// Keap contact ids to sync now.
    #[arg(required_unless_present_any = ["changed", "all", "since"], conflicts_with_all = ["changed", "all", "since"])]
    pub ids: Vec<KeapId>,
    /// Sync what has changed since the stored cursor.
    #[arg(long, conflicts_with_all = ["all", "since"])]
    pub changed: bool,
    /// Look at every contact in Keap; those that are up to date cost no Intercom call.
    #[arg(long, conflicts_with = "since")]
    pub all: bool,
    /// Look at every contact changed since a time, for example 2026-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<DateTime<Utc>>,
    /// Decide and print, and write nothing anywhere.
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: print each field that would be written.
    #[arg(long, requires = "dry_run")]
    pub verbose: bool,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

pub async fn run(settings: &Settings, args: SyncArgs) -> Ended {
    settings.require(&[
        Needed::DatabaseUrl,
        Needed::KeapApiKey,
        Needed::IntercomAccessToken,
    ])?;
    let parts = Parts::build(settings)?;
    let cancel = CancellationToken::new();
    stop_on_signals(&cancel)?;
    if args.dry_run {
        // A dry run writes nothing, not even tables.
        app::prepare_database(&parts.store, Migrate::Refuse)
            .await
            .context("nothing could be done")?;
        let syncer = parts.syncer(watch::channel(None).1, cancel).await?;
        return dry_run(&syncer, &args).await;
    }
    app::prepare_database(&parts.store, settings.database.migrate)
        .await
        .context("nothing could be done")?;
    let ttl = settings.lease.ttl();
    match lease::take(&parts.store, ttl).await? {
        Ok(held) => {
            let (sender, receiver) = watch::channel(Some(held));
            let keeper_cancel = CancellationToken::new();
            let keeper = tokio::spawn(lease::keep(
                parts.store.clone(),
                ttl,
                sender,
                keeper_cancel.clone(),
            ));
            let syncer = parts.syncer(receiver, cancel).await?;
            let ended = here(&syncer, &parts, &args).await;
            keeper_cancel.cancel();
            let _ = keeper.await;
            ended
        }
        Err(holder) => {
            tracing::info!(
                holder = holder.holder,
                "A daemon holds the lease; it is asked to do the work."
            );
            there(&parts.store, &args, &cancel).await
        }
    }
}

/// Runs the passes in this process, which holds the lease.
async fn here(syncer: &Syncer, parts: &Parts, args: &SyncArgs) -> Ended {
    let bar = Bar::new(args.json);
    let watching = bar.follow(syncer.progress());
    let (result, contacts) = if args.ids.is_empty() {
        let mut poll = args.changed;
        if !args.changed {
            parts
                .store
                .request_run(Feed::Backfill, "manual", args.since)
                .await?;
        }
        let result = patiently(async || syncer.bulk_step(&mut poll).await).await;
        (result, Vec::new())
    } else {
        let tickets = parts.store.request(&args.ids, DueReason::Manual).await?;
        let result = patiently(async || {
            let worked = syncer.urgent_step().await?;
            Ok(worked && !parts.store.undone(&args.ids).await?.is_empty())
        })
        .await;
        (result, outcomes(&parts.store, &tickets).await?)
    };
    watching.abort();
    bar.finish();
    let counts = if args.ids.is_empty() {
        *syncer.progress().borrow()
    } else {
        Counts {
            keap_calls: syncer.all_calls().keap,
            intercom_calls: syncer.all_calls().intercom,
            ..counts_of(&contacts)
        }
    };
    if let Err(halt) = result {
        eprintln!("Stopped: {halt}");
        print_summary(args.json, &counts, &contacts, Some(&halt.to_string()));
        return exit(NOTHING_DONE);
    }
    print_summary(args.json, &counts, &contacts, None);
    exit(status_of(&counts, &contacts))
}

/// Repeats a step until it has nothing to do; waits out a side that is down for a while.
async fn patiently(mut step: impl AsyncFnMut() -> Result<bool, Halt>) -> Result<(), Halt> {
    let mut tries = 0;
    loop {
        match step().await {
            Ok(true) => tries = 0,
            Ok(false) => return Ok(()),
            Err(
                halt @ (Halt::Remote {
                    needs_person: true, ..
                }
                | Halt::Feed(_)
                | Halt::Cancelled
                | Halt::LeaseLost),
            ) => return Err(halt),
            Err(halt) if tries >= TRIES => return Err(halt),
            Err(halt) => {
                tries += 1;
                tracing::warn!(
                    error = &halt as &dyn std::error::Error,
                    "Waiting, then trying again."
                );
                tokio::time::sleep(halt.retry_in().min(Duration::from_secs(60))).await;
            }
        }
    }
}

/// Asks the daemon, and waits for what comes of it.
async fn there(store: &Store, args: &SyncArgs, cancel: &CancellationToken) -> Ended {
    if !args.ids.is_empty() {
        let tickets = store.request(&args.ids, DueReason::Manual).await?;
        while !store.undone(&args.ids).await?.is_empty() {
            if !pause(cancel).await {
                return exit(NOTHING_DONE);
            }
        }
        let contacts = outcomes(store, &tickets).await?;
        let counts = counts_of(&contacts);
        print_summary(args.json, &counts, &contacts, None);
        return exit(status_of(&counts, &contacts));
    }
    let feed = if args.changed {
        Feed::Changed
    } else {
        Feed::Backfill
    };
    let id: Uuid = store.request_run(feed, "manual", args.since).await?;
    let bar = Bar::new(args.json);
    loop {
        let run = store
            .run(id)
            .await?
            .context("the requested run has vanished from sync_run")?;
        bar.show(&run.counts);
        if matches!(run.state, RunState::Done | RunState::Failed) {
            bar.finish();
            print_summary(args.json, &run.counts, &[], run.error.as_deref());
            return exit(if run.state == RunState::Failed {
                NOTHING_DONE
            } else {
                status_of(&run.counts, &[])
            });
        }
        if !pause(cancel).await {
            eprintln!("Not waiting any longer; the daemon goes on with run {id}.");
            return exit(NOTHING_DONE);
        }
    }
}

/// False when the command is to stop.
async fn pause(cancel: &CancellationToken) -> bool {
    tokio::select! {
        () = cancel.cancelled() => false,
        () = tokio::time::sleep(LOOK_EVERY) => true,
    }
}

/// What came of a requested contact.
struct Told {
    id: KeapId,
    action: String,
    intercom: Option<String>,
    why: Option<String>,
}

async fn outcomes(store: &Store, tickets: &[DueTicket]) -> anyhow::Result<Vec<Told>> {
    let held = store.held().await?;
    let mut told = Vec::new();
    for ticket in tickets {
        let row = store.outcome_since(ticket.id, ticket.requested_at).await?;
        let held = held
            .iter()
            .find(|held| held.keap_contact_id == ticket.id.get());
        told.push(match (row, held) {
            (Some(row), _) => Told {
                id: ticket.id,
                action: row.action,
                intercom: row.intercom_contact_id,
                why: row.error_message,
            },
            (None, Some(held)) => Told {
                id: ticket.id,
                action: "held".into(),
                intercom: None,
                why: Some(held.reason.clone()),
            },
            (None, None) => Told {
                id: ticket.id,
                action: "queued".into(),
                intercom: None,
                why: Some("no outcome yet".into()),
            },
        });
    }
    Ok(told)
}

fn counts_of(contacts: &[Told]) -> Counts {
    let mut counts = Counts::default();
    for contact in contacts {
        counts.seen += 1;
        *match contact.action.as_str() {
            "created" => &mut counts.created,
            "linked" => &mut counts.linked,
            "updated" => &mut counts.updated,
            "unchanged" => &mut counts.unchanged,
            "skipped" => &mut counts.skipped,
            "held" => &mut counts.held,
            _ => &mut counts.failed,
        } += 1;
    }
    counts
}

/// A contact that somebody named and that is not in Intercom afterwards is a failure; one that a walk skips is not.
fn status_of(counts: &Counts, contacts: &[Told]) -> u8 {
    let named_and_skipped = contacts.iter().any(|contact| contact.action == "skipped");
    if counts.failed + counts.held > 0 || named_and_skipped {
        SOME_FAILED
    } else {
        WELL
    }
}

fn print_summary(json: bool, counts: &Counts, contacts: &[Told], error: Option<&str>) {
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
        let intercom = one
            .intercom
            .as_deref()
            .map(|id| format!(" → Intercom {id}"))
            .unwrap_or_default();
        let why = one
            .why
            .as_deref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default();
        println!("{}: {}{intercom}{why}", one.id, one.action);
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
}

async fn dry_run(syncer: &Syncer, args: &SyncArgs) -> Ended {
    let scope = match (args.ids.as_slice(), args.changed, args.since) {
        ([], true, _) => Scope::Changed,
        ([], false, Some(since)) => Scope::Since(since),
        ([], false, None) => Scope::All,
        (ids, ..) => Scope::Ids(ids.to_vec()),
    };
    let mut previews = Vec::new();
    let tell = |preview: Preview| {
        match args.json {
        true => previews.push(json!({
            "keapContactId": preview.keap_contact_id, "action": preview.action, "intercomContactId": preview.intercom_contact_id, "error": preview.reason,
            "fields": args.verbose.then(|| preview.fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>()),
        })),
        false => print_preview(&preview, args.verbose),
    }
    };
    let counts = match syncer.dry_run(scope, tell).await {
        Ok(counts) => counts,
        Err(halt) => {
            eprintln!("Stopped: {halt}");
            return exit(NOTHING_DONE);
        }
    };
    if args.json {
        println!(
            "{}",
            json!({ "dryRun": true, "summary": counts, "contacts": previews })
        );
    } else {
        println!("Dry run, nothing was written.");
        print_summary(
            false,
            &Counts {
                keap_calls: syncer.all_calls().keap,
                intercom_calls: syncer.all_calls().intercom,
                ..counts
            },
            &[],
            None,
        );
    }
    exit(if counts.failed + counts.held > 0 {
        SOME_FAILED
    } else {
        WELL
    })
}

fn print_preview(preview: &Preview, verbose: bool) {
    if preview.action == "unchanged" && !verbose {
        return;
    }
    let intercom = preview
        .intercom_contact_id
        .as_deref()
        .map(|id| format!(" → Intercom {id}"))
        .unwrap_or_default();
    let why = preview
        .reason
        .as_deref()
        .map(|why| format!(" ({why})"))
        .unwrap_or_default();
    println!(
        "{}: {}{intercom}{why}",
        preview.keap_contact_id, preview.action
    );
    if verbose {
        for (name, value) in &preview.fields {
            println!("    {name}: {}", value.as_deref().unwrap_or("(cleared)"));
        }
    }
}

/// A progress line on a terminal; nothing elsewhere, where each pass has its log line.
struct Bar(Option<Arc<ProgressBar>>);

impl Bar {
    fn new(json: bool) -> Self {
        let wanted = !json && stderr().is_terminal();
        Self(wanted.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {pos} contacts, {per_sec} {msg}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            Arc::new(bar)
        }))
    }

    fn show(&self, counts: &Counts) {
        if let Some(bar) = &self.0 {
            show(bar, counts);
        }
    }

    fn follow(&self, mut progress: watch::Receiver<Counts>) -> tokio::task::JoinHandle<()> {
        let bar = self.0.clone();
        tokio::spawn(async move {
            let Some(bar) = bar else { return };
            while progress.changed().await.is_ok() {
                show(&bar, &progress.borrow_and_update());
            }
        })
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, counts: &Counts) {
    bar.set_position(u64::try_from(counts.seen).unwrap_or(0));
    bar.set_message(format!(
        "{} created, {} linked, {} updated, {} held, {} failed",
        counts.created, counts.linked, counts.updated, counts.held, counts.failed
    ));
}
