//! Newcomers: users of Intercom without a link, who are looked at in their turn (`intercom_due`).

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::due::{self, ChangedInIntercom};
use super::hold::StoredReason;
use super::listen::{Request, announce};
use super::open_create::{self, OpenCreate, OpenCreateRow};
use super::{Counted, Fence, IntentSide, Result, Store, Tally, Transaction, erased, tally};
use crate::contact::{Digest, IntercomId, KeapId};
use crate::feed::{DueReason, Lane};
use crate::outcome::HoldReason;

/// The stored word of a newcomer whose address a contact in Keap has: that one is looked at.
pub(super) const IN_KEAP: &str = "in_keap";

/// The stored word of a user that lacks the tag, as far as that was not seen before.
pub(super) const NOT_TAGGED: &str = "not_tagged";

/// The shortest and the longest wait, in seconds, until another look at a newcomer that waits.
/// Between them, the wait is its age.
const RECHECK_AFTER: (f64, f64) = (86_400.0, 30.0 * 86_400.0);

/// A user that a list or a notification has shown, and that may be a newcomer.
#[derive(Debug, Clone)]
pub struct NewcomerRow {
    pub id: IntercomId,
    /// What decides about it. While this stays, a newcomer that waits goes on waiting.
    pub sighting: Digest,
    pub email: Digest,
    /// The Keap id that it carries as its external id.
    pub external_id: Option<KeapId>,
}

/// A newcomer whose turn it is.
#[derive(Debug, Clone)]
pub struct Newcomer {
    pub id: IntercomId,
    /// A later request makes a new version, which this look does not answer.
    pub version: i64,
    pub attempts: i32,
    /// A person or a script asked for it.
    pub is_manual: bool,
    /// It was held, and a person has looked since.
    pub is_retried: bool,
    /// It has a link by now.
    pub is_linked: bool,
    /// It belonged to a contact that Keap no longer has.
    pub is_former: bool,
    pub create: Option<OpenCreate>,
}

/// What came of a look at a newcomer.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// It is none, or no longer.
    Gone,
    /// This contact in Keap is to be looked at: it may be the same person.
    InKeap(KeapId),
    /// It lacks the tag of the settings.
    NotTagged,
    Held(HoldReason),
    /// It is looked at again after this time. `why` is set if an attempt failed.
    Later {
        after: Duration,
        why: Option<String>,
    },
}

/// What is stored of a newcomer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewcomerStanding {
    pub intercom_contact_id: String,
    /// Why it waits, in words; `None` if it is looked at in its turn.
    pub reason: Option<String>,
    /// It waits for a person.
    pub held: bool,
    /// The contact in Keap that it may belong to.
    pub keap_contact_id: Option<i64>,
    pub attempts: i32,
    pub last_error: Option<String>,
    /// When it is looked at again.
    pub next_at: DateTime<Utc>,
    pub since: DateTime<Utc>,
    /// The brake on creates stops it.
    pub braked: bool,
    /// A create in Keap has been sent since then, without an answer.
    pub create_since: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct DueRow {
    #[sqlx(try_from = "String")]
    intercom_contact_id: IntercomId,
    version: i64,
    attempts: i32,
    is_manual: bool,
    is_retried: bool,
    is_linked: bool,
    is_former: bool,
    #[sqlx(flatten)]
    create: OpenCreateRow,
}

#[derive(FromRow)]
pub(super) struct StandingRow {
    pub(super) intercom_contact_id: String,
    pub(super) code: Option<String>,
    about: Option<i64>,
    detail: Option<String>,
    pub(super) attempts: i32,
    not_before: DateTime<Utc>,
    created_at: DateTime<Utc>,
    waits_since: Option<DateTime<Utc>>,
    braked: bool,
    create_since: Option<DateTime<Utc>>,
}

impl StandingRow {
    /// Why it waits, in words. `None`: it is looked at in its turn.
    pub(super) fn reason(&self) -> Option<String> {
        let code = self.code.clone()?;
        if code == IN_KEAP {
            let other = self.about.unwrap_or_default();
            return Some(format!(
                "{IN_KEAP} {other}: a contact in Keap has its e-mail address or its external id"
            ));
        }
        if code == NOT_TAGGED {
            return Some(format!("{NOT_TAGGED}: it lacks the tag of intercom_to_keap.create_tag"));
        }
        Some(StoredReason { code, about: self.about, detail: self.detail.clone() }.in_words())
    }

    pub(super) fn since(&self) -> DateTime<Utc> {
        self.waits_since.unwrap_or(self.created_at)
    }

    fn is_held(&self) -> bool {
        self.code.as_ref().is_some_and(|code| ![IN_KEAP, NOT_TAGGED].contains(&code.as_str()))
    }
}

