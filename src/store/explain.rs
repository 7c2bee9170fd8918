//! Everything that is stored of one contact, for people who ask why it is, or is not, in Intercom.
//! Ids, stamps and reasons only.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::decision::{self, StoredDecision};
use super::erasure::{self, Erasure};
use super::hold::StoredReason;
use super::mapping::Mappings;
use super::{Result, Store, Transaction, erased};
use crate::contact::{Bases, DigestKey, FieldName, KeapId};
use crate::feed::DueReason;

/// What is stored of one contact.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    pub now: DateTime<Utc>,
    pub link: Option<ExplainedLink>,
    /// What Keap showed of each field when the link was last written.
    pub fields: Vec<ExplainedField>,
    /// Its due row, or its hold.
    pub due: Option<ExplainedDue>,
    /// Writes that are under way, or whose outcome is unknown.
    pub open_writes: Vec<ExplainedWrite>,
    /// What people have decided about it, the newest first.
    pub decisions: Vec<StoredDecision>,
    /// Newest first.
    pub outcomes: Vec<ExplainedOutcome>,
    /// It was erased, or is about to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
}

impl Explained {
    /// Whether nothing is stored of the contact.
    pub fn is_empty(&self) -> bool {
        let Self { link, due, open_writes, outcomes, erasure, .. } = self;
        erasure.is_none()
            && link.is_none()
            && due.is_none()
            && outcomes.is_empty()
            && open_writes.is_empty()
    }

    /// Its contact in Intercom, or those among which a person must choose.
    pub fn intercom_ids(&self) -> Vec<String> {
        let linked = self.link.as_ref().and_then(|link| link.intercom_contact_id.clone());
        let candidates = self.due.iter().flat_map(|due| due.candidates.clone());
        let mut ids: Vec<String> = linked.into_iter().chain(candidates).collect();
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        ids
    }
}

/// A contact's link.
#[derive(Debug, Clone, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedLink {
    /// `linked`, or `skipped` if it has no Intercom contact.
    pub state: String,
    pub intercom_contact_id: Option<String>,
    /// Keap's stamp of the change that was last acted on.
    pub keap_updated_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// When the fingerprint was last written.
    pub updated_at: DateTime<Utc>,
    /// When an Intercom contact that had vanished was last replaced.
    pub replaced_at: Option<DateTime<Utc>>,
}

/// What Keap showed of a field when the link was last written. Values are not stored.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedField {
    pub name: String,
    /// `value`, `empty`, or `unknown`: the field was held, or a former release wrote the link.
    pub keap: &'static str,
}

impl ExplainedField {
    fn of(key: &DigestKey, id: KeapId, bases: &Bases, identity: &FieldName) -> Self {
        let identity = identity.as_str();
        let name = identity.split_once(": ").map_or(identity, |(name, _)| name);
        let keap = match bases.has(identity) {
            false => "unknown",
            true if key.has_value(id, bases, identity) => "value",
            true => "empty",
        };
        Self { name: name.to_owned(), keap }
    }
}

/// Why a contact is looked at again, or waits for a person.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedDue {
    pub reason: String,
    /// The stored word of the reason for which it is held.
    pub code: Option<String>,
    /// When it is looked at by itself; `None` for a contact that waits for a person alone.
    pub due_at: Option<DateTime<Utc>>,
    pub attempts: i32,
    /// It waits for a person.
    pub held: bool,
    /// Since when it is held for its reason, also while a retry is due.
    pub held_since: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
    pub candidates: Vec<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A write that is under way, or whose outcome is unknown.
#[derive(Debug, Clone, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedWrite {
    /// `keap` or `intercom`.
    pub side: String,
    /// `create`, `update`, `archive` or `delete`.
    pub kind: String,
    pub since: DateTime<Utc>,
    /// The contact was read since, and is read once more then.
    pub read_again_at: Option<DateTime<Utc>>,
}

/// A row of a contact's log.
#[derive(Debug, Clone, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedOutcome {
    pub at: DateTime<Utc>,
    pub status: String,
    pub action: Option<String>,
    pub reason: Option<String>,
    pub intercom_contact_id: Option<String>,
    pub feed: Option<String>,
    pub run_id: Option<Uuid>,
    /// Intercom's id of the request that wrote it, for its support.
    pub request_id: Option<String>,
    /// `keap_to_intercom` or `intercom_to_keap`.
    pub direction: String,
}

