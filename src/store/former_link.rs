//! Former links: which deleted Keap contact had which Intercom contact.

use super::{Result, Store, Transaction, keap_id};
use crate::contact::{IntercomId, KeapId};

/// A link that is removed because Keap no longer has its contact.
#[derive(Debug, Clone)]
pub struct FormerLink {
    pub keap: KeapId,
    pub intercom: IntercomId,
}

impl Store {
    /// The deleted Keap contact that had this Intercom contact. `None` as soon as either of the two
    /// has a link again.
    pub async fn former_owner(&self, intercom: &IntercomId) -> Result<Option<KeapId>> {
        let id: Option<i64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select keap_contact_id from former_link former
                  where intercom_contact_id = $1
                    and not exists (select from contact_link link
                                     where link.keap_contact_id = former.keap_contact_id
                                        or link.intercom_contact_id = former.intercom_contact_id)",
            )
            .bind(intercom.as_str())
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        id.map(keap_id).transpose()
    }
}

/// Stores links that are removed now.
pub(super) async fn put(tx: &mut Transaction, mut links: Vec<&FormerLink>) -> Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    links.sort_unstable_by(|one, other| one.intercom.cmp(&other.intercom));
    links.dedup_by(|one, other| one.intercom == other.intercom);
    sqlx::query(
        "insert into former_link (intercom_contact_id, keap_contact_id)
         select * from unnest($1::text[], $2::bigint[])
         on conflict (intercom_contact_id) do update
            set keap_contact_id = excluded.keap_contact_id, released_at = now()",
    )
    .bind(links.iter().map(|link| link.intercom.as_str()).collect::<Vec<_>>())
    .bind(links.iter().map(|link| link.keap.get()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes over the links that a former release, which only logs them, has removed.
pub(super) async fn take_over(tx: &mut Transaction) -> Result<()> {
    sqlx::query(
        "insert into former_link (intercom_contact_id, keap_contact_id, released_at)
         select distinct on (intercom_contact_id) intercom_contact_id, keap_contact_id::bigint, created_at
           from keap_intercom_sync_logs
          where action in ('archived', 'unlinked') and intercom_contact_id is not null
            and keap_contact_id ~ '^[1-9][0-9]{0,17}$'
            and created_at > coalesce((select max(released_at) from former_link), '-infinity')
          order by intercom_contact_id, synced_at desc
         on conflict (intercom_contact_id) do update
            set keap_contact_id = excluded.keap_contact_id, released_at = excluded.released_at",
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