/// What is stored of newcomers without a link.
pub(super) const STANDING: &str = "select due.intercom_contact_id, due.code, due.about, due.detail, due.attempts, due.not_before, due.created_at,
            due.waits_since, not due.released and (select braked_at is not null from create_brake) as braked,
            (select created_at from contact_intent intent
              where intent.intercom_contact_id = due.intercom_contact_id and side = 'keap' and kind = 'create') as create_since
       from intercom_due due
      where not exists (select from contact_link link where link.intercom_contact_id = due.intercom_contact_id)";

impl Store {
    /// Stores a newcomer that a notification names.
    pub async fn hint_newcomer(&self, row: &NewcomerRow) -> Result<()> {
        transaction!(self, tx, {
            put(tx, std::slice::from_ref(row), DueReason::Webhook, None).await?;
            announce(tx, Request::Due).await
        })
    }

    /// Makes a user without a link due, because somebody asks for it. Returns whether it is a user
    /// that may be brought into Keap: it has no link, and never had one to a contact that is gone.
    pub async fn request_newcomer(&self, id: &IntercomId) -> Result<bool> {
        transaction!(self, tx, {
            let asked = sqlx::query(
                "insert into intercom_due as due (intercom_contact_id, reason, priority)
                 select $1, $2, $3
                  where not exists (select from contact_link where intercom_contact_id = $1)
                    and not exists (select from former_link where intercom_contact_id = $1)
                 on conflict (intercom_contact_id) do update
                    set reason = excluded.reason, priority = excluded.priority, version = due.version + 1, attempts = 0,
                        not_before = now(), code = null, about = null, detail = null, updated_at = now()",
            )
            .bind(id.as_str())
            .bind(DueReason::Manual.as_str())
            .bind(DueReason::Manual.priority())
            .execute(&mut **tx)
            .await?;
            announce(tx, Request::Due).await?;
            Ok(asked.rows_affected() > 0)
        })
    }

    /// The next newcomers of a lane whose turn it is. The brake stops those that no person has
    /// released. `asked_for`: only those that a person or a script has asked for.
    pub async fn newcomers(
        &self,
        fence: &Fence,
        lane: Lane,
        asked_for: bool,
        limit: i64,
    ) -> Result<Vec<Newcomer>> {
        let rows: Vec<DueRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select due.intercom_contact_id, due.version, due.attempts, due.reason in ($4, $6) as is_manual, due.reason = $6 as is_retried,
                        exists (select from contact_link link where link.intercom_contact_id = due.intercom_contact_id) as is_linked,
                        exists (select from former_link former where former.intercom_contact_id = due.intercom_contact_id) as is_former,
                        intent.id as intent, intent.epoch = $5 as is_ours, intent.email_digest, intent.keap_id_made,
                        extract(epoch from intent.deadline - now())::float8 as quiet_for
                   from intercom_due due
                   left join contact_intent intent
                     on intent.intercom_contact_id = due.intercom_contact_id and intent.side = 'keap' and intent.kind = 'create'
                  where not_before <= now() and (priority < $2) = $3
                    and (released or not exists (select from create_brake where braked_at is not null))
                    and (not $7 or due.reason in ($4, $6))
                  order by priority, not_before limit $1",
            )
            .bind(limit)
            .bind(DueReason::Again.priority())
            .bind(lane == Lane::Urgent)
            .bind(DueReason::Manual.as_str())
            .bind(fence.epoch())
            .bind(DueReason::Retry.as_str())
            .bind(asked_for)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter()
            .map(|row| {
                Ok(Newcomer {
                    id: row.intercom_contact_id,
                    version: row.version,
                    attempts: row.attempts,
                    is_manual: row.is_manual,
                    is_retried: row.is_retried,
                    is_linked: row.is_linked,
                    is_former: row.is_former,
                    create: row.create.open()?,
                })
            })
            .collect()
    }

    /// The time until the next newcomer of a lane has its turn; `None` if none waits for it.
    pub async fn next_newcomer(&self, lane: Lane) -> Result<Option<Duration>> {
        let time: Option<f64> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select extract(epoch from min(not_before) - now())::float8 from intercom_due
                  where (priority < $1) = $2
                    and (released or not exists (select from create_brake where braked_at is not null))",
            )
            .bind(DueReason::Again.priority())
            .bind(lane == Lane::Urgent)
            .fetch_one(&mut **tx)
            .await?)
        })?;
        Ok(time.map(super::seconds))
    }

    /// Stores what came of a look. A later request keeps its row.
    pub async fn settle_newcomer(
        &self,
        fence: &Fence,
        newcomer: &Newcomer,
        settlement: &Settlement,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            settle(tx, newcomer, settlement).await
        })
    }

    /// Those of these users that nobody has linked, that never had a contact which is gone, and
    /// that do not wait for anything but their turn.
    pub async fn not_in_keap(&self, ids: &[IntercomId]) -> Result<HashSet<IntercomId>> {
        let rows: Vec<String> = transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select asked.user_id from unnest($1::text[]) as asked (user_id)
                  where not exists (select from contact_link where intercom_contact_id = asked.user_id)
                    and not exists (select from former_link where intercom_contact_id = asked.user_id)
                    and not exists (select from intercom_due where intercom_contact_id = asked.user_id and code <> $2)
                    and not exists (select from contact_intent
                                     where intercom_contact_id = asked.user_id and keap_id_made is not null)",
            )
            .bind(ids.iter().map(IntercomId::as_str).collect::<Vec<_>>())
            .bind(NOT_TAGGED)
            .fetch_all(&mut **tx)
            .await?)
        })?;
        Ok(rows.into_iter().filter_map(IntercomId::new).collect())
    }

    /// Whether nothing is stored of a user, and nothing is under way for it: it is not linked, and
    /// no contact was made for it.
    pub async fn newcomer_is_over(&self, id: &IntercomId) -> Result<bool> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select not exists (select from intercom_due where intercom_contact_id = $1)
                    and not exists (select from contact_link where intercom_contact_id = $1)
                    and not exists (select from contact_intent where intercom_contact_id = $1)",
            )
            .bind(id.as_str())
            .fetch_one(&mut **tx)
            .await?)
        })
    }

    /// What is stored of a user without a link; `None` if nothing is.
    pub async fn newcomer(&self, id: &IntercomId) -> Result<Option<NewcomerStanding>> {
        let row: Option<StandingRow> = transaction!(self, tx, {
            let sql = format!("{STANDING} and due.intercom_contact_id = $1");
            let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id.as_str());
            Ok(query.fetch_optional(&mut **tx).await?)
        })?;
        Ok(row.map(|row| NewcomerStanding {
            reason: row.reason(),
            held: row.is_held(),
            since: row.since(),
            keap_contact_id: row.about,
            last_error: row.detail.filter(|_| row.code.is_none()),
            intercom_contact_id: row.intercom_contact_id,
            attempts: row.attempts,
            next_at: row.not_before,
            braked: row.braked,
            create_since: row.create_since,
        }))
    }
}

