//! Runs: walks over a feed, with their counts.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::listen::{Request, announce};
use super::{Fence, NewPlan, Result, Store, StoreError, Transaction, cursor, plan};
use crate::contact::{IntercomId, KeapId};
use crate::feed::{Counts, Cursor, Feed, RunReason};
use crate::outcome::{BRAKE, RunFailure};

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Requested,
    Running,
    Done,
    Failed,
}

impl RunState {
    const ALL: [Self; 4] = [Self::Requested, Self::Running, Self::Done, Self::Failed];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A walk over a feed, with its counts.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub id: Uuid,
    pub feed: String,
    pub reason: String,
    pub state: RunState,
    pub since: Option<DateTime<Utc>>,
    #[serde(flatten)]
    pub counts: Counts,
    #[serde(rename = "error", serialize_with = "in_words")]
    pub failure: Option<RunFailure>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// A run that begins.
#[derive(Debug, Clone, Copy)]
pub struct NewRun {
    pub id: Uuid,
    pub feed: Feed,
    /// A requested run keeps the reason of its row.
    pub reason: RunReason,
    pub since: Option<DateTime<Utc>>,
}

impl Run {
    pub fn has_ended(&self) -> bool {
        matches!(self.state, RunState::Done | RunState::Failed)
    }
}

fn in_words<S: serde::Serializer>(
    failure: &Option<RunFailure>,
    out: S,
) -> std::result::Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&failure.as_ref().map(ToString::to_string), out)
}

#[derive(FromRow)]
struct RunRow {
    id: Uuid,
    feed: String,
    reason: String,
    state: String,
    since: Option<DateTime<Utc>>,
    seen: i64,
    created: i64,
    linked: i64,
    updated: i64,
    restored: i64,
    unchanged: i64,
    skipped: i64,
    held: i64,
    failed: i64,
    archived: i64,
    unlinked: i64,
    late: i64,
    conflicts: i64,
    created_in_keap: i64,
    keap_calls: i64,
    intercom_calls: i64,
    error: Option<String>,
    error_code: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

/// Selects runs by the names of the columns: a column that a later release adds must not change the
/// result of a prepared statement.
macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "select id, feed, reason, state, since, seen, created, linked, updated, restored, unchanged, skipped, held, failed, ",
            "archived, unlinked, late, conflicts, created_in_keap, keap_calls, intercom_calls, error, error_code, created_at, finished_at ",
            "from sync_run ",
            $rest
        )
    };
}

impl RunRow {
    fn run(self) -> Result<Run> {
        let state = RunState::ALL
            .into_iter()
            .find(|known| known.as_str() == self.state)
            .ok_or(StoreError::BadRow("sync_run"))?;
        let code = self.error_code.as_deref();
        Ok(Run {
            id: self.id,
            feed: self.feed,
            reason: self.reason,
            state,
            since: self.since,
            counts: Counts {
                seen: self.seen,
                created: self.created,
                linked: self.linked,
                updated: self.updated,
                restored: self.restored,
                unchanged: self.unchanged,
                skipped: self.skipped,
                held: self.held,
                failed: self.failed,
                archived: self.archived,
                unlinked: self.unlinked,
                late: self.late,
                conflicts: self.conflicts,
                created_in_keap: self.created_in_keap,
                keap_calls: self.keap_calls,
                intercom_calls: self.intercom_calls,
            },
            failure: self.error.map(|text| RunFailure::from_parts(code, &text)),
            created_at: self.created_at,
            finished_at: self.finished_at,
        })
    }
}

/// The error of a run that a dead process left and that no caller waits for.
const INTERRUPTED: &str = "interrupted; its contacts are looked at again";

impl Store {
    /// Requests a walk from the holder of the lease. `since`: only contacts changed from then on
    /// (`backfill`).
    pub async fn request_run(
        &self,
        feed: Feed,
        reason: RunReason,
        since: Option<DateTime<Utc>>,
    ) -> Result<Uuid> {
        transaction!(self, tx, { request(tx, feed, reason, since).await })
    }

