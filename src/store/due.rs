//! Due rows: contacts to look at because somebody asked, because a try failed, or held for a person.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Row, Transaction};

use super::link::keap_id;
use super::{Result, Store, StoreError};
use crate::contact::{Digest, KeapId};

/// Why a contact is due; requests go before retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueReason {
    Manual,
    Webhook,
    /// A failed try whose next time has come.
    Retry,
    /// Both lanes met at the contact: it is looked at once more, afresh.
    Again,
}

impl DueReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Webhook => "webhook",
            Self::Retry => "retry",
            Self::Again => "again",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Manual, Self::Webhook, Self::Retry, Self::Again]
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or(StoreError::BadRow("contact_due"))
    }

    pub(super) fn priority(self) -> i16 {
        match self {
            Self::Manual => 0,
            Self::Webhook => 1,
            Self::Retry | Self::Again => 2,
        }
    }
}

/// A due row as a pass takes it.
#[derive(Debug, Clone)]
pub struct DueRow {
    pub id: KeapId,
    /// The version that is looked at: a request that comes later makes a new one, and is not answered by this look.
    pub version: i64,
    pub attempts: i32,
    /// Asked for by a webhook, which anybody may have sent who knows its secret.
    pub hinted: bool,
}

/// What is waiting for a contact that a pass is about to look at.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub reason: DueReason,
    pub version: i64,
    pub attempts: i32,
    pub held: bool,
    /// Its time has not come yet.
    pub later: bool,
    pub sighting: Option<Digest>,
}

/// A stored request, to be waited for.
#[derive(Debug, Clone)]
pub struct DueTicket {
    pub id: KeapId,
    pub requested_at: DateTime<Utc>,
}

/// A contact that waits for a person.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Held {
    pub keap_contact_id: i64,
    pub reason: String,
    pub candidates: Vec<String>,
    pub attempts: i32,
    pub since: DateTime<Utc>,
}

impl Store {
    /// Stores requests to look at contacts: one statement, repeats collapse, a hold is revived.
    pub async fn request(&self, ids: &[KeapId], reason: DueReason) -> Result<Vec<DueTicket>> {
        transaction!(self, tx, { put_requests(tx, ids, reason).await })
    }

