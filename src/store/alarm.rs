//! Alarms: which troubles are there, who was told of them, and what is still to be told.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

use super::{Fence, Result, Store, Transaction};

/// The first pause after a message could not be delivered. It doubles with each further failure.
const FIRST_PAUSE_SECONDS: f64 = 15.0;
/// The longest pause before another try.
const LONGEST_PAUSE_SECONDS: f64 = 3600.0;
/// A target whose next try is over for so long is no target of a running daemon any more.
const FORGOTTEN_AFTER_SECONDS: f64 = 600.0;

/// A trouble that people are told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// A word that stays the same while the trouble lasts.
    pub code: String,
    pub what: String,
    pub todo: String,
    /// It keeps contacts from flowing.
    pub stops: bool,
}

/// Something that a target is still to be told: a trouble has begun, or is over.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AlarmMessage {
    pub code: String,
    pub what: String,
    pub todo: String,
    pub stops: bool,
    pub since: DateTime<Utc>,
    /// When it ended.
    pub over_at: Option<DateTime<Utc>>,
    /// Another message may take its place meanwhile.
    pub version: i64,
}

/// A target that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct FailingTarget {
    pub target: String,
    /// Failed attempts in a row.
    pub failures: i32,
    pub failing_since: DateTime<Utc>,
    pub error: String,
    /// Messages that wait for it.
    pub waiting: i64,
}

impl Store {
    /// Takes note of the troubles that are there now, and of what the targets are to be told of
    /// them. `after`: a trouble is told when it has lasted this long, and so is its end.
    pub async fn note_alarms(
        &self,
        fence: &Fence,
        now: &[Alarm],
        after: Duration,
        targets: &[&str],
    ) -> Result<()> {
        let codes: Vec<&str> = now.iter().map(|alarm| alarm.code.as_str()).collect();
        transaction!(self, tx, {
            fence.check(tx).await?;
            put(tx, now, &codes).await?;
            sqlx::query(
                "update alarm set gone_at = now() where gone_at is null and code <> all($1)",
            )
            .bind(&codes)
            .execute(&mut **tx)
            .await?;
            // Nobody was told of these, so nobody is told of their end.
            sqlx::query("delete from alarm where gone_at is not null and told_to = '{}'")
                .execute(&mut **tx)
                .await?;
            tell_beginnings(tx, after, targets).await?;
            tell_ends(tx, after, targets).await?;
            sqlx::query("delete from alarm_message where target <> all($1)")
                .bind(targets)
                .execute(&mut **tx)
                .await?;
            sqlx::query("delete from alarm_target where target <> all($1)")
                .bind(targets)
                .execute(&mut **tx)
                .await?;
            Ok(())
        })
    }

    /// What a target is to be told now: nothing while it is left alone after a failure.
    pub async fn alarm_messages(&self, target: &str) -> Result<Vec<AlarmMessage>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select code, what, todo, stops, since, over_at, version
                   from alarm_message message
                  where target = $1
                    and not exists (select from alarm_target failing where failing.target = $1 and failing.next_at > now())
                  order by over_at is not null, stops desc, since, code",
            )
            .bind(target)
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// A target was told these messages.
    pub async fn alarms_delivered(
        &self,
        fence: &Fence,
        target: &str,
        told: &[AlarmMessage],
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "delete from alarm_message message using unnest($2::text[], $3::bigint[]) as told (code, version)
                  where message.target = $1 and message.code = told.code and message.version = told.version",
            )
            .bind(target)
            .bind(told.iter().map(|one| one.code.as_str()).collect::<Vec<_>>())
            .bind(told.iter().map(|one| one.version).collect::<Vec<_>>())
            .execute(&mut **tx)
            .await?;
            sqlx::query("delete from alarm_target where target = $1")
                .bind(target)
                .execute(&mut **tx)
                .await?;
            Ok(())
        })
    }

    /// A target could not be told. It is left alone for a growing pause, or for `wait` if it asks
    /// for a longer one.
    pub async fn alarms_undelivered(
        &self,
        fence: &Fence,
        target: &str,
        why: &str,
        wait: Option<Duration>,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "insert into alarm_target as old (target, failures, next_at, error)
                 values ($1, 1, now() + make_interval(secs => greatest($3, $4)), $2)
                 on conflict (target) do update
                    set failures = old.failures + 1, error = excluded.error,
                        next_at = now() + make_interval(secs => greatest(least($3 * power(2, least(old.failures, 20)), $5), $4))",
            )
            .bind(target)
            .bind(why)
            .bind(FIRST_PAUSE_SECONDS)
            .bind(wait.unwrap_or_default().as_secs_f64().min(LONGEST_PAUSE_SECONDS))
            .bind(LONGEST_PAUSE_SECONDS)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// The targets that cannot be reached.
    pub async fn failing_targets(&self) -> Result<Vec<FailingTarget>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select target, failures, failing_since, error,
                        (select count(*) from alarm_message message where message.target = failing.target) as waiting
                   from alarm_target failing
                  where next_at > now() - make_interval(secs => $1)
                  order by target",
            )
            .bind(FORGOTTEN_AFTER_SECONDS)
            .fetch_all(&mut **tx)
            .await?)
        })
    }
}

/// Stores the troubles that are there. One that has come back is the same one.
async fn put(tx: &mut Transaction, now: &[Alarm], codes: &[&str]) -> Result<()> {
    if now.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into alarm as old (code, what, todo, stops)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::boolean[])
         on conflict (code) do update
            set what = excluded.what, todo = excluded.todo, stops = excluded.stops, gone_at = null
          where old.gone_at is not null or (old.what, old.todo, old.stops) is distinct from (excluded.what, excluded.todo, excluded.stops)",
    )
    .bind(codes)
    .bind(now.iter().map(|alarm| alarm.what.as_str()).collect::<Vec<_>>())
    .bind(now.iter().map(|alarm| alarm.todo.as_str()).collect::<Vec<_>>())
    .bind(now.iter().map(|alarm| alarm.stops).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Each trouble that has lasted long enough is told to each target that does not know of it.
async fn tell_beginnings(tx: &mut Transaction, after: Duration, targets: &[&str]) -> Result<()> {
    sqlx::query(
        "with told as (
             insert into alarm_message as old (target, code, what, todo, stops, since)
             select target, code, what, todo, stops, since
               from alarm cross join unnest($2::text[]) as target
              where gone_at is null and since <= now() - make_interval(secs => $1) and target <> all(told_to)
             on conflict (target, code) do update
                set what = excluded.what, todo = excluded.todo, stops = excluded.stops, since = excluded.since, over_at = null,
                    version = old.version + 1
             returning target, code)
         update alarm set told_to = told_to || array(select target from told where told.code = alarm.code)
          where code in (select code from told)",
    )
    .bind(after.as_secs_f64())
    .bind(targets)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Each trouble that has been gone for long enough is over, for the targets that know of it. If the
/// message of its beginning still waits, the one of its end takes its place.
async fn tell_ends(tx: &mut Transaction, after: Duration, targets: &[&str]) -> Result<()> {
    sqlx::query(
        "with over as (
             delete from alarm where gone_at <= now() - make_interval(secs => $1)
             returning code, what, todo, stops, since, gone_at, told_to)
         insert into alarm_message as old (target, code, what, todo, stops, since, over_at)
         select target, code, what, todo, stops, since, gone_at
           from over cross join unnest(told_to) as target
          where target = any($2::text[])
         on conflict (target, code) do update
            set over_at = excluded.over_at, version = old.version + 1",
    )
    .bind(after.as_secs_f64())
    .bind(targets)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
