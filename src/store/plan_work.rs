//! The work on plans: approving and dropping them, and carrying an approved one out.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::plan::PlanRow;
use super::{Fence, Plan, Result, Store, StoreError, Transaction, keap_id, run};
use crate::contact::{Digest, IntercomId, KeapId};
use crate::feed::{Feed, RunReason};
use crate::outcome::{Action, PlanAction, PlanKind, RunFailure};

/// Contacts with these actions are listed in a plan. Nothing is done to them, so approval leaves
/// them alone.
const LISTED_ONLY: [Action; 2] = [Action::Held, Action::Failed];

/// What came of an approval.
#[derive(Debug)]
pub enum Approval {
    /// This run carries the plan out.
    Run(Uuid),
    /// The plan does not wait.
    No(Box<Plan>),
}

/// An approved plan that a run carries out.
#[derive(Debug, Clone)]
pub struct ApprovedPlan {
    pub id: Uuid,
    pub kind: Option<PlanKind>,
    pub mark: Option<Digest>,
    pub made_at: DateTime<Utc>,
}

/// The contacts of a plan that a group records.
#[derive(Debug, Clone)]
pub struct PlanPart {
    pub plan: Uuid,
    /// Those whose decision is another one now.
    pub changed: Vec<KeapId>,
}

#[derive(FromRow)]
struct ApprovedRow {
    id: Uuid,
    kind: String,
    mark: Option<Vec<u8>>,
    made_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct LeftRow {
    keap_contact_id: i64,
    intercom_contact_id: Option<String>,
    action: String,
    digest: Option<Vec<u8>>,
}

impl Store {
    /// A person approves a plan that waits. The holder of the lease carries it out, once. `None`:
    /// there is no such plan.
    pub async fn approve_plan(&self, id: Uuid, by: &str) -> Result<Option<Approval>> {
        let run: Option<Uuid> = transaction!(self, tx, {
            let approved = sqlx::query(
                "update sync_plan set state = 'approved', decided_by = $2, decided_at = now()
                  where id = $1 and state = 'waiting'",
            )
            .bind(id)
            .bind(by)
            .execute(&mut **tx)
            .await?;
            if approved.rows_affected() == 0 {
                return Ok(None);
            }
            let run = run::request(tx, Feed::Plan, RunReason::Manual, None).await?;
            sqlx::query("update sync_plan set run_id = $2 where id = $1")
                .bind(id)
                .bind(run)
                .execute(&mut **tx)
                .await?;
            Ok(Some(run))
        })?;
        if let Some(run) = run {
            tracing::info!(plan.id = %id, run.id = %run, by, "A plan is approved.");
            return Ok(Some(Approval::Run(run)));
        }
        Ok(self.plan(id).await?.map(|plan| Approval::No(Box::new(plan))))
    }

    /// A person drops a plan that is not approved. False if it cannot be dropped.
    pub async fn drop_plan(&self, id: Uuid, by: &str) -> Result<bool> {
        let dropped = transaction!(self, tx, {
            Ok(sqlx::query(
                "update sync_plan set state = 'dropped', decided_by = $2, decided_at = now(), ended_at = now()
                  where id = $1 and state in ('requested', 'waiting')",
            )
            .bind(id)
            .bind(by)
            .execute(&mut **tx)
            .await?
            .rows_affected()
                == 1)
        })?;
        if dropped {
            tracing::info!(plan.id = %id, by, "A plan is dropped.");
        }
        Ok(dropped)
    }