    /// Sets the cursor of the polls back, and requests the walk that reads what it has hidden.
    pub async fn set_back(&self, fence: &Fence, cursor: &Cursor, reason: RunReason) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            cursor::put(tx, Feed::Changed, cursor).await?;
            request(tx, Feed::Backfill, reason, None).await?;
            Ok(())
        })
    }

    /// Stores that a walk has begun, with its first places: both become visible together, so a
    /// walk never runs without a place. False if the run has ended, and then nothing is stored.
    ///
    /// `replaced`: a run whose walk this one replaces, and why it ends.
    pub async fn begin_run(
        &self,
        fence: &Fence,
        run: &NewRun,
        places: &[(Feed, &Cursor)],
        replaced: Option<(Uuid, &RunFailure)>,
    ) -> Result<bool> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            if let Some((replaced, why)) = replaced {
                end(tx, &[replaced], Some(why)).await?;
            }
            let begun = begin(tx, run).await?;
            if begun {
                for (feed, place) in places {
                    cursor::put(tx, *feed, place).await?;
                }
            }
            Ok(begun)
        })
    }

    /// Ends runs that one walk has served.
    pub async fn end_runs(&self, fence: &Fence, ids: &[Uuid]) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            end(tx, ids, None).await
        })
    }

    /// Ends a run that has not begun, with the reason.
    pub async fn refuse_run(&self, fence: &Fence, id: Uuid, why: &RunFailure) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            end(tx, &[id], Some(why)).await
        })
    }

    /// Ends a run that a brake has stopped. The plan waits for a person.
    pub async fn brake_run(
        &self,
        fence: &Fence,
        id: Uuid,
        why: &RunFailure,
        plan: &NewPlan,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            plan::put_of_brake(tx, plan, Some(id)).await?;
            end(tx, &[id], Some(why)).await
        })
    }

    /// Runs that wait for somebody, the oldest first: walks that are requested and have not begun,
    /// and walks that run without a place. A poll runs so until its first page is recorded. Every
    /// other walk that does was left so by a fault.
    pub async fn waiting_runs(&self) -> Result<Vec<Run>> {
        let rows: Vec<RunRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(select_runs!(
                "run where state = 'requested'
                     or (state = 'running'
                         and not exists (select from sync_cursor cursor where cursor.walking and cursor.run_id = run.id))
                  order by created_at"
            ))
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter().map(RunRow::run).collect()
    }

    /// The walks under way, the oldest first.
    pub async fn running_runs(&self) -> Result<Vec<Run>> {
        let rows: Vec<RunRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(select_runs!("where state = 'running' order by created_at limit 10"))
                .fetch_all(&mut **tx)
                .await?)
        })?;
        rows.into_iter().map(RunRow::run).collect()
    }

    /// A run by its id.
    pub async fn run(&self, id: Uuid) -> Result<Option<Run>> {
        let row: Option<RunRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(select_runs!("where id = $1"))
                .bind(id)
                .fetch_optional(&mut **tx)
                .await?)
        })?;
        row.map(RunRow::run).transpose()
    }

    /// The whole walk that served a request without a walk of its own: the one of its feed that
    /// ended while the request was open.
    pub async fn serving_run(&self, request: &Run) -> Result<Option<Run>> {
        let row: Option<RunRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(select_runs!(
                "where feed = $1 and id <> $2 and seen > 0 and state in ('done', 'failed')
                    and finished_at >= $3 and finished_at <= coalesce($4, now())
                  order by finished_at desc limit 1"
            ))
            .bind(&request.feed)
            .bind(request.id)
            .bind(request.created_at)
            .bind(request.finished_at)
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        row.map(RunRow::run).transpose()
    }

    /// The last sweep that has ended.
    pub async fn last_sweep(&self) -> Result<Option<Run>> {
        let row: Option<RunRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(select_runs!(
                "where feed = 'sweep' and finished_at is not null order by finished_at desc limit 1"
            ))
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        row.map(RunRow::run).transpose()
    }

    /// The newest runs first.
    pub async fn last_runs(&self, limit: i64) -> Result<Vec<Run>> {
        self.runs(None, limit).await
    }

    /// The newest runs of a feed, or of all, at most `limit`. Which of two with one stamp comes
    /// first does not change.
    pub async fn runs(&self, feed: Option<&str>, limit: i64) -> Result<Vec<Run>> {
        self.runs_before(feed, None, limit).await
    }

    /// The same behind a place: the stamp and the id of a run.
    pub async fn runs_before(
        &self,
        feed: Option<&str>,
        before: Option<(DateTime<Utc>, Uuid)>,
        limit: i64,
    ) -> Result<Vec<Run>> {
        let (at, id) = before.unzip();
        let rows: Vec<RunRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(select_runs!(
                "where ($1::text is null or feed = $1)
                    and ($2::timestamptz is null or (created_at, id) < ($2, $3))
                  order by created_at desc, id desc limit $4"
            ))
            .bind(feed)
            .bind(at)
            .bind(id)
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter().map(RunRow::run).collect()
    }

    /// The runs whose ids begin with a text, at most three.
    pub async fn runs_by_prefix(&self, prefix: &str) -> Result<Vec<Run>> {
        let rows: Vec<RunRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(select_runs!(
                "where starts_with(id::text, $1) order by created_at desc limit 3"
            ))
            .bind(prefix)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter().map(RunRow::run).collect()
    }
}

