//! Creates in Keap: the intent of each, and the brake on their number.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::log::LogRow;
use super::newcomer::{self, Newcomer, Settlement};
use super::open_create::found;
use super::{
    Counted, Fence, IntentSide, Result, Store, Tally, Transaction, intent, log, plan, run, tally,
};
use crate::contact::{Digest, IntercomId, KeapId};
use crate::outcome::PlanKind;

/// What came of the intent of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intended {
    /// It is stored: the call may begin.
    Stored,
    /// Another create of the same user or of the same address is not settled.
    Taken,
    /// The brake stops it.
    Braked,
}

/// A create that a contact of Keap may have come from.
#[derive(Debug, Clone, FromRow)]
struct FoundCreateRow {
    id: Uuid,
    #[sqlx(try_from = "String")]
    intercom_contact_id: IntercomId,
    #[sqlx(try_from = "Vec<u8>")]
    email_digest: Digest,
}

impl Store {
    /// Stores the intent of a create, unless the brake stops it. No call may begin before. `most`:
    /// the creates of an hour. `quiet`: how long the create is left alone if its answer is lost.
    pub async fn intend_create(
        &self,
        fence: &Fence,
        newcomer: &Newcomer,
        create: (Uuid, Digest),
        (most, quiet): (i64, Duration),
    ) -> Result<Intended> {
        let (id, email) = create;
        transaction!(self, tx, {
            fence.check(tx).await?;
            if is_braked(tx, newcomer, most).await? {
                return Ok(Intended::Braked);
            }
            let stored = sqlx::query(
                "insert into contact_intent (id, epoch, intercom_contact_id, side, kind, email_digest, deadline)
                 values ($1, $2, $3, 'keap', 'create', $4, now() + make_interval(secs => $5))
                 on conflict do nothing",
            )
            .bind(id)
            .bind(fence.epoch())
            .bind(newcomer.id.as_str())
            .bind(email.as_bytes().to_vec())
            .bind(quiet.as_secs_f64())
            .execute(&mut **tx)
            .await?;
            if stored.rows_affected() == 0 {
                return Ok(Intended::Taken);
            }
            count(tx, newcomer).await?;
            leave_alone(tx, newcomer, quiet).await?;
            Ok(Intended::Stored)
        })
    }