#[derive(FromRow)]
struct DueRow {
    reason: String,
    due_at: DateTime<Utc>,
    attempts: i32,
    last_error: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    held_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct HeldRow {
    #[sqlx(flatten)]
    reason: StoredReason,
    candidates: Vec<String>,
    attempts: i32,
    held_at: DateTime<Utc>,
    recheck_at: Option<DateTime<Utc>>,
}

impl From<DueRow> for ExplainedDue {
    fn from(row: DueRow) -> Self {
        Self {
            reason: row.reason,
            code: None,
            due_at: Some(row.due_at),
            attempts: row.attempts,
            held: false,
            held_since: row.held_at,
            last_error: row.last_error,
            candidates: Vec::new(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<HeldRow> for ExplainedDue {
    fn from(row: HeldRow) -> Self {
        Self {
            reason: DueReason::Retry.as_str().to_owned(),
            due_at: row.recheck_at,
            attempts: row.attempts,
            held: true,
            held_since: Some(row.held_at),
            last_error: Some(row.reason.in_words()),
            code: Some(row.reason.code),
            candidates: row.candidates,
            created_at: row.held_at,
            updated_at: row.held_at,
        }
    }
}

impl Store {
    /// Everything that is stored of a contact, with its newest `outcomes` log rows. The parts of an
    /// unknown contact are empty.
    pub async fn explain(&self, id: KeapId, outcomes: i64) -> Result<Explained> {
        transaction!(self, tx, {
            let now = sqlx::query_scalar("select now()").fetch_one(&mut **tx).await?;
            let link = sqlx::query_as(
                "select state, intercom_contact_id, keap_updated_at, created_at, updated_at, replaced_at
                   from contact_link where keap_contact_id = $1",
            )
            .bind(id.get())
            .fetch_optional(&mut **tx)
            .await?;
            let fields = fields(tx, id).await?;
            let due = due_or_held(tx, id).await?;
            let open_writes = sqlx::query_as(
                "select side, kind, created_at as since, recheck_at as read_again_at
                   from contact_intent where keap_contact_id = $1 order by created_at",
            )
            .bind(id.get())
            .fetch_all(&mut **tx)
            .await?;
            let decisions = decision::of_contact(tx, id).await?;
            // The contact's rows come first, then the newest of them. Else Postgres may read the
            // whole log by age for a contact without a row.
            let outcomes = sqlx::query_as(
                "with logged as materialized (
                     select created_at as at, sync_status as status, action, error_message as reason, intercom_contact_id, feed, run_id, request_id,
                            sync_direction as direction
                       from keap_intercom_sync_logs where keap_contact_id = $1)
                 select * from logged order by at desc limit $2",
            )
            .bind(id.to_string())
            .bind(outcomes)
            .fetch_all(&mut **tx)
            .await?;
            let digest = erased::digest_of(tx, id).await?;
            let erasure = erasure::of(tx, digest).await?;
            Ok(Explained { now, link, fields, due, open_writes, decisions, outcomes, erasure })
        })
    }
}

async fn fields(tx: &mut Transaction, id: KeapId) -> Result<Vec<ExplainedField>> {
    let stored: Option<(Option<i32>, Vec<u8>)> = sqlx::query_as(
        "select mapping_id, keap_base from contact_link
          where keap_contact_id = $1 and state = 'linked' and based_at = updated_at and keap_base is not null",
    )
    .bind(id.get())
    .fetch_optional(&mut **tx)
    .await?;
    let Some((mapping, bytes)) = stored else {
        return Ok(Vec::new());
    };
    let key: Vec<u8> =
        sqlx::query_scalar("select key from sync_digest_key").fetch_one(&mut **tx).await?;
    let key = DigestKey::new(&key);
    let bases = Mappings::read(tx).await?.bases(mapping, bytes).unwrap_or_else(Bases::nothing);
    let order = bases.order().cloned();
    let identities = order.iter().flat_map(|order| order.identities().iter());
    Ok(identities.map(|identity| ExplainedField::of(&key, id, &bases, identity)).collect())
}

async fn due_or_held(tx: &mut Transaction, id: KeapId) -> Result<Option<ExplainedDue>> {
    let due: Option<DueRow> = sqlx::query_as(
        "select due.reason, due.due_at, due.attempts, due.last_error, due.created_at, due.updated_at, hold.held_at
           from contact_due due left join contact_hold hold using (keap_contact_id)
          where keap_contact_id = $1 and not due.held",
    )
    .bind(id.get())
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(due) = due {
        return Ok(Some(due.into()));
    }
    let held: Option<HeldRow> = sqlx::query_as(
        "select code, about, detail, candidates, attempts, held_at, recheck_at from contact_held where keap_contact_id = $1",
    )
    .bind(id.get())
    .fetch_optional(&mut **tx)
    .await?;
    Ok(held.map(Into::into))
}
