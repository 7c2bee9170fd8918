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
    /// Of its e-mail address: whether the contact that it is held for still has that one.
    pub email_digest: Option<Digest>,
    /// The version of the row that was looked at: a request that came meanwhile wins.
    pub version: Option<i64>,
}

/// What is to be stored of one contact's outcome.
#[derive(Debug)]
pub struct Recorded {
    pub id: KeapId,
    /// Its link's Intercom contact is gone.
    pub forget: bool,
    pub link: Option<LinkRow>,
    pub log: Option<LogRow>,
    /// Its due row is done, in the version that was looked at.
    pub done: Option<i64>,
    pub again: Option<DueAgain>,
    /// Both lanes met at it.
    pub afresh: bool,
    /// The sweep has dealt with it.
    pub swept: bool,
    pub counts: Counts,
}

impl Recorded {
    pub fn nothing(id: KeapId) -> Self {
        Self {
            id,
            forget: false,
            link: None,
            log: None,
            done: None,
            again: None,
            afresh: false,
            swept: false,
            counts: Counts::default(),
        }
    }
}

/// Outcomes that become visible together.
#[derive(Debug)]
pub struct Group {
    /// Makes a repeated commit harmless.
    pub id: Uuid,
    pub outcomes: Vec<Recorded>,
    /// What the reading and writing cost beside the outcomes.
    pub cost: Counts,
    /// The run that all of it is counted in.
    pub run: Option<Uuid>,
    /// This group is the run's last.
    pub ends_run: bool,
    pub cursor: Option<(Feed, Cursor)>,
}

impl Group {
    pub fn of(outcomes: Vec<Recorded>) -> Self {
        Self {
            id: Uuid::new_v4(),
            outcomes,
            cost: Counts::default(),
            run: None,
            ends_run: false,
            cursor: None,
        }
    }

    pub fn counts(&self) -> Counts {
        let mut counts = self.cost;
        self.outcomes
            .iter()
            .for_each(|outcome| counts.add(&outcome.counts));
        counts
    }
}

