//! A create in Keap that is not settled, and what is known of it.

use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use super::{Result, Transaction, keap_id};
use crate::contact::{Digest, KeapId};

/// A create in Keap that is not settled.
#[derive(Debug, Clone)]
pub struct OpenCreate {
    pub intent: Uuid,
    /// This process holds the lease under which it was stored.
    pub is_ours: bool,
    /// The address that was sent.
    pub email: Option<Digest>,
    /// Keap has answered, and this is the contact.
    pub made: Option<KeapId>,
    /// So long it is left alone: its call may still land.
    pub quiet_for: Duration,
}

/// The columns of an open create, which are all null if there is none.
#[derive(Debug, FromRow)]
pub(super) struct OpenCreateRow {
    intent: Option<Uuid>,
    is_ours: Option<bool>,
    email_digest: Option<Vec<u8>>,
    keap_id_made: Option<i64>,
    quiet_for: Option<f64>,
}

impl OpenCreateRow {
    pub(super) fn open(self) -> Result<Option<OpenCreate>> {
        let Some(intent) = self.intent else {
            return Ok(None);
        };
        Ok(Some(OpenCreate {
            intent,
            is_ours: self.is_ours == Some(true),
            email: self.email_digest.as_deref().and_then(Digest::from_bytes),
            made: self.keap_id_made.map(keap_id).transpose()?,
            quiet_for: super::seconds(self.quiet_for.unwrap_or_default()),
        }))
    }
}

/// The contact of a create is known. From now on the intent is found with it.
pub(super) async fn found(tx: &mut Transaction, create: Uuid, keap: KeapId) -> Result<()> {
    sqlx::query("update contact_intent set keap_contact_id = $2, keap_id_made = $2 where id = $1")
        .bind(create)
        .bind(keap.get())
        .execute(&mut **tx)
        .await?;
    Ok(())
}