    /// A create is about to be sent again, or its answer was lost just now: from now on it is left
    /// alone for this time.
    pub async fn leave_create_alone(
        &self,
        fence: &Fence,
        newcomer: &Newcomer,
        create: Uuid,
        (quiet, why): (Duration, Option<&str>),
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "update contact_intent set epoch = $2, deadline = now() + make_interval(secs => $3) where id = $1",
            )
            .bind(create)
            .bind(fence.epoch())
            .bind(quiet.as_secs_f64())
            .execute(&mut **tx)
            .await?;
            if let Some(why) = why {
                let after = Settlement::Later { after: quiet, why: Some(why.to_owned()) };
                return newcomer::settle(tx, newcomer, &after).await;
            }
            leave_alone(tx, newcomer, quiet).await
        })
    }

    /// Keap has made the contact. Its link and its other fields follow in the ordinary way.
    pub async fn create_made(
        &self,
        fence: &Fence,
        newcomer: &Newcomer,
        (create, keap): (Uuid, KeapId),
        row: &LogRow,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            found(tx, create, keap).await?;
            newcomer::make_due(tx, newcomer, keap).await?;
            run::count_created(tx, &newcomer.id).await?;
            newcomer::remove(tx, newcomer).await?;
            log::put(tx, vec![row]).await?;
            let mut made = Tally::default();
            made.one(IntentSide::Keap, Counted::Written);
            tally::put(tx, std::iter::once(&made)).await
        })
    }

    /// Keap has surely made nothing.
    pub async fn create_failed(
        &self,
        fence: &Fence,
        newcomer: &Newcomer,
        create: Uuid,
        settlement: &Settlement,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            intent::remove(tx, &[create]).await?;
            newcomer::settle(tx, newcomer, settlement).await
        })
    }

    /// The creates without an answer that have sent one of these addresses, with their users. A
    /// user that has a link by now is none.
    pub async fn creates_of(&self, emails: &[Digest]) -> Result<Vec<(Digest, Uuid, IntercomId)>> {
        let emails: Vec<Vec<u8>> = emails.iter().map(|digest| digest.as_bytes().to_vec()).collect();
        let rows: Vec<FoundCreateRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select id, intercom_contact_id, email_digest from contact_intent intent
                  where side = 'keap' and kind = 'create' and email_digest = any($1)
                    and not exists (select from contact_link link where link.intercom_contact_id = intent.intercom_contact_id)",
            )
            .bind(&emails)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        let create = |row: FoundCreateRow| (row.email_digest, row.id, row.intercom_contact_id);
        Ok(rows.into_iter().map(create).collect())
    }

    /// The contact that was made in Keap for this user at `since` or later.
    pub async fn created_since(
        &self,
        id: &IntercomId,
        since: DateTime<Utc>,
    ) -> Result<Option<KeapId>> {
        let made: Option<String> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select keap_contact_id from keap_intercom_sync_logs
                  where intercom_contact_id = $1 and created_at >= $2 and action = 'created' and sync_direction = 'intercom_to_keap'",
            )
            .bind(id.as_str())
            .bind(since)
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        Ok(made.and_then(|id| id.parse().ok()))
    }

    /// Since when the brake stops creates, and how many users wait for it; `None` if it does not.
    pub async fn create_brake(&self) -> Result<Option<(DateTime<Utc>, i64)>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select braked_at, (select count(*) from intercom_due where code is null and not released) from create_brake
                  where braked_at is not null",
            )
            .fetch_optional(&mut **tx)
            .await?)
        })
    }

    /// The users that wait because the brake stops creates.
    pub async fn braked_newcomers(&self) -> Result<Vec<IntercomId>> {
        let ids: Vec<String> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select intercom_contact_id from intercom_due
                  where code is null and not released and exists (select from create_brake where braked_at is not null)
                  order by 1",
            )
            .fetch_all(&mut **tx)
            .await?)
        })?;
        Ok(ids.into_iter().filter_map(IntercomId::new).collect())
    }

    /// A person lifts the brake once: the users that wait now may all be brought into Keap.
    pub async fn lift_create_brake(&self) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "update create_brake set braked_at = null, created = 0, hour_began_at = now()",
            )
            .execute(&mut **tx)
            .await?;
            sqlx::query("update intercom_due set released = true").execute(&mut **tx).await?;
            plan::outdate(tx, PlanKind::Create).await
        })
    }
}

/// Whether the brake stops this create. It stays on until a person lifts it.
async fn is_braked(tx: &mut Transaction, newcomer: &Newcomer, most: i64) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "update create_brake
            set hour_began_at = case when hour_began_at <= now() - interval '1 hour' then now() else hour_began_at end,
                created = case when hour_began_at <= now() - interval '1 hour' then 0 else created end,
                braked_at = coalesce(braked_at, case when hour_began_at > now() - interval '1 hour' and created >= $2 and not exempt.released
                                                     then now() end)
           from (select coalesce(bool_or(released), false) as released from intercom_due where intercom_contact_id = $1) as exempt
         returning braked_at is not null and not exempt.released",
    )
    .bind(newcomer.id.as_str())
    .bind(most)
    .fetch_one(&mut **tx)
    .await?)
}

/// Counts a create. One that a person has released does not count.
async fn count(tx: &mut Transaction, newcomer: &Newcomer) -> Result<()> {
    sqlx::query(
        "update create_brake set created = created + 1
          where not exists (select from intercom_due where intercom_contact_id = $1 and released)",
    )
    .bind(newcomer.id.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// If this process dies before the answer, nobody looks at the user before this time.
async fn leave_alone(tx: &mut Transaction, newcomer: &Newcomer, quiet: Duration) -> Result<()> {
    sqlx::query(
        "update intercom_due set not_before = now() + make_interval(secs => $2), updated_at = now()
          where intercom_contact_id = $1",
    )
    .bind(newcomer.id.as_str())
    .bind(quiet.as_secs_f64())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
