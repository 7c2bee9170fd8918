//! Compares what is decided now with what an approved plan says.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::super::context::Context;
use super::super::dry_run::preview;
use super::super::dry_users::Users;
use super::super::page::Approved;
use super::super::plan::Planned;
use super::super::result::Halt;
use super::row::row_of;
use crate::contact::KeapId;
use crate::outcome::PlanAction;
use crate::store::PlanRow;

/// The contacts whose decision is another one than the plan says. With both directions, it costs a
/// call to Intercom for each contact that is written, as the look did.
pub(in crate::sync) async fn changed(
    context: &Context,
    approved: &Approved,
    planned: &[Planned],
) -> Result<Vec<KeapId>, Halt> {
    let mut compared = Vec::new();
    for one in planned {
        let said = approved.rows.get(&one.contact.id);
        if let Some(said) = said.filter(|said| said.action != PlanAction::Look) {
            compared.push(compare(context, one, said));
        }
    }
    let compared = stream::iter(compared).buffer_unordered(context.policy.sync.concurrency);
    let changed: Vec<Option<KeapId>> = compared.try_collect().await?;
    Ok(changed.into_iter().flatten().collect())
}

/// The contact, if its decision is another one now.
async fn compare(
    context: &Context,
    planned: &Planned,
    said: &PlanRow,
) -> Result<Option<KeapId>, Halt> {
    let mut now = preview(context, planned);
    Users::named().bring(context, planned, &mut now).await?;
    let is_other = row_of(&context.key, &now).is_none_or(|now| is_other(said, &now));
    Ok(is_other.then_some(planned.contact.id))
}

fn is_other(said: &PlanRow, now: &PlanRow) -> bool {
    said.action != now.action
        || said.intercom != now.intercom
        || (said.digest.is_some() && said.digest != now.digest)
}
