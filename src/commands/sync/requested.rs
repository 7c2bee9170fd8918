//! What the command asks for, stored in the database, and what came of it.

use uuid::Uuid;

use super::args::SyncArgs;
use super::report::ContactOutcome;
use crate::commands::{SOME_FAILED, WELL};
use crate::contact::KeapId;
use crate::feed::{Counts, DueReason, Feed, RunReason};
use crate::outcome::{Action, RunFailure, SkipReason};
use crate::pause::Direction;
use crate::store::{DueTicket, Run, Store, StoreError, Unsynced};

/// What was asked for. It stands in the database, so it is carried out even if this command ends
/// first.
pub(super) enum Requested {
    Contacts(Vec<DueTicket>),
    /// Walks. An audit begins once the walk over all contacts has ended.
    Runs(Vec<Uuid>),
}

/// The feed that does the work.
pub(super) fn feed_of(args: &SyncArgs) -> Feed {
    match args {
        SyncArgs { ids, .. } if !ids.is_empty() => Feed::Due,
        SyncArgs { sweep: true, .. } => Feed::Sweep,
        SyncArgs { audit: true, .. } => Feed::Audit,
        SyncArgs { changed: true, .. } => Feed::Changed,
        _ => Feed::Backfill,
    }
}

/// Whether a pause stops the comparison of all users, or what would come of it.
async fn is_second_paused(store: &Store) -> Result<bool, StoreError> {
    let pauses = store.pauses().await?;
    let of_direction = || pauses.of_direction(Direction::IntercomToKeap, false);
    let Some(pause) = pauses.of_feed(Feed::Audit, false).or_else(of_direction) else {
        return Ok(false);
    };
    let pause = pause.in_words();
    tracing::warn!(pause, "Changes in Intercom are looked for after the pause.");
    Ok(true)
}

impl Requested {
    /// Stores what is asked for. `begun`: the walk that is asked for already. `both`: both
    /// directions are on, so `--all` compares every user of Intercom as well.
    pub(super) async fn store(
        store: &Store,
        args: &SyncArgs,
        begun: Option<Uuid>,
        both: bool,
    ) -> anyhow::Result<Self> {
        if !args.ids.is_empty() {
            return Ok(Self::Contacts(store.request(&args.ids, DueReason::Manual).await?));
        }
        if args.audit && args.force {
            store.lift_create_brake().await?;
        }
        let feed = feed_of(args);
        let reason =
            if feed == Feed::Sweep && args.force { RunReason::Forced } else { RunReason::Manual };
        let mut runs = match begun {
            Some(run) => vec![run],
            None => vec![store.request_run(feed, reason, args.since).await?],
        };
        if args.all && both && !is_second_paused(store).await? {
            // The brake holds as for a scheduled one.
            let reason = if args.force { RunReason::Forced } else { RunReason::Schedule };
            runs.push(store.request_run(Feed::Audit, reason, None).await?);
        }
        Ok(Self::Runs(runs))
    }

    /// The runs that were asked for, as they stand.
    pub(super) async fn runs(&self, store: &Store) -> Result<Vec<Run>, StoreError> {
        let mut runs = Vec::new();
        if let Self::Runs(ids) = self {
            for id in ids {
                runs.extend(store.run(*id).await?);
            }
        }
        Ok(runs)
    }

    /// Why the first of the runs failed that did.
    pub(super) async fn failure(&self, store: &Store) -> Result<Option<RunFailure>, StoreError> {
        Ok(self.runs(store).await?.into_iter().find_map(|run| run.failure))
    }

    /// What came of the contacts that the caller named, or the contacts of the walks that are not
    /// synced.
    pub(super) async fn outcomes(&self, store: &Store) -> anyhow::Result<Vec<ContactOutcome>> {
        if let Self::Contacts(tickets) = self {
            return outcomes(store, tickets).await;
        }
        let mut unsynced = Vec::new();
        for run in self.runs(store).await? {
            unsynced.extend(store.unsynced(&run).await?);
        }
        unsynced.sort_by_key(|one| one.id);
        unsynced.dedup_by_key(|one| one.id);
        Ok(unsynced.into_iter().map(ContactOutcome::from).collect())
    }

    /// How many contacts of an approved plan were decided afresh.
    pub(super) async fn changed(&self, store: &Store) -> Result<i64, StoreError> {
        match self {
            Self::Contacts(_) => Ok(0),
            Self::Runs(ids) => store.changed_since_plan(ids).await,
        }
    }

    /// Whether the caller named contacts.
    pub(super) fn are_named(&self) -> bool {
        matches!(self, Self::Contacts(_))
    }
}

impl From<Unsynced> for ContactOutcome {
    fn from(one: Unsynced) -> Self {
        Self { id: one.id, action: Some(one.action), intercom: one.intercom, why: one.reason }
    }
}

async fn outcomes(store: &Store, tickets: &[DueTicket]) -> anyhow::Result<Vec<ContactOutcome>> {
    let held = store.held().await?;
    let ids: Vec<KeapId> = tickets.iter().map(|ticket| ticket.id).collect();
    let erased = store.erased(&ids).await?;
    let mut outcomes = Vec::new();
    for ticket in tickets {
        let row = store.outcome_since(ticket.id, ticket.requested_at).await?;
        let held = held.iter().find(|held| held.keap_contact_id == ticket.id.get());
        outcomes.push(match (row, held) {
            (Some(row), _) => ContactOutcome {
                id: ticket.id,
                action: Some(row.action),
                intercom: row.intercom,
                why: row.reason.map(|reason| reason.to_string()),
            },
            (None, Some(held)) => ContactOutcome {
                id: ticket.id,
                action: Some(Action::Held),
                intercom: None,
                why: Some(held.reason.clone()),
            },
            (None, None) if erased.contains(&ticket.id) => ContactOutcome {
                id: ticket.id,
                action: Some(Action::Skipped),
                intercom: None,
                why: Some(SkipReason::Erased.to_string()),
            },
            (None, None) => ContactOutcome {
                id: ticket.id,
                action: None,
                intercom: None,
                why: Some("no outcome yet".into()),
            },
        });
    }
    Ok(outcomes)
}

/// Counts the outcomes of contacts that the caller named.
pub(super) fn counts_of(contacts: &[ContactOutcome]) -> Counts {
    let mut counts = Counts::default();
    for contact in contacts {
        counts.seen += 1;
        counts.add(&Counts::of(contact.action.unwrap_or(Action::Failed)));
    }
    counts
}

/// A contact that the caller named must be in Intercom afterwards; a skipped one counts as failed.
/// A contact that a walk skips does not.
pub(super) fn exit_status(counts: &Counts, named: &[ContactOutcome]) -> u8 {
    let named_and_skipped = named.iter().any(|contact| contact.action == Some(Action::Skipped));
    if counts.failed + counts.held > 0 || named_and_skipped { SOME_FAILED } else { WELL }
}
