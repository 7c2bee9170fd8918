//! What the command asks for, stored in the database, and what came of it.

use uuid::Uuid;

use super::args::SyncArgs;
use super::report::ContactOutcome;
use crate::commands::{SOME_FAILED, WELL};
use crate::contact::KeapId;
use crate::feed::{Counts, DueReason, Feed, RunReason};
use crate::outcome::{Action, SkipReason};
use crate::store::{DueTicket, Store, Unsynced};

/// What was asked for. It stands in the database, so it is carried out even if this command ends
/// first.
pub(super) enum Requested {
    Contacts(Vec<DueTicket>),
    Run(Uuid),
}

impl Requested {
    pub(super) async fn store(store: &Store, args: &SyncArgs) -> anyhow::Result<Self> {
        if !args.ids.is_empty() {
            return Ok(Self::Contacts(store.request(&args.ids, DueReason::Manual).await?));
        }
        if args.sweep {
            let reason = if args.force { RunReason::Forced } else { RunReason::Manual };
            return Ok(Self::Run(store.request_run(Feed::Sweep, reason, None).await?));
        }
        if args.audit && args.force {
            store.lift_create_brake().await?;
        }
        let feed = match args {
            SyncArgs { audit: true, .. } => Feed::Audit,
            SyncArgs { changed: true, .. } => Feed::Changed,
            _ => Feed::Backfill,
        };
        Ok(Self::Run(store.request_run(feed, RunReason::Manual, args.since).await?))
    }

    /// What came of the contacts that the caller named, or the contacts of a walk that are not
    /// synced.
    pub(super) async fn outcomes(&self, store: &Store) -> anyhow::Result<Vec<ContactOutcome>> {
        match self {
            Self::Contacts(tickets) => outcomes(store, tickets).await,
            Self::Run(id) => match store.run(*id).await? {
                Some(run) => {
                    let unsynced = store.unsynced(&run).await?;
                    Ok(unsynced.into_iter().map(ContactOutcome::from).collect())
                }
                None => Ok(Vec::new()),
            },
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
