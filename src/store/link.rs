//! Links: which Intercom contact belongs to which Keap contact, and what was last written to it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::due::Waiting;
use super::{Result, Store, StoreError};
use crate::contact::{Digest, IntercomId, KeapId};

/// What is remembered of a contact that was acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    Linked(IntercomId),
    /// Looked at and left out; remembered so that it is told once per change.
    Skipped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub state: LinkState,
    pub fingerprint: Digest,
    pub sighting: Digest,
    pub keap_updated_at: Option<DateTime<Utc>>,
    pub replaced_at: Option<DateTime<Utc>>,
}

/// What the store knows about the contacts of a page.
#[derive(Debug, Default)]
pub struct Known {
    pub links: HashMap<KeapId, Link>,
    pub waiting: HashMap<KeapId, Waiting>,
}

impl Store {
    /// Links and due rows of a page, in two statements.
    pub async fn known(&self, ids: &[KeapId]) -> Result<Known> {
        let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
        self.transaction(async |tx| {
            let mut known = Known::default();
            let rows = sqlx::query(
                "select keap_contact_id, intercom_contact_id, fingerprint, sighting, keap_updated_at, replaced_at
                   from contact_link where keap_contact_id = any($1)",
            )
            .bind(&ids)
            .fetch_all(&mut **tx)
            .await?;
            for row in rows {
                let intercom: Option<String> = row.try_get(1)?;
                let state = match intercom {
                    None => LinkState::Skipped,
                    Some(id) => LinkState::Linked(IntercomId::new(id).ok_or(StoreError::BadRow("contact_link"))?),
                };
                let link = Link {
                    state,
                    fingerprint: digest(row.try_get(2)?)?,
                    sighting: digest(row.try_get(3)?)?,
                    keap_updated_at: row.try_get(4)?,
                    replaced_at: row.try_get(5)?,
                };
                known.links.insert(keap_id(row.try_get(0)?)?, link);
            }
            known.waiting = super::due::waiting(tx, &ids).await?;
            Ok(known)
        })
        .await
    }

    /// Which linked contact has each of these e-mails; the lowest Keap id where several have.
    pub async fn email_owners(&self, digests: &[Digest]) -> Result<HashMap<Digest, KeapId>> {
        let digests: Vec<Vec<u8>> = digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
        let rows: Vec<(Vec<u8>, i64)> = self
            .transaction(async |tx| {
                Ok(sqlx::query_as(
                    "select email_digest, min(keap_contact_id) from contact_link
                      where email_digest = any($1) and state = 'linked' group by email_digest",
                )
                .bind(&digests)
                .fetch_all(&mut **tx)
                .await?)
            })
            .await?;
        rows.into_iter().map(|(bytes, id)| Ok((digest(bytes)?, keap_id(id)?))).collect()
    }

    /// Which Keap contact an Intercom contact is linked to.
    pub async fn linked_keap_id(&self, intercom: &IntercomId) -> Result<Option<KeapId>> {
        let id: Option<i64> = self
            .transaction(async |tx| {
                Ok(sqlx::query_scalar("select keap_contact_id from contact_link where intercom_contact_id = $1")
                    .bind(intercom.as_str())
                    .fetch_optional(&mut **tx)
                    .await?)
            })
            .await?;
        id.map(keap_id).transpose()
    }

    /// How many contacts are linked.
    pub async fn count_linked(&self) -> Result<i64> {
        self.transaction(async |tx| {
            Ok(sqlx::query_scalar("select count(*) from contact_link where state = 'linked'").fetch_one(&mut **tx).await?)
        })
        .await
    }
}

fn digest(bytes: Vec<u8>) -> Result<Digest> {
    Digest::from_bytes(&bytes).ok_or(StoreError::BadRow("contact_link"))
}

pub(super) fn keap_id(id: i64) -> Result<KeapId> {
    KeapId::new(id).ok_or(StoreError::BadRow("contact"))
}
