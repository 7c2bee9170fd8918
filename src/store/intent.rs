//! Intents: the writes that are under way, or whose outcome is unknown.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Fence, Result, Store, StoreError, Transaction};
use crate::contact::{Bases, FieldName, FieldOrder, IntercomId, KeapId};
use crate::feed::DueReason;

/// A call begins before the lease of its process ends, and lasts no longer than this.
const LONGEST_CALL: Duration = Duration::from_secs(120);

/// Most contacts of a process that died are on the page that the next one takes again. The others
/// become due after this time.
const WALKS_FIRST: Duration = Duration::from_secs(5);

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentKind {
    Create,
    /// Also a link and an unarchive.
    Update,
    Archive,
    /// For good.
    Delete,
}

impl IntentKind {
    fn code(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Archive => "archive",
            Self::Delete => "delete",
        }
    }
}

/// The side that a write goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntentSide {
    Keap,
    Intercom,
}

impl IntentSide {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Keap => "keap",
            Self::Intercom => "intercom",
        }
    }

    /// The side of a stored word; `None` for the word of another release.
    pub(super) fn parse(code: &str) -> Option<Self> {
        [Self::Keap, Self::Intercom].into_iter().find(|side| side.code() == code)
    }
}

/// A write that is about to begin.
#[derive(Debug, Clone)]
pub struct Intent {
    pub id: Uuid,
    pub side: IntentSide,
    pub keap: KeapId,
    /// `None`: it is not known yet.
    pub intercom: Option<IntercomId>,
    pub kind: IntentKind,
    /// What is sent; `None` for a write without fields.
    pub sent: Option<Bases>,
}

/// An intent that no write under way owns: this side of the contact is unknown.
#[derive(Debug, Clone)]
pub struct FoundIntent {
    pub id: Uuid,
    pub side: IntentSide,
    pub intercom: Option<IntercomId>,
    /// What was sent.
    pub sent: Bases,
    /// The Intercom contact of somebody else that was made live only to be looked at.
    pub borrowed: Option<IntercomId>,
    /// When its call ended at the latest.
    pub deadline: DateTime<Utc>,
    /// The contact was read since, and now is the time to read it once more.
    pub rechecked: bool,
    /// It is a create in Keap, which has made the contact.
    pub has_made: bool,
}

impl FoundIntent {
    /// A create without an answer that has made a contact of Keap: it has the address that was
    /// sent.
    pub fn of_create(id: Uuid, intercom: IntercomId) -> Self {
        Self {
            id,
            side: IntentSide::Keap,
            intercom: Some(intercom),
            sent: Bases::nothing(),
            borrowed: None,
            deadline: DateTime::default(),
            rechecked: false,
            has_made: true,
        }
    }
}

#[derive(FromRow)]
struct FoundRow {
    id: Uuid,
    side: String,
    #[sqlx(try_from = "i64")]
    keap_contact_id: KeapId,
    intercom_contact_id: Option<String>,
    fields: Vec<String>,
    sent: Vec<u8>,
    borrowed_id: Option<String>,
    deadline: DateTime<Utc>,
    rechecked: bool,
    has_made: bool,
}

impl FoundRow {
    fn found(self) -> Result<(KeapId, FoundIntent)> {
        let intercom_id = |id: Option<String>| match id {
            None => Ok(None),
            Some(id) => IntercomId::new(id).map(Some).ok_or(StoreError::BadRow("contact_intent")),
        };
        let order = (!self.fields.is_empty()).then(|| {
            let names = self.fields.iter().map(|name| FieldName::from(name.as_str())).collect();
            // No mapping has this digest: the fields may be those of a former one.
            FieldOrder::of_stored(names, [0; 32])
        });
        let sent =
            Bases::of_stored(order, self.sent).ok_or(StoreError::BadRow("contact_intent"))?;
        let found = FoundIntent {
            id: self.id,
            side: if self.side == IntentSide::Keap.code() {
                IntentSide::Keap
            } else {
                IntentSide::Intercom
            },
            intercom: intercom_id(self.intercom_contact_id)?,
            sent,
            borrowed: intercom_id(self.borrowed_id)?,
            deadline: self.deadline,
            rechecked: self.rechecked,
            has_made: self.has_made,
        };
        Ok((self.keap_contact_id, found))
    }
}

