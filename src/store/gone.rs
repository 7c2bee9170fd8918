//! Links whose Intercom contact a list of all users does not show, and those that are known to be
//! gone there.

use chrono::{DateTime, Utc};

use super::{Fence, Result, Store, Transaction, keap_ids};
use crate::contact::KeapId;

impl Store {
    /// Linked contacts behind a place that Intercom should list: not known to be gone there, and
    /// not written since. In the order of their Keap ids, at most `limit`.
    pub async fn listed_in_intercom(
        &self,
        after: Option<KeapId>,
        written_before: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<KeapId>> {
        let ids: Vec<i64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select keap_contact_id from contact_link
                  where state = 'linked' and keap_contact_id > $1 and gone_in_intercom_at is null and updated_at < $2
                  order by keap_contact_id limit $3",
            )
            .bind(after.map_or(0, KeapId::get))
            .bind(written_before)
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        keap_ids(ids)
    }

    /// The linked contacts that are known to be gone in Intercom.
    pub async fn gone_in_intercom(&self) -> Result<Vec<KeapId>> {
        let ids: Vec<i64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select keap_contact_id from contact_link where gone_in_intercom_at is not null",
            )
            .fetch_all(&mut **tx)
            .await?)
        })?;
        keap_ids(ids)
    }

    /// Intercom shows these again.
    pub async fn back_in_intercom(&self, fence: &Fence, ids: &[KeapId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query("update contact_link set gone_in_intercom_at = null where keap_contact_id = any($1)")
                .bind(ids.iter().map(|id| id.get()).collect::<Vec<_>>())
                .execute(&mut **tx)
                .await?;
            Ok(())
        })
    }
}

/// Intercom does not show the contacts of these links.
pub(super) async fn note(tx: &mut Transaction, ids: &[KeapId]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update contact_link set gone_in_intercom_at = now()
          where keap_contact_id = any($1) and gone_in_intercom_at is null",
    )
    .bind(ids.iter().map(|id| id.get()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
