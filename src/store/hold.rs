//! Holds: contacts that need a person, each with its reason.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::blocked::Blocked;
use super::due::RetryRow;
use super::{Result, Store, Transaction, blocked, due, keap_id};
use crate::contact::{Digest, IntercomId, KeapId};
use crate::outcome::{EMAIL_IN_KEAP, HoldReason, PING_PONG, offered};

/// A contact that waits for a person, as people see it.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    pub keap_contact_id: i64,
    /// The reason's stored word.
    pub code: String,
    pub reason: String,
    pub candidates: Vec<String>,
    pub attempts: i32,
    pub since: DateTime<Utc>,
    /// The stored words of the decisions that a person can take about it.
    pub offers: Vec<&'static str>,
}

/// A hold as a pass meets it.
#[derive(Debug, Clone)]
pub struct KnownHold {
    pub attempts: i32,
    /// How the contact looked when it was held.
    pub sighting: Option<Digest>,
    code: String,
    about: Option<KeapId>,
}

impl KnownHold {
    /// Whether it is held for this reason, whatever a remote answered.
    pub fn is_for(&self, reason: &HoldReason) -> bool {
        self.code == reason.code() && self.about == reason.about()
    }

    /// Whether Intercom may have caused it: both sides are looked at when it ends.
    pub fn is_of_intercom(&self) -> bool {
        self.code == EMAIL_IN_KEAP || self.code == PING_PONG
    }
}

/// A hold to be stored.
#[derive(Debug, Clone)]
pub struct HoldRow {
    pub id: KeapId,
    pub reason: HoldReason,
    pub candidates: Vec<IntercomId>,
    pub attempts: i32,
    pub sighting: Option<Digest>,
    /// Keap's update stamp of the contact.
    pub keap_updated_at: Option<DateTime<Utc>>,
    /// The contact's e-mail. It shows whether the blocking contact still has that address.
    pub email_digest: Option<Digest>,
    /// The hold ends by itself after this time.
    pub ends_in: Option<Duration>,
    /// The version of the due row that was looked at. A later request wins.
    pub version: Option<i64>,
    /// It is looked at again from time to time.
    pub is_rechecked: bool,
}

/// The stored parts of a hold's reason.
#[derive(Debug, Clone, FromRow)]
pub(super) struct StoredReason {
    pub(super) code: String,
    pub(super) about: Option<i64>,
    pub(super) detail: Option<String>,
}

impl StoredReason {
    /// The reason in words. A reason of another release is shown by its code.
    pub(super) fn in_words(&self) -> String {
        let about = self.about.and_then(KeapId::new);
        match HoldReason::from_parts(&self.code, about, self.detail.as_deref()) {
            Some(reason) => reason.to_string(),
            None => match &self.detail {
                Some(detail) => format!("{}: {detail}", self.code),
                None => self.code.clone(),
            },
        }
    }
}

#[derive(FromRow)]
struct HeldRow {
    keap_contact_id: i64,
    #[sqlx(flatten)]
    reason: StoredReason,
    candidates: Vec<String>,
    attempts: i32,
    held_at: DateTime<Utc>,
    is_linked: bool,
}

#[derive(FromRow)]
struct KnownRow {
    #[sqlx(try_from = "i64")]
    keap_contact_id: KeapId,
    attempts: i32,
    sighting: Option<Vec<u8>>,
    code: String,
    about: Option<i64>,
}

impl Store {
    /// The contacts that wait for a person. The longest wait comes first.
    pub async fn held(&self) -> Result<Vec<Held>> {
        self.held_after(None, None, None).await
    }