/// Stores users that a list has shown. Those with a link, those whose contact is gone from Keap and
/// those that have just got one are none. Removes the rows of those that have a link by now.
/// `run`: the audit that has read the list.
pub(super) async fn put_listed(
    tx: &mut Transaction,
    rows: &[NewcomerRow],
    run: Option<Uuid>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from intercom_due due using contact_link link
          where link.intercom_contact_id = due.intercom_contact_id and due.code = $1",
    )
    .bind(IN_KEAP)
    .execute(&mut **tx)
    .await?;
    if put(tx, rows, DueReason::Again, run).await? > 0 {
        announce(tx, Request::Run).await?;
    }
    Ok(())
}

/// The users of these that nobody has erased.
async fn without_erased<'a>(
    tx: &mut Transaction,
    rows: &'a [NewcomerRow],
) -> Result<Vec<&'a NewcomerRow>> {
    let emails: Vec<Digest> = rows.iter().map(|row| row.email).collect();
    let ids: Vec<KeapId> = rows.iter().filter_map(|row| row.external_id).collect();
    let (emails, ids) = (erased::addresses(tx, &emails).await?, erased::among(tx, &ids).await?);
    let is_erased = |row: &NewcomerRow| {
        emails.contains(&row.email) || row.external_id.is_some_and(|id| ids.contains(&id))
    };
    Ok(rows.iter().filter(|row| !is_erased(row)).collect())
}

/// Stores users that may be newcomers. `run`: the audit that has found them. Returns how many have
/// their turn by it.
async fn put(
    tx: &mut Transaction,
    rows: &[NewcomerRow],
    reason: DueReason,
    run: Option<Uuid>,
) -> Result<u64> {
    let mut rows = without_erased(tx, rows).await?;
    rows.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    rows.dedup_by(|one, other| one.id == other.id);
    let stored = sqlx::query(
        "insert into intercom_due as due (intercom_contact_id, sighting, reason, priority, run_id)
         select id, sighting, $3, $4, $5 from unnest($1::text[], $2::bytea[]) as new (id, sighting)
          where not exists (select from contact_link link where link.intercom_contact_id = new.id)
            and not exists (select from former_link former where former.intercom_contact_id = new.id)
            and not exists (select from contact_intent intent
                             where intent.intercom_contact_id = new.id and intent.keap_id_made is not null)
         on conflict (intercom_contact_id) do update
            set sighting = excluded.sighting, version = due.version + 1, attempts = 0, not_before = now(), code = null, about = null,
                waits_since = null, detail = null, run_id = excluded.run_id, priority = least(due.priority, excluded.priority), updated_at = now(),
                reason = case when excluded.priority < due.priority then excluded.reason else due.reason end
          where due.sighting is distinct from excluded.sighting",
    )
    .bind(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sighting.as_bytes().to_vec()).collect::<Vec<_>>())
    .bind(reason.as_str())
    .bind(reason.priority())
    .bind(run)
    .execute(&mut **tx)
    .await?;
    Ok(stored.rows_affected())
}

