//! Relations: tags are written by calls of their own, after the fields of the contact.

use super::target::{End, Target};
use crate::contact::{Bases, FieldName, IntercomId, Reading};
use crate::intercom::Tagged;
use crate::outcome::HoldReason;
use crate::sync::result::Outcome;

/// Brings the relations of a contact to its Intercom contact: one call for each that differs from
/// what was settled. `decided`: the tags that both sides show, and whether Keap's is written.
/// Returns what was written.
pub(super) async fn bring(
    target: &Target<'_>,
    id: &IntercomId,
    decided: &[(FieldName, bool)],
) -> Result<Vec<(FieldName, Reading)>, End> {
    let before = &target.shown_before(id).unwrap_or_else(Bases::nothing);
    let mut brought = Vec::new();
    let (intercom, lane, whose) = (&target.context.intercom, target.lane, target.contact.id);
    for (field, reading) in differing(target, before, decided) {
        let value = match reading {
            Reading::Is(value) => Some(value.as_str()),
            Reading::Empty | Reading::Invalid => None,
        };
        let is_first = !before.has(field.as_str()) && target.found.is_empty();
        let written = if is_company(target, field) {
            intercom.set_company(lane, id, whose, (value, is_first)).await?
        } else {
            intercom.tag(lane, id, whose, (field, value.is_some())).await?
        };
        match written {
            Tagged::Done => brought.push((field.clone(), reading.clone())),
            Tagged::Missing => {
                let why = "Intercom does not show the contact, or what it is attached to";
                return Err(Outcome::again(why).into());
            }
            Tagged::Refused(why) => {
                return Err(End::hold(HoldReason::Refused(format!("{field}: {why}")), []));
            }
        }
    }
    Ok(brought)
}

fn is_company(target: &Target<'_>, field: &FieldName) -> bool {
    target.context.fields.rule(field.as_str()).is_some_and(|rule| rule.is_company)
}

/// The relations to write, each with what Keap shows of it. While a write has an unknown outcome,
/// all are written that may differ.
fn differing<'a>(
    target: &'a Target<'_>,
    before: &Bases,
    decided: &[(FieldName, bool)],
) -> Vec<(&'a FieldName, &'a Reading)> {
    let (key, order) = (&target.context.key, &target.context.fields);
    let contact = target.contact;
    let unsettled = key.unsettled_relations(order, contact, before);
    let may_be_there = |name: &str| {
        let sent = |bases: &Bases| key.has_value(contact.id, bases, name);
        target.found.iter().any(|intent| sent(&intent.sent)) || sent(before)
    };
    let is_doubtful = |name: &FieldName, reading: &Reading| match reading {
        _ if target.found.is_empty() => false,
        Reading::Is(_) => true,
        Reading::Empty => may_be_there(name.as_str()),
        Reading::Invalid => false,
    };
    let relations = contact.relations.iter();
    let is_written =
        |name: &FieldName, reading: &Reading| match decided.iter().find(|(tag, _)| tag == name) {
            Some((_, is_written)) => *is_written,
            None => {
                order.rule(name.as_str()).is_some_and(|rule| rule.to_intercom)
                    && (unsettled.contains(name) || is_doubtful(name, reading))
            }
        };
    relations.filter(|(name, reading)| is_written(name, reading)).collect()
}
