//! What the store knows about one contact, for people who ask.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use super::log::{LOG_COLUMNS, log_row};
use super::{LogRow, Result, Store};
use crate::contact::KeapId;

/// A contact as the store knows it: ids, stamps and reasons.
#[derive(Debug)]
pub struct ContactState {
    pub link: Option<LinkState>,
    pub due: Option<DueState>,
    pub log: Vec<LogEntry>,
}

#[derive(Debug)]
pub struct LinkState {
    pub intercom_contact_id: Option<String>,
    pub keap_updated_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug)]
pub struct DueState {
    pub reason: String,
    pub due_at: DateTime<Utc>,
    pub attempts: i32,
    pub held: bool,
    pub error: Option<String>,
    pub candidates: Vec<String>,
}

#[derive(Debug)]
pub struct LogEntry {
    pub at: DateTime<Utc>,
    pub status: String,
    pub action: Option<String>,
    pub intercom_contact_id: Option<String>,
    pub error: Option<String>,
    pub feed: Option<String>,
    pub run_id: Option<Uuid>,
}

impl Store {
    /// The latest outcome of each of these contacts that came of a request made at `since` or later.
    pub async fn outcomes_since(
        &self,
        ids: &[KeapId],
        since: DateTime<Utc>,
    ) -> Result<HashMap<KeapId, LogRow>> {
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let rows = transaction!(self, tx, {
            Ok(sqlx::query(concat!(
                "select ",
                LOG_COLUMNS!(),
                " from keap_intercom_sync_logs
                  where keap_contact_id = any($1) and created_at >= $2
                  order by created_at"
            ))
            .bind(&texts)
            .bind(since)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let mut outcomes: HashMap<KeapId, LogRow> = HashMap::new();
        for row in &rows {
            let row = log_row(row)?;
            let id = super::link::keap_id(row.keap_contact_id)?;
            // Whoever asks while another's request is carried out hears what was done, not that nothing was left to do.
            let was_done = outcomes.get(&id).is_some_and(|before| {
                matches!(before.action.as_str(), "created" | "linked" | "updated")
            });
            if !(was_done && row.action == "unchanged") {
                outcomes.insert(id, row);
            }
        }
        Ok(outcomes)
    }

    /// Everything that is known about a contact; nothing known gives empty parts.
    pub async fn contact_state(&self, id: KeapId) -> Result<ContactState> {
        transaction!(self, tx, {
            let link = sqlx::query(
                "select intercom_contact_id, keap_updated_at, updated_at from contact_link where keap_contact_id = $1",
            )
            .bind(id.get())
            .fetch_optional(&mut **tx)
            .await?
            .map(|row| {
                Ok::<_, sqlx::Error>(LinkState {
                    intercom_contact_id: row.try_get(0)?,
                    keap_updated_at: row.try_get(1)?,
                    updated_at: row.try_get(2)?,
                })
            })
            .transpose()?;
            let due = sqlx::query(
                "select reason, due_at, attempts, held, last_error, candidates from contact_due where keap_contact_id = $1",
            )
            .bind(id.get())
            .fetch_optional(&mut **tx)
            .await?
            .map(|row| {
                Ok::<_, sqlx::Error>(DueState {
                    reason: row.try_get(0)?,
                    due_at: row.try_get(1)?,
                    attempts: row.try_get(2)?,
                    held: row.try_get(3)?,
                    error: row.try_get(4)?,
                    candidates: row.try_get(5)?,
                })
            })
            .transpose()?;
            // Its rows first, and then the newest of them: else Postgres may go through the log by age for a contact without a row.
            let rows = sqlx::query(
                "with told as materialized (
                     select created_at, sync_status, action, intercom_contact_id, error_message, feed, run_id
                       from keap_intercom_sync_logs where keap_contact_id = $1)
                 select * from told order by created_at desc limit 10",
            )
            .bind(id.to_string())
            .fetch_all(&mut **tx)
            .await?;
            let log = rows
                .iter()
                .map(|row| {
                    Ok::<_, sqlx::Error>(LogEntry {
                        at: row.try_get(0)?,
                        status: row.try_get(1)?,
                        action: row.try_get(2)?,
                        intercom_contact_id: row.try_get(3)?,
                        error: row.try_get(4)?,
                        feed: row.try_get(5)?,
                        run_id: row.try_get(6)?,
                    })
                })
                .collect::<std::result::Result<_, _>>()?;
            Ok(ContactState { link, due, log })
        })
    }
}
