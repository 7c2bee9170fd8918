//! The contacts that wait for a person, and whether the reason is true.

use std::collections::{BTreeMap, BTreeSet};

use super::{Claim, Evidence, Finding};
use crate::sim::StoredContact;

/// The held contacts, by Keap id.
pub(super) type Holds = BTreeMap<i64, Hold>;

pub(super) struct Hold {
    code: String,
    about: Option<i64>,
    is_linked: bool,
    /// Whether both remotes show the reason. Such a contact cannot be synced.
    pub is_true: bool,
}

pub(super) async fn read(evidence: &Evidence) -> sqlx::Result<Holds> {
    let rows: Vec<(i64, String, Option<i64>, bool)> = sqlx::query_as(
        "select held.keap_contact_id, code, about, coalesce(link.state = 'linked', false)
           from contact_held held left join contact_link link using (keap_contact_id)",
    )
    .fetch_all(&evidence.pool)
    .await?;
    let hold = |(id, code, about, is_linked)| (id, Hold { code, about, is_linked, is_true: false });
    let mut holds: Holds = rows.into_iter().map(hold).collect();
    let are_true: Vec<i64> =
        holds.keys().copied().filter(|id| is_true(evidence, &holds, *id)).collect();
    for (id, hold) in &mut holds {
        hold.is_true = are_true.contains(id);
    }
    Ok(holds)
}

pub(super) fn check(holds: &Holds) -> Vec<Finding> {
    let untrue = holds.iter().filter(|(_, hold)| !hold.is_true);
    untrue
        .map(|(id, hold)| {
            let what = format!("contact {id} is held for {}, and nothing shows that", hold.code);
            Finding::new(Claim::HoldsAreTrue, what)
        })
        .collect()
}

/// Whether the reason can be seen. A contact that waits for another one is right only if the other
/// one wants the same address, or cannot give it away for a reason that is true itself. Linked
/// contacts that wait for each other in a circle exchange their addresses. If one of the circle was
/// never linked, a person must help.
fn is_true(evidence: &Evidence, holds: &Holds, id: i64) -> bool {
    let (mut waits, mut seen) = (id, BTreeSet::new());
    loop {
        let Some(hold) = holds.get(&waits) else {
            return false;
        };
        let Some(address) = address(evidence, waits) else {
            return false;
        };
        let Some(other) = hold.about.filter(|_| hold.code == "email_linked_to") else {
            return shows(evidence, waits, &hold.code, &address);
        };
        if other != waits && self::address(evidence, other).as_ref() == Some(&address) {
            return true;
        }
        let holders = evidence.intercom.by_external_id(&other.to_string());
        if !holders.iter().any(|holder| has(holder, &address)) {
            return false;
        }
        if !seen.insert(waits) {
            return !seen.iter().all(|id| holds.get(id).is_some_and(|hold| hold.is_linked));
        }
        waits = other;
    }
}

/// The address that a contact is to have, in small letters.
fn address(evidence: &Evidence, id: i64) -> Option<String> {
    Some(evidence.keap.person(id)?.wanted_email()?.to_lowercase())
}

fn has(contact: &StoredContact, address: &str) -> bool {
    contact.email.as_deref().is_some_and(|email| email.to_lowercase() == address)
}

/// The worlds of the tests hold contacts for these reasons only.
fn shows(evidence: &Evidence, id: i64, code: &str, address: &str) -> bool {
    let contacts = evidence.intercom.contacts();
    let mut holders = contacts.iter().filter(|contact| has(contact, address));
    // Its external id is one of another program, or one that only a former program has written.
    let is_of_others = |contact: &StoredContact| {
        let number = contact.external_id.as_deref().and_then(|other| other.parse().ok());
        let is_in_keap = number.is_some_and(|other| evidence.keap.person(other).is_some());
        evidence.is_as_at_start(contact) && !is_in_keap
    };
    match code {
        "several_users" => holders.filter(|contact| contact.is_live()).count() > 1,
        "external_id_taken" => {
            holders.any(|contact| contact.external_id.is_some() && is_of_others(contact))
        }
        "conflict" => holders.any(is_of_others),
        "external_id_unproven" => {
            let carriers = evidence.intercom.by_external_id(&id.to_string());
            carriers.iter().any(|contact| evidence.is_as_at_start(contact))
        }
        "ping_pong" => {
            let number = id.to_string();
            let of_contact = |call: &crate::sim::Call| {
                call.external_id.as_ref() == Some(&number) || call.key.as_ref() == Some(&number)
            };
            let count = |calls: Vec<crate::sim::Call>, kind: &str| {
                calls.iter().filter(|call| call.kind == kind && of_contact(call)).count()
            };
            count(evidence.keap.ledger(), "write") >= 6
                || count(evidence.intercom.ledger(), "update") >= 6
        }
        _ => false,
    }
}
