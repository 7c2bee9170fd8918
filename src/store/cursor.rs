//! Cursors: how far each feed has come, and the place of the walk inside its window.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Row, Transaction};
use uuid::Uuid;

use super::{Result, Store};
use crate::contact::KeapId;

/// A feed that walks over Keap's contacts and therefore has a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feed {
    Changed,
    Backfill,
    /// Looks for contacts that Keap does not have any more.
    Sweep,
    /// Requests and retries: it has no cursor, its rows are its place.
    Due,
}

impl Feed {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Backfill => "backfill",
            Self::Sweep => "sweep",
            Self::Due => "due",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Changed, Self::Backfill, Self::Sweep, Self::Due]
            .into_iter()
            .find(|feed| feed.as_str() == text)
    }
}

/// The place of a walk inside its window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    pub start: Option<DateTime<Utc>>,
    pub end: Option<DateTime<Utc>>,
    pub last_id: Option<KeapId>,
    /// Set where Keap refuses to be asked by id; then it is the place.
    pub page_token: Option<String>,
    pub run_id: Option<Uuid>,
}

/// A feed's cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Every contact with a stamp up to here is recorded.
    pub position: DateTime<Utc>,
    /// Up to here nothing can still become visible late.
    pub settled: DateTime<Utc>,
    /// Becomes `settled` once the overlap has passed since it was set.
    pub settling: DateTime<Utc>,
    pub walk: Option<Walk>,
    /// How long ago `settling` was set, by Postgres's clock. Read only.
    pub settling_age: Duration,
    /// Seconds since a whole poll last succeeded. Read only.
    pub polled_age: Option<Duration>,
}

impl Cursor {
    /// A cursor with nothing to settle and no walk.
    pub fn at(position: DateTime<Utc>) -> Self {
        Self {
            position,
            settled: position,
            settling: position,
            walk: None,
            settling_age: Duration::ZERO,
            polled_age: None,
        }
    }
}

impl Store {
    pub async fn cursor(&self, feed: Feed) -> Result<Option<Cursor>> {
        let row = transaction!(self, tx, {
            Ok(sqlx::query(
                    "select position, settled, walking, window_start, window_end, last_id, page_token, run_id,
                            greatest(extract(epoch from now() - settling_since), 0)::float8, settling,
                            case when polled_at is not null then greatest(extract(epoch from now() - polled_at), 0) end::float8
                       from sync_cursor where feed = $1",
                )
                .bind(feed.as_str())
                .fetch_optional(&mut **tx)
                .await?)
        })?;
        let Some(row) = row else { return Ok(None) };
        let walking: bool = row.try_get(2)?;
        let last_id: Option<i64> = row.try_get(5)?;
        let walk = Walk {
            start: row.try_get(3)?,
            end: row.try_get(4)?,
            last_id: last_id.and_then(KeapId::new),
            page_token: row.try_get(6)?,
            run_id: row.try_get(7)?,
        };
        Ok(Some(Cursor {
            position: row.try_get(0)?,
            settled: row.try_get(1)?,
            walk: walking.then_some(walk),
            settling: row.try_get(9)?,
            settling_age: Duration::try_from_secs_f64(row.try_get(8)?).unwrap_or_default(),
            polled_age: row
                .try_get::<Option<f64>, _>(10)?
                .and_then(|age| Duration::try_from_secs_f64(age).ok()),
        }))
    }

    /// Stores a cursor outside a recording: where a feed begins, or is set by hand. Checked against the lease.
    pub async fn put_cursors(&self, epoch: i64, cursors: &[(Feed, &Cursor)]) -> Result<()> {
        transaction!(self, tx, {
            super::record::check_epoch(tx, epoch).await?;
            for (feed, cursor) in cursors {
                put(tx, *feed, cursor).await?;
            }
            Ok(())
        })
    }
}

pub(super) async fn put(
    tx: &mut Transaction<'static, Postgres>,
    feed: Feed,
    cursor: &Cursor,
) -> Result<()> {
    let walk = cursor.walk.clone().unwrap_or_default();
    sqlx::query(
        "insert into sync_cursor as old
                (feed, position, settled, settling, polled_at, walking, window_start, window_end, last_id, page_token, run_id, updated_at)
         values ($1, $2, $3, $4, case when $5 then null else now() end, $5, $6, $7, $8, $9, $10, now())
         on conflict (feed) do update
            set position = excluded.position, settled = excluded.settled, settling = excluded.settling,
                settling_since = case when old.settling = excluded.settling then old.settling_since else now() end,
                polled_at = coalesce(excluded.polled_at, old.polled_at),
                walking = excluded.walking, window_start = excluded.window_start, window_end = excluded.window_end,
                last_id = excluded.last_id, page_token = excluded.page_token, run_id = excluded.run_id, updated_at = now()",
    )
    .bind(feed.as_str())
    .bind(cursor.position)
    .bind(cursor.settled)
    .bind(cursor.settling)
    .bind(cursor.walk.is_some())
    .bind(walk.start)
    .bind(walk.end)
    .bind(walk.last_id.map(KeapId::get))
    .bind(walk.page_token)
    .bind(walk.run_id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
