//! A mass leaving: a tag that is taken from many contacts at once must not archive all of them in
//! Intercom without a person.

use super::context::Context;
use super::decide::Decision;
use super::plan::Planned;
use super::plans::brakes;
use super::result::Halt;
use crate::contact::KeapId;
use crate::outcome::{PlanKind, SkipReason};
use crate::store::Fence;

const WHY: &str = "too many linked contacts have left the scope of [filter] within a day, so they are not archived (mapping.brake_percent)";

/// Leaves the contacts of a page as they are that have left the scope, if too many have left within
/// a day. They are looked at again with every walk.
pub(super) async fn brake(
    context: &Context,
    fence: &Fence,
    planned: &mut [Planned],
) -> Result<(), Halt> {
    let leaves =
        |one: &&mut Planned| matches!(one.decision, Decision::Archive(_)) && !one.contact.in_scope;
    let leaving: Vec<&mut Planned> = planned.iter_mut().filter(leaves).collect();
    let ids: Vec<KeapId> = leaving.iter().map(|one| one.contact.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let percent = context.policy.brake_percent;
    if context.store.may_leave(fence, &ids, percent).await? {
        return Ok(());
    }
    let decided = leaving.iter().map(|one| &**one);
    let plan = brakes::decided(context, PlanKind::Leaving, decided, WHY.into()).await?;
    context.store.append_plan(fence, &plan).await?;
    tracing::warn!(
        contacts = ids.len(),
        "Contacts have left the scope of [filter], and too many have left within a day: they are not archived, and wait for a person."
    );
    for one in leaving {
        one.decision = Decision::Skip(SkipReason::OutOfScope);
    }
    Ok(())
}
