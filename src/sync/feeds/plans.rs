//! The `plan` feed: carries an approved plan out, a page a step. It reads and writes the contacts
//! of the plan and no others.

use std::sync::Arc;

use uuid::Uuid;

use super::by_id;
use crate::contact::KeapId;
use crate::feed::{Feed, Lane, RunReason};
use crate::outcome::{Action, PlanAction, RunFailure};
use crate::store::{NewRun, PlanPart, PlanRow};
use crate::sync::context::Context;
use crate::sync::page::{Approved, Page};
use crate::sync::plans::mark::mark;
use crate::sync::result::Halt;

/// The `plan` feed.
pub(crate) struct PlanFeed {
    context: Arc<Context>,
    under_way: Option<UnderWay>,
}

/// A plan under way. Another process begins it anew, behind the contacts that have an outcome.
#[derive(Clone, Copy)]
struct UnderWay {
    plan: Uuid,
    run: Uuid,
}

impl PlanFeed {
    /// No plan is under way yet.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, under_way: None }
    }

    /// The run of the plan under way.
    pub(crate) fn run(&self) -> Option<Uuid> {
        self.under_way.map(|under_way| under_way.run)
    }

    /// Begins an approved plan. A plan of another mapping or of another account ends here.
    pub(crate) async fn begin(&mut self, run: Uuid) -> Result<(), Halt> {
        let (context, fence) = (&self.context, self.context.fence()?);
        let store = &context.store;
        let Some(plan) = store.plan_of_run(run).await? else {
            let why = RunFailure::Other("its plan is gone: old plans are deleted".into());
            return Ok(store.refuse_run(&fence, run, &why).await?);
        };
        if plan.mark != Some(mark(context).await?) {
            let why = RunFailure::Other("the plan was made for another mapping, or for another account of Keap or Intercom; nothing was done. Make a new plan: `keap-intercom-sync plan`".into());
            return Ok(store.end_plan(&fence, plan.id, run, Some(&why)).await?);
        }
        let new = NewRun { id: run, feed: Feed::Plan, reason: RunReason::Manual, since: None };
        if store.begin_run(&fence, &new, &[], None).await? {
            store.begin_plan(&fence, &plan, run).await?;
            self.under_way = Some(UnderWay { plan: plan.id, run });
        }
        Ok(())
    }

    /// The next contacts of the plan under way. `None`: there is no plan, or it has just ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, Halt> {
        let Some(UnderWay { plan, run }) = self.under_way else {
            return Ok(None);
        };
        let context = &self.context;
        let opened = context.open(Lane::Bulk);
        // What Keap shows is a ground for a write there for some seconds only.
        let keap = &context.policy.keap;
        let limit =
            if context.policy.direction.to_keap { keap.ids_at_once() } else { keap.page_size };
        let rows = context.store.plan_page(plan, limit).await?;
        if rows.is_empty() {
            context.store.end_plan(&context.fence()?, plan, run, None).await?;
            self.under_way = None;
            return Ok(None);
        }
        let rows = rows.into_iter().filter_map(|row| Some((row.keap?, row))).collect();
        let approved = Approved { plan, rows };
        let ids: Vec<KeapId> = approved.rows.keys().copied().collect();
        let (rows, missing) = by_id::read(context, Lane::Bulk, &ids).await?;
        // Whoever is gone now is left to the sweep and its brake, unless the plan says so.
        let (gone, missing) =
            missing.into_iter().partition(|id| approved.rows.get(id).is_some_and(is_gone));
        let page = Page {
            gone,
            missing,
            run_id: Some(run),
            approved: Some(approved),
            ..Page::of(Feed::Plan, opened)
        };
        Ok(Some(page.with(rows)))
    }

    /// Contacts of a page are over of which nothing was recorded, because nothing is left to do.
    pub(crate) async fn settle(&self, plan: Uuid, ids: &[KeapId]) -> Result<(), Halt> {
        let part = PlanPart { plan, changed: Vec::new() };
        Ok(self.context.store.settle_plan(&self.context.fence()?, &part, ids).await?)
    }
}

fn is_gone(row: &PlanRow) -> bool {
    matches!(row.action, PlanAction::Decided(Action::Archived | Action::Unlinked))
}
