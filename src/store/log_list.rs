//! The log as people read it: filtered, page by page, or as it grows.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Result, Store};
use crate::contact::KeapId;

/// Which rows are wanted. A field that is `None` allows every row.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    pub contact: Option<KeapId>,
    /// The stored word of an action.
    pub action: Option<String>,
    /// The stored word of a feed.
    pub feed: Option<String>,
    pub run_id: Option<Uuid>,
    /// The beginning of the reason, which is its code.
    pub reason: Option<String>,
    /// Rows of this time and later.
    pub since: Option<DateTime<Utc>>,
}

/// A row of the log. It names contacts by their ids only.
#[derive(Debug, Clone, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    /// Rows of the original worker may hold any text.
    pub keap_contact_id: String,
    pub status: String,
    pub action: Option<String>,
    pub reason: Option<String>,
    pub intercom_contact_id: Option<String>,
    pub feed: Option<String>,
    pub run_id: Option<Uuid>,
}

/// A place in the log: the time and the id of a row.
type Place = (DateTime<Utc>, Uuid);

impl Store {
    /// The newest rows behind a place, at most `limit`, the newest first.
    pub async fn log_before(
        &self,
        filter: &LogFilter,
        before: Option<Place>,
        limit: i64,
    ) -> Result<Vec<LogEntry>> {
        let (at, id) = before.unzip();
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select id, created_at as at, keap_contact_id, sync_status as status, action, error_message as reason,
                        intercom_contact_id, feed, run_id
                   from keap_intercom_sync_logs
                  where ($1::text is null or keap_contact_id = $1) and ($2::text is null or action = $2)
                    and ($3::text is null or feed = $3) and ($4::uuid is null or run_id = $4)
                    and ($5::timestamptz is null or created_at >= $5)
                    and ($6::text is null or starts_with(error_message, $6))
                    and ($7::timestamptz is null or (created_at, id) < ($7, $8))
                  order by created_at desc, id desc limit $9",
            )
            .bind(filter.contact.map(|id| id.to_string()))
            .bind(&filter.action)
            .bind(&filter.feed)
            .bind(filter.run_id)
            .bind(filter.since)
            .bind(&filter.reason)
            .bind(at)
            .bind(id)
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// The rows that came after a place, at most `limit`, the oldest first.
    pub async fn log_after(
        &self,
        filter: &LogFilter,
        after: Place,
        limit: i64,
    ) -> Result<Vec<LogEntry>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select id, created_at as at, keap_contact_id, sync_status as status, action, error_message as reason,
                        intercom_contact_id, feed, run_id
                   from keap_intercom_sync_logs
                  where ($1::text is null or keap_contact_id = $1) and ($2::text is null or action = $2)
                    and ($3::text is null or feed = $3) and ($4::uuid is null or run_id = $4)
                    and ($5::text is null or starts_with(error_message, $5))
                    and (created_at, id) > ($6, $7)
                  order by created_at, id limit $8",
            )
            .bind(filter.contact.map(|id| id.to_string()))
            .bind(&filter.action)
            .bind(&filter.feed)
            .bind(filter.run_id)
            .bind(&filter.reason)
            .bind(after.0)
            .bind(after.1)
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?)
        })
    }
}
