//! Compares both memories. Every Keap contact with a usable e-mail should have one live Intercom
//! user with equal fields.

use std::collections::HashSet;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use super::intercom::Intercom;
use super::intercom::contact::{Role, StoredContact};
use super::keap::Keap;
use super::keap::person::Person;

/// Most ids that a verdict lists as examples.
const EXAMPLES: usize = 20;

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    pub keap_contacts: usize,
    /// Contacts without a usable e-mail. They need no Intercom user.
    pub without_email: usize,
    /// Contacts with a usable e-mail: the sum of the next four counts.
    pub syncable: usize,
    pub equal: usize,
    pub different: usize,
    pub missing: usize,
    pub doubled: usize,
    /// Live users whose external id belongs to no Keap contact.
    pub strangers: usize,
    /// Ids of Keap contacts whose Intercom user is not equal.
    pub examples: Vec<String>,
}

impl Verdict {
    pub(crate) fn agrees(&self) -> bool {
        self.equal == self.syncable && self.strangers == 0
    }
}

/// Compares e-mail, name and phone by the default mapping.
pub(crate) fn verify(keap: &Keap, intercom: &Intercom) -> Verdict {
    let mut verdict = Verdict::default();
    keap.for_each(|id, person| {
        verdict.keap_contacts += 1;
        let Some(email) = person.wanted_email() else {
            verdict.without_email += 1;
            return;
        };
        verdict.syncable += 1;
        let external_id = id.to_string();
        let mut users = intercom.by_external_id(&external_id);
        users.retain(|user| user.role == Role::User);
        let count = match users.as_slice() {
            [] => &mut verdict.missing,
            [user] if equal(&person, &email, user) => &mut verdict.equal,
            [_] => &mut verdict.different,
            _ => &mut verdict.doubled,
        };
        *count += 1;
        if !matches!(users.as_slice(), [user] if equal(&person, &email, user))
            && verdict.examples.len() < EXAMPLES
        {
            verdict.examples.push(external_id);
        }
    });
    // The ids are collected first, because the loop above locks Keap before Intercom and the other
    // order could deadlock.
    let known: HashSet<i64> = keap.ids().into_iter().collect();
    let is_known = |id: &str| id.parse().is_ok_and(|id| known.contains(&id));
    verdict.strangers =
        intercom.count_users(|external_id| external_id.is_some_and(|id| !is_known(id)));
    verdict
}

/// Whether an Intercom contact shows what the default mapping makes of a person.
pub(crate) fn equal(person: &Person, email: &str, user: &StoredContact) -> bool {
    let same = |wanted: Option<String>, held: &Option<String>| {
        wanted.unwrap_or_default() == held.clone().unwrap_or_default()
    };
    user.email.as_deref() == Some(email)
        && same(person.wanted_name(), &user.name)
        && same(person.wanted_phone(), &user.phone)
}

impl Person {
    /// The first address that looks like one: EMAIL1 comes before EMAIL2.
    pub(crate) fn wanted_email(&self) -> Option<String> {
        let mut emails: Vec<_> = self.emails.iter().collect();
        emails.sort_by_key(|(slot, _)| slot);
        let odd = |letter: char| letter.is_whitespace() || letter.is_control();
        emails.into_iter().map(|(_, address)| tidy(&without_joiners(address))).find(|address| {
            address.split_once('@').is_some_and(|(name, domain)| {
                !name.is_empty()
                    && !domain.contains('@')
                    && domain.contains('.')
                    && !domain.starts_with('.')
                    && !domain.ends_with('.')
                    && !address.contains(odd)
                    && address.len() <= 254
            })
        })
    }

    /// Given name and family name.
    pub(crate) fn wanted_name(&self) -> Option<String> {
        let parts = [&self.given_name, &self.family_name];
        let parts: Vec<_> = parts
            .into_iter()
            .flatten()
            .map(|part| tidy(part))
            .filter(|part| !part.is_empty())
            .collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }

    /// The first number that has a digit, else the first one: PHONE1 comes before PHONE2. In E.164
    /// if Keap has it.
    pub(crate) fn wanted_phone(&self) -> Option<String> {
        let mut phones: Vec<_> = self.phones.iter().collect();
        phones.sort_by_key(|phone| &phone.slot);
        let numbers: Vec<String> = phones
            .into_iter()
            .filter_map(|phone| phone.e164.as_deref().or(phone.number.as_deref()))
            .map(|number| tidy(&without_joiners(number)))
            .filter(|number| !number.is_empty())
            .collect();
        let dialled = numbers.iter().find(|number| number.contains(char::is_numeric));
        dialled.or(numbers.first()).cloned()
    }
}

/// Characters that nobody sees, wherever they stand.
const INVISIBLE: [char; 16] = [
    '\u{ad}', '\u{34f}', '\u{61c}', '\u{180e}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{202a}',
    '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{2069}', '\u{feff}',
];

fn tidy(text: &str) -> String {
    let visible: String = text.chars().filter(|letter| !INVISIBLE.contains(letter)).collect();
    visible.trim().nfc().collect()
}

fn without_joiners(text: &str) -> String {
    text.replace(['\u{200c}', '\u{200d}'], "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::intercom::contact::Seed;

    #[tokio::test]
    async fn each_kind_of_disagreement_is_counted() {
        let (keap, intercom) = (Keap::start().await, Intercom::start().await);
        let person =
            |number: usize| Person::named("Ann", "Lee").email(&format!("{number}@example.org"));
        let ids = keap.add_many(4, person);
        keap.add(Person::named("No", "Mail").email("not an address"));
        let seed = |number: usize| {
            Seed::with_email(&format!("{number}@example.org")).external_id(ids[number].to_string())
        };
        intercom.add_user(seed(0).name("Ann Lee"));
        intercom.add_user(seed(1).name("Ann"));
        intercom.add_user(seed(2).name("Ann Lee"));
        intercom.add_user(seed(2).name("Ann Lee"));
        intercom.add_user(Seed::default().external_id("999"));
        let verdict = verify(&keap, &intercom);
        let expected = Verdict {
            keap_contacts: 5,
            without_email: 1,
            syncable: 4,
            equal: 1,
            different: 1,
            missing: 1,
            doubled: 1,
            strangers: 1,
            examples: vec!["2".to_owned(), "3".to_owned(), "4".to_owned()],
        };
        assert_eq!(verdict, expected);
        assert!(!verdict.agrees());
    }
}
