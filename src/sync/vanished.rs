//! Custom fields and tags that a person deletes in Keap. From then on every contact shows them
//! empty, which looks as if everybody's value had been cleared.

use super::context::Context;
use super::decide::Decision;
use super::plan::Planned;
use super::result::Halt;
use crate::contact::{FieldName, Reading};
use crate::feed::Lane;
use crate::outcome::SkipReason;

/// Asks Keap whether it still has the custom fields of which this page would clear a value. It
/// costs one call for a page that clears any, and none for the others. A field that is gone is not
/// written any more.
pub(super) async fn look(
    context: &Context,
    lane: Lane,
    planned: &mut [Planned],
) -> Result<(), Halt> {
    let gone = context.board.doubt.gone();
    let is_doubtful = |one: &Planned| {
        cleared(context, one).iter().any(|name| may_vanish(context, name) && !gone.contains(name))
    };
    if planned.iter().any(is_doubtful) {
        for field in context.keap.gone_fields(lane).await.map_err(Halt::of_reading)? {
            note(context, &field).await?;
        }
    }
    let gone = context.board.doubt.gone();
    if !gone.is_empty() {
        for one in planned {
            keep_relations(context, one, &gone);
        }
    }
    Ok(())
}

/// Leaves the relations alone whose place is gone.
fn keep_relations(context: &Context, planned: &mut Planned, gone: &[FieldName]) {
    let contact = &mut planned.contact;
    contact.relations =
        gone.iter().fold(std::mem::take(&mut contact.relations), |all, name| all.without(name));
    if let Decision::Relate(_) = planned.decision
        && let Some(before) = planned.link.as_ref().and_then(|link| link.keap_base.as_ref())
        && context.key.unsettled_relations(&context.fields, contact, before).is_empty()
    {
        planned.decision = Decision::Skip(SkipReason::Unchanged);
    }
}

/// Notes that one side no longer has the place of a field. A walk brings the field to every contact
/// once it is back.
pub(super) async fn note(context: &Context, field: &FieldName) -> Result<(), Halt> {
    if !context.board.doubt.add_gone(field) {
        return Ok(());
    }
    tracing::warn!(
        field = field.as_str(),
        "The place of a field is gone on one side. Nothing of the field is written until it is back."
    );
    if let Some(identity) = context.fields.identity(field.as_str()) {
        context.store.walk_again(&context.fence()?, identity.as_str()).await?;
    }
    Ok(())
}

fn may_vanish(context: &Context, field: &FieldName) -> bool {
    context.fields.rule(field.as_str()).is_some_and(|rule| rule.may_vanish)
}

/// The fields that a write of this contact may clear.
fn cleared(context: &Context, planned: &Planned) -> Vec<FieldName> {
    let before = match planned.decision {
        Decision::Update(_) | Decision::Relate(_) | Decision::Look(_) => {
            planned.link.as_ref().and_then(|link| link.keap_base.as_ref())
        }
        Decision::Link(_) | Decision::Choose(_) | Decision::Hold(_) => None,
        _ => return Vec::new(),
    };
    let all = planned.contact.fields.iter().chain(planned.contact.relations.iter());
    let empty = all.filter(|(_, read)| **read == Reading::Empty);
    let clears = context.key.clears(&context.fields, &planned.contact, before);
    let is_cleared = |name: &FieldName| clears.includes(name.as_str()) || !planned.found.is_empty();
    empty.map(|(name, _)| name).filter(|name| is_cleared(name)).cloned().collect()
}
