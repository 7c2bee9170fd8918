//! Plans: what a look has found, and the contacts of each.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::listen::{Request, announce};
use super::{Fence, Result, Store, Transaction};
use crate::contact::{Digest, IntercomId, KeapId};
use crate::feed::Counts;
use crate::outcome::{PlanAction, PlanKind, PlanState};

/// Contacts that are stored in one statement.
const AT_ONCE: usize = 10_000;

/// Who has asked for a plan that a brake has made.
pub(super) const BRAKE: &str = "brake";

/// A contact of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// `None`: a user of Intercom that Keap does not know.
    pub keap: Option<KeapId>,
    pub intercom: Option<IntercomId>,
    pub action: PlanAction,
    /// A keyed hash of the decision. `None`: only the action and the Intercom contact count.
    pub digest: Option<Digest>,
}

/// A plan that a look has made.
#[derive(Debug, Clone)]
pub struct NewPlan {
    pub kind: PlanKind,
    /// Of the mapping and of the two accounts.
    pub mark: Digest,
    /// Of all contacts.
    pub picture: Digest,
    pub counts: Counts,
    /// In how many contacts each field is to be written, by its side.
    pub fields: Vec<PlanCount>,
    pub rows: Vec<PlanRow>,
    /// What the brake says.
    pub why: Option<String>,
}

/// A number of contacts of a plan.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct PlanCount {
    /// `action`, `to_intercom` or `to_keap`.
    pub what: String,
    /// The action, or the field.
    pub word: String,
    pub contacts: i64,
}

/// A stored plan.
#[derive(Debug, Clone, FromRow, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub id: Uuid,
    /// The stored word.
    pub kind: String,
    /// `page`, `http`, `command` or `brake`.
    pub asked_by: String,
    pub state: String,
    pub seen: i64,
    pub unchanged: i64,
    pub skipped: i64,
    /// What the brake says, or why the plan failed.
    pub why: Option<String>,
    /// The run that the brake has stopped.
    pub found_by: Option<Uuid>,
    /// The run that carries it out.
    pub run_id: Option<Uuid>,
    pub made_at: DateTime<Utc>,
    pub decided_by: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// The contacts whose decision was another one when the plan was carried out.
    pub changed: i64,
}

impl Plan {
    /// Its kind; `None` if only another release knows it.
    pub fn kind(&self) -> Option<PlanKind> {
        PlanKind::parse(&self.kind)
    }

    /// How it stands; `None` if only another release knows it.
    pub fn state(&self) -> Option<PlanState> {
        PlanState::parse(&self.state)
    }

    /// Whether it waits for a person.
    pub fn waits(&self) -> bool {
        self.state() == Some(PlanState::Waiting)
    }
}

/// A contact of a stored plan, as people see it.
#[derive(Debug, Clone, FromRow, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanContact {
    /// Its place in the plan.
    #[serde(skip)]
    pub number: i64,
    pub keap_contact_id: Option<i64>,
    pub intercom_contact_id: Option<String>,
    pub action: String,
    /// `done`, or `changed` if the decision was another one by then.
    pub outcome: Option<String>,
}

/// Selects plans by the names of the columns.
macro_rules! select_plans {
    ($rest:literal) => {
        concat!(
            "select id, kind, asked_by, state, seen, unchanged, skipped, why, found_by, run_id, made_at, decided_by, decided_at, ended_at, ",
            "(select count(*) from plan_contact contact where contact.plan_id = plan.id and contact.outcome = 'changed') as changed ",
            "from sync_plan plan ",
            $rest
        )
    };
}

impl Store {
    /// Asks the holder of the lease for a plan.
    pub async fn request_plan(&self, kind: PlanKind, by: &str) -> Result<Uuid> {
        transaction!(self, tx, {
            announce(tx, Request::Plan).await?;
            begin(tx, kind, by, None).await
        })
    }

    /// The plans that are asked for, and for which nobody has looked yet.
    pub async fn requested_plans(&self) -> Result<Vec<Plan>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(select_plans!(
                "where state = 'requested' and mark is null order by made_at"
            ))
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// Stores a plan that waits from now on. `id`: the one that was asked for; else `by` has asked
    /// for it. A plan that was dropped meanwhile stays so.
    ///
    /// It takes several transactions, so that none is long. Until the last one nobody sees a part.
    pub async fn put_plan(&self, id: Option<Uuid>, by: &str, new: &NewPlan) -> Result<Uuid> {
        let id = transaction!(self, tx, {
            let Some(id) = id else {
                return begin(tx, new.kind, by, Some(new.mark)).await;
            };
            // An earlier look may have ended in the middle.
            sqlx::query("delete from plan_contact where plan_id = $1")
                .bind(id)
                .execute(&mut **tx)
                .await?;
            Ok(id)
        })?;
        for (at, rows) in new.rows.chunks(AT_ONCE).enumerate() {
            transaction!(self, tx, { put_rows(tx, id, at * AT_ONCE, rows).await })?;
        }
        transaction!(self, tx, {
            finish(tx, id, new).await?;
            sqlx::query(
                "update sync_plan set state = 'waiting' where id = $1 and state = 'requested'",
            )
            .bind(id)
            .execute(&mut **tx)
            .await?;
            Ok(id)
        })
    }

