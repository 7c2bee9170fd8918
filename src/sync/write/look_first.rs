//! Fields whose value in Intercom may count more than Keap's: Intercom is read before they are
//! written.

use chrono::DateTime;

use super::target::{End, Target};
use crate::contact::{Bases, Contact, FieldName, IntercomId, Reading};
use crate::intercom::Found;
use crate::sync::merge::{Sides, Verdict, toward_intercom};

/// The fields that a write leaves as Intercom shows them.
#[derive(Default)]
pub(super) struct Kept {
    pub fields: Vec<FieldName>,
    /// Those of them that were edited on both sides.
    pub conflicts: Vec<FieldName>,
}

/// Decides the fields of the owners `newest` and `fill`. It costs one read by id if one of them has
/// changed in Keap, and nothing else.
pub(super) async fn kept(target: &Target<'_>, id: &IntercomId) -> Result<Kept, End> {
    let Some(careful) = Careful::of(target, id) else {
        return Ok(Kept::default());
    };
    if careful.changed.is_empty() {
        return Ok(Kept { fields: careful.unchanged, conflicts: Vec::new() });
    }
    match target.context.intercom.read(target.lane, id).await? {
        Found::Contact(found) => {
            let shown = Contact::showing(target.contact.id, found.fields());
            Ok(careful.decide(target, &shown, found.updated_at))
        }
        // The write that follows finds out.
        Found::Merged(_) | Found::Missing => Ok(Kept::default()),
    }
}

/// The fields of a contact that need a look.
struct Careful {
    before: Bases,
    /// Keap shows what was settled last.
    unchanged: Vec<FieldName>,
    changed: Vec<FieldName>,
}

impl Careful {
    /// `None`: the mapping has no such field.
    fn of(target: &Target<'_>, id: &IntercomId) -> Option<Self> {
        let fields = &target.context.fields;
        let looks_first =
            |name: &FieldName| fields.rule(name.as_str()).is_some_and(|rule| rule.looks_first);
        let names = target.contact.fields.iter().map(|(name, _)| name);
        let names: Vec<FieldName> = names.filter(|name| looks_first(name)).cloned().collect();
        if names.is_empty() {
            return None;
        }
        let before = target.shown_before(id).unwrap_or_else(Bases::nothing);
        let unsettled = target.context.key.unsettled(fields, target.contact, &before);
        // While a write has an unknown outcome, what was settled says nothing.
        let is_changed = |name: &FieldName| !target.found.is_empty() || unsettled.contains(name);
        let (changed, unchanged) = names.into_iter().partition(is_changed);
        Some(Self { before, unchanged, changed })
    }

    fn decide(self, target: &Target<'_>, shown: &Contact, shown_at: Option<i64>) -> Kept {
        let (key, order) = (&target.context.key, &target.context.fields);
        let intercom = key.bases_now(order, shown);
        let keap = key.bases_now(order, target.contact);
        let mut kept = Kept { fields: self.unchanged, conflicts: Vec::new() };
        for name in self.changed {
            let field = name.as_str();
            let Some(rule) = order.rule(field) else {
                continue;
            };
            let verdict = toward_intercom(&Sides {
                rule,
                keap: target.contact.fields.get(field).unwrap_or(&Reading::Invalid),
                intercom: shown.fields.get(field).unwrap_or(&Reading::Empty),
                equal: keap.agrees_on(field, &intercom),
                intercom_as_settled: self
                    .before
                    .has(field)
                    .then(|| self.before.agrees_on(field, &intercom)),
                keap_at: target.contact.updated_at,
                intercom_at: shown_at.and_then(|at| DateTime::from_timestamp(at, 0)),
            });
            if verdict == Verdict::Conflict {
                kept.conflicts.push(name.clone());
            }
            if verdict != Verdict::Write {
                kept.fields.push(name);
            }
        }
        kept
    }
}