    /// The same for one reason (its stored word) or for all, behind a place (since when a contact
    /// is held, and its id), at most `limit`.
    pub async fn held_after(
        &self,
        code: Option<&str>,
        after: Option<(DateTime<Utc>, i64)>,
        limit: Option<i64>,
    ) -> Result<Vec<Held>> {
        let (since, id) = after.unzip();
        let rows: Vec<HeldRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select keap_contact_id, code, about, detail, candidates, attempts, held_at,
                        exists (select from contact_link link
                                 where link.keap_contact_id = held.keap_contact_id and link.state = 'linked') as is_linked
                   from contact_held held
                  where ($1::text is null or code = $1)
                    and ($2::timestamptz is null or (held_at, keap_contact_id) > ($2, $3))
                  order by held_at, keap_contact_id limit $4",
            )
            .bind(code)
            .bind(since)
            .bind(id)
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let held = rows.into_iter().map(|row| Held {
            keap_contact_id: row.keap_contact_id,
            offers: offered(&row.reason.code, row.is_linked).iter().map(|one| one.code()).collect(),
            reason: row.reason.in_words(),
            code: row.reason.code,
            candidates: row.candidates,
            attempts: row.attempts,
            since: row.held_at,
        });
        Ok(held.collect())
    }

    /// How many contacts wait for a person, by reason. The most frequent reason comes first.
    pub async fn held_by_reason(&self) -> Result<Vec<(String, i64)>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select code, count(*) from contact_held group by code order by count(*) desc, code",
            )
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// The new owner of each of these contacts that are gone: the contact with the lowest id that
    /// is held because it has the same e-mail. A linked contact keeps its own Intercom contact.
    pub async fn new_owners(&self, gone: &[KeapId]) -> Result<HashMap<KeapId, KeapId>> {
        let ids: Vec<i64> = gone.iter().map(|id| id.get()).collect();
        let rows: Vec<(i64, i64)> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select about, min(keap_contact_id) from contact_held held
                  where about = any($1) and keap_contact_id <> all($1)
                    and not exists (select from contact_link link
                                     where link.keap_contact_id = held.keap_contact_id and link.state = 'linked')
                  group by about",
            )
            .bind(&ids)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter().map(|(gone, owner)| Ok((keap_id(gone)?, keap_id(owner)?))).collect()
    }
}

/// The holds of a page's contacts.
pub(super) async fn known(tx: &mut Transaction, ids: &[i64]) -> Result<HashMap<KeapId, KnownHold>> {
    let rows: Vec<KnownRow> = sqlx::query_as(
        "select keap_contact_id, attempts, sighting, code, about from contact_hold where keap_contact_id = any($1)",
    )
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    let known = rows.into_iter().map(|row| {
        let hold = KnownHold {
            attempts: row.attempts,
            sighting: row.sighting.as_deref().and_then(Digest::from_bytes),
            code: row.code,
            about: row.about.and_then(KeapId::new),
        };
        (row.keap_contact_id, hold)
    });
    Ok(known.collect())
}

/// Attempts from which on an outdated hold, or one that closes a circle, is stored all the same.
const OUTDATED_TRIES: i32 = 3;

/// The shortest and the longest wait, in seconds, until another look at a hold that can end without
/// a change in Keap. Between them, the wait is the age of the hold.
const RECHECK_AFTER: (f64, f64) = (15.0, 86_400.0);

