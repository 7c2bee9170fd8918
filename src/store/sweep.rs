//! The sweep's candidates: linked contacts that Keap does not list, until the walk is whole and they are dealt with.

use std::collections::HashMap;

use uuid::Uuid;

use super::link::keap_id;
use super::record::{check_epoch, count};
use super::{Counts, Cursor, DueReason, Feed, Result, Store, cursor};
use crate::contact::KeapId;

/// What a page of the sweep's walk found.
#[derive(Debug)]
pub struct SweptPage {
    pub run_id: Uuid,
    /// The ids that the page speaks of: after the first, up to the second.
    pub range: (i64, i64),
    pub listed: Vec<KeapId>,
    /// Those of the listed that a poll would no longer find.
    pub settled: Vec<KeapId>,
    pub cost: Counts,
}

/// What stands of the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepStanding {
    pub unconfirmed: i64,
    pub confirmed: i64,
    /// All linked contacts.
    pub linked: i64,
    /// Somebody has seen how many there are, and wants it done.
    pub forced: bool,
}

/// The reason of a run that the brake does not stop.
const FORCED: &str = "forced";
/// What the error of a run begins with that the brake has ended.
pub const BRAKE: &str = "brake: ";

impl Store {
    /// Asks for a sweep on schedule, unless one is asked for or under way.
    pub async fn request_scheduled_sweep(&self) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "insert into sync_run (feed, reason, state) select 'sweep', 'schedule', 'requested'
                  where not exists (select from sync_run where feed = 'sweep' and state in ('requested', 'running'))",
            )
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Asks for a sweep by hand. `forced`: the brake does not stop it.
    pub async fn request_sweep(&self, forced: bool) -> Result<Uuid> {
        let reason = if forced { FORCED } else { "manual" };
        self.request_run(Feed::Sweep, reason, None).await
    }

    /// Begins a sweep: nothing is left of a former one.
    pub async fn begin_sweep(&self, epoch: i64, cursor: &Cursor) -> Result<()> {
        transaction!(self, tx, {
            check_epoch(tx, epoch).await?;
            sqlx::query("delete from sweep_candidate")
                .execute(&mut **tx)
                .await?;
            cursor::put(tx, Feed::Sweep, cursor).await
        })
    }

    /// Records a page: what of ours it lacks becomes a candidate, what it has and nothing is known of becomes due.
    pub async fn record_swept(
        &self,
        epoch: i64,
        page: &SweptPage,
        cursor: &Cursor,
    ) -> Result<Counts> {
        let ids = |ids: &[KeapId]| ids.iter().map(|id| id.get()).collect::<Vec<_>>();
        transaction!(self, tx, {
            check_epoch(tx, epoch).await?;
            sqlx::query(
                "insert into sweep_candidate (keap_contact_id)
                 select link.keap_contact_id from contact_link link
                  where link.state = 'linked' and link.keap_contact_id > $1 and link.keap_contact_id <= $2
                    and not exists (select from unnest($3::bigint[]) as listed (id) where listed.id = link.keap_contact_id)
                 on conflict (keap_contact_id) do nothing",
            )
            .bind(page.range.0)
            .bind(page.range.1)
            .bind(ids(&page.listed))
            .execute(&mut **tx)
            .await?;
            // A hold of a contact that is gone concerns nobody: looked at again, it is dropped.
            sqlx::query(
                "update contact_due set held = false, due_at = now(), reason = $4, priority = $5, attempts = 0, sighting = null,
                        version = version + 1, updated_at = now()
                  where held and keap_contact_id > $1 and keap_contact_id <= $2 and keap_contact_id <> all($3)
                    and not exists (select from contact_link link
                                     where link.keap_contact_id = contact_due.keap_contact_id and link.state = 'linked')",
            )
            .bind(page.range.0)
            .bind(page.range.1)
            .bind(ids(&page.listed))
            .bind(DueReason::Again.as_str())
            .bind(DueReason::Again.priority())
            .execute(&mut **tx)
            .await?;
            let late = sqlx::query(
                "insert into contact_due (keap_contact_id, reason, priority)
                 select id, $2, $3 from unnest($1::bigint[]) as id
                  where not exists (select from contact_link link where link.keap_contact_id = id)
                 on conflict (keap_contact_id) do nothing",
            )
            .bind(ids(&page.settled))
            .bind(DueReason::Again.as_str())
            .bind(DueReason::Again.priority())
            .execute(&mut **tx)
            .await?
            .rows_affected();
            let counts = Counts {
                seen: i64::try_from(page.listed.len()).unwrap_or(i64::MAX),
                late: i64::try_from(late).unwrap_or(i64::MAX),
                ..page.cost
            };
            count(tx, page.run_id, Uuid::new_v4(), &counts, false).await?;
            cursor::put(tx, Feed::Sweep, cursor).await?;
            Ok(counts)
        })
    }

    pub async fn sweep_standing(&self, run_id: Uuid) -> Result<SweepStanding> {
        let (unconfirmed, confirmed, linked, forced) = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select count(*) filter (where not confirmed), count(*) filter (where confirmed),
                        (select count(*) from contact_link where state = 'linked'),
                        exists (select from sync_run where id = $1 and reason = $2)
                   from sweep_candidate",
            )
            .bind(run_id)
            .bind(FORCED)
            .fetch_one(&mut **tx)
            .await?)
        })?;
        Ok(SweepStanding {
            unconfirmed,
            confirmed,
            linked,
            forced,
        })
    }

    /// The next candidates that are to be confirmed, or those that are and still have their link.
    pub async fn candidates(&self, confirmed: bool, limit: usize) -> Result<Vec<KeapId>> {
        let rows: Vec<i64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select keap_contact_id from sweep_candidate candidate
                  where confirmed = $1 and (not $1 or exists (
                            select from contact_link link
                             where link.keap_contact_id = candidate.keap_contact_id and link.state = 'linked'))
                  order by keap_contact_id limit $2",
            )
            .bind(confirmed)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter().map(keap_id).collect()
    }

    /// Contacts that are held because these have the Intercom contact with their e-mail; the lowest where there are several.
    /// One that is linked keeps its own and inherits nothing.
    pub async fn heirs(&self, gone: &[KeapId]) -> Result<HashMap<KeapId, KeapId>> {
        let ids: Vec<i64> = gone.iter().map(|id| id.get()).collect();
        let rows: Vec<(i64, i64)> = transaction!(self, tx, {
            Ok(sqlx::query_as(concat!(
                "select gone, min(keap_contact_id)
                   from (select keap_contact_id, ",
                WAITS_FOR!("last_error"),
                " as gone
                           from contact_due where held) as held
                  where gone = any($1) and keap_contact_id <> all($1)
                    and not exists (select from contact_link link
                                     where link.keap_contact_id = held.keap_contact_id and link.state = 'linked')
                  group by gone"
            ))
            .bind(&ids)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter()
            .map(|(gone, heir)| Ok((keap_id(gone)?, keap_id(heir)?)))
            .collect()
    }

    /// Stores what Keap answered for candidates, one by one: some are gone, the others were never missing.
    pub async fn judge_candidates(
        &self,
        epoch: i64,
        run_id: Uuid,
        gone: &[KeapId],
        there: &[KeapId],
        cost: &Counts,
    ) -> Result<()> {
        let ids = |ids: &[KeapId]| ids.iter().map(|id| id.get()).collect::<Vec<_>>();
        transaction!(self, tx, {
            check_epoch(tx, epoch).await?;
            sqlx::query(
                "update sweep_candidate set confirmed = true where keap_contact_id = any($1)",
            )
            .bind(ids(gone))
            .execute(&mut **tx)
            .await?;
            sqlx::query("delete from sweep_candidate where keap_contact_id = any($1)")
                .bind(ids(there))
                .execute(&mut **tx)
                .await?;
            count(tx, run_id, Uuid::new_v4(), cost, false).await
        })
    }

    /// Ends a sweep that does nothing to its candidates. `error`: why; then it is no success.
    pub async fn end_sweep(
        &self,
        epoch: i64,
        run_id: Uuid,
        counts: &Counts,
        error: Option<&str>,
    ) -> Result<()> {
        transaction!(self, tx, {
            check_epoch(tx, epoch).await?;
            sqlx::query("delete from sweep_candidate")
                .execute(&mut **tx)
                .await?;
            sqlx::query(
                "update sync_cursor set walking = false, last_id = null, page_token = null, run_id = null, updated_at = now(),
                        polled_at = case when $1 then now() else polled_at end
                  where feed = 'sweep'",
            )
            .bind(error.is_none())
            .execute(&mut **tx)
            .await?;
            count(tx, run_id, Uuid::new_v4(), counts, false).await?;
            sqlx::query(
                "update sync_run set state = case when $2::text is null then 'done' else 'failed' end, error = $2, finished_at = now()
                  where id = $1",
            )
            .bind(run_id)
            .bind(error)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }
}
