//! Waits while another process carries the work out, and prints its progress.

use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::bar::{Bar, Shown};
use super::report::Summary;
use super::requested::{Requested, counts_of, exit_status};
use crate::commands::NOTHING_DONE;
use crate::commands::look::count;
use crate::contact::KeapId;
use crate::feed::{Counts, Feed};
use crate::store::{Run, RunState, Store};
use crate::tasks::lease;

/// How often the database is asked for progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// How often the database is asked whether the other process still holds the lease.
const LEASE_INTERVAL: Duration = Duration::from_secs(1);
/// Without progress for this long, the command stops waiting. The work stays asked for.
const PATIENCE: Duration = Duration::from_secs(600);

/// Work that another process carries out.
pub(super) struct Delegated<'a> {
    pub store: &'a Store,
    pub requested: &'a Requested,
    /// The walks compare users of Intercom, and the contacts that differ are waited for.
    pub compares: bool,
    /// Print one JSON document.
    pub json: bool,
    /// The requested walk is a sweep.
    pub is_sweep: bool,
    pub bar: &'a Bar,
    pub cancel: &'a CancellationToken,
}

/// How far the other process is.
struct Progress {
    done: bool,
    shown: Shown,
    counts: Counts,
    error: Option<String>,
}

impl Delegated<'_> {
    /// Waits until the work is done, and returns the exit status. `None`: the other process is
    /// gone, and the lease is free.
    pub(super) async fn wait(&self) -> anyhow::Result<Option<u8>> {
        let (mut last, mut moved_at) = (Shown::Counts(Counts::default()), Instant::now());
        let mut looked_at_lease = Instant::now();
        loop {
            let progress = self.progress().await?;
            if !progress.done {
                self.bar.show(&progress.shown);
            }
            if progress.shown != last {
                (last, moved_at) = (progress.shown.clone(), Instant::now());
            }
            let given_up = self.cancel.is_cancelled() || moved_at.elapsed() > PATIENCE;
            if progress.done || given_up {
                self.bar.finish();
                return self.report(progress).await.map(Some);
            }
            if looked_at_lease.elapsed() > LEASE_INTERVAL {
                looked_at_lease = Instant::now();
                if lease::is_free(self.store).await? {
                    return Ok(None);
                }
            }
            tokio::select! {
                () = self.cancel.cancelled() => {}
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {}
            }
        }
    }

    async fn progress(&self) -> anyhow::Result<Progress> {
        match self.requested {
            Requested::Contacts(tickets) => {
                let ids: Vec<KeapId> = tickets.iter().map(|ticket| ticket.id).collect();
                let left = self.store.undone(&ids).await?.len();
                let seen = i64::try_from(ids.len() - left).unwrap_or(i64::MAX);
                let counts = Counts { seen, ..Counts::default() };
                Ok(Progress { done: left == 0, shown: Shown::Counts(counts), counts, error: None })
            }
            Requested::Runs(ids) => self.progress_of_runs(ids).await,
        }
    }

    /// The progress of the first walk that has not ended. The counts are those of all.
    async fn progress_of_runs(&self, ids: &[Uuid]) -> anyhow::Result<Progress> {
        let (mut counts, mut error) = (Counts::default(), None);
        for id in ids {
            let run = self.progress_of_run(*id).await?;
            counts.add(&run.counts);
            error = error.or(run.error);
            if !run.done {
                let shown = match run.shown {
                    Shown::Counts(_) => Shown::Counts(counts),
                    waits @ Shown::Waits(_) => waits,
                };
                return Ok(Progress { done: false, shown, counts, error });
            }
        }
        let left = if self.compares { self.store.changed_in_intercom().await? } else { 0 };
        let shown = match left {
            0 => Shown::Counts(counts),
            left => Shown::Waits(format!(
                "Waiting for the daemon to look at {} that changed in Intercom.",
                count(left, "contact")
            )),
        };
        Ok(Progress { done: left == 0, shown, counts, error })
    }

    async fn progress_of_run(&self, id: Uuid) -> anyhow::Result<Progress> {
        let run = self.run(id).await?;
        let done = matches!(run.state, RunState::Done | RunState::Failed);
        let error = run.failure.as_ref().map(ToString::to_string);
        // A request may be served by a walk that has a row of its own.
        let counts = if done && run.counts.seen == 0 {
            self.store.serving_run(&run).await?.map_or(run.counts, |serving| serving.counts)
        } else {
            run.counts
        };
        let waits = !done && run.counts.seen == 0;
        let shown = if waits { self.waits_for(&run).await? } else { Shown::Counts(counts) };
        Ok(Progress { done, shown, counts, error })
    }

    /// What a requested walk without progress waits for: the walk of its feed that is under way, or
    /// its own first page.
    async fn waits_for(&self, run: &Run) -> anyhow::Result<Shown> {
        let feed = Feed::parse(&run.feed);
        let walk = if feed == Some(Feed::Changed) { "poll" } else { run.feed.as_str() };
        let cursor = match feed {
            Some(feed) => self.store.cursor(feed).await?,
            None => None,
        };
        let other = cursor.and_then(|cursor| cursor.walk?.run_id).filter(|other| *other != run.id);
        let what = match other {
            Some(other) => {
                let seen = self.run(other).await?.counts.seen;
                format!(
                    "Waiting for the {walk} under way, which has looked at {} so far.",
                    count(seen, "contact")
                )
            }
            None if run.state == RunState::Requested => {
                format!("Waiting for the daemon to begin the {walk}.")
            }
            None => format!("The daemon has begun the {walk}; waiting for its first page."),
        };
        Ok(Shown::Waits(what))
    }

    async fn run(&self, id: Uuid) -> anyhow::Result<Run> {
        self.store.run(id).await?.context("the requested run has vanished from sync_run")
    }

    /// Prints what came of it. Returns the exit status.
    async fn report(&self, progress: Progress) -> anyhow::Result<u8> {
        let Progress { done, counts, error, .. } = progress;
        let paced = if self.compares { self.store.two_way().await?.paced } else { 0 };
        let are_named = self.requested.are_named();
        let contacts = if are_named || self.json {
            self.requested.outcomes(self.store).await?
        } else {
            Vec::new()
        };
        let named = if are_named { contacts.as_slice() } else { &[] };
        let counts = if are_named { counts_of(named) } else { counts };
        let error = error.or_else(|| {
            (!done).then(|| "not waited for any longer; it stays asked for".to_owned())
        });
        Summary {
            json: self.json,
            counts,
            contacts: &contacts,
            are_named,
            is_sweep: self.is_sweep,
            // The other process counts the calls of a walk, and not those of single contacts.
            knows_calls: !are_named,
            changed: self.requested.changed(self.store).await?,
            error: error.as_deref(),
        }
        .print();
        if paced > 0 && !self.json {
            outln!(
                "{} that nobody waits for {} written to Keap at their pace; `keap-intercom-sync status` says how many are left.",
                count(paced, "contact"),
                if paced == 1 { "is" } else { "are" }
            );
        }
        Ok(if error.is_some() { NOTHING_DONE } else { exit_status(&counts, named) })
    }
}