/// Stores holds, in place of the due rows that were looked at. A hold for the same reason keeps its
/// age. A later request keeps its row, so the contact is looked at again.
///
/// A hold is outdated if the blocking contact has another e-mail address by now, or no link.
/// Outdated holds are not stored, and are returned as retries. So is one hold of each circle of
/// contacts that wait for each other. One that was tried often enough is looked at again later.
pub(super) async fn put(tx: &mut Transaction, rows: Vec<&HoldRow>) -> Result<Vec<RetryRow>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let is_young = |row: &&&HoldRow| row.attempts < OUTDATED_TRIES;
    let young: Vec<&HoldRow> = rows.iter().filter(is_young).copied().collect();
    let outdated = blocked::outdated(tx, &blocked(&young)).await?;
    let (mut retries, mut rows): (Vec<&HoldRow>, Vec<&HoldRow>) =
        rows.into_iter().partition(|row| outdated.contains(&row.id));
    rows.sort_unstable_by_key(|row| row.id);
    let versions = rows.iter().filter_map(|row| Some((row.id, row.version?))).collect();
    due::remove(tx, versions).await?;
    upsert(tx, &rows).await?;
    let circles = blocked::circles(tx, &blocked(&rows)).await?;
    let closing = rows.into_iter().filter(|row| circles.contains(&row.id));
    let (young, old): (Vec<&HoldRow>, Vec<&HoldRow>) = closing.partition(|row| is_young(&row));
    retries.extend(young);
    look_again_later(tx, &old).await?;
    let retries = retries.into_iter().map(|row| RetryRow {
        id: row.id,
        delay: Duration::ZERO,
        attempts: row.attempts,
        error: row.reason.to_string(),
        sighting: row.sighting,
        version: row.version,
    });
    Ok(retries.collect())
}

/// Nothing in our records would release these holds: each closes a circle.
async fn look_again_later(tx: &mut Transaction, rows: &[&HoldRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update contact_hold
            set recheck_at = now() + greatest(make_interval(secs => $2), least(now() - held_at, make_interval(secs => $3)))
          where keap_contact_id = any($1)",
    )
    .bind(rows.iter().map(|row| row.id.get()).collect::<Vec<_>>())
    .bind(RECHECK_AFTER.0)
    .bind(RECHECK_AFTER.1)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The holds that name a blocking contact.
fn blocked<'a>(rows: &[&'a HoldRow]) -> Vec<Blocked<'a>> {
    let blocked = rows.iter().filter_map(|row| {
        Some(Blocked {
            id: row.id,
            about: row.reason.about()?,
            email: row.email_digest,
            candidate: row.candidates.first(),
        })
    });
    blocked.collect()
}

async fn upsert(tx: &mut Transaction, rows: &[&HoldRow]) -> Result<()> {
    // Arrays of arrays must be even in Postgres. So candidates travel as one text: no id holds a
    // comma.
    let candidates = |row: &&HoldRow| {
        row.candidates.iter().map(IntercomId::as_str).collect::<Vec<_>>().join(",")
    };
    sqlx::query(
        "insert into contact_hold as hold (keap_contact_id, code, about, detail, candidates, attempts, sighting, recheck_at, keap_updated_at)
         select id, code, about, detail, string_to_array(candidates, ','), attempts, sighting,
                case when ends_in is not null then now() + make_interval(secs => ends_in)
                     when is_rechecked or (about is not null and not exists (
                              select from contact_link link
                               where link.keap_contact_id = about and link.state = 'linked' and link.email_digest = email))
                     then now() + make_interval(secs => $10) end,
                stamp
           from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::integer[], $7::bytea[], $8::boolean[], $9::bytea[], $12::timestamptz[], $13::float8[])
             as new (id, code, about, detail, candidates, attempts, sighting, is_rechecked, email, stamp, ends_in)
         on conflict (keap_contact_id) do update
            set code = excluded.code, about = excluded.about, detail = excluded.detail, candidates = excluded.candidates,
                attempts = excluded.attempts, sighting = excluded.sighting,
                keap_updated_at = excluded.keap_updated_at, copied = false, updated_at = now(),
                recheck_at = case when excluded.recheck_at is null or excluded.code = $14 then excluded.recheck_at
                                  when hold.code = excluded.code and hold.about is not distinct from excluded.about
                                  then now() + greatest(make_interval(secs => $10), least(now() - hold.held_at, make_interval(secs => $11)))
                                  else excluded.recheck_at end,
                held_at = case when hold.code = excluded.code and hold.about is not distinct from excluded.about
                               then hold.held_at else now() end",
    )
    .bind(rows.iter().map(|row| row.id.get()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.reason.code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.reason.about().map(KeapId::get)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.reason.detail()).collect::<Vec<_>>())
    .bind(rows.iter().map(candidates).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.attempts).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sighting.map(|digest| digest.as_bytes().to_vec())).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.is_rechecked).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.email_digest.map(|digest| digest.as_bytes().to_vec())).collect::<Vec<_>>())
    .bind(RECHECK_AFTER.0)
    .bind(RECHECK_AFTER.1)
    .bind(rows.iter().map(|row| row.keap_updated_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.ends_in.map(|time| time.as_secs_f64())).collect::<Vec<_>>())
    .bind(PING_PONG)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Removes the holds of contacts that have an outcome without a hold.
