//! Deleting old rows, a few at a time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::{Fence, Result, Store};

/// Rows that get too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// Outcomes in `keap_intercom_sync_logs`.
    LogRows,
    /// Runs that have ended.
    Runs,
    /// Decisions that have ended. One that is in force stays.
    Decisions,
    /// Plans with their contacts, whether somebody has decided about them or not.
    Plans,
}

/// What one transaction deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedRows {
    pub rows: u64,
    /// The newest stamp among them. The next batch begins there.
    pub newest: Option<DateTime<Utc>>,
}

impl Store {
    /// Deletes the oldest rows that are older than `age`, at most `limit`. One process is enough,
    /// so this fails unless this process holds the lease.
    ///
    /// `from`: where the former batch ended. Until a vacuum, the index still holds the deleted
    /// rows, and each batch would pass over those of all former batches. While another session has
    /// an older snapshot, it would even read every row.
    pub async fn delete_old(
        &self,
        fence: &Fence,
        old: Old,
        age: Duration,
        from: Option<DateTime<Utc>>,
        limit: i64,
    ) -> Result<DeletedRows> {
        let (table, stamp) = match old {
            Old::LogRows => ("keap_intercom_sync_logs", "created_at"),
            Old::Runs => ("sync_run", "finished_at"),
            Old::Decisions => ("contact_decision", "ended_at"),
            Old::Plans => ("sync_plan", "made_at"),
        };
        // One index finds the rows by their age, and their place deletes them: no other index is
        // read. The age is checked again, because a place may hold another row by then. Rows that
        // another session has locked are left for the next time, so that nobody waits.
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
            fence.check(tx).await?;
            let (rows, newest): (i64, Option<DateTime<Utc>>) = sqlx::query_as(AssertSqlSafe(sql))
                .bind(age.as_secs_f64())
                .bind(from)
                .bind(limit)
                .fetch_one(&mut **tx)
                .await?;
            Ok(DeletedRows { rows: rows.unsigned_abs(), newest })
        })
    }
}
