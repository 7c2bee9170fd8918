//! The contacts of a walk that are not synced after it, for people and scripts that ask why.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::hold::StoredReason;
use super::{Result, Run, Store, Transaction, keap_id};
use crate::contact::KeapId;
use crate::feed::Feed;
use crate::outcome::{Action, SkipReason};

/// A contact that is not synced, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsynced {
    pub id: KeapId,
    pub action: Action,
    pub intercom: Option<String>,
    pub reason: Option<String>,
}

#[derive(FromRow)]
struct HeldRow {
    keap_contact_id: i64,
    #[sqlx(flatten)]
    reason: StoredReason,
}

#[derive(FromRow)]
struct LoggedRow {
    keap_contact_id: String,
    action: String,
    intercom_contact_id: Option<String>,
    error_message: Option<String>,
}

impl Store {
    /// The contacts of a walk that are not in Intercom, or no longer, by their ids.
    ///
    /// A backfill looks at every contact of its window, also at those whose state it does not
    /// change, so the state of the contacts says it. What other walks have found is in the log.
    pub async fn unsynced(&self, run: &Run) -> Result<Vec<Unsynced>> {
        let mut unsynced = transaction!(self, tx, {
            if run.feed == Feed::Backfill.as_str() {
                by_state(tx, run.since).await
            } else {
                logged(tx, run).await
            }
        })?;
        unsynced.sort_by_key(|one| one.id);
        Ok(unsynced)
    }
}

/// Contacts that are held, skipped or failing, of those that Keap has changed since a time.
async fn by_state(tx: &mut Transaction, since: Option<DateTime<Utc>>) -> Result<Vec<Unsynced>> {
    let held: Vec<HeldRow> = sqlx::query_as(
        "select keap_contact_id, code, about, detail from contact_held
          where $1::timestamptz is null or keap_updated_at >= $1",
    )
    .bind(since)
    .fetch_all(&mut **tx)
    .await?;
    let skipped: Vec<(i64, bool)> = sqlx::query_as(
        "select keap_contact_id, email_digest is not null from contact_link
          where state = 'skipped' and ($1::timestamptz is null or keap_updated_at >= $1)",
    )
    .bind(since)
    .fetch_all(&mut **tx)
    .await?;
    let failed: Vec<(i64, Option<String>)> = sqlx::query_as(
        "select keap_contact_id, last_error from contact_due where not held and last_error is not null",
    )
    .fetch_all(&mut **tx)
    .await?;
    let one = |id, action, reason| -> Result<Unsynced> {
        Ok(Unsynced { id: keap_id(id)?, action, intercom: None, reason })
    };
    let held = held
        .into_iter()
        .map(|row| one(row.keap_contact_id, Action::Held, Some(row.reason.in_words())));
    // A contact that is skipped has no address, or an erased one.
    let skipped = skipped.into_iter().map(|(id, has_address)| {
        let logged = true;
        let reason = if has_address {
            SkipReason::ErasedAddress { logged }
        } else {
            SkipReason::NoEmail { logged }
        };
        one(id, Action::Skipped, Some(reason.to_string()))
    });
    let failed = failed.into_iter().map(|(id, why)| one(id, Action::Failed, why));
    held.chain(skipped).chain(failed).collect()
}

/// What the log says of the run. The age comes first, because the log has an index by age alone.
async fn logged(tx: &mut Transaction, run: &Run) -> Result<Vec<Unsynced>> {
    let actions =
        [Action::Held, Action::Skipped, Action::Failed, Action::Archived, Action::Unlinked];
    let rows: Vec<LoggedRow> = sqlx::query_as(
        "select distinct on (keap_contact_id) keap_contact_id, action, intercom_contact_id, error_message
           from keap_intercom_sync_logs
          where created_at >= $1 and run_id = $2 and action = any($3)
          order by keap_contact_id, created_at desc",
    )
    .bind(run.created_at)
    .bind(run.id)
    .bind(actions.map(Action::code).to_vec())
    .fetch_all(&mut **tx)
    .await?;
    let unsynced = rows.into_iter().filter_map(|row| {
        Some(Unsynced {
            id: row.keap_contact_id.parse().ok()?,
            action: Action::parse(&row.action)?,
            intercom: row.intercom_contact_id,
            reason: row.error_message,
        })
    });
    Ok(unsynced.collect())
}
