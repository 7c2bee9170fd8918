//! Cursors: how far each feed has come, and the place of the walk inside its window.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Fence, Result, Store, Tally, Transaction, lease, seconds, tally};
use crate::contact::KeapId;
use crate::feed::{Ahead, Cursor, Feed, Phase, Walk};

/// The stored `last_id` of a sweep that judges: no contact has a higher one.
const JUDGING: i64 = i64::MAX;

#[derive(FromRow)]
struct CursorRow {
    position: DateTime<Utc>,
    settled: DateTime<Utc>,
    settling: DateTime<Utc>,
    settling_age: f64,
    polled_age: Option<f64>,
    still_for: Option<f64>,
    ahead_contacts: Option<i64>,
    ahead_example: Option<i64>,
    ahead_until: Option<DateTime<Utc>>,
    walking: bool,
    window_start: Option<DateTime<Utc>>,
    window_end: Option<DateTime<Utc>>,
    last_id: Option<i64>,
    page_token: Option<String>,
    run_id: Option<Uuid>,
}

impl CursorRow {
    fn ahead(&self) -> Option<Ahead> {
        Some(Ahead {
            contacts: self.ahead_contacts?,
            example: KeapId::new(self.ahead_example?)?,
            until: self.ahead_until?,
        })
    }

    fn cursor(self) -> Cursor {
        let ahead = self.ahead();
        let phase = if self.last_id == Some(JUDGING) { Phase::Judging } else { Phase::Reading };
        let walk = Walk {
            start: self.window_start,
            end: self.window_end,
            phase,
            last_id: self.last_id.filter(|_| phase == Phase::Reading).and_then(KeapId::new),
            page_token: self.page_token,
            run_id: self.run_id,
        };
        Cursor {
            position: self.position,
            settled: self.settled,
            settling: self.settling,
            ahead,
            walk: self.walking.then_some(walk),
            settling_age: seconds(self.settling_age),
            polled_age: self.polled_age.map(seconds),
            still_for: self.still_for.map(seconds),
        }
    }
}

impl Store {
    /// A feed's cursor; `None` where the feed has never begun.
    pub async fn cursor(&self, feed: Feed) -> Result<Option<Cursor>> {
        let row: Option<CursorRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select position, settled, settling, walking, window_start, window_end, last_id, page_token, run_id,
                        ahead_contacts, ahead_example, ahead_until,
                        greatest(extract(epoch from now() - settling_since), 0)::float8 as settling_age,
                        case when polled_at is not null then greatest(extract(epoch from now() - polled_at), 0) end::float8 as polled_age,
                        case when walking then greatest(extract(epoch from now() - greatest(updated_at, (select acquired_at from sync_lease where name = $2))), 0) end::float8 as still_for
                   from sync_cursor where feed = $1",
            )
            .bind(feed.as_str())
            .bind(lease::NAME)
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        Ok(row.map(CursorRow::cursor))
    }

    /// Stores cursors outside a recording: a feed begins, its cursor is set back, or a poll has
    /// found nothing. `tally`: what the charts count beside that.
    pub async fn put_cursors(
        &self,
        fence: &Fence,
        cursors: &[(Feed, &Cursor)],
        tally: &Tally,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            for (feed, cursor) in cursors {
                put(tx, *feed, cursor).await?;
            }
            tally::put(tx, std::iter::once(tally)).await
        })
    }

    /// Moves the cursor of the polls to a time that a person has chosen. A walk under way ends
    /// here: the next poll begins at that time. It is no poll, so the age of the last one stays.
    /// False if the feed has never begun.
    pub async fn move_cursor(&self, fence: &Fence, to: DateTime<Utc>) -> Result<bool> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            let moved = sqlx::query(
                "update sync_cursor
                    set position = $2, settled = $2, settling = $2, settling_since = now(), walking = false, window_start = null,
                        window_end = null, last_id = null, page_token = null, run_id = null,
                        ahead_contacts = null, ahead_example = null, ahead_until = null, updated_at = now()
                  where feed = $1",
            )
            .bind(Feed::Changed.as_str())
            .bind(to)
            .execute(&mut **tx)
            .await?;
            Ok(moved.rows_affected() == 1)
        })
    }
}

/// Stores a cursor. A cursor without a walk says that a whole poll has succeeded now.
pub(super) async fn put(tx: &mut Transaction, feed: Feed, cursor: &Cursor) -> Result<()> {
    let walk = cursor.walk.clone().unwrap_or_default();
    let last_id = match walk.phase {
        Phase::Reading => walk.last_id.map(KeapId::get),
        Phase::Judging => Some(JUDGING),
    };
    sqlx::query(
        "insert into sync_cursor as old
                (feed, position, settled, settling, polled_at, walking, window_start, window_end, last_id, page_token, run_id,
                 ahead_contacts, ahead_example, ahead_until, updated_at)
         values ($1, $2, $3, $4, case when $5 then null else now() end, $5, $6, $7, $8, $9, $10, $11, $12, $13, now())
         on conflict (feed) do update
            set position = excluded.position, settled = excluded.settled, settling = excluded.settling,
                settling_since = case when old.settling = excluded.settling then old.settling_since else now() end,
                polled_at = coalesce(excluded.polled_at, old.polled_at),
                walking = excluded.walking, window_start = excluded.window_start, window_end = excluded.window_end,
                last_id = excluded.last_id, page_token = excluded.page_token, run_id = excluded.run_id,
                ahead_contacts = excluded.ahead_contacts, ahead_example = excluded.ahead_example,
                ahead_until = excluded.ahead_until, updated_at = now()",
    )
    .bind(feed.as_str())
    .bind(cursor.position)
    .bind(cursor.settled)
    .bind(cursor.settling)
    .bind(cursor.walk.is_some())
    .bind(walk.start)
    .bind(walk.end)
    .bind(last_id)
    .bind(walk.page_token)
    .bind(walk.run_id)
    .bind(cursor.ahead.as_ref().map(|ahead| ahead.contacts))
    .bind(cursor.ahead.as_ref().map(|ahead| ahead.example.get()))
    .bind(cursor.ahead.as_ref().map(|ahead| ahead.until))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores that the walk of a run moves, although its page is not whole yet.
pub(super) async fn touch(tx: &mut Transaction, run: Uuid) -> Result<()> {
    sqlx::query("update sync_cursor set updated_at = now() where run_id = $1 and walking")
        .bind(run)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
