//! Stored decisions: what people have decided about held contacts, who, when, and how each ended.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Result, Store, Transaction, keap_id};
use crate::contact::{Digest, IntercomId, KeapId};
use crate::outcome::{Decided, Fate, InForce};

/// A stored decision, as people see it.
#[derive(Debug, Clone, serde::Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct StoredDecision {
    #[serde(skip)]
    pub id: i64,
    pub keap_contact_id: i64,
    /// `use`, `create`, `ignore`, `ignore_until_changed` or `retry`.
    pub decision: String,
    pub intercom_contact_id: Option<String>,
    /// The stored word of the hold that it answers.
    pub reason: String,
    /// `page`, `http` or `command`.
    pub decided_by: String,
    pub decided_at: DateTime<Utc>,
    pub done_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// `done`, `taken_back`, `replaced`, `void`, `changed` or `gone`.
    pub ended_how: Option<String>,
    pub taken_back_by: Option<String>,
}

/// The columns of [`StoredDecision`].
macro_rules! columns {
    () => {
        "id, keap_contact_id, decision, intercom_contact_id, reason, decided_by, decided_at, done_at, ended_at, ended_how, taken_back_by"
    };
}

#[derive(FromRow)]
struct InForceRow {
    id: i64,
    keap_contact_id: i64,
    decision: String,
    intercom_contact_id: Option<String>,
    unarchives: bool,
    is_done: bool,
    sighting: Option<Vec<u8>>,
}

impl Store {
    /// The decisions in force behind a place, the newest first, at most `limit`: all, or those of
    /// one word, or those that ignore a contact.
    pub async fn decisions_in_force(
        &self,
        words: Option<&[&str]>,
        before: Option<(DateTime<Utc>, i64)>,
        limit: i64,
    ) -> Result<Vec<StoredDecision>> {
        let (at, id) = before.unzip();
        transaction!(self, tx, {
            Ok(sqlx::query_as(concat!(
                "select ",
                columns!(),
                " from contact_decision
                  where ended_at is null and ($1::timestamptz is null or (decided_at, id) < ($1, $2))
                    and ($4::text[] is null or decision = any($4))
                  order by decided_at desc, id desc limit $3"
            ))
            .bind(at)
            .bind(id)
            .bind(limit)
            .bind(words)
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// These contacts without those that are ignored for good: nobody has to look at them.
    pub async fn without_ignored(&self, ids: &[KeapId]) -> Result<Vec<KeapId>> {
        let ignored: Vec<i64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select keap_contact_id from contact_decision
                  where keap_contact_id = any($1) and ended_at is null and decision = $2",
            )
            .bind(ids.iter().map(|id| id.get()).collect::<Vec<_>>())
            .bind(Decided::Ignore.code())
            .fetch_all(&mut **tx)
            .await?)
        })?;
        Ok(ids.iter().copied().filter(|id| !ignored.contains(&id.get())).collect())
    }

    /// How many contacts are ignored because somebody has decided so.
    pub async fn count_ignored(&self) -> Result<i64> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select count(*) from contact_decision
                  where ended_at is null and decision in ('ignore', 'ignore_until_changed')",
            )
            .fetch_one(&mut **tx)
            .await?)
        })
    }
}

/// The last decisions about a contact, the newest first.
pub(super) async fn of_contact(tx: &mut Transaction, id: KeapId) -> Result<Vec<StoredDecision>> {
    Ok(sqlx::query_as(concat!(
        "select ",
        columns!(),
        " from contact_decision where keap_contact_id = $1 order by decided_at desc, id desc limit 20"
    ))
    .bind(id.get())
    .fetch_all(&mut **tx)
    .await?)
}

/// The decisions in force about a page's contacts.
pub(super) async fn in_force(
    tx: &mut Transaction,
    ids: &[i64],
) -> Result<HashMap<KeapId, InForce>> {
    let rows: Vec<InForceRow> = sqlx::query_as(
        "select id, keap_contact_id, decision, intercom_contact_id, unarchives, done_at is not null as is_done, sighting
           from contact_decision where keap_contact_id = any($1) and ended_at is null",
    )
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    let known = rows.into_iter().filter_map(|row| {
        // The word of another release says nothing here.
        let decided = Decided::parse(&row.decision)?;
        let in_force = InForce {
            id: row.id,
            decided,
            intercom: row.intercom_contact_id.and_then(IntercomId::new),
            unarchives: row.unarchives,
            is_done: row.is_done,
            sighting: row.sighting.as_deref().and_then(Digest::from_bytes),
        };
        Some(keap_id(row.keap_contact_id).map(|id| (id, in_force)))
    });
    known.collect()
}

/// Stores what the outcomes of a group say about decisions.
pub(super) async fn settle(tx: &mut Transaction, fates: &[(i64, Fate)]) -> Result<()> {
    if fates.is_empty() {
        return Ok(());
    }
    let (ids, words): (Vec<i64>, Vec<&str>) =
        fates.iter().map(|(id, fate)| (*id, fate.code())).unzip();
    sqlx::query(
        "update contact_decision decision
            set done_at = case when fate.word = $3 then coalesce(done_at, now()) else done_at end,
                ended_at = case when fate.word <> $3 then now() end,
                ended_how = case when fate.word <> $3 then fate.word end
           from unnest($1::bigint[], $2::text[]) as fate (id, word)
          where decision.id = fate.id and decision.ended_at is null",
    )
    .bind(ids)
    .bind(words)
    .bind(Fate::Done.code())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
