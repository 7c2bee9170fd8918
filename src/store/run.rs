//! Runs: walks over a feed, with what came of them.

use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use super::{Feed, Result, Store, StoreError};

/// What came of the contacts that were looked at, and what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub seen: i64,
    pub created: i64,
    pub linked: i64,
    pub updated: i64,
    pub unchanged: i64,
    pub skipped: i64,
    pub held: i64,
    pub failed: i64,
    /// Gone from Keap: their Intercom contacts were archived, or only their links removed.
    pub archived: i64,
    pub unlinked: i64,
    /// Found by the sweep alone; due from then on.
    pub late: i64,
    pub keap_calls: i64,
    pub intercom_calls: i64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.created += other.created;
        self.linked += other.linked;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.skipped += other.skipped;
        self.held += other.held;
        self.failed += other.failed;
        self.archived += other.archived;
        self.unlinked += other.unlinked;
        self.late += other.late;
        self.keap_calls += other.keap_calls;
        self.intercom_calls += other.intercom_calls;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Requested,
    Running,
    Done,
    Failed,
}

impl RunState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, serde::Serialize)]
pub struct Run {
    pub id: Uuid,
    pub feed: String,
    pub reason: String,
    pub state: RunState,
    pub since: Option<DateTime<Utc>>,
    #[serde(flatten)]
    pub counts: Counts,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The columns that `run` reads, in its order.
macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "select id, feed, reason, state, since, seen, created, linked, updated, unchanged, skipped, held, failed, ",
            "keap_calls, intercom_calls, error, created_at, finished_at, archived, unlinked, late from sync_run ",
            $rest
        )
    };
}

impl Store {
    /// Asks whoever holds the lease for a walk. `since`: only contacts changed from then on (`backfill`).
    pub async fn request_run(
        &self,
        feed: Feed,
        reason: &str,
        since: Option<DateTime<Utc>>,
    ) -> Result<Uuid> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar("insert into sync_run (feed, reason, state, since) values ($1, $2, 'requested', $3) returning id")
                .bind(feed.as_str())
                .bind(reason)
                .bind(since)
                .fetch_one(&mut **tx)
                .await?)
        })
    }

    /// Notes that a walk has begun, under an id of the caller's.
    pub async fn begin_run(
        &self,
        id: Uuid,
        feed: Feed,
        reason: &str,
        since: Option<DateTime<Utc>>,
    ) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "insert into sync_run (id, feed, reason, state, since, started_at) values ($1, $2, $3, 'running', $4, now())
                 on conflict (id) do update set state = 'running', started_at = coalesce(sync_run.started_at, now())",
            )
            .bind(id)
            .bind(feed.as_str())
            .bind(reason)
            .bind(since)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Ends a run, or several that were served together: `error` says why it failed.
    pub async fn end_runs(&self, ids: &[Uuid], error: Option<&str>) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "update sync_run set state = case when $2::text is null then 'done' else 'failed' end, error = $2,
                        started_at = coalesce(started_at, now()), finished_at = now() where id = any($1)",
            )
            .bind(ids)
            .bind(error)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Sees to runs that a process left when it died: those somebody asked for are asked for anew, the others are over, because
    /// the schedule brings the next. A walk whose place is stored goes on.
    pub async fn take_over_runs(&self, epoch: i64) -> Result<()> {
        transaction!(self, tx, {
            super::record::check_epoch(tx, epoch).await?;
            sqlx::query(
                "update sync_run run
                    set state = case when reason in ('schedule', 'first_run') then 'failed' else 'requested' end,
                        error = case when reason in ('schedule', 'first_run') then 'interrupted; its contacts are looked at again' end,
                        finished_at = case when reason in ('schedule', 'first_run') then now() end
                  where state = 'running'
                    and not exists (select from sync_cursor cursor where cursor.walking and cursor.run_id = run.id)",
            )
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Requested walks that nobody has begun, oldest first.
    pub async fn requested_runs(&self) -> Result<Vec<Run>> {
        transaction!(self, tx, {
            sqlx::query(select_runs!(
                "where state = 'requested' order by created_at"
            ))
            .fetch_all(&mut **tx)
            .await?
            .iter()
            .map(run)
            .collect()
        })
    }

    pub async fn run(&self, id: Uuid) -> Result<Option<Run>> {
        transaction!(self, tx, {
            sqlx::query(select_runs!("where id = $1"))
                .bind(id)
                .fetch_optional(&mut **tx)
                .await?
                .as_ref()
                .map(run)
                .transpose()
        })
    }

    pub async fn last_runs(&self, limit: i64) -> Result<Vec<Run>> {
        transaction!(self, tx, {
            sqlx::query(select_runs!("order by created_at desc limit $1"))
                .bind(limit)
                .fetch_all(&mut **tx)
                .await?
                .iter()
                .map(run)
                .collect()
        })
    }
}

fn run(row: &sqlx::postgres::PgRow) -> Result<Run> {
    let state: String = row.try_get(3)?;
    let state = [
        RunState::Requested,
        RunState::Running,
        RunState::Done,
        RunState::Failed,
    ]
    .into_iter()
    .find(|known| known.as_str() == state)
    .ok_or(StoreError::BadRow("sync_run"))?;
    Ok(Run {
        id: row.try_get(0)?,
        feed: row.try_get(1)?,
        reason: row.try_get(2)?,
        state,
        since: row.try_get(4)?,
        counts: Counts {
            seen: row.try_get(5)?,
            created: row.try_get(6)?,
            linked: row.try_get(7)?,
            updated: row.try_get(8)?,
            unchanged: row.try_get(9)?,
            skipped: row.try_get(10)?,
            held: row.try_get(11)?,
            failed: row.try_get(12)?,
            keap_calls: row.try_get(13)?,
            intercom_calls: row.try_get(14)?,
            archived: row.try_get(18)?,
            unlinked: row.try_get(19)?,
            late: row.try_get(20)?,
        },
        error: row.try_get(15)?,
        created_at: row.try_get(16)?,
        finished_at: row.try_get(17)?,
    })
}
