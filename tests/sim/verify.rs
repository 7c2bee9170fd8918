//! Do both memories agree? Every Keap contact with a usable e-mail should have one live Intercom user with equal fields.

use std::collections::HashSet;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use super::intercom::Intercom;
use super::intercom::contact::{Role, StoredContact};
use super::keap::Keap;
use super::keap::person::Person;

/// At most so many ids of each kind of disagreement are told.
const EXAMPLES: usize = 20;

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub keap_contacts: usize,
    /// Without a usable e-mail: nothing is expected of them.
    pub without_email: usize,
    /// With a usable e-mail; the sum of the next four.
    pub syncable: usize,
    pub equal: usize,
    pub different: usize,
    pub missing: usize,
    pub doubled: usize,
    /// Live users whose external id is no Keap contact's.
    pub strangers: usize,
    /// Keap ids that are not equal.
    pub examples: Vec<String>,
}

impl Verdict {
    pub fn agrees(&self) -> bool {
        self.equal == self.syncable && self.strangers == 0
    }
}

/// Compares e-mail, name and phone as the usual mapping has them.
pub fn verify(keap: &Keap, intercom: &Intercom) -> Verdict {
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
        let place = match users.as_slice() {
            [] => &mut verdict.missing,
            [user] if equal(&person, &email, user) => &mut verdict.equal,
            [_] => &mut verdict.different,
            _ => &mut verdict.doubled,
        };
        *place += 1;
        if !matches!(users.as_slice(), [user] if equal(&person, &email, user))
            && verdict.examples.len() < EXAMPLES
        {
            verdict.examples.push(external_id);
        }
    });
    // Collected first: the two memories are never locked the other way round.
    let known: HashSet<i64> = keap.ids().into_iter().collect();
    let is_known = |id: &str| id.parse().is_ok_and(|id| known.contains(&id));
    verdict.strangers =
        intercom.count_users(|external_id| external_id.is_some_and(|id| !is_known(id)));
    verdict
}

fn equal(person: &Person, email: &str, user: &StoredContact) -> bool {
    let same = |wanted: Option<String>, held: &Option<String>| {
        wanted.unwrap_or_default() == held.clone().unwrap_or_default()
    };
    user.email.as_deref() == Some(email)
        && same(person.wanted_name(), &user.name)
        && same(person.wanted_phone(), &user.phone)
}

impl Person {
    /// EMAIL1, else the first, if it looks like an address.
    pub fn wanted_email(&self) -> Option<String> {
        let address = self
            .first_email()
            .or_else(|| self.emails.first().map(|(_, address)| address.as_str()))?;
        let address = tidy(address);
        let (name, domain) = address.split_once('@')?;
        let odd = |letter: char| letter.is_whitespace() || letter.is_control();
        let usable = !name.is_empty()
            && !domain.contains('@')
            && domain.contains('.')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && !address.contains(odd)
            && address.len() <= 254;
        usable.then_some(address)
    }

    /// Given and family name.
    pub fn wanted_name(&self) -> Option<String> {
        let parts = [&self.given_name, &self.family_name];
        let parts: Vec<_> = parts
            .into_iter()
            .flatten()
            .map(|part| tidy(part))
            .filter(|part| !part.is_empty())
            .collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }

    /// The first number, in E.164 when Keap gives that.
    pub fn wanted_phone(&self) -> Option<String> {
        self.phones
            .iter()
            .filter_map(|phone| phone.e164.as_deref().or(phone.number.as_deref()))
            .map(tidy)
            .find(|number| !number.is_empty())
    }
}

fn tidy(text: &str) -> String {
    text.trim().nfc().collect()
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