    /// The next due contacts, most urgent first, leaving out those that are in flight, and on demand what webhooks asked for.
    pub async fn due(&self, limit: usize, busy: &[KeapId], hinted: bool) -> Result<Vec<DueRow>> {
        let busy: Vec<i64> = busy.iter().map(|id| id.get()).collect();
        let rows: Vec<(i64, i64, i32, bool)> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select keap_contact_id, version, attempts, reason = 'webhook' from contact_due
                      where not held and due_at <= now() and keap_contact_id <> all($2) and ($3 or reason <> 'webhook')
                      order by priority, due_at limit $1",
            )
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(&busy)
            .bind(hinted)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter()
            .map(|(id, version, attempts, hinted)| {
                Ok(DueRow {
                    id: keap_id(id)?,
                    version,
                    attempts,
                    hinted,
                })
            })
            .collect()
    }

    /// Hints that Keap's lists did not show: some are looked at once more later, the others are dropped.
    pub async fn put_off_hints(
        &self,
        epoch: i64,
        later: &[DueRow],
        delay: Duration,
        dropped: &[DueRow],
    ) -> Result<()> {
        let columns = |rows: &[DueRow]| -> (Vec<i64>, Vec<i64>) {
            rows.iter().map(|row| (row.id.get(), row.version)).unzip()
        };
        transaction!(self, tx, {
            super::record::check_epoch(tx, epoch).await?;
            let (ids, versions) = columns(later);
            sqlx::query(
                "update contact_due due set due_at = now() + make_interval(secs => $3), attempts = attempts + 1, updated_at = now()
                   from unnest($1::bigint[], $2::bigint[]) as row (id, version)
                  where due.keap_contact_id = row.id and due.version = row.version",
            )
            .bind(ids)
            .bind(versions)
            .bind(delay.as_secs_f64())
            .execute(&mut **tx)
            .await?;
            let (ids, versions) = columns(dropped);
            sqlx::query(
                "delete from contact_due due using unnest($1::bigint[], $2::bigint[]) as row (id, version)
                  where due.keap_contact_id = row.id and due.version = row.version",
            )
            .bind(ids)
            .bind(versions)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Those of the requests that have no outcome yet: their row is there, not held, and no try has failed since.
    pub async fn undone(&self, ids: &[KeapId]) -> Result<Vec<KeapId>> {
        let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
        let rows: Vec<i64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar("select keap_contact_id from contact_due where keap_contact_id = any($1) and not held and attempts = 0")
                    .bind(&ids)
                    .fetch_all(&mut **tx)
                    .await?)
        })?;
        rows.into_iter().map(keap_id).collect()
    }

    /// How many contacts are due now or later, and how many are held.
    pub async fn count_due(&self) -> Result<(i64, i64)> {
        transaction!(self, tx, {
            Ok(sqlx::query_as("select count(*) filter (where not held), count(*) filter (where held) from contact_due")
                .fetch_one(&mut **tx)
                .await?)
        })
    }

    pub async fn held(&self) -> Result<Vec<Held>> {
        let rows = transaction!(self, tx, {
            Ok(sqlx::query(
                "select keap_contact_id, coalesce(last_error, ''), candidates, attempts, updated_at
                       from contact_due where held order by updated_at",
            )
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter()
            .map(|row| {
                Ok(Held {
                    keap_contact_id: row.try_get(0)?,
                    reason: row.try_get(1)?,
                    candidates: row.try_get(2)?,
                    attempts: row.try_get(3)?,
                    since: row.try_get(4)?,
                })
            })
            .collect()
    }

    /// Makes held contacts due again: these, or all of them. Returns the ids that were held.
    pub async fn retry_held(&self, ids: Option<&[KeapId]>) -> Result<Vec<KeapId>> {
        let ids: Option<Vec<i64>> = ids.map(|ids| ids.iter().map(|id| id.get()).collect());
        let rows: Vec<i64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                    "update contact_due
                        set held = false, attempts = 0, due_at = now(), reason = 'manual', priority = 0,
                            sighting = null, version = version + 1, updated_at = now()
                      where held and ($1::bigint[] is null or keap_contact_id = any($1))
                  returning keap_contact_id",
                )
                .bind(ids)
                .fetch_all(&mut **tx)
                .await?)
        })?;
        rows.into_iter().map(keap_id).collect()
    }
}

pub(super) async fn put_requests(
    tx: &mut Transaction<'static, Postgres>,
    ids: &[KeapId],
    reason: DueReason,
) -> Result<Vec<DueTicket>> {
    let mut ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows: Vec<(i64, DateTime<Utc>)> = sqlx::query_as(
        "insert into contact_due as due (keap_contact_id, reason, priority)
         select id, $2, $3 from unnest($1::bigint[]) as id
         on conflict (keap_contact_id) do update
            set version = due.version + 1, due_at = now(), attempts = 0, held = false,
                last_error = null, candidates = '{}', sighting = null, updated_at = now(),
                reason = case when due.held or excluded.priority <= due.priority then excluded.reason else due.reason end,
                priority = case when due.held then excluded.priority else least(due.priority, excluded.priority) end
         returning keap_contact_id, clock_timestamp()",
    )
    .bind(&ids)
    .bind(reason.as_str())
    .bind(reason.priority())
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|(id, requested_at)| {
            Ok(DueTicket {
                id: keap_id(id)?,
                requested_at,
            })
        })
        .collect()
}

pub(super) async fn waiting(
    tx: &mut Transaction<'static, Postgres>,
    ids: &[i64],
) -> Result<HashMap<KeapId, Waiting>> {
    let rows = sqlx::query(
        "select keap_contact_id, reason, version, attempts, held, due_at > now(), sighting
           from contact_due where keap_contact_id = any($1)",
    )
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let reason: String = row.try_get(1)?;
            let sighting: Option<Vec<u8>> = row.try_get(6)?;
            let waiting = Waiting {
                reason: DueReason::parse(&reason)?,
                version: row.try_get(2)?,
                attempts: row.try_get(3)?,
                held: row.try_get(4)?,
                later: row.try_get(5)?,
                sighting: sighting.and_then(|bytes| Digest::from_bytes(&bytes)),
            };
            Ok((keap_id(row.try_get(0)?)?, waiting))
        })
        .collect()
}
