//! The claims about the two remotes.

use std::collections::BTreeMap;

use super::holds::Holds;
use super::{Claim, Evidence, Finding};
use crate::sim::verify::equal;
use crate::sim::{Person, Role, StoredContact};

pub(super) fn check(evidence: &Evidence, holds: &Holds) -> Vec<Finding> {
    let mut findings = Vec::new();
    // They are collected first: the loop below locks Intercom, and must not hold Keap meanwhile.
    let mut people = BTreeMap::new();
    evidence.keap.for_each(|id, person| drop(people.insert(id, person)));
    for (id, person) in &people {
        let mut users = evidence.intercom.by_external_id(&id.to_string());
        users.retain(|user| user.role == Role::User);
        match users.as_slice() {
            [_, _, ..] => {
                let what = format!("contact {id} has {} Intercom contacts", users.len());
                findings.push(Finding::new(Claim::NoDouble, what));
            }
            _ if holds.get(id).is_some_and(|hold| hold.is_true) => {}
            users => {
                let user = users.first().map(|user| without_foreign_phone(evidence, *id, user));
                let what = difference(evidence, person, user.as_ref());
                findings.extend(
                    what.map(|what| Finding::new(Claim::Agree, format!("contact {id} {what}"))),
                );
            }
        }
    }
    findings.extend(orphans(evidence, &people));
    findings.extend(doubled_emails(evidence, &people));
    findings.extend(touched_strangers(evidence));
    findings
}

/// The Intercom contact without a phone that is none of Keap's to clear: Keap has never shown one
/// for this contact, and the Intercom contact had it before, from another owner.
fn without_foreign_phone(evidence: &Evidence, id: i64, user: &StoredContact) -> StoredContact {
    let mut user = user.clone();
    if !evidence.history.has_shown_a_phone(id) {
        user.phone = None;
    }
    user
}

/// What is wrong with the Intercom contact of a person.
fn difference(
    evidence: &Evidence,
    person: &Person,
    user: Option<&StoredContact>,
) -> Option<&'static str> {
    match (person.wanted_email(), user) {
        (Some(_), None) => Some("is missing in Intercom"),
        (Some(email), Some(user)) if !equal(person, &email, user) => Some("differs"),
        (None, Some(user))
            if person.emails.is_empty()
                && !equal_without_email(person, user)
                && !evidence.is_as_at_start(user) =>
        {
            Some("differs, and has no address in Keap")
        }
        _ => None,
    }
}

/// As `equal`, of a person whose address was cleared.
fn equal_without_email(person: &Person, user: &StoredContact) -> bool {
    let shown =
        StoredContact { email: Some(user.email.clone().unwrap_or_default()), ..user.clone() };
    equal(person, "", &shown)
}

fn orphans(evidence: &Evidence, people: &BTreeMap<i64, Person>) -> Vec<Finding> {
    let users = evidence.intercom.live_users().into_iter();
    let users = users.filter(|user| !evidence.is_as_at_start(user));
    let numbers = users.filter_map(|user| user.external_id?.parse::<i64>().ok());
    numbers
        .filter(|number| !people.contains_key(number))
        .map(|number| {
            let what = format!("an Intercom contact carries {number}, which Keap does not have");
            Finding::new(Claim::NoOrphan, what)
        })
        .collect()
}

/// Live Intercom contacts that share an e-mail without a reason. There is one if Keap shows the
/// address for both, or if nobody has written the Intercom contact.
fn doubled_emails(evidence: &Evidence, people: &BTreeMap<i64, Person>) -> Vec<Finding> {
    let mut holders = BTreeMap::<String, Vec<StoredContact>>::new();
    for user in evidence.intercom.live_users() {
        let email = user.email.as_deref().unwrap_or_default().to_lowercase();
        if !email.is_empty() && !evidence.shared.contains(&email) {
            holders.entry(email).or_default().push(user);
        }
    }
    let has_reason = |user: &StoredContact, email: &str| {
        let owner = user.external_id.as_deref().and_then(|id| people.get(&id.parse().ok()?));
        let wanted = owner.and_then(Person::wanted_email);
        evidence.is_as_at_start(user) || wanted.is_some_and(|wanted| wanted.to_lowercase() == email)
    };
    let several = holders.iter().filter(|(email, users)| {
        users.len() > 1 && !users.iter().all(|user| has_reason(user, email))
    });
    several
        .map(|(_, users)| {
            let users: Vec<String> = users.iter().map(shown).collect();
            Finding::new(Claim::NoDouble, format!("an e-mail is shared: {}", users.join(", ")))
        })
        .collect()
}

/// An Intercom contact in words.
pub(super) fn shown(user: &StoredContact) -> String {
    let owner = user.external_id.as_deref().unwrap_or("nobody");
    format!("Intercom's {} of contact {owner}", user.id)
}

fn touched_strangers(evidence: &Evidence) -> Vec<Finding> {
    let touched = evidence.strangers.iter().filter(|id| {
        !evidence.intercom.contact(id).is_some_and(|now| evidence.is_as_at_start(&now))
    });
    touched
        .map(|id| {
            Finding::new(Claim::StrangersKept, format!("Intercom contact {id} is not as it was"))
        })
        .collect()
}
