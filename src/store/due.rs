//! Due rows: contacts to look at, because of a request or because an attempt failed.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::listen::{Request, announce};
use super::{
    Fence, Result, Store, StoreError, Transaction, erased, intent, keap_id, keap_ids, seconds,
};
use crate::contact::{Digest, KeapId};
use crate::feed::{CONSENT_TURN, DueReason, PACED_TURN};

/// A due row as a pass takes it.
#[derive(Debug, Clone, FromRow)]
pub struct DueRow {
    #[sqlx(rename = "keap_contact_id", try_from = "i64")]
    pub id: KeapId,
    /// The version that is looked at. A request that comes later makes a new one, which this look
    /// does not answer.
    pub version: i64,
    pub attempts: i32,
    /// A webhook requested it. Anybody who knows the webhook's secret can send one.
    pub hinted: bool,
    /// An opt-out is among its changes.
    pub is_consent: bool,
    /// It has changed in Intercom.
    pub looks_at_intercom: bool,
}

/// Which due contacts a page takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Everything,
    /// Without those that webhooks requested.
    WithoutHints,
    /// Only those that a person or a script requested.
    RequestsOnly,
}

/// The due row of a contact that a pass is about to look at.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub reason: DueReason,
    pub version: i64,
    pub attempts: i32,
    /// Its time has not come yet.
    pub later: bool,
    /// How the contact looked at the last attempt.
    pub sighting: Option<Digest>,
    /// It has changed in Intercom.
    pub looks_at_intercom: bool,
}

/// Contacts that have changed in Intercom, by their turn.
#[derive(Debug, Default)]
pub struct ChangedInIntercom {
    /// An opt-out is among the changes.
    pub consent: Vec<KeapId>,
    /// Somebody has edited them a moment ago.
    pub now: Vec<KeapId>,
    /// Nobody waits for them: their writes to Keap have a pace.
    pub paced: Vec<KeapId>,
}

impl ChangedInIntercom {
    pub fn len(&self) -> usize {
        self.consent.len() + self.now.len() + self.paced.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = KeapId> {
        self.consent.iter().chain(&self.now).chain(&self.paced).copied()
    }

    /// Takes others in.
    pub fn extend(&mut self, others: Self) {
        self.consent.extend(others.consent);
        self.now.extend(others.now);
        self.paced.extend(others.paced);
    }

    /// The same in parts of this size. Opt-outs come first.
    pub fn parts(&self, size: usize) -> impl Iterator<Item = Self> {
        let consent = self.consent.chunks(size);
        let now = self.now.chunks(size);
        let paced = self.paced.chunks(size);
        let consent = consent.map(|ids| Self { consent: ids.to_vec(), ..Self::default() });
        let now = now.map(|ids| Self { now: ids.to_vec(), ..Self::default() });
        let paced = paced.map(|ids| Self { paced: ids.to_vec(), ..Self::default() });
        consent.chain(now).chain(paced)
    }
}

impl Waiting {
    /// Whether both sides are to be read: the contact has changed in Intercom, or somebody asked
    /// for it by name.
    pub fn looks_at_both(&self) -> bool {
        self.looks_at_intercom || self.reason == DueReason::Manual
    }
}

/// A stored request, to be waited for.
#[derive(Debug, Clone)]
pub struct DueTicket {
    pub id: KeapId,
    pub requested_at: DateTime<Utc>,
}

/// A contact whose attempt failed, to be looked at again.
#[derive(Debug, Clone)]
pub struct RetryRow {
    pub id: KeapId,
    /// From now.
    pub delay: Duration,
    pub attempts: i32,
    pub error: String,
    pub sighting: Option<Digest>,
    /// The version of the row that was looked at. A later request wins.
    pub version: Option<i64>,
}

impl Store {
    /// Stores requests to look at contacts in one statement. Repeats collapse.
    pub async fn request(&self, ids: &[KeapId], reason: DueReason) -> Result<Vec<DueTicket>> {
        transaction!(self, tx, { put_requests(tx, ids, reason).await })
    }

