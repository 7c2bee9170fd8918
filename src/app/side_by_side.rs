//! Reads one contact in both products, for somebody who compares its fields.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::people::{answer, text};
use crate::contact::{Fields, IntercomId, KeapId};
use crate::feed::Lane;
use crate::intercom::{Found, IntercomClient};
use crate::keap::{KeapClient, Row};
use crate::report::{ComparedField, SideBySide, SideShown};

/// What one side shows.
struct Read {
    fields: Fields,
    changed_at: Option<DateTime<Utc>>,
}

/// Reads both products: one call each. `intercom_id`: the Intercom contact that is linked.
pub async fn look(
    keap: &KeapClient,
    intercom: &IntercomClient,
    id: KeapId,
    intercom_id: Option<IntercomId>,
) -> SideBySide {
    let (of_keap, of_intercom) =
        tokio::join!(in_keap(keap, id), in_intercom(intercom, intercom_id));
    let nothing = Fields::default();
    let in_keap = of_keap.as_ref().map_or(&nothing, |read| &read.fields);
    let in_intercom = of_intercom.as_ref().map_or(&nothing, |read| &read.fields);
    SideBySide {
        fields: compare(in_keap, in_intercom),
        keap: shown(of_keap),
        intercom: shown(of_intercom),
    }
}

fn shown(read: Result<Read, String>) -> SideShown {
    match read {
        Ok(read) => SideShown::Contact(read.changed_at),
        Err(why) => SideShown::Nobody(why),
    }
}

fn compare(in_keap: &Fields, in_intercom: &Fields) -> Vec<ComparedField> {
    let names: BTreeSet<_> =
        in_keap.iter().chain(in_intercom.iter()).map(|(name, _)| name).collect();
    let compared = |name: &crate::contact::FieldName| {
        let (keap, intercom) = (in_keap.get(name.as_str()), in_intercom.get(name.as_str()));
        ComparedField {
            name: name.to_string(),
            keap: keap.map(text),
            intercom: intercom.map(text),
            is_same: keap.zip(intercom).map(|(keap, intercom)| keap.is_same(intercom)),
        }
    };
    names.into_iter().map(compared).collect()
}

async fn in_keap(keap: &KeapClient, id: KeapId) -> Result<Read, String> {
    match answer("Keap", keap.by_id(Lane::Urgent, id)).await? {
        Some(Row::Contact(contact)) => Ok(Read {
            changed_at: contact.updated_at,
            fields: contact.fields.and(contact.relations),
        }),
        Some(Row::Unreadable { why, .. }) => {
            Err(format!("what Keap shows of it cannot be read: {why}"))
        }
        None => Err("Keap does not have this contact any more".into()),
    }
}

async fn in_intercom(intercom: &IntercomClient, id: Option<IntercomId>) -> Result<Read, String> {
    let Some(id) = id else {
        return Err("it is not linked to an Intercom contact".into());
    };
    match answer("Intercom", intercom.read(Lane::Urgent, &id)).await? {
        Found::Contact(found) => Ok(Read {
            changed_at: found.updated_at.and_then(|at| DateTime::from_timestamp(at, 0)),
            fields: found.fields(),
        }),
        Found::Merged(survivor) => Err(format!("it was merged into {survivor} in Intercom")),
        Found::Missing => Err("it is archived or deleted in Intercom".into()),
    }
}
