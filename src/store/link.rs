//! Links: which Intercom contact belongs to which Keap contact, and what was last written to it.

use std::collections::HashMap;

use sqlx::Row;

use super::due::Waiting;
use super::{Result, Store, StoreError};
use crate::contact::{Digest, IntercomId, KeapId, Link, LinkState};

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
        transaction!(self, tx, {
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
                    Some(id) => LinkState::Linked(
                        IntercomId::new(id).ok_or(StoreError::BadRow("contact_link"))?,
                    ),
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
    }

    /// Which linked contact has each of these e-mails; the lowest Keap id where several have.
    pub async fn email_owners(&self, digests: &[Digest]) -> Result<HashMap<Digest, KeapId>> {
        let digests: Vec<Vec<u8>> = digests
            .iter()
            .map(|digest| digest.as_bytes().to_vec())
            .collect();
        let rows: Vec<(Vec<u8>, i64)> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select email_digest, min(keap_contact_id) from contact_link
                      where email_digest = any($1) and state = 'linked' group by email_digest",
            )
            .bind(&digests)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter()
            .map(|(bytes, id)| Ok((digest(bytes)?, keap_id(id)?)))
            .collect()
    }

    /// Which Keap contacts these Intercom contacts are linked to.
    pub async fn linked_owners(
        &self,
        intercom: &[IntercomId],
    ) -> Result<HashMap<IntercomId, KeapId>> {
        let ids: Vec<&str> = intercom.iter().map(IntercomId::as_str).collect();
        let rows: Vec<(String, i64)> = transaction!(self, tx, {
            Ok(sqlx::query_as("select intercom_contact_id, keap_contact_id from contact_link where intercom_contact_id = any($1)")
                    .bind(&ids)
                    .fetch_all(&mut **tx)
                    .await?)
        })?;
        rows.into_iter()
            .map(|(intercom, keap)| {
                Ok((
                    IntercomId::new(intercom).ok_or(StoreError::BadRow("contact_link"))?,
                    keap_id(keap)?,
                ))
            })
            .collect()
    }

    /// Which Keap contact had this Intercom contact when Keap lost it and we let go of it. `None` as soon as either is
    /// known again.
    pub async fn let_go(&self, intercom: &IntercomId) -> Result<Option<KeapId>> {
        transaction!(self, tx, {
            let last: Option<String> = sqlx::query_scalar(
                "select keap_contact_id from keap_intercom_sync_logs
                  where intercom_contact_id = $1 and action in ('archived', 'unlinked')
                  order by synced_at desc limit 1",
            )
            .bind(intercom.as_str())
            .fetch_optional(&mut **tx)
            .await?;
            let Some(last) = last.and_then(|id| KeapId::new(id.parse().ok()?)) else {
                return Ok(None);
            };
            let known: bool = sqlx::query_scalar(
                "select exists (select from contact_link where keap_contact_id = $1 or intercom_contact_id = $2)",
            )
            .bind(last.get())
            .bind(intercom.as_str())
            .fetch_one(&mut **tx)
            .await?;
            Ok((!known).then_some(last))
        })
    }

    /// How many contacts are linked.
    pub async fn count_linked(&self) -> Result<i64> {
        transaction!(self, tx, {
            Ok(
                sqlx::query_scalar("select count(*) from contact_link where state = 'linked'")
                    .fetch_one(&mut **tx)
                    .await?,
            )
        })
    }
}

fn digest(bytes: Vec<u8>) -> Result<Digest> {
    Digest::from_bytes(&bytes).ok_or(StoreError::BadRow("contact_link"))
}

pub(super) fn keap_id(id: i64) -> Result<KeapId> {
    KeapId::new(id).ok_or(StoreError::BadRow("contact"))
}
