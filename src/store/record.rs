//! Recording: a group of outcomes in one short transaction that fails unless the lease is ours.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::lease::CHECK_EPOCH;
use super::{Counts, Cursor, DueReason, Feed, LogRow, Result, Store, StoreError, cursor};
use crate::contact::{Digest, IntercomId, KeapId, Link, LinkState};

/// A link to be stored.
#[derive(Debug, Clone)]
pub struct LinkRow {
    pub id: KeapId,
    pub link: Link,
    pub email_digest: Option<Digest>,
}

/// A contact that is to be looked at again, or held.
#[derive(Debug, Clone)]
pub struct DueAgain {
    pub id: KeapId,
    pub reason: DueReason,
    /// From now.
    pub delay: Duration,
    pub attempts: i32,
    pub error: Option<String>,
    pub held: bool,
    pub candidates: Vec<IntercomId>,
    pub sighting: Option<Digest>,
    /// The version of the row that was looked at: a request that came meanwhile wins.
    pub version: Option<i64>,
}

/// Outcomes that become visible together.
#[derive(Debug)]
pub struct Group {
    /// Makes a repeated commit harmless.
    pub id: Uuid,
    pub links: Vec<LinkRow>,
    /// Links whose Intercom contact is gone.
    pub forgotten: Vec<KeapId>,
    pub logs: Vec<LogRow>,
    /// Due rows that are done, in the version that was looked at.
    pub done: Vec<(KeapId, i64)>,
    pub again: Vec<DueAgain>,
    /// Contacts that both lanes met at.
    pub afresh: Vec<KeapId>,
    pub run: Option<(Uuid, Counts)>,
    /// This group is the run's last.
    pub ends_run: bool,
    pub cursor: Option<(Feed, Cursor)>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            id: Uuid::new_v4(),
            links: Vec::new(),
            forgotten: Vec::new(),
            logs: Vec::new(),
            done: Vec::new(),
            again: Vec::new(),
            afresh: Vec::new(),
            run: None,
            ends_run: false,
            cursor: None,
        }
    }
}

impl Store {
    /// Records a group under the lease's epoch. May be repeated with the same group when the answer was lost.
    pub async fn record(&self, epoch: i64, group: &Group) -> Result<()> {
        transaction!(self, tx, {
            check_epoch(tx, epoch).await?;
            put_links(tx, &group.forgotten, &group.links).await?;
            put_logs(tx, &group.logs).await?;
            put_due(tx, &group.done, &group.again).await?;
            put_afresh(tx, &group.afresh).await?;
            if let Some((id, counts)) = &group.run {
                count(tx, *id, group.id, counts, group.ends_run).await?;
            }
            if let Some((feed, cursor)) = &group.cursor {
                cursor::put(tx, *feed, cursor).await?;
            }
            Ok(())
        })
    }
}

pub(super) async fn check_epoch(tx: &mut Transaction<'static, Postgres>, epoch: i64) -> Result<()> {
    let ours: Option<i64> = sqlx::query_scalar(CHECK_EPOCH)
        .bind(epoch)
        .fetch_optional(&mut **tx)
        .await?;
    ours.map(|_| ()).ok_or(StoreError::LeaseLost)
}

