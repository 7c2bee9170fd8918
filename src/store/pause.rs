//! Pauses: what a person has stopped, since when, and who did it.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::listen::{Request, announce};
use super::{Result, Store, Transaction};
use crate::contact::{Digest, KeapId};
use crate::feed::DueReason;
use crate::pause::{By, Pause, PauseScope, Pauses};

/// A contact that waits for the end of a pause is looked at this often. The end of the pause makes
/// it due at once.
const LOOK_AFTER: f64 = 86_400.0;

/// A contact that waits for the end of a pause.
#[derive(Debug, Clone)]
pub struct PausedRow {
    pub id: KeapId,
    /// What is paused, since when and by whom.
    pub why: String,
    pub sighting: Option<Digest>,
    /// The version of the row that was looked at. A later request wins.
    pub version: Option<i64>,
}

#[derive(FromRow)]
struct PauseRow {
    scope: String,
    lets_requests: bool,
    since: DateTime<Utc>,
    paused_by: String,
}

impl Store {
    /// Everything that is paused, the longest pause first.
    pub async fn pauses(&self) -> Result<Pauses> {
        transaction!(self, tx, { read(tx).await })
    }

    /// Pauses something. What is paused already keeps its time and its name; only whether it lets
    /// requests through changes. True if it was not paused before.
    pub async fn pause(&self, scope: PauseScope, lets_requests: bool, by: &By) -> Result<bool> {
        let is_new: bool = transaction!(self, tx, {
            let is_new = sqlx::query_scalar(
                "insert into sync_pause (scope, lets_requests, paused_by) values ($1, $2, $3)
                 on conflict (scope) do update set lets_requests = excluded.lets_requests
                 returning xmax = 0",
            )
            .bind(scope.as_str())
            .bind(lets_requests)
            .bind(by.as_str())
            .fetch_one(&mut **tx)
            .await?;
            if lets_requests {
                // They may have waited for a stricter pause.
                make_due(tx, Some(DueReason::Manual)).await?;
            }
            announce(tx, Request::Pause).await?;
            Ok(is_new)
        })?;
        if is_new {
            let (scope, by) = (scope.as_str(), by.as_str());
            tracing::info!(scope, by, lets_requests, "The sync is paused.");
        }
        Ok(is_new)
    }

    /// Ends one pause, or all of them, and returns what has ended. Contacts that waited for the end
    /// of a pause become due now.
    pub async fn resume(&self, scope: Option<PauseScope>, by: &By) -> Result<Vec<Pause>> {
        let ended = transaction!(self, tx, {
            let rows: Vec<PauseRow> = sqlx::query_as(
                "delete from sync_pause where $1::text is null or scope = $1
                 returning scope, lets_requests, since, paused_by",
            )
            .bind(scope.map(PauseScope::as_str))
            .fetch_all(&mut **tx)
            .await?;
            if !rows.is_empty() {
                make_due(tx, None).await?;
                announce(tx, Request::Pause).await?;
            }
            Ok(known(rows))
        })?;
        for Pause { scope, .. } in &ended.0 {
            let (scope, by) = (scope.as_str(), by.as_str());
            tracing::info!(scope, by, "The sync is resumed.");
        }
        Ok(ended.0)
    }
}

pub(super) async fn read(tx: &mut Transaction) -> Result<Pauses> {
    let rows: Vec<PauseRow> = sqlx::query_as(
        "select scope, lets_requests, since, paused_by from sync_pause order by since, scope",
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(known(rows))
}

/// Makes contacts due that wait for the end of a pause. `reason`: only those that wait because of
/// it.
async fn make_due(tx: &mut Transaction, reason: Option<DueReason>) -> Result<()> {
    sqlx::query(
        "update contact_due set due_at = least(due_at, now()), paused = false, updated_at = now()
          where paused and ($1::text is null or reason = $1)",
    )
    .bind(reason.map(DueReason::as_str))
    .execute(&mut **tx)
    .await?;
    announce(tx, Request::Due).await
}

/// Stores contacts that wait for the end of a pause. They keep their reason and their turn.
pub(super) async fn put_waiting(tx: &mut Transaction, mut rows: Vec<&PausedRow>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable_by_key(|row| row.id);
    let sightings = rows.iter().map(|row| row.sighting.map(|one| one.as_bytes().to_vec()));
    sqlx::query(
        "with new as (
             select * from unnest($1::bigint[], $2::text[], $3::bytea[], $4::bigint[]) as new (id, why, sighting, version)
         )
         insert into contact_due as due (keap_contact_id, reason, priority, due_at, last_error, sighting, paused)
         select id, $5, $6, now() + make_interval(secs => $7), why, sighting, true from new
         on conflict (keap_contact_id) do update
            set due_at = excluded.due_at, last_error = excluded.last_error, sighting = excluded.sighting, held = false,
                paused = true, updated_at = now()
          where due.version = (select new.version from new where new.id = due.keap_contact_id)",
    )
    .bind(rows.iter().map(|row| row.id.get()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.why.as_str()).collect::<Vec<_>>())
    .bind(sightings.collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.version).collect::<Vec<_>>())
    .bind(DueReason::Again.as_str())
    .bind(DueReason::Again.priority())
    .bind(LOOK_AFTER)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A scope that only a newer release knows is left to that release.
fn known(rows: Vec<PauseRow>) -> Pauses {
    let pause = |row: PauseRow| {
        let PauseRow { scope, lets_requests, since, paused_by: by } = row;
        Some(Pause { scope: scope.parse().ok()?, lets_requests, since, by })
    };
    Pauses(rows.into_iter().filter_map(pause).collect())
}
