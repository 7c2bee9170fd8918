//! Newcomers that wait for a person: users of Intercom without a contact in Keap, each with its
//! reason.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::decide::HeldFilter;
use super::listen::{Request, announce};
use super::newcomer::{IN_KEAP, NOT_TAGGED, STANDING, StandingRow};
use super::{Result, Store};
use crate::contact::IntercomId;
use crate::feed::DueReason;

/// A newcomer that waits for a person.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldNewcomer {
    pub intercom_contact_id: String,
    /// The reason's stored word.
    pub code: String,
    pub reason: String,
    pub attempts: i32,
    pub since: DateTime<Utc>,
}

/// The stored words of those that wait for something else.
const OTHERS: [&str; 2] = [IN_KEAP, NOT_TAGGED];

impl Store {
    /// The newcomers that wait for a person, the longest wait first.
    pub async fn held_newcomers(&self) -> Result<Vec<HeldNewcomer>> {
        self.held_newcomers_after(None, None, None).await
    }

    /// The same for one reason (its stored word) or for all, behind a place (since when a user
    /// waits, and its id), at most `limit`.
    pub async fn held_newcomers_after(
        &self,
        code: Option<&str>,
        after: Option<(DateTime<Utc>, &IntercomId)>,
        limit: Option<i64>,
    ) -> Result<Vec<HeldNewcomer>> {
        let (since, id) = after.unzip();
        let rows: Vec<StandingRow> = transaction!(self, tx, {
            let sql = format!(
                "{STANDING} and due.code <> all($1) and ($2::text is null or due.code = $2)
                    and ($3::timestamptz is null
                         or (coalesce(due.waits_since, due.created_at), due.intercom_contact_id) > ($3, $4))
                  order by coalesce(due.waits_since, due.created_at), due.intercom_contact_id limit $5"
            );
            Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(&OTHERS[..])
                .bind(code)
                .bind(since)
                .bind(id.map(IntercomId::as_str))
                .bind(limit)
                .fetch_all(&mut **tx)
                .await?)
        })?;
        let held = rows.into_iter().map(|row| HeldNewcomer {
            reason: row.reason().unwrap_or_default(),
            since: row.since(),
            code: row.code.unwrap_or_default(),
            intercom_contact_id: row.intercom_contact_id,
            attempts: row.attempts,
        });
        Ok(held.collect())
    }

    /// How many newcomers wait for a person, by reason. The most frequent reason comes first.
    pub async fn held_newcomers_by_reason(&self) -> Result<Vec<(String, i64)>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select code, count(*) from intercom_due due
                  where code <> all($1)
                    and not exists (select from contact_link link where link.intercom_contact_id = due.intercom_contact_id)
                  group by code order by count(*) desc, code",
            )
            .bind(&OTHERS[..])
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// How many newcomers wait for a person that a filter names.
    pub async fn count_held_newcomers(&self, filter: HeldFilter<'_>) -> Result<i64> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select count(*) from intercom_due due
                  where code <> all($1) and ($2::text is null or code = $2)
                    and ($3::timestamptz is null or coalesce(waits_since, created_at) >= $3)
                    and ($4::timestamptz is null or coalesce(waits_since, created_at) <= $4)",
            )
            .bind(&OTHERS[..])
            .bind(filter.reason)
            .bind(filter.since)
            .bind(filter.until)
            .fetch_one(&mut **tx)
            .await?)
        })
    }

    /// Makes newcomers that wait for a person due again: these, or all that a filter names. Returns
    /// the ids of those that waited.
    pub async fn retry_newcomers(
        &self,
        ids: Option<&[IntercomId]>,
        filter: HeldFilter<'_>,
    ) -> Result<Vec<String>> {
        let ids: Option<Vec<&str>> = ids.map(|ids| ids.iter().map(IntercomId::as_str).collect());
        transaction!(self, tx, {
            let retried = sqlx::query_scalar(
                "update intercom_due
                    set reason = $3, priority = $4, version = version + 1, attempts = 0, not_before = now(), code = null, about = null,
                        detail = null, updated_at = now()
                  where code <> all($5) and ($1::text[] is null or intercom_contact_id = any($1)) and ($2::text is null or code = $2)
                    and ($6::timestamptz is null or coalesce(waits_since, created_at) >= $6)
                    and ($7::timestamptz is null or coalesce(waits_since, created_at) <= $7)
              returning intercom_contact_id",
            )
            .bind(ids)
            .bind(filter.reason)
            .bind(DueReason::Retry.as_str())
            .bind(DueReason::Manual.priority())
            .bind(&OTHERS[..])
            .bind(filter.since)
            .bind(filter.until)
            .fetch_all(&mut **tx)
            .await?;
            announce(tx, Request::Due).await?;
            Ok(retried)
        })
    }
}
