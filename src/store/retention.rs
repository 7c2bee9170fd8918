//! Deleting old rows, a few at a time.

use std::time::Duration;

use super::{Result, Store};

/// Rows that grow old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// Outcomes in `keap_intercom_sync_logs`.
    LogRows,
    /// Runs that have ended.
    Runs,
}

impl Store {
    /// Deletes the oldest rows that are older than `age`, `limit` at most, and says how many that were. Fails unless the
    /// lease is ours: one process is enough.
    pub async fn delete_old(&self, epoch: i64, old: Old, age: Duration, limit: i64) -> Result<u64> {
        // Rows that somebody else is at are left for the next time, so that nobody waits.
        let sql = match old {
            Old::LogRows => {
                "delete from keap_intercom_sync_logs where id in (
                     select id from keap_intercom_sync_logs where created_at < now() - make_interval(secs => $1)
                      order by created_at limit $2 for update skip locked)"
            }
            Old::Runs => {
                "delete from sync_run where id in (
                     select id from sync_run where finished_at < now() - make_interval(secs => $1)
                      order by finished_at limit $2 for update skip locked)"
            }
        };
        transaction!(self, tx, {
            super::record::check_epoch(tx, epoch).await?;
            Ok(sqlx::query(sql)
                .bind(age.as_secs_f64())
                .bind(limit)
                .execute(&mut **tx)
                .await?
                .rows_affected())
        })
    }
}
