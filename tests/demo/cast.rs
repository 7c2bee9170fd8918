//! The people of the demo: about a thousand invented ones, among them the special cases of real
//! accounts.

use std::collections::HashSet;

use crate::sim::people::{self, Shape, invented};
use crate::sim::{Intercom, Keap, Person, Seed, StoredContact};

/// People whose number is their Keap id.
const NUMBERED: u64 = 994;
/// The first ones of these are in Intercom already, with an e-mail and no external id. The next
/// hundred have their Keap id as external id, as an older program would leave them.
const KNOWN_BY_EMAIL: u64 = 250;
const KNOWN_BY_ID: u64 = 350;
/// Users of Intercom whom Keap does not know.
const STRANGERS: u64 = 20;
const STRANGERS_START: u64 = 500_000;
const NEWCOMERS: u64 = 20;
const NEWCOMERS_START: u64 = 600_000;

/// An address that two Intercom users have.
const OFFICE: &str = "office@example.org";

pub(crate) struct Cast {
    /// Two people in Keap with the same e-mail.
    pub twins: [i64; 2],
    /// A person whose e-mail is not an address.
    pub no_address: i64,
    /// A person whose e-mail two Intercom users have.
    pub office: i64,
    /// The users whom Keap does not know, as they were at the start.
    strangers: Vec<StoredContact>,
    next_newcomer: u64,
}

impl Cast {
    /// Adds everybody to both stand-ins.
    pub(crate) fn add_to(keap: &Keap, intercom: &Intercom) -> Cast {
        keap.add_many(NUMBERED as usize, |at| invented(at as u64 + 1, Shape::Mixed));
        // In Keap, people with the other numbers have no e-mail or a different one.
        let is_plain = |number: &u64| !matches!(number % 20, 3 | 17);
        for number in (1..=KNOWN_BY_EMAIL).filter(is_plain) {
            intercom.add_user(people::seed(number));
        }
        for number in (KNOWN_BY_EMAIL + 1..=KNOWN_BY_ID).filter(is_plain) {
            intercom.add_user(people::seed(number).external_id(number.to_string()));
        }
        let mut strangers = Vec::new();
        for number in STRANGERS_START..STRANGERS_START + STRANGERS {
            let id = intercom.add_user(people::seed(number));
            strangers.extend(intercom.contact(&id));
        }

        let twin = || Person::named("Ida", "Holm").email("ida.holm@example.org");
        let twins = [keap.add(twin()), keap.add(twin())];
        keap.add(Person::named("Arne", "Vik").email("arne.vik@example.org"));
        let archived = intercom.add_user(Seed::with_email("arne.vik@example.org"));
        intercom.archive(&archived);
        keap.add(Person::named("Lea", "Berg").email("lea.berg@example.org"));
        intercom.add_lead(Seed::with_email("lea.berg@example.org"));
        let no_address = keap.add(Person::named("Rolf", "Dam").email("rolf at example.org"));
        let office = keap.add(Person::named("Otto", "Falk").email(OFFICE));
        intercom.add_user(Seed::with_email(OFFICE).name("Reception"));
        intercom.add_user(Seed::with_email(OFFICE).name("Otto"));
        intercom.reindex_now();
        Cast { twins, no_address, office, strangers, next_newcomer: NEWCOMERS_START }
    }

    /// Changes people in Keap and returns a description of each kind of change.
    pub(crate) fn change(&mut self, keap: &Keap) -> Vec<String> {
        let phone = |person: &mut Person, number: u64| {
            person.phones.clear();
            *person =
                std::mem::take(person).phone(&people::phone(number), Some(&people::e164(number)));
        };
        let phones = keap.bulk_edit(1..=200, |person| phone(person, 7_000_000));
        let each = |ids: std::ops::RangeInclusive<i64>, edit: &dyn Fn(i64, &mut Person)| {
            ids.filter(|id| keap.edit(*id, |person| edit(*id, person))).count()
        };
        let names = each(201..=260, &|id, person| {
            person.family_name = Some(format!("Married {id}"));
        });
        let emails = each(261..=290, &|id, person| {
            person.emails.clear();
            *person = std::mem::take(person).email(&format!("moved.{id}@example.org"));
        });
        let cleared = each(291..=300, &|_, person| person.phones.clear());
        let touched = each(301..=350, &|_, _| {});
        let newcomers = self.add_newcomers(keap);
        vec![
            format!("{phones} new phone numbers in one bulk edit"),
            format!("{names} new names"),
            format!("{emails} new e-mails"),
            format!("{cleared} phone numbers removed"),
            format!("{touched} saved again with nothing changed"),
            format!("{newcomers} new people"),
        ]
    }

    fn add_newcomers(&mut self, keap: &Keap) -> usize {
        let start = self.next_newcomer;
        self.next_newcomer += NEWCOMERS;
        keap.add_many(NEWCOMERS as usize, |at| invented(start + at as u64, Shape::Plain)).len()
    }

    /// Solves two of the special cases, as a person would do in Keap. `held` is the one of the
    /// twins that is held.
    pub(crate) fn fix_two_cases(&self, keap: &Keap, held: i64) -> [String; 2] {
        let give = |id: i64, address: &str| {
            keap.edit(id, |person| {
                person.emails.clear();
                *person = std::mem::take(person).email(address);
            })
        };
        give(held, "ida.holm.2@example.org");
        give(self.no_address, "rolf@example.org");
        [
            "1 of 2 people with the same e-mail gets another one".to_owned(),
            "1 invalid e-mail is corrected".to_owned(),
        ]
    }

    /// Changes a few people and adds others, while the daemon is off. Returns how many.
    pub(crate) fn change_a_few(&mut self, keap: &Keap) -> usize {
        let edited = (401..=410)
            .filter(|id| {
                keap.edit(*id, |person| {
                    person.given_name = Some("Kim".to_owned());
                })
            })
            .count();
        edited + self.add_newcomers(keap)
    }

    /// How many of the users whom Keap does not know are unchanged, and how many there are.
    pub(crate) fn untouched_strangers(&self, intercom: &Intercom) -> (usize, usize) {
        let untouched = self
            .strangers
            .iter()
            .filter(|then| intercom.contact(&then.id).as_ref() == Some(then))
            .count();
        (untouched, self.strangers.len())
    }

    /// Counts the e-mails that several live users have, except the one that two have from the
    /// start.
    pub(crate) fn doubled_emails(intercom: &Intercom) -> usize {
        let mut seen = HashSet::new();
        intercom
            .live_users()
            .iter()
            .filter_map(|user| user.email.as_deref())
            .filter(|email| *email != OFFICE && !email.is_empty())
            .filter(|email| !seen.insert(email.to_lowercase()))
            .count()
    }
}
