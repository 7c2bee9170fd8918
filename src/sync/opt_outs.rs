//! Opt-outs in Keap that move no stamp: Keap lists the addresses that have opted out, and linked
//! contacts that were settled without that become due.

use super::context::Context;
use super::result::Halt;
use crate::contact::{Bases, Digest, FieldRule, KeapId};
use crate::feed::Lane;

/// The rule by which an opt-out travels to Intercom; `None` if it does not.
pub(super) fn rule(context: &Context) -> Option<&FieldRule> {
    context.fields.opt_out().filter(|rule| rule.to_intercom)
}

/// Looks at one page of the list. Returns where it goes on.
pub(super) async fn look(
    context: &Context,
    rule: &FieldRule,
    from: Option<&str>,
) -> Result<Option<String>, Halt> {
    let page = context
        .unless_cancelled(async {
            context.keap.opt_outs(Lane::Bulk, from).await.map_err(Halt::of_reading)
        })
        .await?;
    let digests: Vec<Digest> = page.emails.iter().map(|email| context.key.email(email)).collect();
    let links = context.store.links_with(&digests).await?;
    let is_settled = |id: KeapId, base: Bases| {
        context.key.has_value(id, &base.under(&context.fields), rule.name.as_str())
    };
    let unsettled = links
        .into_iter()
        .filter(|(id, base)| !base.clone().is_some_and(|base| is_settled(*id, base)));
    let due: Vec<KeapId> = unsettled.map(|(id, _)| id).collect();
    context.store.look_again(&context.fence()?, &due).await?;
    Ok(page.next.filter(|next| Some(next.as_str()) != from))
}
