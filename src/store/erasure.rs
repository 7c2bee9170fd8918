//! Erasures: who asked for one, how far it is, and the proof that is kept.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::erased::{bytes, digest_of};
use super::listen::{Request, announce};
use super::{Fence, Result, Store, StoreError, Transaction, due, erase_rows, intent, keap_ids};
use crate::contact::{Digest, IntercomId, KeapId};
use crate::feed::DueReason;
use crate::outcome::Proof;

/// Contacts with an erased address that an answer names.
const NEIGHBOURS: i64 = 20;

/// From this number of failed attempts on, somebody should look why.
const MANY_ATTEMPTS: i32 = 5;

/// By which door an erasure is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Command,
    Http,
    Page,
}

impl Door {
    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Http => "http",
            Self::Page => "page",
        }
    }
}

/// An erasure as people see it. It names no person.
#[derive(Debug, Clone, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    /// The keyed digest of the Keap id, in hexadecimal.
    pub digest: String,
    /// `command`, `http` or `page`.
    pub asked_by: String,
    pub requested_at: DateTime<Utc>,
    /// When it was done and proved; `None` while it is open.
    pub done_at: Option<DateTime<Utc>>,
    /// `delete` or `archive`; `None` while it is open.
    pub mode: Option<String>,
    /// The codes of the proof: one for each Intercom contact.
    pub proof: Vec<String>,
    pub attempts: i32,
    /// It waits for a person.
    pub waits: bool,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// The columns of an [`Erasure`].
const SHOWN: &str = "encode(keap_digest, 'hex') as digest, asked_by, requested_at, done_at, mode, proof, attempts, waits, last_error";

/// An erasure whose turn it is.
#[derive(Debug, Clone, FromRow)]
pub struct OpenErasure {
    #[sqlx(rename = "keap_contact_id", try_from = "i64")]
    pub id: KeapId,
    /// A person says that Intercom does not have the contact.
    pub accepts_absence: bool,
    pub attempts: i32,
}

/// An erasure that is proved.
#[derive(Debug)]
pub struct Erased<'a> {
    pub id: KeapId,
    pub intercom: &'a [IntercomId],
    /// `delete` or `archive`.
    pub mode: &'static str,
    pub proof: &'a [Proof],
}

impl Store {
    /// Asks for an erasure. From now on nobody writes the contact. One that waits is tried again.
    /// One that is done stays as it is.
    pub async fn request_erasure(
        &self,
        id: KeapId,
        door: Door,
        accepts_absence: bool,
    ) -> Result<Erasure> {
        transaction!(self, tx, {
            let digest = digest_of(tx, id).await?;
            sqlx::query(
                "insert into erasure (keap_digest, keap_contact_id, asked_by, accepts_absence) values ($1, $2, $3, $4)
                 on conflict (keap_digest) do update
                    set accepts_absence = erasure.accepts_absence or excluded.accepts_absence,
                        attempts = 0, not_before = now(), last_error = null, waits = false
                  where erasure.done_at is null",
            )
            .bind(bytes(digest))
            .bind(id.get())
            .bind(door.code())
            .bind(accepts_absence)
            .execute(&mut **tx)
            .await?;
            sqlx::query(
                "insert into erased_email (email_digest, keap_digest)
                 select email_digest, $1 from contact_link where keap_contact_id = $2 and email_digest is not null
                 on conflict do nothing",
            )
            .bind(bytes(digest))
            .bind(id.get())
            .execute(&mut **tx)
            .await?;
            announce(tx, Request::Due).await?;
            of(tx, digest).await?.ok_or(StoreError::BadRow("erasure"))
        })
    }

    /// The erasure of a contact, open or done.
    pub async fn erasure(&self, id: KeapId) -> Result<Option<Erasure>> {
        transaction!(self, tx, {
            let digest = digest_of(tx, id).await?;
            of(tx, digest).await
        })
    }

    /// Erasures, the latest first, behind a place (when it was asked for, and the digest).
    pub async fn erasures(
        &self,
        after: Option<(DateTime<Utc>, &str)>,
        limit: i64,
    ) -> Result<Vec<Erasure>> {
        let (at, digest) = after.unzip();
        transaction!(self, tx, {
            let sql = format!(
                "select {SHOWN} from erasure
                  where $1::timestamptz is null or (requested_at, encode(keap_digest, 'hex')) < ($1, $2)
                  order by requested_at desc, encode(keap_digest, 'hex') desc limit $3"
            );
            let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(at).bind(digest).bind(limit);
            Ok(query.fetch_all(&mut **tx).await?)
        })
    }

