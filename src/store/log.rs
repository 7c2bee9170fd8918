//! The log that people's dashboards read: `keap_intercom_sync_logs`.

use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use super::{Result, Store, StoreError};
use crate::contact::KeapId;

/// The statuses of the original table that this daemon writes (`pending` was the worker's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncStatus {
    Synced,
    Failed,
    Skipped,
}

impl SyncStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One outcome worth telling.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LogRow {
    /// Made by the writer, so that a commit whose answer was lost is not told twice.
    pub id: Uuid,
    pub keap_contact_id: i64,
    pub intercom_contact_id: Option<String>,
    pub status: SyncStatus,
    /// Why, in words and ids only.
    pub error_message: Option<String>,
    pub action: String,
    pub feed: String,
    pub run_id: Option<Uuid>,
    pub request_id: Option<String>,
}

impl Store {
    /// The latest log row of a contact that came of a request made at `since` or later.
    pub async fn outcome_since(&self, id: KeapId, since: DateTime<Utc>) -> Result<Option<LogRow>> {
        let row = transaction!(self, tx, {
            Ok(sqlx::query(
                    "select id, intercom_contact_id, sync_status, error_message, coalesce(action, ''), coalesce(feed, ''), run_id, request_id
                       from keap_intercom_sync_logs
                      where keap_contact_id = $1 and created_at >= $2
                      order by created_at desc limit 1",
                )
                .bind(id.to_string())
                .bind(since)
                .fetch_optional(&mut **tx)
                .await?)
        })?;
        let Some(row) = row else { return Ok(None) };
        let status: String = row.try_get(2)?;
        let status = [SyncStatus::Synced, SyncStatus::Failed, SyncStatus::Skipped]
            .into_iter()
            .find(|known| known.as_str() == status)
            .ok_or(StoreError::BadRow("keap_intercom_sync_logs"))?;
        Ok(Some(LogRow {
            id: row.try_get(0)?,
            keap_contact_id: id.get(),
            intercom_contact_id: row.try_get(1)?,
            status,
            error_message: row.try_get(3)?,
            action: row.try_get(4)?,
            feed: row.try_get(5)?,
            run_id: row.try_get(6)?,
            request_id: row.try_get(7)?,
        }))
    }
}
