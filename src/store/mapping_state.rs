//! The state of the mapping: which fields a walk has brought to every linked contact, and what
//! waits for a person.

use sqlx::FromRow;
use uuid::Uuid;

use super::listen::{Request, announce};
use super::{Fence, NewPlan, Result, Store, Transaction, plan, run};
use crate::feed::{Feed, RunReason};
use crate::outcome::PlanKind;

/// How far a changed mapping has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct MappingState {
    /// The fields that every linked contact has, by their identities.
    pub walked: Vec<String>,
    /// The fields that the walk is for.
    pub target: Vec<String>,
    /// The run of the walk.
    pub run_id: Option<Uuid>,
    /// The brake stopped it: it would rewrite so many of the links.
    pub would_rewrite: Option<i64>,
    pub links: Option<i64>,
    /// A person lifted the brake.
    pub forced: bool,
    /// The fields that are held for every contact, with the reason.
    pub unfit: Vec<String>,
}

impl MappingState {
    /// Why the walk for the changed mapping waits, and what a person can do; `None` if it does not.
    pub fn waits(&self) -> Option<String> {
        Some(format!("{}; {}", self.braked()?, Self::REMEDY))
    }

    /// Why the walk for the changed mapping waits; `None` if it does not.
    pub fn braked(&self) -> Option<String> {
        let (would, links) = self.would_rewrite.zip(self.links).filter(|_| !self.forced)?;
        Some(format!(
            "the changed mapping would rewrite {would} of {links} linked contacts, which is more than mapping.brake_percent allows"
        ))
    }

    /// What a person can do about it.
    pub const REMEDY: &str = "`keap-intercom-sync plan show` lists them; let it go on with `keap-intercom-sync plan approve`, or with `keap-intercom-sync sync --all --force`";
}

impl Store {
    /// The stored state; `None` before the first walk of a mapping other than the built-in one.
    pub async fn mapping_state(&self) -> Result<Option<MappingState>> {
        transaction!(self, tx, { read(tx).await })
    }

    /// Stores which fields are held for every contact.
    pub async fn put_unfit(&self, fence: &Fence, unfit: &[String]) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "update mapping_state set unfit = $1, updated_at = now() where unfit is distinct from $1",
            )
            .bind(unfit)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Every linked contact has these fields.
    pub async fn settle_mapping(&self, fence: &Fence, walked: &[String]) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query(
                "insert into mapping_state as state (walked) values ($1)
                 on conflict (id) do update set walked = excluded.walked, target = '{}', run_id = null,
                        would_rewrite = null, links = null, forced = false, updated_at = now()",
            )
            .bind(walked)
            .execute(&mut **tx)
            .await?;
            plan::outdate(tx, PlanKind::Mapping).await
        })
    }

    /// This field must be walked again once it is back.
    pub async fn walk_again(&self, fence: &Fence, field: &str) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            sqlx::query("update mapping_state set walked = array_remove(walked, $1), target = array_remove(target, $1), updated_at = now()")
                .bind(field)
                .execute(&mut **tx)
                .await?;
            Ok(())
        })
    }

    /// The brake stops the walk for these fields. Without effect if a person has lifted it.
    pub async fn brake_mapping(
        &self,
        fence: &Fence,
        state: &MappingState,
        (would_rewrite, links): (i64, i64),
        plan: &NewPlan,
    ) -> Result<()> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            plan::put_of_brake(tx, plan, None).await?;
            sqlx::query(
                "insert into mapping_state as state (walked, target, would_rewrite, links) values ($1, $2, $3, $4)
                 on conflict (id) do update set walked = excluded.walked, target = excluded.target, run_id = null,
                        would_rewrite = excluded.would_rewrite, links = excluded.links,
                        forced = state.forced and state.target = excluded.target, updated_at = now()",
            )
            .bind(&state.walked)
            .bind(&state.target)
            .bind(would_rewrite)
            .bind(links)
            .execute(&mut **tx)
            .await?;
            Ok(())
        })
    }

    /// Requests the walk for the target of this state.
    pub async fn request_mapping_walk(&self, fence: &Fence, state: &MappingState) -> Result<Uuid> {
        transaction!(self, tx, {
            fence.check(tx).await?;
            let run = run::request(tx, Feed::Backfill, RunReason::Manual, None).await?;
            under_way(tx, state, run).await?;
            Ok(run)
        })
    }

    /// A person lifts the brake for this target: its walk is requested.
    pub async fn force_mapping_walk(&self, state: &MappingState) -> Result<Uuid> {
        transaction!(self, tx, {
            let run = run::request(tx, Feed::Backfill, RunReason::Forced, None).await?;
            under_way(tx, state, run).await?;
            plan::outdate(tx, PlanKind::Mapping).await?;
            sqlx::query("update mapping_state set forced = true").execute(&mut **tx).await?;
            announce(tx, Request::Run).await?;
            Ok(run)
        })
    }
}

async fn under_way(tx: &mut Transaction, state: &MappingState, run: Uuid) -> Result<()> {
    sqlx::query(
        "insert into mapping_state (walked, target, run_id) values ($1, $2, $3)
         on conflict (id) do update set walked = excluded.walked, target = excluded.target, run_id = excluded.run_id,
                would_rewrite = null, links = null, updated_at = now()",
    )
    .bind(&state.walked)
    .bind(&state.target)
    .bind(run)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn read(tx: &mut Transaction) -> Result<Option<MappingState>> {
    Ok(sqlx::query_as(
        "select walked, target, run_id, would_rewrite, links, forced, unfit from mapping_state",
    )
    .fetch_optional(&mut **tx)
    .await?)
}