    /// Why nobody could look for a plan that was asked for.
    pub async fn fail_plan(&self, id: Uuid, why: &str) -> Result<()> {
        transaction!(self, tx, {
            sqlx::query(
                "update sync_plan set state = 'failed', why = $2, ended_at = now()
                  where id = $1 and state in ('requested', 'waiting', 'approved')",
            )
            .bind(id)
            .bind(why)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Adds contacts to the plan of a brake that meets them page by page.
    pub async fn append_plan(&self, fence: &Fence, new: &NewPlan) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            append(tx, new).await
        })
    }

    /// Ends the plan of this brake that waits: the brake is lifted, or it no longer stops anything.
    pub async fn outdate_plan(&self, kind: PlanKind) -> Result<()> {
        transaction!(self, tx, { outdate(tx, kind).await })
    }

    /// A plan by its id.
    pub async fn plan(&self, id: Uuid) -> Result<Option<Plan>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(select_plans!("where id = $1"))
                .bind(id)
                .fetch_optional(&mut **tx)
                .await?)
        })
    }

    /// The plans whose ids begin with a text, at most three.
    pub async fn plans_by_prefix(&self, prefix: &str) -> Result<Vec<Plan>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(select_plans!(
                "where starts_with(id::text, $1) order by made_at desc limit 3"
            ))
            .bind(prefix)
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// The plans behind a place, the newest first: all, or those that wait for a person.
    pub async fn plans(
        &self,
        only_waiting: bool,
        before: Option<(DateTime<Utc>, Uuid)>,
        limit: i64,
    ) -> Result<Vec<Plan>> {
        let (at, id) = before.unzip();
        transaction!(self, tx, {
            Ok(sqlx::query_as(select_plans!(
                "where (not $1 or state = 'waiting') and ($2::timestamptz is null or (made_at, id) < ($2, $3))
                  order by made_at desc, id desc limit $4"
            ))
            .bind(only_waiting)
            .bind(at)
            .bind(id)
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// How many contacts of a plan have each action, and in how many each field is to be written.
    pub async fn plan_counts(&self, id: Uuid) -> Result<Vec<PlanCount>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select what, word, contacts from plan_count where plan_id = $1
                  order by what, contacts desc, word",
            )
            .bind(id)
            .fetch_all(&mut **tx)
            .await?)
        })
    }

    /// The contacts of a plan behind a place: all, or those of an action.
    pub async fn plan_contacts(
        &self,
        id: Uuid,
        action: Option<&str>,
        after: i64,
        limit: i64,
    ) -> Result<Vec<PlanContact>> {
        transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select number, keap_contact_id, intercom_contact_id, action, outcome from plan_contact
                  where plan_id = $1 and number > $2 and ($3::text is null or action = $3)
                  order by number limit $4",
            )
            .bind(id)
            .bind(after)
            .bind(action)
            .bind(limit)
            .fetch_all(&mut **tx)
            .await?)
        })
    }
}

async fn begin(
    tx: &mut Transaction,
    kind: PlanKind,
    by: &str,
    mark: Option<Digest>,
) -> Result<Uuid> {
    Ok(sqlx::query_scalar(
        "insert into sync_plan (kind, asked_by, state, mark) values ($1, $2, 'requested', $3) returning id",
    )
    .bind(kind.code())
    .bind(by)
    .bind(mark.map(|mark| mark.as_bytes().to_vec()))
    .fetch_one(&mut **tx)
    .await?)
}

