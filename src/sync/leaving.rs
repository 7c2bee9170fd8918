//! A mass leaving: a tag that is taken from many contacts at once must not archive all of them in
//! Intercom without a person.

use super::context::Context;
use super::decide::Decision;
use super::plan::Planned;
use super::result::Halt;
use crate::contact::KeapId;
use crate::outcome::SkipReason;
use crate::store::Fence;

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
    let percent = context.policy.brake_percent;
    if ids.is_empty() || context.store.may_leave(fence, &ids, percent).await? {
        return Ok(());
    }
    tracing::warn!(
        contacts = ids.len(),
        "Contacts have left the scope of [filter], and too many have left within a day: they are not archived, and wait for a person."
    );
    for one in leaving {
        one.decision = Decision::Skip(SkipReason::OutOfScope);
    }
    Ok(())
}
