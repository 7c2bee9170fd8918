//! The sweep's candidates: linked contacts that Keap's lists do not show. They are kept until the
//! sweep has judged them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::listen::{Request, announce};
use super::run::NewRun;
use super::{
    Fence, NewPlan, Result, Store, StoreError, Transaction, blocked, cursor, due, erased, keap_id,
    keap_ids, plan, run,
};
use crate::contact::{IntercomId, KeapId};
use crate::feed::{Counts, Cursor, Feed, RunReason};
use crate::outcome::{PlanKind, RunFailure};

/// What a page of the sweep's walk found.
#[derive(Debug)]
pub struct SweptPage {
    pub run_id: Uuid,
    /// The ids that the page covers: after the first, up to the second.
    pub range: (i64, i64),
    pub listed: Vec<KeapId>,
    /// The listed contacts that a poll would no longer find, and that must be known therefore.
    pub settled: Vec<KeapId>,
    /// The listed contacts whose stamps every poll has passed. A known one with another stamp has
    /// changed since.
    pub stamped: Vec<(KeapId, DateTime<Utc>)>,
    /// The listed contacts whose relations differ from what was recorded.
    pub related: Vec<KeapId>,
    pub cost: Counts,
}

/// The candidates of a sweep in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct SweepStanding {
    pub unconfirmed: i64,
    pub confirmed: i64,
    /// All linked contacts.
    pub linked: i64,
    /// A person asked for the sweep with `--force`: the brake does not apply.
    pub forced: bool,
}

impl Store {
    /// Asks for a walk on schedule, unless one is asked for or under way.
    pub async fn request_scheduled(&self, fence: &Fence, feed: Feed) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "insert into sync_run (feed, reason, state) select $1, $2, 'requested'
                  where not exists (select from sync_run where feed = $1 and state in ('requested', 'running'))",
            )
            .bind(feed.as_str())
            .bind(RunReason::Schedule.as_str())
            .execute(&mut **tx)
            .await?;
            announce(tx, Request::Run).await
        })
    }

    /// Begins a sweep: its run, and its first place. Candidates of a former one are removed. False
    /// if the run has ended, and then nothing is stored.
    pub async fn begin_sweep(&self, fence: &Fence, run: &NewRun, place: &Cursor) -> Result<bool> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            let begun = run::begin(tx, run).await?;
            if begun {
                remove_all(tx).await?;
                cursor::put(tx, Feed::Sweep, place).await?;
            }
            Ok(begun)
        })
    }

    /// Records a page. Linked contacts that it does not list become candidates. Listed contacts
    /// that nothing is stored of, or that have another stamp than stored, become due.
    pub async fn record_swept(
        &self,
        fence: &Fence,
        page: &SweptPage,
        cursor: &Cursor,
    ) -> Result<Counts> {
        let ids = |ids: &[KeapId]| ids.iter().map(|id| id.get()).collect::<Vec<_>>();
        transaction!(self, tx, {
            fence.check(tx).await?;
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
            blocked::release_unlisted(tx, page.range, &ids(&page.listed)).await?;
            let mut late = unknown(tx, &ids(&page.settled)).await?;
            late.extend(changed(tx, &page.stamped).await?);
            due::put_again(tx, &keap_ids(late.clone())?).await?;
            due::put_again(tx, &page.related).await?;
            let counts = Counts {
                seen: i64::try_from(page.listed.len()).unwrap_or(i64::MAX),
                late: i64::try_from(late.len()).unwrap_or(i64::MAX),
                ..page.cost
            };
            run::count(tx, page.run_id, Uuid::new_v4(), &counts, false).await?;
            cursor::put(tx, Feed::Sweep, cursor).await?;
            Ok(counts)
        })
    }

    /// How many candidates there are now.
    pub async fn sweep_standing(&self, run_id: Uuid) -> Result<SweepStanding> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select count(*) filter (where not confirmed) as unconfirmed, count(*) filter (where confirmed) as confirmed,
                        (select count(*) from contact_link where state = 'linked') as linked,
                        exists (select from sync_run where id = $1 and reason = $2) as forced
                   from sweep_candidate",
            )
            .bind(run_id)
            .bind(RunReason::Forced.as_str())
            .fetch_one(&mut **tx)
            .await?)
        })
    }

    /// The next candidates: those to be confirmed, or those that are confirmed and still linked.
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
        keap_ids(rows)
    }

    /// All candidates with their Intercom contacts, confirmed or not.
    pub async fn linked_candidates(&self) -> Result<Vec<(KeapId, IntercomId)>> {
        let rows: Vec<(i64, String)> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select candidate.keap_contact_id, link.intercom_contact_id
                   from sweep_candidate candidate join contact_link link using (keap_contact_id)
                  where link.state = 'linked' and link.intercom_contact_id is not null order by 1",
            )
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let linked = rows.into_iter().map(|(id, intercom)| {
            let intercom = IntercomId::new(intercom).ok_or(StoreError::BadRow("contact_link"))?;
            Ok((keap_id(id)?, intercom))
        });
        linked.collect()
    }

    /// Stores what Keap answered for single candidates. Some are gone, the others exist.
    pub async fn judge_candidates(
        &self,
        fence: &Fence,
        run_id: Uuid,
        gone: &[KeapId],
        there: &[KeapId],
        cost: &Counts,
    ) -> Result<()> {
        let ids = |ids: &[KeapId]| ids.iter().map(|id| id.get()).collect::<Vec<_>>();
        transaction!(self, tx, {
            fence.check(tx).await?;
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
            cursor::touch(tx, run_id).await?;
            run::count(tx, run_id, Uuid::new_v4(), cost, false).await
        })
    }

    /// Ends a sweep that does nothing to its candidates. With a `failure`, it is not a success.
    /// `plan`: what a person may approve then.
    pub async fn end_sweep(
        &self,
        fence: &Fence,
        run_id: Uuid,
        counts: &Counts,
        end: (Option<&RunFailure>, Option<&NewPlan>),
    ) -> Result<()> {
        let (failure, plan) = end;
        transaction!(self, tx, {
            fence.check(tx).await?;
            match plan {
                Some(plan) => plan::put_of_brake(tx, plan, Some(run_id)).await?,
                None if failure.is_none() => plan::outdate(tx, PlanKind::Sweep).await?,
                None => {}
            }
            remove_all(tx).await?;
            sqlx::query(
                "update sync_cursor set walking = false, last_id = null, page_token = null, run_id = null, updated_at = now(),
                        polled_at = case when $1 then now() else polled_at end
                  where feed = $2",
            )
            .bind(failure.is_none())
            .bind(Feed::Sweep.as_str())
            .execute(&mut **tx)
            .await?;
            run::count(tx, run_id, Uuid::new_v4(), counts, false).await?;
            run::end(tx, &[run_id], failure).await
        })
    }
}

