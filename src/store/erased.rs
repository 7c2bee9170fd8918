//! Who is erased: keyed digests of Keap ids and of addresses. While nobody is, each question costs
//! one statement that reads no row.

use std::collections::HashSet;

use super::{Result, Store, Transaction};
use crate::contact::{Digest, DigestKey, KeapId};

impl Store {
    /// The contacts of these that are erased, or about to be.
    pub async fn erased(&self, ids: &[KeapId]) -> Result<HashSet<KeapId>> {
        transaction!(self, tx, { among(tx, ids).await })
    }

    /// The addresses of these that an erased contact had.
    pub async fn erased_addresses(&self, emails: &[Digest]) -> Result<HashSet<Digest>> {
        transaction!(self, tx, { addresses(tx, emails).await })
    }
}

/// The key of digests, if anybody is erased.
pub(super) async fn key_if_any(tx: &mut Transaction) -> Result<Option<DigestKey>> {
    let key: Option<Vec<u8>> =
        sqlx::query_scalar("select key from sync_digest_key where exists (select from erasure)")
            .fetch_optional(&mut **tx)
            .await?;
    Ok(key.map(|key| DigestKey::new(&key)))
}

/// The digest of a contact.
pub(super) async fn digest_of(tx: &mut Transaction, id: KeapId) -> Result<Digest> {
    let key: Vec<u8> =
        sqlx::query_scalar("select key from sync_digest_key").fetch_one(&mut **tx).await?;
    Ok(DigestKey::new(&key).erased(id))
}

/// The contacts of these that are erased, or about to be.
pub(super) async fn among(tx: &mut Transaction, ids: &[KeapId]) -> Result<HashSet<KeapId>> {
    let Some(key) = key_if_any(tx).await?.filter(|_| !ids.is_empty()) else {
        return Ok(HashSet::new());
    };
    among_by(tx, &key, ids).await
}

/// The same with the key at hand.
pub(super) async fn among_by(
    tx: &mut Transaction,
    key: &DigestKey,
    ids: &[KeapId],
) -> Result<HashSet<KeapId>> {
    let digests: Vec<Vec<u8>> = ids.iter().map(|id| bytes(key.erased(*id))).collect();
    let stored: Vec<Vec<u8>> =
        sqlx::query_scalar("select keap_digest from erasure where keap_digest = any($1)")
            .bind(&digests)
            .fetch_all(&mut **tx)
            .await?;
    let stored: HashSet<Vec<u8>> = stored.into_iter().collect();
    let each = ids.iter().zip(digests);
    Ok(each.filter(|(_, digest)| stored.contains(digest)).map(|(id, _)| *id).collect())
}

/// The addresses of these that an erased contact had.
pub(super) async fn addresses(tx: &mut Transaction, emails: &[Digest]) -> Result<HashSet<Digest>> {
    if emails.is_empty() {
        return Ok(HashSet::new());
    }
    let stored: Vec<Vec<u8>> = sqlx::query_scalar(
        "select distinct email_digest from erased_email where email_digest = any($1)",
    )
    .bind(emails.iter().map(|email| bytes(*email)).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await?;
    Ok(stored.iter().filter_map(|digest| Digest::from_bytes(digest)).collect())
}

pub(super) fn bytes(digest: Digest) -> Vec<u8> {
    digest.as_bytes().to_vec()
}
