//! The brake on writes that no change in Keap explains: a walk that nobody asked for meets very
//! many contacts that differ although Keap's own stamps have not moved. So Keap shows them in
//! another form, or shows less of them, and nobody has edited them.

use chrono::TimeDelta;
use uuid::Uuid;

use super::context::Context;
use super::decide::Decision;
use super::plan::Planned;
use super::plans::brakes;
use super::result::Halt;
use crate::contact::{Bases, Digest, FieldName, KeapId};
use crate::feed::{Feed, RunReason};
use crate::outcome::{PlanKind, SkipReason};
use crate::store::Fence;

/// So few contacts are never a mass change.
const FEW: i64 = 100;

/// Leaves the contacts of a page as they are that differ for no reason, if the run has met too many
/// of them. They wait in a plan. The others go on, so an edit never waits for a person.
pub(super) async fn brake(
    context: &Context,
    fence: &Fence,
    (feed, run): (Feed, Option<Uuid>),
    planned: &mut [Planned],
) -> Result<(), Halt> {
    let percent = context.policy.sync.brake_percent;
    let Some(run) = run.filter(|_| percent > 0 && matches!(feed, Feed::Changed | Feed::Backfill))
    else {
        return Ok(());
    };
    let stopped: Vec<&mut Planned> =
        planned.iter_mut().filter(|one| is_unexplained(context, one)).collect();
    if stopped.is_empty() || is_asked_for(context, run).await? {
        return Ok(());
    }
    let ids: Vec<KeapId> = stopped.iter().map(|one| one.contact.id).collect();
    let met = context.board.unexplained.count(run, i64::try_from(ids.len()).unwrap_or(i64::MAX));
    let links = context.store.count_linked().await?;
    if met <= FEW.max(links.saturating_mul(percent) / 100) {
        return Ok(());
    }
    let why = format!(
        "a run would write {met} of {links} linked contacts or more although Keap's stamps say that nobody has changed them, which is more than sync.brake_percent = {percent} % allows; they are not written"
    );
    tracing::error!(run.id = %run, contacts = ids.len(), "{why}. `keap-intercom-sync plan show` lists them.");
    let decided = stopped.iter().map(|one| &**one);
    let plan = brakes::decided(context, PlanKind::Unexplained, decided, why).await?;
    context.store.append_plan(fence, &plan).await?;
    for one in stopped {
        one.decision = Decision::Skip(SkipReason::PlanWaits);
    }
    Ok(())
}

/// Whether a linked contact is to be written although nothing in Keap says that it has changed. An
/// opt-out never waits, and a tag moves no stamp.
fn is_unexplained(context: &Context, planned: &Planned) -> bool {
    let Some(link) = planned.link.as_ref().filter(|link| link.intercom().is_some()) else {
        return false;
    };
    let Some((before, now)) = link.keap_updated_at.zip(planned.contact.updated_at) else {
        return false;
    };
    // Keap rounds stamps.
    let is_same_stamp = (now - before).abs() < TimeDelta::seconds(1);
    // Otherwise our own records say that it has to be written.
    let is_settled = link.fingerprint != Digest::UNKNOWN
        && planned.found.is_empty()
        && planned.found_in_keap.is_empty()
        && planned.waiting.is_none();
    // Who comes back into the scope had a fingerprint of less.
    let differs = link.fingerprint != planned.fingerprint && !link.is_out;
    matches!(planned.decision, Decision::Update(_))
        && is_same_stamp
        && is_settled
        && differs
        && !brings_opt_out(context, planned)
}

fn brings_opt_out(context: &Context, planned: &Planned) -> bool {
    let before = planned.link.as_ref().and_then(|link| link.keap_base.clone());
    let before = before.unwrap_or_else(Bases::nothing);
    let unsettled = context.key.unsettled(&context.fields, &planned.contact, &before);
    unsettled.iter().any(|name| name.as_str() == FieldName::OPT_OUT)
}

/// Whether a person or a script has asked for the run.
async fn is_asked_for(context: &Context, run: Uuid) -> Result<bool, Halt> {
    let run = context.store.run(run).await?;
    let asked = [RunReason::Manual, RunReason::Forced].map(RunReason::as_str);
    Ok(run.is_some_and(|run| asked.contains(&run.reason.as_str())))
}
