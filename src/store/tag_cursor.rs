//! Places of the polls of mapped tags.

use chrono::{DateTime, Utc};

use super::listen::{Request, announce};
use super::{Fence, Result, Store, due};
use crate::contact::KeapId;

impl Store {
    /// The latest application of a tag that was seen; `None` before the first poll.
    pub async fn tag_cursor(&self, tag: &str) -> Result<Option<DateTime<Utc>>> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar("select applied_at from tag_cursor where tag_id = $1")
                .bind(tag)
                .fetch_optional(&mut **tx)
                .await?)
        })
    }

    /// Stores a poll of a tag: its place, and the contacts to look at.
    pub async fn record_tag_poll(
        &self,
        fence: &Fence,
        tag: &str,
        at: DateTime<Utc>,
        contacts: &[KeapId],
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "insert into tag_cursor (tag_id, applied_at) values ($1, $2)
                 on conflict (tag_id) do update set applied_at = excluded.applied_at, updated_at = now()",
            )
            .bind(tag)
            .bind(at)
            .execute(&mut **tx)
            .await?;
            if contacts.is_empty() {
                return Ok(());
            }
            due::put_again(tx, contacts).await?;
            announce(tx, Request::Due).await
        })
    }
}