pub(super) async fn request(
    tx: &mut Transaction,
    feed: Feed,
    reason: RunReason,
    since: Option<DateTime<Utc>>,
) -> Result<Uuid> {
    announce(tx, Request::Run).await?;
    Ok(sqlx::query_scalar(
        "insert into sync_run (feed, reason, state, since) values ($1, $2, 'requested', $3) returning id",
    )
    .bind(feed.as_str())
    .bind(reason.as_str())
    .bind(since)
    .fetch_one(&mut **tx)
    .await?)
}

/// Begins a run. False if it has ended: an ended run stays so.
pub(super) async fn begin(tx: &mut Transaction, run: &NewRun) -> Result<bool> {
    let begun = sqlx::query(
        "insert into sync_run as run (id, feed, reason, state, since, started_at) values ($1, $2, $3, 'running', $4, now())
         on conflict (id) do update set state = 'running', started_at = coalesce(run.started_at, now())
          where run.state in ('requested', 'running')",
    )
    .bind(run.id)
    .bind(run.feed.as_str())
    .bind(run.reason.as_str())
    .bind(run.since)
    .execute(&mut **tx)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Takes over the runs that nobody carries out. `own`: those that the caller carries out itself.
///
/// A requested run becomes requested again. The others end, because the schedule brings the next
/// one. A walk whose place is stored goes on.
pub(super) async fn take_over(tx: &mut Transaction, own: &[Uuid]) -> Result<()> {
    // A former release stores why a sweep failed in words only.
    sqlx::query(
        "update sync_run set error_code = $1
          where feed = $2 and state = 'failed' and error_code is null and starts_with(error, 'brake: ')",
    )
    .bind(BRAKE)
    .bind(Feed::Sweep.as_str())
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "update sync_run run
            set state = case when reason = any($1) then 'failed' else 'requested' end,
                error = case when reason = any($1) then $2 end,
                finished_at = case when reason = any($1) then now() end
          where state = 'running' and id <> all($3)
            and not exists (select from sync_cursor cursor where cursor.walking and cursor.run_id = run.id)",
    )
    .bind(RunReason::COMES_AGAIN.map(RunReason::as_str).to_vec())
    .bind(INTERRUPTED)
    .bind(own)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends runs. `failure`: why they failed. A run that has ended keeps its end.
pub(super) async fn end(
    tx: &mut Transaction,
    ids: &[Uuid],
    failure: Option<&RunFailure>,
) -> Result<()> {
    sqlx::query(
        "update sync_run set state = case when $2::text is null then 'done' else 'failed' end, error = $2, error_code = $3,
                started_at = coalesce(started_at, now()), finished_at = now()
          where id = any($1) and state in ('requested', 'running')",
    )
    .bind(ids)
    .bind(failure.map(ToString::to_string))
    .bind(failure.and_then(RunFailure::code))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Counts what came of due contacts, in the audits that have found them. A repeated commit finds
/// their rows no longer.
pub(super) async fn count_found(
    tx: &mut Transaction,
    restored: &[KeapId],
    conflicts: &[KeapId],
) -> Result<()> {
    if restored.is_empty() && conflicts.is_empty() {
        return Ok(());
    }
    let ids = |ids: &[KeapId]| ids.iter().map(|id| id.get()).collect::<Vec<_>>();
    sqlx::query(
        "update sync_run run set restored = run.restored + found.restored, conflicts = run.conflicts + found.conflicts
           from (select run_id, count(*) filter (where keap_contact_id = any($1)) as restored,
                        count(*) filter (where keap_contact_id = any($2)) as conflicts
                   from contact_due where keap_contact_id = any($1) or keap_contact_id = any($2) group by run_id) found
          where run.id = found.run_id",
    )
    .bind(ids(restored))
    .bind(ids(conflicts))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Counts a contact that was made in Keap, in the run that has found its user.
pub(super) async fn count_created(tx: &mut Transaction, user: &IntercomId) -> Result<()> {
    sqlx::query(
        "update sync_run set created_in_keap = created_in_keap + 1
          where id = (select run_id from intercom_due where intercom_contact_id = $1)",
    )
    .bind(user.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Adds counts to a run. `group` identifies them, so that a repeated commit counts once.
pub(super) async fn count(
    tx: &mut Transaction,
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
                restored = restored + $17, conflicts = conflicts + $18,
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
    .bind(counts.restored)
    .bind(counts.conflicts)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
