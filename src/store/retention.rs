//! Deleting old rows, a few at a time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::{Result, Store};

/// Rows that grow old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// Outcomes in `keap_intercom_sync_logs`.
    LogRows,
    /// Runs that have ended.
    Runs,
}

/// What went in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedRows {
    pub rows: u64,
    /// The newest of their stamps: the next batch begins there.
    pub newest: Option<DateTime<Utc>>,
}

impl Store {
    /// Deletes the oldest rows that are older than `age`, `limit` at most. Fails unless the lease is ours: one process is enough.
    ///
    /// `from`: where the batch before ended. Until a vacuum, the index holds the deleted rows, and each batch would pass over
    /// those of all batches before it; while anybody has an older snapshot, by reading every row.
    pub async fn delete_old(
        &self,
        epoch: i64,
        old: Old,
        age: Duration,
        from: Option<DateTime<Utc>>,
        limit: i64,
    ) -> Result<DeletedRows> {
        let (table, stamp) = match old {
            Old::LogRows => ("keap_intercom_sync_logs", "created_at"),
            Old::Runs => ("sync_run", "finished_at"),
        };
        // Rows are found by their age in one index, and deleted by the place where they lie: no other index is read. Their
        // age is asked for again, because a place names one row in one table only. Rows that somebody else is at are left
        // for the next time, so that nobody waits.
        let sql = format!(
            "with gone as (
                 delete from {table}
                  where {stamp} < now() - make_interval(secs => $1)
                    and ctid = any(array(
                        select ctid from {table}
                         where {stamp} < now() - make_interval(secs => $1) and {stamp} >= coalesce($2, '-infinity')
                         order by {stamp} limit $3 for update skip locked))
                 returning {stamp})
             select count(*), max({stamp}) from gone"
        );
        transaction!(self, tx, {
            super::record::check_epoch(tx, epoch).await?;
            let (rows, newest): (i64, Option<DateTime<Utc>>) = sqlx::query_as(AssertSqlSafe(sql))
                .bind(age.as_secs_f64())
                .bind(from)
                .bind(limit)
                .fetch_one(&mut **tx)
                .await?;
            Ok(DeletedRows {
                rows: rows.unsigned_abs(),
                newest,
            })
        })
    }
}