    /// The next due contacts without those that are in flight, and without those that have a pace.
    /// The most urgent comes first.
    pub async fn due(&self, limit: usize, busy: &[KeapId], takes: Takes) -> Result<Vec<DueRow>> {
        let (without, only) = match takes {
            Takes::Everything => (None, None),
            Takes::WithoutHints => (Some(DueReason::Webhook), None),
            Takes::RequestsOnly => (None, Some(DueReason::Manual)),
        };
        let busy: Vec<i64> = busy.iter().map(|id| id.get()).collect();
        transaction!(self, tx, {
            intent::put_rechecks(tx).await?;
            Ok(sqlx::query_as(
                "select keap_contact_id, version, attempts, reason = $3 as hinted, priority = $7 as is_consent,
                        looks_at_intercom from contact_due
                      where not held and due_at <= now() and keap_contact_id <> all($2) and priority < $6
                        and ($4::text is null or reason <> $4) and ($5::text is null or reason = $5)
                      order by priority, due_at limit $1",
            )
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(&busy)
            .bind(DueReason::Webhook.as_str())
            .bind(without.map(DueReason::as_str))
            .bind(only.map(DueReason::as_str))
            .bind(PACED_TURN)
            .bind(CONSENT_TURN)
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// The next due contacts that have a pace, without those that are in flight.
    pub async fn paced(&self, limit: usize, busy: &[KeapId]) -> Result<Vec<DueRow>> {
        let busy: Vec<i64> = busy.iter().map(|id| id.get()).collect();
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select keap_contact_id, version, attempts, false as hinted, false as is_consent, looks_at_intercom from contact_due
                  where not held and due_at <= now() and keap_contact_id <> all($2) and priority >= $3
                  order by priority, due_at limit $1",
            )
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(&busy)
            .bind(PACED_TURN)
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// The requested contacts that have no outcome yet: their row exists, and no attempt has failed
    /// since the request. One that failed without blame has no attempts, and an error all the same.
    pub async fn undone(&self, ids: &[KeapId]) -> Result<Vec<KeapId>> {
        let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
        let rows: Vec<i64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select keap_contact_id from contact_due
                  where keap_contact_id = any($1) and not held and attempts = 0 and last_error is null",
            )
            .bind(&ids)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        keap_ids(rows)
    }

    /// The time until the next contact is due, or is read once more: zero if one is due already,
    /// `None` if none is. Contacts that have a pace do not count.
    pub async fn next_due(&self) -> Result<Option<Duration>> {
        let time: Option<f64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select extract(epoch from least(
                     (select min(due_at) from contact_due where not held and priority < $1),
                     (select min(not_before) from erasure where done_at is null and not waits),
                     (select min(recheck_at) from contact_intent intent
                       where not exists (select from contact_due due where due.keap_contact_id = intent.keap_contact_id))
                 ) - now())::float8",
            )
            .bind(PACED_TURN)
            .fetch_one(&mut **tx)
            .await?)
        })?;
        Ok(time.map(seconds))
    }

    /// The same for contacts that have a pace.
    pub async fn next_paced(&self) -> Result<Option<Duration>> {
        let time: Option<f64> = transaction!(self, tx, {
            let sql = "select extract(epoch from min(due_at) - now())::float8 from contact_due
                        where not held and priority >= $1";
            Ok(sqlx::query_scalar(sql).bind(PACED_TURN).fetch_one(&mut **tx).await?)
        })?;
        Ok(time.map(seconds))
    }

    /// Makes contacts due once more, because something of them may have changed in Keap.
    pub async fn look_again(&self, fence: &Fence, ids: &[KeapId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        transaction!(self, tx, {
            fence.check(tx).await?;
            put_again(tx, ids).await
        })
    }

    /// How many contacts are due now or later, and how many are held, with the users of Intercom
    /// that wait for a person.
    pub async fn count_due(&self) -> Result<(i64, i64)> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select (select count(*) from contact_due where not held),
                        (select count(*) from contact_held)
                      + (select count(*) from intercom_due where code not in ('in_keap', 'not_tagged'))",
            )
            .fetch_one(&mut **tx)
            .await?)
        })
    }
}

