//! How the second direction stands: what people watch of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Fence, Result, Store, seconds};
use crate::feed::PACED_TURN;
use crate::outcome::{AUDIT_BRAKE, RunFailure};

/// How the second direction stands.
#[derive(Debug, Clone, Default)]
pub struct TwoWay {
    /// Time since Intercom's list of changes was last read to its end.
    pub read_age: Option<Duration>,
    /// The newest change that it showed, by Intercom's stamps.
    pub position: Option<DateTime<Utc>>,
    /// The longest time of the last day until the list showed a write of ours.
    pub search_lag: Option<Duration>,
    /// How long polls have found changes that no notification had announced, and none has come.
    pub missed_for: Option<Duration>,
    /// The last audit that has ended.
    pub audit: Option<LastAudit>,
    pub is_auditing: bool,
    /// Contacts of the last day that were edited on both sides.
    pub conflicts: i64,
    /// Contacts that have changed in Intercom and are looked at next.
    pub waiting: i64,
    /// Those that nobody waits for. Their writes to Keap have a pace.
    pub paced: i64,
    /// Users of Intercom that wait for a contact in Keap, and are looked at in their turn.
    pub newcomers: i64,
    /// Those that the brake on creates stops.
    pub newcomers_braked: i64,
    /// Those that wait for a person.
    pub newcomers_held: i64,
}

impl TwoWay {
    /// Whether the brake stopped the last audit.
    pub fn is_braked(&self) -> bool {
        self.audit.as_ref().is_some_and(|audit| audit.is_braked)
    }
}

/// An audit that has ended.
#[derive(Debug, Clone)]
pub struct LastAudit {
    pub age: Duration,
    /// Linked contacts that were compared.
    pub seen: i64,
    /// Those that differed.
    pub differed: i64,
    pub is_braked: bool,
    pub failure: Option<RunFailure>,
}

/// What a whole poll of Intercom's list has shown beside its users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// How long a write of ours took until the list showed it.
    pub search_lag: Option<Duration>,
    /// Changes were found that no notification had announced.
    pub missed: bool,
}

#[derive(FromRow)]
struct Row {
    read_age: Option<f64>,
    position: Option<DateTime<Utc>>,
    search_lag: Option<f64>,
    missed_for: Option<f64>,
    is_auditing: bool,
    conflicts: i64,
    waiting: i64,
    paced: i64,
    newcomers: i64,
    newcomers_braked: i64,
    newcomers_held: i64,
}

#[derive(FromRow)]
struct AuditRow {
    age: f64,
    seen: i64,
    late: i64,
    error: Option<String>,
    error_code: Option<String>,
}

impl Store {
    /// Reads how the second direction stands, in two statements.
    pub async fn two_way(&self) -> Result<TwoWay> {
        let (row, audit): (Row, Option<AuditRow>) = transaction!(self, tx, {
            let row = sqlx::query_as(
                "select greatest(extract(epoch from now() - list.walked_at), 0)::float8 as read_age, list.position,
                        case when list.search_lag_at > now() - interval '1 day' then list.search_lag_seconds end::float8 as search_lag,
                        extract(epoch from list.missed_at - list.missed_since)::float8 as missed_for,
                        exists (select from sync_run where feed = 'audit' and finished_at is null and state = 'running') as is_auditing,
                        (select count(*) from keap_intercom_sync_logs where conflicts is not null and created_at > now() - interval '1 day') as conflicts,
                        due.waiting, due.paced, users.newcomers, users.newcomers_braked, users.newcomers_held
                   from (select count(*) filter (where priority < $1) as waiting, count(*) filter (where priority >= $1) as paced
                           from contact_due where not held and (looks_at_intercom or priority >= $1)) due
                  cross join (
                           select count(*) filter (where code is null and (released or not brake.is_on)) as newcomers,
                                  count(*) filter (where code is null and not released and brake.is_on) as newcomers_braked,
                                  count(*) filter (where code not in ('in_keap', 'not_tagged')) as newcomers_held
                             from intercom_due, (select exists (select from create_brake where braked_at is not null) as is_on) brake) users
                   left join intercom_cursor list on list.feed = 'changed'",
            )
            .bind(PACED_TURN)
            .fetch_one(&mut **tx)
            .await?;
            let audit = sqlx::query_as(
                "select greatest(extract(epoch from now() - finished_at), 0)::float8 as age, seen, late, error, error_code
                   from sync_run where feed = 'audit' and finished_at is not null order by finished_at desc limit 1",
            )
            .fetch_optional(&mut **tx)
            .await?;
            Ok((row, audit))
        })?;
        let audit = audit.map(|audit| LastAudit {
            age: seconds(audit.age),
            seen: audit.seen,
            differed: audit.late,
            is_braked: audit.error_code.as_deref() == Some(AUDIT_BRAKE),
            failure: audit
                .error
                .map(|text| RunFailure::from_parts(audit.error_code.as_deref(), &text)),
        });
        Ok(TwoWay {
            read_age: row.read_age.map(seconds),
            position: row.position,
            search_lag: row.search_lag.map(seconds),
            missed_for: row.missed_for.map(seconds),
            audit,
            is_auditing: row.is_auditing,
            conflicts: row.conflicts,
            waiting: row.waiting,
            paced: row.paced,
            newcomers: row.newcomers,
            newcomers_braked: row.newcomers_braked,
            newcomers_held: row.newcomers_held,
        })
    }

    /// How many contacts that have changed in Intercom are looked at now. Those that have a pace,
    /// and those whose next attempt comes later, do not count.
    pub async fn changed_in_intercom(&self) -> Result<i64> {
        transaction!(self, tx, {
            let sql = "select count(*) from contact_due
                        where not held and looks_at_intercom and due_at <= now() and priority < $1";
            Ok(sqlx::query_scalar(sql).bind(PACED_TURN).fetch_one(&mut **tx).await?)
        })
    }

    /// Stores what a whole poll has shown. The longest lag counts for a day.
    pub async fn watched(&self, fence: &Fence, watched: Watched) -> Result<()> {
        let lag = watched.search_lag.map(|lag| i32::try_from(lag.as_secs()).unwrap_or(i32::MAX));
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "update intercom_cursor
                    set search_lag_seconds = case when $1 >= coalesce(search_lag_seconds, 0) or search_lag_at < now() - interval '1 day'
                                                  then $1 else search_lag_seconds end,
                        search_lag_at = case when $1 >= coalesce(search_lag_seconds, 0) or search_lag_at < now() - interval '1 day'
                                             then now() else search_lag_at end,
                        missed_since = case when $2 then coalesce(missed_since, now()) else missed_since end,
                        missed_at = case when $2 then now() else missed_at end
                  where feed = 'changed'",
            )
            .bind(lag)
            .bind(watched.missed)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Stores that a notification of Intercom has come: what polls have missed before is over.
    pub async fn notified(&self) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "update intercom_cursor set notified_at = now(), missed_since = null, missed_at = null
                  where feed = 'changed' and (missed_since is not null or notified_at is null or notified_at < now() - interval '1 minute')",
            )
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }
}
