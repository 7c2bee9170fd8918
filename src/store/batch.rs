//! Batches that were requested under an `Idempotency-Key`.

use chrono::{DateTime, Utc};

use super::due::put_requests;
use super::{Result, Store};
use crate::contact::KeapId;
use crate::feed::DueReason;

/// The batch of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub requested_at: DateTime<Utc>,
    /// The answer as JSON, once it is whole.
    pub answer: Option<String>,
}

impl Store {
    /// Stores a batch and its requests together, or finds the batch that already has this key.
    /// `None`: the key belongs to another body.
    pub async fn request_batch(
        &self,
        key: [u8; 32],
        body: [u8; 32],
        ids: &[KeapId],
    ) -> Result<Option<Batch>> {
        transaction!(self, tx, {
            // Each new key deletes a few old ones.
            sqlx::query(
                "delete from sync_batch where key_digest in (
                     select key_digest from sync_batch where requested_at < now() - interval '1 day'
                      order by requested_at limit 100 for update skip locked)",
            )
            .execute(&mut **tx)
            .await?;
            let new: Option<DateTime<Utc>> = sqlx::query_scalar(
                "insert into sync_batch (key_digest, body_digest) values ($1, $2)
                 on conflict (key_digest) do nothing returning requested_at",
            )
            .bind(&key[..])
            .bind(&body[..])
            .fetch_optional(&mut **tx)
            .await?;
            if let Some(requested_at) = new {
                put_requests(tx, ids, DueReason::Manual).await?;
                return Ok(Some(Batch { requested_at, answer: None }));
            }
            let known: Option<(DateTime<Utc>, Option<String>)> = sqlx::query_as(
                "select requested_at, answer::text from sync_batch where key_digest = $1 and body_digest = $2",
            )
            .bind(&key[..])
            .bind(&body[..])
            .fetch_optional(&mut **tx)
            .await?;
            Ok(known.map(|(requested_at, answer)| Batch { requested_at, answer }))
        })
    }

    /// Stores the whole answer of a batch, unless one is stored already.
    pub async fn answer_batch(&self, key: [u8; 32], answer: &str) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "update sync_batch set answer = $2::json where key_digest = $1 and answer is null",
            )
            .bind(&key[..])
            .bind(answer)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }
}