/// Stores requests. A request suspends the hold of its contact until the next look. Nobody looks at
/// a contact that is erased, so its request has an outcome at once, and no row.
pub(super) async fn put_requests(
    tx: &mut Transaction,
    ids: &[KeapId],
    reason: DueReason,
) -> Result<Vec<DueTicket>> {
    let erased = erased::among(tx, ids).await?;
    let (erased, ids): (Vec<KeapId>, Vec<KeapId>) = ids.iter().partition(|id| erased.contains(id));
    let mut tickets = Vec::new();
    if !erased.is_empty() {
        let now: DateTime<Utc> =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut **tx).await?;
        tickets.extend(erased.into_iter().map(|id| DueTicket { id, requested_at: now }));
    }
    tickets.extend(put_due_requests(tx, &ids, reason).await?);
    Ok(tickets)
}

async fn put_due_requests(
    tx: &mut Transaction,
    ids: &[KeapId],
    reason: DueReason,
) -> Result<Vec<DueTicket>> {
    let rows: Vec<(i64, DateTime<Utc>)> = sqlx::query_as(
        "insert into contact_due as due (keap_contact_id, reason, priority)
         select id, $2, $3 from unnest($1::bigint[]) as id
         on conflict (keap_contact_id) do update
            set version = due.version + 1, due_at = now(), attempts = 0, held = false,
                last_error = null, candidates = '{}', sighting = null, updated_at = now(),
                reason = case when excluded.priority <= due.priority then excluded.reason else due.reason end,
                priority = least(due.priority, excluded.priority)
         returning keap_contact_id, clock_timestamp()",
    )
    .bind(in_order(ids))
    .bind(reason.as_str())
    .bind(reason.priority())
    .fetch_all(&mut **tx)
    .await?;
    announce(tx, Request::Due).await?;
    rows.into_iter()
        .map(|(id, requested_at)| Ok(DueTicket { id: keap_id(id)?, requested_at }))
        .collect()
}

/// Makes contacts due once more. The new version prevents the other lane, which may have them now,
/// from removing the row.
pub(super) async fn put_again(tx: &mut Transaction, ids: &[KeapId]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into contact_due as due (keap_contact_id, reason, priority)
         select id, $2, $3 from unnest($1::bigint[]) as id
         on conflict (keap_contact_id) do update
            set version = due.version + 1, due_at = least(due.due_at, now()), held = false, sighting = null, updated_at = now()",
    )
    .bind(in_order(ids))
    .bind(DueReason::Again.as_str())
    .bind(DueReason::Again.priority())
    .execute(&mut **tx)
    .await?;
    announce(tx, Request::Due).await
}

/// Makes contacts due that have changed in Intercom. The most urgent of several causes counts.
/// `run`: the audit that has found them.
pub(super) async fn put_changed_in_intercom(
    tx: &mut Transaction,
    changed: &ChangedInIntercom,
    run: Option<Uuid>,
) -> Result<()> {
    let ChangedInIntercom { consent, now, paced } = changed;
    let now_turn = DueReason::Again.priority();
    for (ids, turn) in [(consent, CONSENT_TURN), (now, now_turn), (paced, PACED_TURN)] {
        put_by_turn(tx, ids, turn, run).await?;
    }
    Ok(())
}

/// Makes contacts due whose writes to Keap have a pace.
pub(super) async fn put_paced(tx: &mut Transaction, ids: &[KeapId]) -> Result<()> {
    put_by_turn(tx, ids, PACED_TURN, None).await
}

