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
    /// The stored word of a status.
    pub status: Option<String>,
    /// The stored word of a direction.
    pub direction: Option<String>,
    /// Rows of this time and later.
    pub since: Option<DateTime<Utc>>,
    /// Rows before this time.
    pub until: Option<DateTime<Utc>>,
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
    /// `keap_to_intercom` or `intercom_to_keap`.
    pub direction: String,
}

/// A place in the log: the time and the id of a row.
type Place = (DateTime<Utc>, Uuid);

impl Store {
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
                        intercom_contact_id, feed, run_id, sync_direction as direction
                   from keap_intercom_sync_logs
                  where ($1::text is null or keap_contact_id = $1) and ($2::text is null or action = $2)
                    and ($3::text is null or feed = $3) and ($4::uuid is null or run_id = $4)
                    and ($5::text is null or starts_with(error_message, $5))
                    and ($9::text is null or sync_status = $9) and ($10::text is null or sync_direction = $10)
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
            .bind(&filter.status)
            .bind(&filter.direction)
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// The newest rows behind a place, at most `limit`, the newest first. However rare the wanted
    /// rows are, a bounded stretch of the log is read: its end says where to go on.
    pub async fn log_stretch(
        &self,
        filter: &LogFilter,
        before: Option<Place>,
        limit: usize,
    ) -> Result<LogStretch> {
        let mut rows: Vec<StretchRow> = transaction!(self, tx, {
            let query = match filter.contact {
                Some(id) => sqlx::query_as(STRETCH_OF_CONTACT).bind(Some(id.to_string())),
                None => sqlx::query_as(STRETCH).bind(None::<String>),
            };
            // A place lies before the end that the filter asks for.
            let (at, id) = before.or(filter.until.map(|until| (until, Uuid::nil()))).unzip();
            Ok(query
                .bind(at)
                .bind(id)
                .bind(filter.since)
                .bind(READ_ROWS)
                .bind(&filter.action)
                .bind(&filter.feed)
                .bind(filter.run_id)
                .bind(&filter.reason)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
                .bind(&filter.status)
                .bind(&filter.direction)
                .fetch_all(&mut **tx)
                .await?)
        })?;
        // A full page goes on behind its last row, and a stretch without enough rows behind its
        // end.
        let next = if rows.len() > limit {
            rows.truncate(limit);
            rows.last().map(|row| (row.entry.at, row.entry.id))
        } else {
            let last = rows.last().filter(|row| row.ends_stretch);
            last.map(|row| (row.entry.at, row.entry.id))
        };
        let entries = rows.into_iter().filter(|row| row.is_wanted).map(|row| row.entry).collect();
        Ok(LogStretch { entries, next })
    }
}

/// The rows of the log that one page reads at most.
const READ_ROWS: i64 = 20_000;

/// Some rows of the log.
#[derive(Debug, Clone)]
pub struct LogStretch {
    pub entries: Vec<LogEntry>,
    /// The place behind which older rows may follow.
    pub next: Option<Place>,
}

#[derive(FromRow)]
struct StretchRow {
    #[sqlx(flatten)]
    entry: LogEntry,
    is_wanted: bool,
    /// It is the last row that one page reads.
    ends_stretch: bool,
}

/// Wanted rows, and the last row of a stretch that is read in full. The place and the time stand in
/// forms that an index serves under every plan.
macro_rules! stretch {
    ($rows:literal) => {
        concat!(
            "with numbered as (
                 select rows.*, row_number() over (order by rows.at desc, rows.id desc) as place
                   from (",
            $rows,
            ") rows),
             judged as (
                 select numbered.*, place = $5 as ends_stretch,
                        coalesce(($6::text is null or action = $6) and ($7::text is null or feed = $7)
                                 and ($8::uuid is null or run_id = $8)
                                 and ($9::text is null or starts_with(reason, $9))
                                 and ($11::text is null or status = $11) and ($12::text is null or direction = $12), false) as is_wanted
                   from numbered)
             select id, at, keap_contact_id, status, action, reason, intercom_contact_id, feed, run_id, direction, is_wanted, ends_stretch
               from judged where is_wanted or ends_stretch
              order by at desc, id desc limit $10"
        )
    };
}

const STRETCH: &str = stretch!(
    "select id, created_at as at, keap_contact_id, sync_status as status, action, error_message as reason,
            intercom_contact_id, feed, run_id, sync_direction as direction
       from keap_intercom_sync_logs
      where $1::text is null
        and (created_at, id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
        and created_at >= coalesce($4::timestamptz, '-infinity')
      order by created_at desc, id desc limit $5"
);

// The contact's rows come first: else Postgres may read the whole log by age for a contact without
// a row.
const STRETCH_OF_CONTACT: &str = stretch!(
    "select * from (
         with of_contact as materialized (
             select id, created_at as at, keap_contact_id, sync_status as status, action, error_message as reason,
                    intercom_contact_id, feed, run_id, sync_direction as direction
               from keap_intercom_sync_logs where keap_contact_id = $1)
         select * from of_contact
          where (at, id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
            and at >= coalesce($4::timestamptz, '-infinity')
          order by at desc, id desc limit $5) newest"
);