impl Store {
    /// Records a group under the lease's epoch. May be repeated with the same group when the answer was lost.
    pub async fn record(&self, epoch: i64, group: &Group) -> Result<()> {
        transaction!(self, tx, {
            check_epoch(tx, epoch).await?;
            let outcomes = || group.outcomes.iter();
            put_links(
                tx,
                outcomes()
                    .filter(|outcome| outcome.forget)
                    .map(|outcome| outcome.id)
                    .collect(),
                outcomes()
                    .filter_map(|outcome| outcome.link.as_ref())
                    .collect(),
            )
            .await?;
            put_logs(
                tx,
                outcomes()
                    .filter_map(|outcome| outcome.log.as_ref())
                    .collect(),
            )
            .await?;
            put_due(
                tx,
                outcomes()
                    .filter_map(|outcome| Some((outcome.id, outcome.done?)))
                    .collect(),
                outcomes()
                    .filter_map(|outcome| outcome.again.as_ref())
                    .collect(),
            )
            .await?;
            put_afresh(
                tx,
                outcomes()
                    .filter(|outcome| outcome.afresh)
                    .map(|outcome| outcome.id)
                    .collect(),
            )
            .await?;
            let swept: Vec<i64> = outcomes()
                .filter(|outcome| outcome.swept)
                .map(|outcome| outcome.id.get())
                .collect();
            if !swept.is_empty() {
                sqlx::query("delete from sweep_candidate where keap_contact_id = any($1)")
                    .bind(&swept)
                    .execute(&mut **tx)
                    .await?;
            }
            if let Some(id) = &group.run {
                count(tx, *id, group.id, &group.counts(), group.ends_run).await?;
            }
            if let Some((feed, cursor)) = &group.cursor {
                cursor::put(tx, *feed, cursor).await?;
                if *feed == Feed::Sweep && cursor.walk.is_none() {
                    sqlx::query("delete from sweep_candidate")
                        .execute(&mut **tx)
                        .await?;
                }
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
    forgotten: Vec<KeapId>,
    mut rows: Vec<&LinkRow>,
) -> Result<()> {
    if !forgotten.is_empty() {
        let ids: Vec<i64> = forgotten.iter().map(|id| id.get()).collect();
        sqlx::query("delete from contact_link where keap_contact_id = any($1)")
            .bind(&ids)
            .execute(&mut **tx)
            .await?;
        release_waiting_for(tx, &ids).await?;
    }
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable_by_key(|row| row.id);
    let ids: Vec<i64> = rows.iter().map(|row| row.id.get()).collect();
    let intercom: Vec<Option<&str>> = rows
        .iter()
        .map(|row| match &row.link.state {
            LinkState::Linked(id) => Some(id.as_str()),
            LinkState::Skipped => None,
        })
        .collect();
    let moved = with_another_email(tx, &ids, &rows).await?;
    release_waiting_for(tx, &moved).await?;
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

/// Which of these contacts had another e-mail address when they were written last.
async fn with_another_email(
    tx: &mut Transaction<'static, Postgres>,
    ids: &[i64],
    rows: &[&LinkRow],
) -> Result<Vec<i64>> {
    let emails: Vec<_> = rows
        .iter()
        .map(|row| row.email_digest.map(|digest| digest.as_bytes().to_vec()))
        .collect();
    Ok(sqlx::query_scalar(
        "select new.id from unnest($1::bigint[], $2::bytea[]) as new (id, email)
           join contact_link link on link.keap_contact_id = new.id and link.email_digest is distinct from new.email",
    )
    .bind(ids)
    .bind(&emails)
    .fetch_all(&mut **tx)
    .await?)
}

/// Whoever is held because one of these has its e-mail address is looked at again: they have another one now, or are gone.
async fn release_waiting_for(tx: &mut Transaction<'static, Postgres>, ids: &[i64]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(concat!(
        "update contact_due set held = false, due_at = now(), attempts = 0, reason = $2, priority = $3, sighting = null,
                version = version + 1, updated_at = now()
          where held and ",
        WAITS_FOR!("last_error"),
        " = any($1)"
    ))
    .bind(ids)
    .bind(DueReason::Again.as_str())
    .bind(DueReason::Again.priority())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn put_logs(tx: &mut Transaction<'static, Postgres>, rows: Vec<&LogRow>) -> Result<()> {
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
    done: Vec<(KeapId, i64)>,
    mut again: Vec<&DueAgain>,
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
    if again.is_empty() {
        return Ok(());
    }
    again.sort_unstable_by_key(|row| row.id);
    // Arrays of arrays must be even in Postgres: candidates travel as one text, for no id holds a comma.
    let candidates = |row: &&DueAgain| {
        row.candidates
            .iter()
            .map(IntercomId::as_str)
            .collect::<Vec<_>>()
            .join(",")
    };
    // The contact that has the e-mail address may have got another one since the page was read: then it is looked at again
    // instead of being held, a few times at most.
    sqlx::query(concat!(
        "with new as (
             select * from unnest($1::bigint[], $2::text[], $3::smallint[], $4::float8[], $5::integer[], $6::text[], $7::boolean[],
                                  $8::text[], $9::bytea[], $10::bigint[], $11::bytea[])
                 as new (id, reason, priority, delay, attempts, error, held, candidates, sighting, version, email)
         )
         insert into contact_due as due (keap_contact_id, reason, priority, due_at, attempts, last_error, held, candidates, sighting)
         select id, reason, priority, now() + make_interval(secs => delay), attempts, error,
                held and not (attempts < 3 and exists (
                    select from contact_link link
                     where link.keap_contact_id = ", WAITS_FOR!("error"), " and link.email_digest is distinct from new.email)),
                string_to_array(candidates, ','), sighting
           from new
         on conflict (keap_contact_id) do update
            set reason = excluded.reason, priority = excluded.priority, due_at = excluded.due_at, attempts = excluded.attempts,
                last_error = excluded.last_error, held = excluded.held, candidates = excluded.candidates,
                sighting = excluded.sighting, updated_at = now()
          where due.version = (select new.version from new where new.id = due.keap_contact_id)",
    ))
    .bind(again.iter().map(|row| row.id.get()).collect::<Vec<_>>())
    .bind(again.iter().map(|row| row.reason.as_str()).collect::<Vec<_>>())
    .bind(again.iter().map(|row| row.reason.priority()).collect::<Vec<_>>())
    .bind(again.iter().map(|row| row.delay.as_secs_f64()).collect::<Vec<_>>())
    .bind(again.iter().map(|row| row.attempts).collect::<Vec<_>>())
    .bind(again.iter().map(|row| row.error.as_deref()).collect::<Vec<_>>())
    .bind(again.iter().map(|row| row.held).collect::<Vec<_>>())
    .bind(again.iter().map(candidates).collect::<Vec<_>>())
    .bind(again.iter().map(|row| row.sighting.map(|digest| digest.as_bytes().to_vec())).collect::<Vec<_>>())
    .bind(again.iter().map(|row| row.version).collect::<Vec<_>>())
    .bind(again.iter().map(|row| row.email_digest.map(|digest| digest.as_bytes().to_vec())).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Has contacts looked at once more. The new version keeps the other lane, which is at them now, from removing the row.
async fn put_afresh(tx: &mut Transaction<'static, Postgres>, ids: Vec<KeapId>) -> Result<()> {
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

pub(super) async fn count(
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
                archived = archived + $14, unlinked = unlinked + $15, late = late + $16,
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
    .bind(counts.archived)
    .bind(counts.unlinked)
    .bind(counts.late)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
