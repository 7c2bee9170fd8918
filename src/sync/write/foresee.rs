//! What would be written to each side: the decision of a pass, without its writes.

use super::both;
use super::target::Target;
use crate::contact::{Candidate, FieldName, Fields, IntercomId, Reading};
use crate::intercom::Found;
use crate::remote::Failure;
use crate::sync::result::Halt;

/// What would be written to each side of a contact.
pub(in crate::sync) struct Foreseen {
    /// Fields that would get Intercom's value in Keap.
    pub to_keap: Vec<(FieldName, Reading)>,
    /// Fields that would get Keap's value in Intercom.
    pub to_intercom: Vec<FieldName>,
    /// Fields that were edited on both sides.
    pub conflicts: Vec<FieldName>,
    /// Fields whose winning value the other side cannot take.
    pub held: Vec<FieldName>,
    /// Nothing has to be written to Intercom.
    pub is_settled: bool,
    /// What Intercom shows now.
    pub in_intercom: Fields,
}

/// Decides the fields of a contact whose Intercom contact is this one. `known`: what Intercom has
/// shown of it a moment ago; else it is read by id. `None`: Intercom does not show it.
pub(in crate::sync) async fn foresee(
    target: &Target<'_>,
    id: &IntercomId,
    known: Option<&Candidate>,
    is_first: bool,
) -> Result<Option<Foreseen>, Halt> {
    let read;
    let found = match known {
        Some(known) => known,
        None => match target.context.intercom.read(target.lane, id).await {
            Ok(Found::Contact(found)) => {
                read = found;
                &read
            }
            Ok(Found::Merged(_) | Found::Missing)
            | Err(Failure::Again { .. } | Failure::Never { .. }) => return Ok(None),
            Err(failure) => return Err(Halt::of_reading(failure)),
        },
    };
    let merge = both::merged_with(target, id, found, is_first);
    let clears = target.clears(id);
    let differs = |name: &FieldName, keap: &Reading| {
        let intercom = found.field(name.as_str()).unwrap_or(&Reading::Empty);
        let is_sent = match keap {
            Reading::Is(_) => true,
            Reading::Empty => clears.includes(name.as_str()),
            Reading::Invalid => false,
        };
        is_sent && !keap.is_same(intercom) && !merge.kept.contains(name)
    };
    let fields = target.contact.fields.iter();
    let to_intercom =
        fields.filter(|(name, keap)| differs(name, keap)).map(|(name, _)| name.clone()).collect();
    Ok(Some(Foreseen {
        to_intercom: if merge.is_settled { Vec::new() } else { to_intercom },
        to_keap: merge.to_keap,
        conflicts: merge.conflicts,
        held: merge.held,
        is_settled: merge.is_settled,
        in_intercom: found.fields(),
    }))
}
