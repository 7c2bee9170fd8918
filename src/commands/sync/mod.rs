//! `sync`: the same passes once, in the foreground; by the process that holds the lease, wherever that is.

mod report;

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::report::{Bar, Told, print_summary};
use super::run::stop_on_signals;
use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, exit};
use crate::app::{self, Parts};
use crate::config::{Migrate, Needed, Settings};
use crate::contact::KeapId;
use crate::store::{Counts, DueReason, DueTicket, Feed, Lease, RunState, Store};
use crate::sync::dry_run::Scope;
use crate::sync::{Halt, Syncer, lease};

/// A side that is down is tried this often before the command gives up.
const TRIES: u32 = 6;
/// How often work that another process carries out is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Work of another process that shows no progress for this long is not waited for any longer; it stays asked for.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keap-intercom-sync sync 12345 67890          two contacts, now
  keap-intercom-sync sync --changed            what has changed since the stored cursor
  keap-intercom-sync sync --all --dry-run      what a full sync would do, without doing it
  keap-intercom-sync sync --since 2026-01-31T00:00:00Z --json

Exit status: 0 all well; 1 some contacts failed, are held, or are not in Keap; 2 nothing could be done.")]
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

/// What was asked for, as it stands in the database: it is carried out even if this command is not waited for.
enum Asked {
    Contacts(Vec<DueTicket>),
    Run(Uuid),
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
        let syncer = parts.syncer(watch::channel(None).1, cancel.clone()).await?;
        return tokio::select! {
            ended = dry_run(&syncer, &args) => ended,
            () = cancel.cancelled() => exit(NOTHING_DONE),
        };
    }
    app::prepare_database(&parts.store, settings.database.migrate)
        .await
        .context("nothing could be done")?;
    let is_first = parts.store.cursor(Feed::Changed).await?.is_none();
    let asked = ask(&parts.store, &args).await?;
    let bar = Bar::new(args.json);
    let mut told = false;
    loop {
        match lease::take(&parts.store, settings.lease.ttl()).await? {
            Ok(lease) => {
                return with_lease(
                    &parts, settings, &args, &asked, is_first, lease, cancel, &bar,
                )
                .await;
            }
            Err(holder) => {
                if !told {
                    tracing::info!(
                        holder = lease::in_words(&holder.holder),
                        "Another process holds the lease; it is asked to do the work."
                    );
                    told = true;
                }
            }
        }
        if let Some(ended) = elsewhere(&parts.store, &args, &asked, &cancel, &bar).await? {
            return exit(ended);
        }
    }
}

async fn ask(store: &Store, args: &SyncArgs) -> anyhow::Result<Asked> {
    if !args.ids.is_empty() {
        return Ok(Asked::Contacts(
            store.request(&args.ids, DueReason::Manual).await?,
        ));
    }
    let feed = if args.changed {
        Feed::Changed
    } else {
        Feed::Backfill
    };
    Ok(Asked::Run(
        store.request_run(feed, "manual", args.since).await?,
    ))
}

/// Keeps the lease while this process does the work, and gives it back.
#[expect(
    clippy::too_many_arguments,
    reason = "one call, which hands over all that the command has"
)]
async fn with_lease(
    parts: &Parts,
    settings: &Settings,
    args: &SyncArgs,
    asked: &Asked,
    is_first: bool,
    held: Lease,
    cancel: CancellationToken,
    bar: &Bar,
) -> Ended {
    let (sender, receiver) = watch::channel(Some(held));
    let keeper_cancel = CancellationToken::new();
    let keeper = tokio::spawn(lease::keep(
        parts.store.clone(),
        settings.lease.ttl(),
        sender,
        keeper_cancel.clone(),
    ));
    let syncer = parts.syncer(receiver, cancel.clone()).await?;
    let watching = bar.follow(syncer.progress());
    let result = here(&syncer, parts, asked, args.changed && is_first, &cancel).await;
    watching.abort();
    bar.finish();
    keeper_cancel.cancel();
    // A database that does not answer must not hold the command: the lease ends by itself.
    let _ = tokio::time::timeout(Duration::from_secs(2), keeper).await;

    let calls = syncer.all_calls();
    let contacts = match asked {
        Asked::Contacts(tickets) => outcomes(&parts.store, tickets).await?,
        Asked::Run(_) => Vec::new(),
    };
    let counts = if contacts.is_empty() {
        *syncer.progress().borrow()
    } else {
        counts_of(&contacts)
    };
    let counts = Counts {
        keap_calls: calls.keap,
        intercom_calls: calls.intercom,
        ..counts
    };
    let stopped = result.err().map(|halt| halt.to_string());
    if let Some(why) = &stopped {
        eprintln!("Stopped: {why}");
    }
    print_summary(args.json, &counts, &contacts, stopped.as_deref());
    exit(if stopped.is_some() {
        NOTHING_DONE
    } else {
        status_of(&counts, &contacts)
    })
}