async fn put_links(
    tx: &mut Transaction<'static, Postgres>,
    forgotten: &[KeapId],
    rows: &[LinkRow],
) -> Result<()> {
    if !forgotten.is_empty() {
        let ids: Vec<i64> = forgotten.iter().map(|id| id.get()).collect();
        sqlx::query("delete from contact_link where keap_contact_id = any($1)")
            .bind(&ids)
            .execute(&mut **tx)
            .await?;
    }
    if rows.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<&LinkRow> = rows.iter().collect();
    rows.sort_unstable_by_key(|row| row.id);
    let ids: Vec<i64> = rows.iter().map(|row| row.id.get()).collect();
    let intercom: Vec<Option<&str>> = rows
        .iter()
        .map(|row| match &row.link.state {
            LinkState::Linked(id) => Some(id.as_str()),
            LinkState::Skipped => None,
        })
        .collect();
    // Intercom has given the contact to another Keap id: the older link is wrong and would block the new one.
    sqlx::query(
        "delete from contact_link link using unnest($1::bigint[], $2::text[]) as new (keap_contact_id, intercom_contact_id)
          where link.intercom_contact_id = new.intercom_contact_id and link.keap_contact_id <> new.keap_contact_id",
    )
    .bind(&ids)
    .bind(&intercom)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "insert into contact_link as link
                (keap_contact_id, intercom_contact_id, state, fingerprint, sighting, email_digest, keap_updated_at, replaced_at)
         select id, intercom, case when intercom is null then 'skipped' else 'linked' end, fingerprint, sighting, email, stamp, replaced
           from unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::timestamptz[], $7::timestamptz[])
             as new (id, intercom, fingerprint, sighting, email, stamp, replaced)
         on conflict (keap_contact_id) do update
            set intercom_contact_id = excluded.intercom_contact_id, state = excluded.state,
                fingerprint = excluded.fingerprint, sighting = excluded.sighting, email_digest = excluded.email_digest,
                keap_updated_at = excluded.keap_updated_at, replaced_at = coalesce(excluded.replaced_at, link.replaced_at),
                updated_at = now()",
    )
    .bind(&ids)
    .bind(&intercom)
    .bind(rows.iter().map(|row| row.link.fingerprint.as_bytes().to_vec()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.link.sighting.as_bytes().to_vec()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.email_digest.map(|digest| digest.as_bytes().to_vec())).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.link.keap_updated_at).collect::<Vec<Option<DateTime<Utc>>>>())
    .bind(rows.iter().map(|row| row.link.replaced_at).collect::<Vec<Option<DateTime<Utc>>>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn put_logs(tx: &mut Transaction<'static, Postgres>, rows: &[LogRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into keap_intercom_sync_logs
                (id, keap_contact_id, intercom_contact_id, sync_status, sync_direction, error_message, synced_at, created_at, updated_at,
                 action, feed, run_id, request_id)
         select id, keap, intercom, status, 'keap_to_intercom', error, clock_timestamp(), clock_timestamp(), clock_timestamp(),
                action, feed, run, request
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[])
             as new (id, keap, intercom, status, error, action, feed, run, request)
         on conflict (id) do nothing",
    )
    .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.keap_contact_id.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.intercom_contact_id.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.status.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.error_message.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.feed.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.run_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.request_id.as_deref()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn put_due(
    tx: &mut Transaction<'static, Postgres>,
    done: &[(KeapId, i64)],
    again: &[DueAgain],
) -> Result<()> {
    if !done.is_empty() {
        sqlx::query(
            "delete from contact_due due using unnest($1::bigint[], $2::bigint[]) as done (id, version)
              where due.keap_contact_id = done.id and due.version = done.version",
        )
        .bind(done.iter().map(|(id, _)| id.get()).collect::<Vec<_>>())
        .bind(done.iter().map(|(_, version)| *version).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
    }
    let mut again: Vec<&DueAgain> = again.iter().collect();
    again.sort_unstable_by_key(|row| row.id);
    // Few contacts come here, and each has a list of its own.
    for row in again {
        sqlx::query(
            "insert into contact_due as due (keap_contact_id, reason, priority, due_at, attempts, last_error, held, candidates, sighting)
             values ($1, $2, $3, now() + make_interval(secs => $4), $5, $6, $7, $8, $9)
             on conflict (keap_contact_id) do update
                set reason = excluded.reason, priority = excluded.priority, due_at = excluded.due_at, attempts = excluded.attempts,
                    last_error = excluded.last_error, held = excluded.held, candidates = excluded.candidates,
                    sighting = excluded.sighting, updated_at = now()
              where due.version = $10",
        )
        .bind(row.id.get())
        .bind(row.reason.as_str())
        .bind(row.reason.priority())
        .bind(row.delay.as_secs_f64())
        .bind(row.attempts)
        .bind(row.error.as_deref())
        .bind(row.held)
        .bind(row.candidates.iter().map(IntercomId::as_str).collect::<Vec<_>>())
        .bind(row.sighting.map(|digest| digest.as_bytes().to_vec()))
        .bind(row.version)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Has contacts looked at once more. The new version keeps the other lane, which is at them now, from removing the row.
async fn put_afresh(tx: &mut Transaction<'static, Postgres>, ids: &[KeapId]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
    ids.sort_unstable();
    ids.dedup();
    sqlx::query(
        "insert into contact_due as due (keap_contact_id, reason, priority)
         select id, $2, $3 from unnest($1::bigint[]) as id
         on conflict (keap_contact_id) do update
            set version = due.version + 1, due_at = least(due.due_at, now()), held = false, sighting = null, updated_at = now()",
    )
    .bind(&ids)
    .bind(DueReason::Again.as_str())
    .bind(DueReason::Again.priority())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn count(
    tx: &mut Transaction<'static, Postgres>,
    run: Uuid,
    group: Uuid,
    counts: &Counts,
    ends: bool,
) -> Result<()> {
    sqlx::query(
        "update sync_run
            set seen = seen + $3, created = created + $4, linked = linked + $5, updated = updated + $6, unchanged = unchanged + $7,
                skipped = skipped + $8, held = held + $9, failed = failed + $10,
                keap_calls = keap_calls + $11, intercom_calls = intercom_calls + $12, last_group = $2,
                state = case when $13 then 'done' else state end, finished_at = case when $13 then now() end
          where id = $1 and last_group is distinct from $2",
    )
    .bind(run)
    .bind(group)
    .bind(counts.seen)
    .bind(counts.created)
    .bind(counts.linked)
    .bind(counts.updated)
    .bind(counts.unchanged)
    .bind(counts.skipped)
    .bind(counts.held)
    .bind(counts.failed)
    .bind(counts.keap_calls)
    .bind(counts.intercom_calls)
    .bind(ends)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
