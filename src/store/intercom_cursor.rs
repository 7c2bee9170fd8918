//! How far Intercom's lists of users were read, and what they showed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::due::{self, ChangedInIntercom};
use super::mapping::{self, Mappings};
use super::newcomer::{self, NewcomerRow};
use super::{Fence, Result, Store, Transaction};
use crate::contact::{Bases, IntercomId, KeapId};
use crate::outcome::EMAIL_IN_KEAP;

/// A list of Intercom's users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntercomFeed {
    /// Those that changed last.
    Changed,
    /// All of them, once the direction is on, and then every day.
    Audit,
}

impl IntercomFeed {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Audit => "audit",
        }
    }
}

/// How far a list was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct IntercomCursor {
    /// Every user that changed up to here was seen, by Intercom's stamps.
    pub position: Option<DateTime<Utc>>,
    /// When the last whole walk ended.
    pub walked_at: Option<DateTime<Utc>>,
    /// The longest time of the last day until the list showed a write of ours. Read only.
    pub search_lag_seconds: Option<i32>,
}

/// A linked contact, by its Intercom contact.
#[derive(Debug, Clone)]
pub struct LinkedUser {
    pub keap: KeapId,
    pub keap_base: Option<Bases>,
    pub intercom_base: Option<Bases>,
    pub intercom_updated_at: Option<DateTime<Utc>>,
    /// The filter leaves the contact out.
    pub is_out: bool,
    /// A write of it is under way, or has an unknown outcome.
    pub is_open: bool,
    /// A value that it showed holds the contact.
    pub is_held: bool,
}

/// A linked contact that shows on both sides what was settled on one.
#[derive(Debug, Clone)]
pub struct SettledUser {
    pub keap: KeapId,
    /// The stamp that the link had when it was read.
    pub former: Option<DateTime<Utc>>,
    pub base: Bases,
    pub updated_at: Option<DateTime<Utc>>,
}

/// What a page of users showed.
#[derive(Debug, Default)]
pub struct SeenUsers {
    /// They differ from what was settled.
    pub changed: ChangedInIntercom,
    pub settled: Vec<SettledUser>,
    /// They may have no link.
    pub newcomers: Vec<NewcomerRow>,
    /// The audit that has found them.
    pub run: Option<Uuid>,
}

#[derive(FromRow)]
struct UserRow {
    #[sqlx(try_from = "String")]
    intercom_contact_id: IntercomId,
    #[sqlx(try_from = "i64")]
    keap_contact_id: KeapId,
    mapping_id: Option<i32>,
    keap_base: Option<Vec<u8>>,
    intercom_base: Option<Vec<u8>>,
    intercom_updated_at: Option<DateTime<Utc>>,
    is_out: bool,
    is_open: bool,
    is_held: bool,
}

impl Store {
    /// The links of these Intercom contacts.
    pub async fn linked_users(
        &self,
        ids: &[IntercomId],
    ) -> Result<HashMap<IntercomId, LinkedUser>> {
        let ids: Vec<&str> = ids.iter().map(IntercomId::as_str).collect();
        transaction!(self, tx, {
            let rows: Vec<UserRow> = sqlx::query_as(
                "select intercom_contact_id, keap_contact_id, mapping_id, intercom_updated_at, is_out,
                        case when based_at = updated_at then keap_base end as keap_base,
                        case when based_at = updated_at then intercom_base end as intercom_base,
                        exists (select from contact_intent intent
                                 where intent.keap_contact_id = link.keap_contact_id) as is_open,
                        exists (select from contact_held held
                                 where held.keap_contact_id = link.keap_contact_id and code = $2) as is_held
                   from contact_link link
                  where intercom_contact_id = any($1) and state = 'linked'",
            )
            .bind(&ids)
            .bind(EMAIL_IN_KEAP)
            .fetch_all(&mut **tx)
            .await?;
            let mappings = Mappings::read(tx).await?;
            let user = |row: UserRow| {
                let bases = |bytes: Option<Vec<u8>>| {
                    bytes.and_then(|bytes| mappings.bases(row.mapping_id, bytes))
                };
                let user = LinkedUser {
                    keap: row.keap_contact_id,
                    keap_base: bases(row.keap_base),
                    intercom_base: bases(row.intercom_base),
                    intercom_updated_at: row.intercom_updated_at,
                    is_out: row.is_out,
                    is_open: row.is_open,
                    is_held: row.is_held,
                };
                (row.intercom_contact_id, user)
            };
            Ok(rows.into_iter().map(user).collect())
        })
    }

    /// How far a list was read; empty before its first walk.
    pub async fn intercom_cursor(&self, feed: IntercomFeed) -> Result<IntercomCursor> {
        transaction!(self, tx, {
            let sql = "select position, walked_at,
                              case when search_lag_at > now() - interval '1 day' then search_lag_seconds end as search_lag_seconds
                         from intercom_cursor where feed = $1";
            let found: Option<IntercomCursor> =
                sqlx::query_as(sql).bind(feed.as_str()).fetch_optional(&mut **tx).await?;
            Ok(found.unwrap_or_default())
        })
    }

    /// Makes a contact due that a notification of Intercom names.
    pub async fn hint_of_intercom(&self, changed: &ChangedInIntercom) -> Result<()> {
        transaction!(self, tx, { due::put_changed_in_intercom(tx, changed, None).await })
    }

    /// Stores what a page showed, and how far its list was read.
    pub async fn record_users(
        &self,
        fence: &Fence,
        seen: &SeenUsers,
        cursor: Option<(IntercomFeed, &IntercomCursor)>,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            settle(tx, &seen.settled).await?;
            due::put_changed_in_intercom(tx, &seen.changed, seen.run).await?;
            newcomer::put_listed(tx, &seen.newcomers, seen.run).await?;
            let Some((feed, cursor)) = cursor else {
                return Ok(());
            };
            sqlx::query(
                "insert into intercom_cursor (feed, position, walked_at) values ($1, $2, $3)
                 on conflict (feed) do update
                    set position = excluded.position, walked_at = excluded.walked_at, updated_at = now()",
            )
            .bind(feed.as_str())
            .bind(cursor.position)
            .bind(cursor.walked_at)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }
}

/// Stores what Intercom shows of contacts that have nothing to be written. A link that was written
/// since keeps what the write has stored.
async fn settle(tx: &mut Transaction, rows: &[SettledUser]) -> Result<()> {
    let Some(order) = rows.iter().find_map(|row| row.base.order()) else {
        return Ok(());
    };
    let mapping = mapping::id_of(tx, Some(order)).await?;
    sqlx::query(
        "update contact_link link set intercom_base = new.base, intercom_updated_at = new.stamp
           from unnest($1::bigint[], $2::timestamptz[], $3::bytea[], $4::timestamptz[]) as new (id, former, base, stamp)
          where link.keap_contact_id = new.id and link.mapping_id = $5 and link.based_at = link.updated_at
            and link.intercom_updated_at is not distinct from new.former",
    )
    .bind(rows.iter().map(|row| row.keap.get()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.former).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.base.as_bytes()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.updated_at).collect::<Vec<_>>())
    .bind(mapping)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