/// Stores what came of a look.
pub(super) async fn settle(
    tx: &mut Transaction,
    newcomer: &Newcomer,
    settlement: &Settlement,
) -> Result<()> {
    let open = newcomer.create.as_ref();
    match settlement {
        Settlement::Gone => {
            remove(tx, newcomer).await?;
            forget(tx, open.filter(|open| open.made.is_none())).await
        }
        Settlement::InKeap(keap) => {
            make_due(tx, newcomer, *keap).await?;
            match open {
                Some(open) => {
                    open_create::found(tx, open.intent, *keap).await?;
                    remove(tx, newcomer).await
                }
                None => wait(tx, newcomer, (IN_KEAP, Some(*keap), None)).await,
            }
        }
        Settlement::NotTagged => wait(tx, newcomer, (NOT_TAGGED, None, None)).await,
        Settlement::Held(reason) => {
            let before: Option<String> = sqlx::query_scalar(
                "select code from intercom_due where intercom_contact_id = $1 and version = $2",
            )
            .bind(newcomer.id.as_str())
            .bind(newcomer.version)
            .fetch_optional(&mut **tx)
            .await?
            .flatten();
            wait(tx, newcomer, (reason.code(), reason.about(), reason.detail())).await?;
            let mut held = Tally::default();
            if before.as_deref() != Some(reason.code()) {
                held.one(IntentSide::Keap, Counted::Held);
            }
            tally::put(tx, std::iter::once(&held)).await
        }
        Settlement::Later { after, why } => later(tx, newcomer, (*after, why.as_deref())).await,
    }
}

/// Makes the contact in Keap due that a newcomer may belong to.
pub(super) async fn make_due(
    tx: &mut Transaction,
    newcomer: &Newcomer,
    keap: KeapId,
) -> Result<()> {
    if newcomer.is_manual {
        due::put_requests(tx, &[keap], DueReason::Manual).await?;
    }
    let changed = ChangedInIntercom { now: vec![keap], ..ChangedInIntercom::default() };
    due::put_changed_in_intercom(tx, &changed, None).await
}

pub(super) async fn remove(tx: &mut Transaction, newcomer: &Newcomer) -> Result<()> {
    sqlx::query("delete from intercom_due where intercom_contact_id = $1 and version = $2")
        .bind(newcomer.id.as_str())
        .bind(newcomer.version)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Forgets a create: nobody can be made twice by it any more.
async fn forget(tx: &mut Transaction, open: Option<&OpenCreate>) -> Result<()> {
    let ids: Vec<Uuid> = open.iter().map(|open| open.intent).collect();
    super::intent::remove(tx, &ids).await
}

/// The newcomer waits for something else than its turn. For the same reason it has waited since the
/// same time.
async fn wait(
    tx: &mut Transaction,
    newcomer: &Newcomer,
    (code, about, detail): (&str, Option<KeapId>, Option<&str>),
) -> Result<()> {
    sqlx::query(
        "update intercom_due
            set code = $3, about = $4, detail = $5, attempts = attempts + 1, reason = $8, priority = $9, updated_at = now(),
                waits_since = coalesce(waits_since, now()),
                not_before = now() + greatest(make_interval(secs => $6), least(now() - coalesce(waits_since, now()), make_interval(secs => $7)))
          where intercom_contact_id = $1 and version = $2",
    )
    .bind(newcomer.id.as_str())
    .bind(newcomer.version)
    .bind(code)
    .bind(about.map(KeapId::get))
    .bind(detail)
    .bind(RECHECK_AFTER.0)
    .bind(RECHECK_AFTER.1)
    .bind(DueReason::Again.as_str())
    .bind(DueReason::Again.priority())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn later(
    tx: &mut Transaction,
    newcomer: &Newcomer,
    (after, why): (Duration, Option<&str>),
) -> Result<()> {
    sqlx::query(
        "update intercom_due
            set not_before = now() + make_interval(secs => $3), detail = coalesce($4, detail), code = null, about = null,
                attempts = attempts + case when $4::text is null then 0 else 1 end, updated_at = now()
          where intercom_contact_id = $1 and version = $2",
    )
    .bind(newcomer.id.as_str())
    .bind(newcomer.version)
    .bind(after.as_secs_f64())
    .bind(why)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
