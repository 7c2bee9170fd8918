//! What has become of each field of a contact that was written, for the history of the fields.

use super::refused::LeftOut;
use super::target::Target;
use crate::contact::{FieldName, IntercomId, Reading};
use crate::store::{Counted, IntentSide, Tally};

impl LeftOut {
    /// Counts the fields of a contact that was written. A write sends every field, and only those
    /// count whose value differs from what the other side had.
    pub(super) fn tally(
        &self,
        target: &Target<'_>,
        id: &IntercomId,
        wrote_intercom: bool,
    ) -> Tally {
        let mut tally = self.tally_of_relations();
        if wrote_intercom {
            self.count_in_intercom(target, id, &mut tally);
        }
        self.count_in_keap(target, &mut tally);
        tally
    }

    /// Counts the tags and the company that were written to Intercom.
    pub(super) fn tally_of_relations(&self) -> Tally {
        let mut tally = Tally::default();
        for (name, reading) in &self.related {
            tally.field(IntentSide::Intercom, counted(reading), name.clone());
        }
        tally
    }

    fn count_in_intercom(&self, target: &Target<'_>, id: &IntercomId, tally: &mut Tally) {
        let (key, order) = (&target.context.key, &target.context.fields);
        // A former release has written the link: nobody knows what differs.
        let Some(before) = target.shown_before(id) else {
            return;
        };
        let merge = self.decided();
        let refused = self.fields();
        let is_kept = |name: &FieldName| {
            let kept = merge.iter().flat_map(|merge| &merge.kept);
            kept.chain(&self.gone).any(|kept| kept == name)
        };
        let changed = key.unsettled(order, target.contact, &before);
        let restored = merge.iter().flat_map(|merge| &merge.restored);
        let restored = restored.filter(|name| !changed.contains(name));
        for name in changed.iter().chain(restored).filter(|name| !is_kept(name)) {
            let reading = target.contact.fields.get(name.as_str());
            let counted = match reading {
                _ if refused.contains(name) => Counted::FieldRefused,
                Some(reading) => counted(reading),
                // A tag counts among the relations.
                None => continue,
            };
            tally.field(IntentSide::Intercom, counted, name.clone());
        }
        let invalid = target
            .contact
            .fields
            .iter()
            .filter(|(name, reading)| **reading == Reading::Invalid && !is_kept(name));
        for (name, _) in invalid {
            tally.field(IntentSide::Intercom, Counted::FieldRefused, name.clone());
        }
    }

    fn count_in_keap(&self, target: &Target<'_>, tally: &mut Tally) {
        let Some(merge) = self.decided() else {
            return;
        };
        let travels = |name: &FieldName| merge.to_keap.iter().any(|(field, _)| field == name);
        if let Some(in_keap) = &self.in_keap {
            for (name, reading) in &merge.to_keap {
                if in_keap.written.contains(name) {
                    tally.field(IntentSide::Keap, counted(reading), name.clone());
                }
            }
            for name in &in_keap.refused {
                tally.field(IntentSide::Keap, Counted::FieldRefused, name.clone());
            }
        }
        for name in &merge.held {
            let is_of_keap = target.contact.fields.get(name.as_str()) == Some(&Reading::Invalid);
            let side = if is_of_keap { IntentSide::Intercom } else { IntentSide::Keap };
            tally.field(side, Counted::FieldRefused, name.clone());
        }
        for name in &merge.conflicts {
            let side = if travels(name) { IntentSide::Keap } else { IntentSide::Intercom };
            tally.field(side, Counted::FieldConflict, name.clone());
        }
    }
}

/// What it is to write this value.
fn counted(reading: &Reading) -> Counted {
    match reading {
        Reading::Empty => Counted::FieldCleared,
        Reading::Is(_) => Counted::FieldWritten,
        Reading::Invalid => Counted::FieldRefused,
    }
}