pub(super) async fn settle(tx: &mut Transaction, ids: &[KeapId]) -> Result<()> {
    if !ids.is_empty() {
        sqlx::query("delete from contact_hold where keap_contact_id = any($1)")
            .bind(ids.iter().map(|id| id.get()).collect::<Vec<_>>())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// A hold of a former release, which keeps it in `contact_due`.
#[derive(FromRow)]
struct FormerRow {
    keap_contact_id: i64,
    last_error: Option<String>,
    candidates: Vec<String>,
    attempts: i32,
    sighting: Option<Vec<u8>>,
    updated_at: DateTime<Utc>,
}

/// Takes over the holds that a former release keeps in `contact_due`.
pub(super) async fn take_over(tx: &mut Transaction) -> Result<()> {
    // The former release has ended these holds since the migration copied them.
    sqlx::query(
        "delete from contact_hold hold
          where copied and not exists (select from contact_due due where due.keap_contact_id = hold.keap_contact_id and due.held)",
    )
    .execute(&mut **tx)
    .await?;
    // The former release has synced these since: it does not know this table.
    sqlx::query(
        "delete from contact_hold hold using contact_link link
          where link.keap_contact_id = hold.keap_contact_id and link.updated_at > hold.updated_at",
    )
    .execute(&mut **tx)
    .await?;
    let former: Vec<FormerRow> = sqlx::query_as(
        "delete from contact_due where held
      returning keap_contact_id, last_error, candidates, attempts, sighting, updated_at",
    )
    .fetch_all(&mut **tx)
    .await?;
    if former.is_empty() {
        return Ok(());
    }
    let reasons: Vec<HoldReason> = former
        .iter()
        .map(|row| HoldReason::read(row.last_error.as_deref().unwrap_or_default()))
        .collect();
    sqlx::query(
        "insert into contact_hold as hold (keap_contact_id, code, about, detail, candidates, attempts, sighting, held_at, updated_at)
         select id, code, about, detail, string_to_array(candidates, ','), attempts, sighting, held_at, held_at
           from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::integer[], $7::bytea[], $8::timestamptz[])
             as new (id, code, about, detail, candidates, attempts, sighting, held_at)
         on conflict (keap_contact_id) do update
            set code = excluded.code, about = excluded.about, detail = excluded.detail, candidates = excluded.candidates,
                attempts = excluded.attempts, sighting = excluded.sighting, held_at = excluded.held_at,
                updated_at = excluded.updated_at, copied = false",
    )
    .bind(former.iter().map(|row| row.keap_contact_id).collect::<Vec<_>>())
    .bind(reasons.iter().map(HoldReason::code).collect::<Vec<_>>())
    .bind(reasons.iter().map(|reason| reason.about().map(KeapId::get)).collect::<Vec<_>>())
    .bind(reasons.iter().map(HoldReason::detail).collect::<Vec<_>>())
    .bind(former.iter().map(|row| row.candidates.join(",")).collect::<Vec<_>>())
    .bind(former.iter().map(|row| row.attempts).collect::<Vec<_>>())
    .bind(former.iter().map(|row| row.sighting.clone()).collect::<Vec<_>>())
    .bind(former.iter().map(|row| row.updated_at).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
