//! The plans of brakes: what a brake has stopped waits for a person.

use super::super::context::Context;
use super::super::dry_run::preview;
use super::super::plan::Planned;
use super::super::result::Halt;
use super::mark::mark;
use super::row::{Draft, create_row, look_row};
use crate::config::Deleted;
use crate::contact::KeapId;
use crate::feed::Counts;
use crate::outcome::{Action, PlanAction, PlanKind, RunFailure};
use crate::store::{NewPlan, PlanRow};

/// The plan of a sweep that its brake has stopped: all candidates. Each is looked at once more when
/// the plan is carried out, so it makes no difference whether Keap was asked for it already.
pub(in crate::sync) async fn sweep(context: &Context, why: &RunFailure) -> Result<NewPlan, Halt> {
    let candidates = context.store.linked_candidates().await?;
    let ids: Vec<KeapId> = candidates.iter().map(|(id, _)| *id).collect();
    let new_owners = context.store.new_owners(&ids).await?;
    let mut draft = Draft::new(context);
    for (id, intercom) in candidates {
        let is_unlinked =
            new_owners.contains_key(&id) || context.policy.sweep.deleted == Deleted::Unlink;
        let action = if is_unlinked { Action::Unlinked } else { Action::Archived };
        let action = PlanAction::Decided(action);
        draft.add(PlanRow { keap: Some(id), intercom: Some(intercom), action, digest: None });
    }
    finish(context, PlanKind::Sweep, draft, ids.len(), why.to_string()).await
}

/// The plan of an audit that its brake has stopped: these contacts are to be looked at.
pub(in crate::sync) async fn audit(
    context: &Context,
    mut ids: Vec<KeapId>,
    why: &RunFailure,
) -> Result<NewPlan, Halt> {
    ids.sort_unstable();
    ids.dedup();
    let mut draft = Draft::new(context);
    for id in &ids {
        draft.add(look_row(*id));
    }
    finish(context, PlanKind::Audit, draft, ids.len(), why.to_string()).await
}

/// The plan of creates in Keap: the users that wait now.
pub(in crate::sync) async fn creates(context: &Context, why: &RunFailure) -> Result<NewPlan, Halt> {
    let users = context.store.braked_newcomers().await?;
    let (mut draft, number) = (Draft::new(context), users.len());
    for user in users {
        draft.add(create_row(user));
    }
    finish(context, PlanKind::Create, draft, number, why.to_string()).await
}

/// The plan of contacts that are not written although the pass has decided so.
pub(in crate::sync) async fn decided<'a>(
    context: &Context,
    kind: PlanKind,
    planned: impl IntoIterator<Item = &'a Planned>,
    why: String,
) -> Result<NewPlan, Halt> {
    let mut draft = Draft::new(context);
    let mut number = 0;
    for one in planned {
        draft.take(&preview(context, one));
        number += 1;
    }
    finish(context, kind, draft, number, why).await
}

async fn finish(
    context: &Context,
    kind: PlanKind,
    draft: Draft<'_>,
    seen: usize,
    why: String,
) -> Result<NewPlan, Halt> {
    let counts = Counts { seen: i64::try_from(seen).unwrap_or(i64::MAX), ..Counts::default() };
    Ok(draft.plan(kind, mark(context).await?, counts, Some(why)))
}