    /// The linked contacts that have an address of an erased one. They are not synced any more.
    pub async fn erased_neighbours(&self, id: KeapId) -> Result<Vec<KeapId>> {
        let ids: Vec<i64> = transaction!(self, tx, {
            let digest = digest_of(tx, id).await?;
            Ok(sqlx::query_scalar(
                "select link.keap_contact_id from contact_link link
                   join erased_email erased using (email_digest)
                  where erased.keap_digest = $1 and link.keap_contact_id <> $2 and link.state = 'linked'
                  order by 1 limit $3",
            )
            .bind(bytes(digest))
            .bind(id.get())
            .bind(NEIGHBOURS)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        keap_ids(ids)
    }

    /// How many erasures need a person: they wait for one, or have failed again and again.
    pub async fn waiting_erasures(&self) -> Result<i64> {
        transaction!(self, tx, {
            let sql =
                "select count(*) from erasure where done_at is null and (waits or attempts >= $1)";
            Ok(sqlx::query_scalar(sql).bind(MANY_ATTEMPTS).fetch_one(&mut **tx).await?)
        })
    }

    /// The next erasure whose turn it is.
    pub async fn next_erasure(&self) -> Result<Option<OpenErasure>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select keap_contact_id, accepts_absence, attempts from erasure
                  where done_at is null and not waits and not_before <= now()
                  order by not_before limit 1",
            )
            .fetch_optional(&mut **tx)
            .await?)
        })
    }

    /// Stores addresses that a side shows of the contact, before anything is deleted.
    pub async fn add_erased_addresses(
        &self,
        fence: &Fence,
        id: KeapId,
        emails: &[Digest],
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            let digest = digest_of(tx, id).await?;
            // Somebody may have taken the erasure back.
            sqlx::query(
                "insert into erased_email (email_digest, keap_digest)
                 select new.email, keap_digest from erasure, unnest($2::bytea[]) as new (email) where keap_digest = $1
                 on conflict do nothing",
            )
            .bind(bytes(digest))
            .bind(emails.iter().map(|email| bytes(*email)).collect::<Vec<_>>())
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// The erasure is tried again after a time. `why`: an attempt has failed. Without a time, it
    /// waits for a person.
    pub async fn put_erasure_off(
        &self,
        fence: &Fence,
        id: KeapId,
        after: Option<Duration>,
        why: Option<&str>,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "update erasure
                    set attempts = attempts + case when $3::text is null then 0 else 1 end, last_error = coalesce($3, last_error),
                        waits = $2::float8 is null, not_before = now() + make_interval(secs => coalesce($2, 0))
                  where keap_contact_id = $1",
            )
            .bind(id.get())
            .bind(after.map(|after| after.as_secs_f64()))
            .bind(why)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Removes the intent of a deletion that was surely not carried out.
    pub async fn drop_intent(&self, fence: &Fence, intent: Uuid) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            intent::remove(tx, &[intent]).await
        })
    }

    /// Removes every row of a contact, and keeps the proof: in one transaction. False: somebody has
    /// taken the erasure back meanwhile, and nothing is removed.
    pub async fn finish_erasure(&self, fence: &Fence, erased: &Erased<'_>) -> Result<bool> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            let kept = sqlx::query(
                "update erasure set done_at = now(), mode = $2, proof = $3, keap_contact_id = null, last_error = null, waits = false
                  where keap_contact_id = $1",
            )
            .bind(erased.id.get())
            .bind(erased.mode)
            .bind(erased.proof.iter().map(|proof| proof.code()).collect::<Vec<_>>())
            .execute(&mut **tx)
            .await?;
            if kept.rows_affected() == 0 {
                return Ok(false);
            }
            erase_rows::remove(tx, erased.id, erased.intercom).await?;
            Ok(true)
        })
    }

    /// Takes an erasure back: its digests go, and the contact becomes due. False: there is none.
    pub async fn forget_erasure(&self, id: KeapId) -> Result<bool> {
        transaction!(self, tx, {
            let digest = digest_of(tx, id).await?;
            let gone = sqlx::query("delete from erasure where keap_digest = $1")
                .bind(bytes(digest))
                .execute(&mut **tx)
                .await?;
            if gone.rows_affected() == 0 {
                return Ok(false);
            }
            due::put_requests(tx, &[id], DueReason::Manual).await?;
            Ok(true)
        })
    }
}

/// The erasure with this digest.
pub(super) async fn of(tx: &mut Transaction, digest: Digest) -> Result<Option<Erasure>> {
    let sql = format!("select {SHOWN} from erasure where keap_digest = $1");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(bytes(digest));
    Ok(query.fetch_optional(&mut **tx).await?)
}
