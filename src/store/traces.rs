//! Traces: what our records know of a contact in Intercom, for its erasure.

use super::{Result, Store, StoreError, Transaction};
use crate::contact::{Digest, IntercomId, KeapId};

/// What our records know of the contact in Intercom.
#[derive(Debug, Default)]
pub struct Traces {
    /// Its Intercom contacts, of its link and of former links.
    pub intercom: Vec<IntercomId>,
    /// Those of them that were archived or deleted before, by our records.
    pub gone: Vec<IntercomId>,
    /// Those whose deletion was sent without an answer.
    pub deleting: Vec<IntercomId>,
    /// The addresses that are known to be the contact's.
    pub emails: Vec<Digest>,
}

impl Store {
    /// What our records know of the contact in Intercom. An Intercom contact that has another link
    /// now is not among them.
    pub async fn traces(&self, id: KeapId) -> Result<Traces> {
        transaction!(self, tx, { traces(tx, id).await })
    }
}

async fn traces(tx: &mut Transaction, id: KeapId) -> Result<Traces> {
    let rows: Vec<(String, bool)> = sqlx::query_as(
        "select intercom_contact_id, is_gone from (
             select intercom_contact_id, gone_in_intercom_at is not null as is_gone, 0 as turn from contact_link
              where keap_contact_id = $1 and intercom_contact_id is not null
             union all
             select intercom_contact_id, true, 1 from former_link former
              where keap_contact_id = $1
                and not exists (select from contact_link link where link.intercom_contact_id = former.intercom_contact_id)
         ) known order by turn, intercom_contact_id",
    )
    .bind(id.get())
    .fetch_all(&mut **tx)
    .await?;
    let sent: Vec<(String, bool)> = sqlx::query_as(
        "select distinct intercom_contact_id, kind = 'delete' from contact_intent
          where keap_contact_id = $1 and side = 'intercom' and kind in ('delete', 'archive') and intercom_contact_id is not null",
    )
    .bind(id.get())
    .fetch_all(&mut **tx)
    .await?;
    let emails: Vec<Vec<u8>> = sqlx::query_scalar(
        "select email_digest from erased_email join erasure using (keap_digest) where keap_contact_id = $1",
    )
    .bind(id.get())
    .fetch_all(&mut **tx)
    .await?;
    let mut traces = Traces {
        emails: emails.iter().filter_map(|email| Digest::from_bytes(email)).collect(),
        ..Traces::default()
    };
    let read = |id: String| IntercomId::new(id).ok_or(StoreError::BadRow("contact_link"));
    for (intercom, is_gone) in rows {
        let intercom = read(intercom)?;
        traces.gone.extend(is_gone.then(|| intercom.clone()));
        traces.intercom.push(intercom);
    }
    for (intercom, is_deletion) in sent {
        let list = if is_deletion { &mut traces.deleting } else { &mut traces.gone };
        list.push(read(intercom)?);
    }
    Ok(traces)
}