async fn put_by_turn(
    tx: &mut Transaction,
    ids: &[KeapId],
    turn: i16,
    run: Option<Uuid>,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into contact_due as due (keap_contact_id, reason, priority, looks_at_intercom, run_id)
         select id, $2, $3, true, $4 from unnest($1::bigint[]) as id
          where not exists (select from contact_decision decision
                             where decision.keap_contact_id = id and decision.ended_at is null and decision.decision = 'ignore')
         on conflict (keap_contact_id) do update
            set version = due.version + 1, due_at = least(due.due_at, now()), held = false, looks_at_intercom = true,
                run_id = coalesce(excluded.run_id, due.run_id),
                priority = least(due.priority, excluded.priority), sighting = null, updated_at = now()",
    )
    .bind(in_order(ids))
    .bind(DueReason::Again.as_str())
    .bind(turn)
    .bind(run)
    .execute(&mut **tx)
    .await?;
    announce(tx, Request::Due).await
}

/// Stores failed attempts with the time of the next one.
pub(super) async fn put_retries(tx: &mut Transaction, mut rows: Vec<RetryRow>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable_by_key(|row| row.id);
    sqlx::query(
        "with new as (
             select * from unnest($1::bigint[], $2::float8[], $3::integer[], $4::text[], $5::bytea[], $6::bigint[])
                 as new (id, delay, attempts, error, sighting, version)
         )
         insert into contact_due as due (keap_contact_id, reason, priority, due_at, attempts, last_error, sighting)
         select id, $7, $8, now() + make_interval(secs => delay), attempts, error, sighting from new
         on conflict (keap_contact_id) do update
            set reason = excluded.reason, due_at = excluded.due_at, attempts = excluded.attempts,
                priority = case when due.priority in ($9, $10) then due.priority else excluded.priority end,
                last_error = excluded.last_error, held = false, sighting = excluded.sighting, updated_at = now()
          where due.version = (select new.version from new where new.id = due.keap_contact_id)",
    )
    .bind(rows.iter().map(|row| row.id.get()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.delay.as_secs_f64()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.attempts).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.error.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sighting.map(|digest| digest.as_bytes().to_vec())).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.version).collect::<Vec<_>>())
    .bind(DueReason::Retry.as_str())
    .bind(DueReason::Retry.priority())
    .bind(CONSENT_TURN)
    .bind(PACED_TURN)
    .execute(&mut **tx)
    .await?;
    announce(tx, Request::Due).await
}

/// Removes due rows in the version that was looked at.
pub(super) async fn remove(tx: &mut Transaction, done: Vec<(KeapId, i64)>) -> Result<()> {
    if done.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from contact_due due using unnest($1::bigint[], $2::bigint[]) as done (id, version)
          where due.keap_contact_id = done.id and due.version = done.version",
    )
    .bind(done.iter().map(|(id, _)| id.get()).collect::<Vec<_>>())
    .bind(done.iter().map(|(_, version)| *version).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct WaitingRow {
    #[sqlx(try_from = "i64")]
    keap_contact_id: KeapId,
    reason: String,
    version: i64,
    attempts: i32,
    later: bool,
    sighting: Option<Vec<u8>>,
    looks_at_intercom: bool,
}

/// The due rows of a page's contacts.
pub(super) async fn waiting(tx: &mut Transaction, ids: &[i64]) -> Result<HashMap<KeapId, Waiting>> {
    let rows: Vec<WaitingRow> = sqlx::query_as(
        "select keap_contact_id, reason, version, attempts, due_at > now() as later, sighting, looks_at_intercom
           from contact_due where keap_contact_id = any($1) and not held",
    )
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let waiting = Waiting {
                reason: DueReason::parse(&row.reason).ok_or(StoreError::BadRow("contact_due"))?,
                version: row.version,
                attempts: row.attempts,
                later: row.later,
                sighting: row.sighting.as_deref().and_then(Digest::from_bytes),
                looks_at_intercom: row.looks_at_intercom,
            };
            Ok((row.keap_contact_id, waiting))
        })
        .collect()
}

/// Ids in one order, each once: two transactions that lock rows in one order never wait for each
/// other in a circle.
fn in_order(ids: &[KeapId]) -> Vec<i64> {
    let mut ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
