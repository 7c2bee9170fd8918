//! The log that people's dashboards read: `keap_intercom_sync_logs`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Result, Store, Transaction};
use crate::contact::{IntercomId, KeapId};
use crate::feed::Feed;
use crate::outcome::{Action, Reason};

/// An outcome worth logging, on its way into the log.
#[derive(Debug, Clone)]
pub struct LogRow {
    /// Made by the writer, so that a commit whose answer was lost does not log twice.
    pub id: Uuid,
    pub keap: KeapId,
    pub intercom: Option<IntercomId>,
    pub action: Action,
    pub reason: Option<Reason>,
    /// Intercom's value was written to Keap.
    pub to_keap: bool,
    pub feed: Feed,
    pub run_id: Option<Uuid>,
    /// Intercom's id of the request that wrote the contact, for its support.
    pub request_id: Option<String>,
    /// How many fields were edited on both sides.
    pub conflicts: Option<i16>,
}

/// The outcome of a contact, as its log row says it.
#[derive(Debug, Clone)]
pub struct LoggedOutcome {
    pub action: Action,
    pub intercom: Option<String>,
    pub reason: Option<Reason>,
    /// Intercom's value was written to Keap.
    pub to_keap: bool,
}

#[derive(FromRow)]
struct OutcomeRow {
    keap_contact_id: String,
    action: String,
    intercom_contact_id: Option<String>,
    error_message: Option<String>,
    to_keap: bool,
}

impl Store {
    /// The latest outcome of each of these contacts that came of a request made at `since` or
    /// later.
    pub async fn outcomes_since(
        &self,
        ids: &[KeapId],
        since: DateTime<Utc>,
    ) -> Result<HashMap<KeapId, LoggedOutcome>> {
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let rows: Vec<OutcomeRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select keap_contact_id, coalesce(action, '') as action, intercom_contact_id, error_message,
                        sync_direction = 'intercom_to_keap' as to_keap
                   from keap_intercom_sync_logs
                  where keap_contact_id = any($1) and created_at >= $2
                  order by created_at",
            )
            .bind(&texts)
            .bind(since)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let mut outcomes: HashMap<KeapId, LoggedOutcome> = HashMap::new();
        for row in rows {
            // Rows of the original worker have no action, and concern no request made here.
            let (Ok(id), Some(action)) = (row.keap_contact_id.parse(), Action::parse(&row.action))
            else {
                continue;
            };
            // Two callers may request a contact at once. The second look finds nothing to do, but
            // both callers get the outcome of the first.
            let was_written = outcomes.get(&id).is_some_and(|before| before.action.is_write());
            if !(was_written && action == Action::Unchanged) {
                let reason = row.error_message.map(|text| Reason::read(action, &text));
                outcomes.insert(
                    id,
                    LoggedOutcome {
                        action,
                        intercom: row.intercom_contact_id,
                        reason,
                        to_keap: row.to_keap,
                    },
                );
            }
        }
        Ok(outcomes)
    }

    /// The latest outcome of a contact that came of a request made at `since` or later.
    pub async fn outcome_since(
        &self,
        id: KeapId,
        since: DateTime<Utc>,
    ) -> Result<Option<LoggedOutcome>> {
        Ok(self.outcomes_since(&[id], since).await?.remove(&id))
    }
}

/// Adds rows to the log. Returns how many are new: a repeated commit adds none.
pub(super) async fn put(tx: &mut Transaction, rows: Vec<&LogRow>) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let added = sqlx::query(
        "insert into keap_intercom_sync_logs
                (id, keap_contact_id, intercom_contact_id, sync_status, sync_direction, error_message, synced_at, created_at, updated_at,
                 action, feed, run_id, request_id, conflicts)
         select id, keap, intercom, status,
                case when to_keap then 'intercom_to_keap' else 'keap_to_intercom' end, error, clock_timestamp(), clock_timestamp(), clock_timestamp(),
                action, feed, run, request, conflicts
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[], $10::boolean[], $11::smallint[])
             as new (id, keap, intercom, status, error, action, feed, run, request, to_keap, conflicts)
         on conflict (id) do nothing",
    )
    .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.keap.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.intercom.as_ref().map(IntercomId::as_str)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.action.status().code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.reason.as_ref().map(Reason::to_string)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.action.code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.feed.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.run_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.request_id.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.to_keap).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.conflicts).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(added.rows_affected())
}