impl Store {
    /// Stores the intents of a page, in one statement. No call of the page may begin before.
    pub async fn intend(&self, fence: &Fence, intents: &[Intent]) -> Result<()> {
        if intents.is_empty() {
            return Ok(());
        }
        let sent = |intent: &Intent| -> Vec<u8> {
            intent.sent.as_ref().map(|sent| sent.as_bytes().to_vec()).unwrap_or_default()
        };
        // All of a page are sent by one mapping.
        let order = intents.iter().find_map(|intent| intent.sent.as_ref()?.order());
        let names: Vec<&str> = order
            .iter()
            .flat_map(|order| order.identities().iter().map(FieldName::as_str))
            .collect();
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "insert into contact_intent (id, epoch, keap_contact_id, intercom_contact_id, side, kind, fields, sent, deadline)
                 select id, $1, keap, intercom, side, kind, case when sent = '' then '{}' else $3::text[] end, sent,
                        now() + make_interval(secs => $2)
                   from unnest($4::uuid[], $5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::text[])
                     as new (id, keap, intercom, kind, sent, side)",
            )
            .bind(fence.epoch())
            .bind(LONGEST_CALL.as_secs_f64())
            .bind(names)
            .bind(intents.iter().map(|intent| intent.id).collect::<Vec<_>>())
            .bind(intents.iter().map(|intent| intent.keap.get()).collect::<Vec<_>>())
            .bind(
                intents
                    .iter()
                    .map(|intent| intent.intercom.as_ref().map(IntercomId::as_str))
                    .collect::<Vec<_>>(),
            )
            .bind(intents.iter().map(|intent| intent.kind.code()).collect::<Vec<_>>())
            .bind(intents.iter().map(sent).collect::<Vec<_>>())
            .bind(intents.iter().map(|intent| intent.side.code()).collect::<Vec<_>>())
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Stores what the write of an intent really sends, once that is known. Must be stored before
    /// the call.
    pub async fn intend_exactly(&self, fence: &Fence, intent: Uuid, sent: &Bases) -> Result<()> {
        let names: Vec<&str> = sent
            .order()
            .iter()
            .flat_map(|order| order.identities().iter().map(FieldName::as_str))
            .collect();
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query("update contact_intent set fields = $2, sent = $3 where id = $1")
                .bind(intent)
                .bind(names)
                .bind(sent.as_bytes())
                .execute(&mut **tx)
                .await?;
            Ok(())
        })
    }

    /// Adds to an intent that an archived Intercom contact is made live only to be looked at. Must
    /// be stored before the call.
    pub async fn borrow(&self, fence: &Fence, intent: Uuid, borrowed: &IntercomId) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query("update contact_intent set borrowed_id = $2 where id = $1")
                .bind(intent)
                .bind(borrowed.as_str())
                .execute(&mut **tx)
                .await?;
            Ok(())
        })
    }
}

/// The intents of contacts that are to be looked at now. The caller leaves out those that a write
/// under way owns.
pub(super) async fn found(
    tx: &mut Transaction,
    ids: &[i64],
) -> Result<HashMap<KeapId, Vec<FoundIntent>>> {
    let rows: Vec<FoundRow> = sqlx::query_as(
        "select id, side, keap_contact_id, intercom_contact_id, fields, sent, borrowed_id, deadline,
                recheck_at is not null as rechecked, keap_id_made is not null as has_made
           from contact_intent
          where keap_contact_id = any($1) and (recheck_at is null or recheck_at <= now())
          order by created_at",
    )
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    let mut found: HashMap<KeapId, Vec<FoundIntent>> = HashMap::new();
    for row in rows {
        let (id, intent) = row.found()?;
        found.entry(id).or_default().push(intent);
    }
    Ok(found)
}

/// Removes intents: of writes with a certain answer, of writes that never began, and of contacts
/// that were read twice since.
pub(super) async fn remove(tx: &mut Transaction, ids: &[Uuid]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query("delete from contact_intent where id = any($1)")
        .bind(ids)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Keeps intents whose contacts were looked at. A call without an answer may still land, so the
/// contact is read once more after `after`. `None`: it waits for a person, and what is unknown of
/// it stays unknown.
pub(super) async fn keep(
    tx: &mut Transaction,
    ids: &[Uuid],
    after: Option<Duration>,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update contact_intent set recheck_at = now() + make_interval(secs => $2), borrowed_id = null
          where id = any($1)",
    )
    .bind(ids)
    .bind(after.map(|after| after.as_secs_f64()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Makes the contacts due whose second look has come.
pub(super) async fn put_rechecks(tx: &mut Transaction) -> Result<()> {
    sqlx::query(
        "insert into contact_due (keap_contact_id, reason, priority)
         select distinct keap_contact_id, $1, $2 from contact_intent
          where recheck_at <= now() and keap_contact_id is not null
         on conflict (keap_contact_id) do nothing",
    )
    .bind(DueReason::Again.as_str())
    .bind(DueReason::Again.priority())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes over the intents of former leases: their contacts become due. A call of the former process
/// began before its lease ended. A contact that waits for a person keeps waiting, unless a write
/// may have made an Intercom contact. A deletion belongs to an erasure, which goes on by itself.
pub(super) async fn take_over(tx: &mut Transaction, epoch: i64) -> Result<()> {
    sqlx::query(
        "with left_behind as (
             update contact_intent set deadline = now() + make_interval(secs => $2)
              where epoch < $1 and recheck_at is null and keap_contact_id is not null and kind <> $7
             returning keap_contact_id, kind
         )
         insert into contact_due (keap_contact_id, reason, priority, due_at)
         select distinct keap_contact_id, $3, $4::smallint, now() + make_interval(secs => $5) from left_behind
          where kind = $6
             or not exists (select from contact_hold hold where hold.keap_contact_id = left_behind.keap_contact_id)
         on conflict (keap_contact_id) do nothing",
    )
    .bind(epoch)
    .bind(LONGEST_CALL.as_secs_f64())
    .bind(DueReason::Again.as_str())
    .bind(DueReason::Again.priority())
    .bind(WALKS_FIRST.as_secs_f64())
    .bind(IntentKind::Create.code())
    .bind(IntentKind::Delete.code())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