    /// The approved plan that a run carries out.
    pub async fn plan_of_run(&self, run: Uuid) -> Result<Option<ApprovedPlan>> {
        let row: Option<ApprovedRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select id, kind, mark, made_at from sync_plan where run_id = $1 and state = 'approved'",
            )
            .bind(run)
            .fetch_optional(&mut **tx)
            .await?)
        })?;
        Ok(row.map(|row| ApprovedPlan {
            id: row.id,
            kind: PlanKind::parse(&row.kind),
            mark: row.mark.as_deref().and_then(Digest::from_bytes),
            made_at: row.made_at,
        }))
    }

    /// Begins to carry a plan out: what a brake has stopped is let through for these contacts.
    pub async fn begin_plan(&self, fence: &Fence, plan: &ApprovedPlan, run: Uuid) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            release_users(tx, plan, run).await?;
            if plan.kind == Some(PlanKind::Mapping) {
                // The task of the mapping waits for this run.
                sqlx::query(
                    "update mapping_state set run_id = $1, would_rewrite = null, links = null, updated_at = now()",
                )
                .bind(run)
                .execute(&mut **tx)
                .await?;
            }
            Ok(())
        })
    }

    /// How many contacts these runs have decided afresh, because they had changed since the plan
    /// was made.
    pub async fn changed_since_plan(&self, runs: &[Uuid]) -> Result<i64> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar(
                "select count(*) from sync_plan plan join plan_contact contact on contact.plan_id = plan.id
                  where plan.run_id = any($1) and contact.outcome = 'changed'",
            )
            .bind(runs)
            .fetch_one(&mut **tx)
            .await?)
        })
    }

    /// The next contacts of a plan without an outcome.
    pub async fn plan_page(&self, plan: Uuid, limit: usize) -> Result<Vec<PlanRow>> {
        let rows: Vec<LeftRow> = transaction!(self, tx, {
            Ok(sqlx::query_as(
                "select keap_contact_id, intercom_contact_id, action, digest from plan_contact
                  where plan_id = $1 and outcome is null and keap_contact_id is not null and action <> all($3)
                  order by number limit $2",
            )
            .bind(plan)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(LISTED_ONLY.map(Action::code).to_vec())
            .fetch_all(&mut **tx)
            .await?)
        })?;
        rows.into_iter().map(LeftRow::row).collect()
    }

    /// Stores that contacts of a plan are over, as far as nothing was stored of them.
    pub async fn settle_plan(&self, fence: &Fence, part: &PlanPart, ids: &[KeapId]) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            settle(tx, part, ids).await
        })
    }

    /// Ends an approved plan together with its run. `failure`: why it was not carried out.
    pub async fn end_plan(
        &self,
        fence: &Fence,
        plan: Uuid,
        run: Uuid,
        failure: Option<&RunFailure>,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "update sync_plan set state = case when $2::text is null then 'done' else 'failed' end,
                        why = coalesce($2, why), ended_at = now()
                  where id = $1 and state = 'approved'",
            )
            .bind(plan)
            .bind(failure.map(ToString::to_string))
            .execute(&mut **tx)
            .await?;
            run::end(tx, &[run], failure).await
        })
    }
}

impl LeftRow {
    fn row(self) -> Result<PlanRow> {
        Ok(PlanRow {
            keap: Some(keap_id(self.keap_contact_id)?),
            intercom: self.intercom_contact_id.and_then(IntercomId::new),
            action: PlanAction::parse(&self.action).ok_or(StoreError::BadRow("plan_contact"))?,
            digest: self.digest.as_deref().and_then(Digest::from_bytes),
        })
    }
}

/// Stores the outcomes of a plan's contacts. The first one stays.
pub(super) async fn settle(tx: &mut Transaction, part: &PlanPart, ids: &[KeapId]) -> Result<()> {
    let numbers = |ids: &[KeapId]| ids.iter().map(|id| id.get()).collect::<Vec<_>>();
    sqlx::query(
        "update plan_contact set outcome = case when keap_contact_id = any($3) then 'changed' else 'done' end
          where plan_id = $1 and keap_contact_id = any($2) and outcome is null",
    )
    .bind(part.plan)
    .bind(numbers(ids))
    .bind(numbers(&part.changed))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lets the users of a plan into Keap: the brake does not stop them. They are looked at before
/// anything is made.
async fn release_users(tx: &mut Transaction, plan: &ApprovedPlan, run: Uuid) -> Result<()> {
    let users = sqlx::query(
        "insert into intercom_due as due (intercom_contact_id, reason, priority, released, run_id)
         select intercom_contact_id, 'again', 2, true, $2 from plan_contact
          where plan_id = $1 and action = $3 and outcome is null and intercom_contact_id is not null
         on conflict (intercom_contact_id) do update
            set released = true, run_id = excluded.run_id, version = due.version + 1, not_before = now(), updated_at = now()",
    )
    .bind(plan.id)
    .bind(run)
    .bind(PlanAction::CreateInKeap.code())
    .execute(&mut **tx)
    .await?;
    if users.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query("update plan_contact set outcome = 'done' where plan_id = $1 and action = $2")
        .bind(plan.id)
        .bind(PlanAction::CreateInKeap.code())
        .execute(&mut **tx)
        .await?;
    if plan.kind == Some(PlanKind::Create) {
        // Whoever comes from now on is counted anew.
        sqlx::query("update create_brake set braked_at = null, created = 0, hour_began_at = now()")
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}
