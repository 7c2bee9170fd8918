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

/// The columns that `log_row` reads, in its order.
macro_rules! LOG_COLUMNS {
    () => {
        "keap_contact_id, id, intercom_contact_id, sync_status, error_message, coalesce(action, ''), coalesce(feed, ''), run_id, request_id"
    };
}
pub(super) use LOG_COLUMNS;

pub(super) fn log_row(row: &sqlx::postgres::PgRow) -> Result<LogRow> {
    let bad = || StoreError::BadRow("keap_intercom_sync_logs");
    let keap: String = row.try_get(0)?;
    let status: String = row.try_get(3)?;
    let status = [SyncStatus::Synced, SyncStatus::Failed, SyncStatus::Skipped]
        .into_iter()
        .find(|known| known.as_str() == status)
        .ok_or_else(bad)?;
    Ok(LogRow {
        id: row.try_get(1)?,
        keap_contact_id: keap.parse().map_err(|_| bad())?,
        intercom_contact_id: row.try_get(2)?,
        status,
        error_message: row.try_get(4)?,
        action: row.try_get(5)?,
        feed: row.try_get(6)?,
        run_id: row.try_get(7)?,
        request_id: row.try_get(8)?,
    })
}

impl Store {
    /// The latest log row of a contact that came of a request made at `since` or later.
    pub async fn outcome_since(&self, id: KeapId, since: DateTime<Utc>) -> Result<Option<LogRow>> {
        Ok(self.outcomes_since(&[id], since).await?.remove(&id))
    }
}