/// Runs passes until what was asked for is done, with the contacts that became due on the way.
async fn here(
    syncer: &Syncer,
    parts: &Parts,
    asked: &Asked,
    until_idle: bool,
    cancel: &CancellationToken,
) -> Result<(), Halt> {
    let mut poll = false;
    patiently(cancel, async || match asked {
        Asked::Contacts(tickets) => {
            let ids: Vec<KeapId> = tickets.iter().map(|ticket| ticket.id).collect();
            let worked = syncer.urgent_step().await?;
            Ok(worked && !parts.store.undone(&ids).await?.is_empty())
        }
        Asked::Run(id) => {
            let walked = syncer.bulk_step(&mut poll).await?;
            let looked_again = syncer.urgent_step().await?;
            let run = parts.store.run(*id).await?;
            let done = run.is_none_or(|run| matches!(run.state, RunState::Done | RunState::Failed));
            Ok(looked_again
                || if done && !until_idle {
                    false
                } else {
                    walked || !done
                })
        }
    })
    .await
}

/// Repeats a step until it has nothing to do; waits out a side that is down for a while.
async fn patiently(
    cancel: &CancellationToken,
    mut step: impl AsyncFnMut() -> Result<bool, Halt>,
) -> Result<(), Halt> {
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
                | Halt::Panicked
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
                tokio::select! {
                    () = cancel.cancelled() => return Err(halt),
                    () = tokio::time::sleep(halt.retry_in().min(Duration::from_secs(60))) => {}
                }
            }
        }
    }
}

/// Waits for what another process makes of it. `None`: that process is gone, and the lease is free.
async fn elsewhere(
    store: &Store,
    args: &SyncArgs,
    asked: &Asked,
    cancel: &CancellationToken,
    bar: &Bar,
) -> anyhow::Result<Option<u8>> {
    let (mut last, mut moved_at) = (Counts::default(), Instant::now());
    let mut looked_at_lease = Instant::now();
    loop {
        let (done, counts, error) = match asked {
            Asked::Contacts(tickets) => {
                let ids: Vec<KeapId> = tickets.iter().map(|ticket| ticket.id).collect();
                let left = store.undone(&ids).await?.len();
                let seen = i64::try_from(ids.len() - left).unwrap_or(i64::MAX);
                (
                    left == 0,
                    Counts {
                        seen,
                        ..Counts::default()
                    },
                    None,
                )
            }
            Asked::Run(id) => {
                let run = store
                    .run(*id)
                    .await?
                    .context("the requested run has vanished from sync_run")?;
                (
                    matches!(run.state, RunState::Done | RunState::Failed),
                    run.counts,
                    run.error,
                )
            }
        };
        bar.show(&counts);
        if counts != last {
            (last, moved_at) = (counts, Instant::now());
        }
        let given_up = cancel.is_cancelled() || moved_at.elapsed() > PATIENCE;
        if done || given_up {
            bar.finish();
            let contacts = match asked {
                Asked::Contacts(tickets) => outcomes(store, tickets).await?,
                Asked::Run(_) => Vec::new(),
            };
            let counts = if contacts.is_empty() {
                counts
            } else {
                counts_of(&contacts)
            };
            let error = error.or_else(|| {
                (!done).then(|| "not waited for any longer; it stays asked for".to_owned())
            });
            print_summary(args.json, &counts, &contacts, error.as_deref());
            return Ok(Some(if error.is_some() {
                NOTHING_DONE
            } else {
                status_of(&counts, &contacts)
            }));
        }
        if looked_at_lease.elapsed() > Duration::from_secs(1) {
            looked_at_lease = Instant::now();
            if lease::is_free(store).await? {
                return Ok(None);
            }
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// What came of the contacts that were asked for.
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

async fn dry_run(syncer: &Syncer, args: &SyncArgs) -> Ended {
    let scope = match (args.ids.as_slice(), args.changed, args.since) {
        ([], true, _) => Scope::Changed,
        ([], false, Some(since)) => Scope::Since(since),
        ([], false, None) => Scope::All,
        (ids, ..) => Scope::Ids(ids.to_vec()),
    };
    let mut previews = report::Previews::new(args.json, args.verbose);
    let result = syncer
        .dry_run(scope, |preview| previews.tell(&preview))
        .await;
    let calls = syncer.all_calls();
    let counts = result
        .as_ref()
        .map_or_else(|_| Counts::default(), |counts| *counts);
    let counts = Counts {
        keap_calls: calls.keap,
        intercom_calls: calls.intercom,
        ..counts
    };
    let stopped = result.err().map(|halt| halt.to_string());
    previews.end(&counts, stopped.as_deref());
    let named_and_skipped = !args.ids.is_empty() && counts.skipped > 0;
    exit(match stopped {
        Some(_) => NOTHING_DONE,
        None if counts.failed + counts.held > 0 || named_and_skipped => SOME_FAILED,
        None => WELL,
    })
}