/// Stores some contacts of a plan. `from`: how many stand before them.
async fn put_rows(tx: &mut Transaction, id: Uuid, from: usize, rows: &[PlanRow]) -> Result<()> {
    let bytes = |row: &PlanRow| row.digest.map(|digest| digest.as_bytes().to_vec());
    sqlx::query(
        "insert into plan_contact (plan_id, number, keap_contact_id, intercom_contact_id, action, digest)
         select $1, $2 + row.place, row.keap, row.intercom, row.action, row.digest
           from unnest($3::bigint[], $4::text[], $5::text[], $6::bytea[]) with ordinality as row (keap, intercom, action, digest, place)
         on conflict (plan_id, keap_contact_id) where keap_contact_id is not null do nothing",
    )
    .bind(id)
    .bind(i64::try_from(from).unwrap_or(i64::MAX))
    .bind(rows.iter().map(|row| row.keap.map(KeapId::get)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.intercom.as_ref().map(IntercomId::as_str)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.action.code()).collect::<Vec<_>>())
    .bind(rows.iter().map(bytes).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores what a plan counts.
async fn finish(tx: &mut Transaction, id: Uuid, new: &NewPlan) -> Result<()> {
    let NewPlan { mark, picture, counts, why, .. } = new;
    sqlx::query(
        "update sync_plan set mark = $2, picture = $3, seen = $4, unchanged = $5, skipped = $6, why = $7 where id = $1",
    )
    .bind(id)
    .bind(mark.as_bytes().to_vec())
    .bind(picture.as_bytes().to_vec())
    .bind(counts.seen)
    .bind(counts.unchanged)
    .bind(counts.skipped)
    .bind(why)
    .execute(&mut **tx)
    .await?;
    sqlx::query("delete from plan_count where plan_id = $1").bind(id).execute(&mut **tx).await?;
    count_actions(tx, id).await?;
    sqlx::query(
        "insert into plan_count (plan_id, what, word, contacts)
         select $1, * from unnest($2::text[], $3::text[], $4::bigint[])",
    )
    .bind(id)
    .bind(new.fields.iter().map(|count| count.what.as_str()).collect::<Vec<_>>())
    .bind(new.fields.iter().map(|count| count.word.as_str()).collect::<Vec<_>>())
    .bind(new.fields.iter().map(|count| count.contacts).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn count_actions(tx: &mut Transaction, id: Uuid) -> Result<()> {
    sqlx::query(
        "insert into plan_count (plan_id, what, word, contacts)
         select $1, 'action', action, count(*) from plan_contact where plan_id = $1 group by action",
    )
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stores the plan of a brake. One of its kind that waits stays if it shows the same; else the new
/// one replaces it.
pub(super) async fn put_of_brake(
    tx: &mut Transaction,
    new: &NewPlan,
    found_by: Option<Uuid>,
) -> Result<()> {
    let is_same: bool = sqlx::query_scalar(
        "select exists (select from sync_plan
                         where kind = $1 and asked_by = $2 and state = 'waiting' and picture = $3 and mark = $4)",
    )
    .bind(new.kind.code())
    .bind(BRAKE)
    .bind(new.picture.as_bytes().to_vec())
    .bind(new.mark.as_bytes().to_vec())
    .fetch_one(&mut **tx)
    .await?;
    if is_same || new.rows.is_empty() {
        return Ok(());
    }
    outdate(tx, new.kind).await?;
    let id: Uuid = sqlx::query_scalar(
        "insert into sync_plan (kind, asked_by, state, found_by) values ($1, $2, 'waiting', $3) returning id",
    )
    .bind(new.kind.code())
    .bind(BRAKE)
    .bind(found_by)
    .fetch_one(&mut **tx)
    .await?;
    for (at, rows) in new.rows.chunks(AT_ONCE).enumerate() {
        put_rows(tx, id, at * AT_ONCE, rows).await?;
    }
    finish(tx, id, new).await
}

/// Adds contacts to the plan of a brake that waits, or begins one: this brake meets its contacts
/// page by page.
async fn append(tx: &mut Transaction, new: &NewPlan) -> Result<()> {
    let waiting: Option<(Uuid, i64)> = sqlx::query_as(
        "select id, (select coalesce(max(number), 0) from plan_contact where plan_id = plan.id)
           from sync_plan plan where kind = $1 and asked_by = $2 and state = 'waiting' and mark = $3 for update",
    )
    .bind(new.kind.code())
    .bind(BRAKE)
    .bind(new.mark.as_bytes().to_vec())
    .fetch_optional(&mut **tx)
    .await?;
    let Some((id, last)) = waiting else {
        return put_of_brake(tx, new, None).await;
    };
    put_rows(tx, id, usize::try_from(last).unwrap_or_default(), &new.rows).await?;
    // A contact that stands in it already counts once.
    sqlx::query(
        "update sync_plan set seen = (select count(*) from plan_contact where plan_id = $1) where id = $1",
    )
    .bind(id)
    .execute(&mut **tx)
    .await?;
    sqlx::query("delete from plan_count where plan_id = $1 and what = 'action'")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    count_actions(tx, id).await
}

/// Ends the plan of this brake that waits.
pub(super) async fn outdate(tx: &mut Transaction, kind: PlanKind) -> Result<()> {
    sqlx::query(
        "update sync_plan set state = 'replaced', ended_at = now()
          where kind = $1 and asked_by = $2 and state = 'waiting'",
    )
    .bind(kind.code())
    .bind(BRAKE)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