/// The contacts of these that nothing is stored of. Nothing is stored of who is erased.
async fn unknown(tx: &mut Transaction, ids: &[i64]) -> Result<Vec<i64>> {
    let mut unknown: Vec<i64> = sqlx::query_scalar(
        "select id from unnest($1::bigint[]) as id
          where not exists (select from contact_link link where link.keap_contact_id = id)
            and not exists (select from contact_due due where due.keap_contact_id = id)
            and not exists (select from contact_hold hold where hold.keap_contact_id = id)",
    )
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    if !unknown.is_empty() {
        let erased = erased::among(tx, &keap_ids(unknown.clone())?).await?;
        unknown.retain(|id| !erased.iter().any(|erased| erased.get() == *id));
    }
    Ok(unknown)
}

/// The contacts of these that were linked, skipped or held with another stamp. Whole seconds are
/// compared, because Keap rounds stamps. A hold without a stamp takes the listed one: nobody knows
/// what has changed since. One that is ignored for good has nothing to be looked at.
async fn changed(tx: &mut Transaction, stamped: &[(KeapId, DateTime<Utc>)]) -> Result<Vec<i64>> {
    let ids: Vec<i64> = stamped.iter().map(|(id, _)| id.get()).collect();
    let stamps: Vec<DateTime<Utc>> = stamped.iter().map(|(_, stamp)| *stamp).collect();
    let changed = sqlx::query_scalar(
        "select listed.id from unnest($1::bigint[], $2::timestamptz[]) as listed (id, stamp)
           left join contact_link link on link.keap_contact_id = listed.id
           left join contact_hold hold on hold.keap_contact_id = listed.id
          where not exists (select from contact_due due where due.keap_contact_id = listed.id)
            and not exists (select from contact_decision decision
                             where decision.keap_contact_id = listed.id and decision.ended_at is null and decision.decision = 'ignore')
            and case when hold.keap_contact_id is not null
                     then abs(extract(epoch from listed.stamp - hold.keap_updated_at)) >= 1
                     else link.keap_contact_id is not null
                          and coalesce(abs(extract(epoch from listed.stamp - link.keap_updated_at)) >= 1, true) end",
    )
    .bind(&ids)
    .bind(&stamps)
    .fetch_all(&mut **tx)
    .await?;
    sqlx::query(
        "update contact_hold hold set keap_updated_at = listed.stamp
           from unnest($1::bigint[], $2::timestamptz[]) as listed (id, stamp)
          where hold.keap_contact_id = listed.id and hold.keap_updated_at is null",
    )
    .bind(&ids)
    .bind(&stamps)
    .execute(&mut **tx)
    .await?;
    Ok(changed)
}

/// Removes candidates that have an outcome.
pub(super) async fn remove(tx: &mut Transaction, ids: &[KeapId]) -> Result<()> {
    if !ids.is_empty() {
        sqlx::query("delete from sweep_candidate where keap_contact_id = any($1)")
            .bind(ids.iter().map(|id| id.get()).collect::<Vec<_>>())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Removes every candidate: a sweep begins or ends.
pub(super) async fn remove_all(tx: &mut Transaction) -> Result<()> {
    sqlx::query("delete from sweep_candidate").execute(&mut **tx).await?;
    Ok(())
}
