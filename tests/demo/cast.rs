//! The people of the demo: about a thousand whom nobody knows, and the cases that real accounts are full of.

use std::collections::HashSet;

use crate::sim::people::{self, Shape, invented};
use crate::sim::{Intercom, Keap, Person, Seed, StoredContact};

/// People whose number is their Keap id.
const NUMBERED: u64 = 994;
/// Of these, so many are in Intercom already, with an e-mail alone; the next hundred carry their Keap id, as the old
/// worker left them.
const KNOWN_BY_EMAIL: u64 = 250;
const KNOWN_BY_ID: u64 = 350;
/// In Intercom alone.
const STRANGERS: u64 = 20;
const STRANGERS_START: u64 = 500_000;
const NEWCOMERS: u64 = 20;
const NEWCOMERS_START: u64 = 600_000;

/// An address that two Intercom users have.
const OFFICE: &str = "office@example.org";

pub struct Cast {
    /// Two people in Keap with one e-mail.
    pub twins: [i64; 2],
    /// Whose e-mail is no address.
    pub no_address: i64,
    /// Whose e-mail two Intercom users have.
    pub office: i64,
    /// Users whom Keap does not know, as they were.
    strangers: Vec<StoredContact>,
    next_newcomer: u64,
}

impl Cast {
    /// Fills both memories.
    pub fn enter(keap: &Keap, intercom: &Intercom) -> Cast {
        keap.add_many(NUMBERED as usize, |at| {
            invented(at as u64 + 1, Shape::Mixed)
        });
        // These numbers have no e-mail, or another one, in Keap.
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
        Cast {
            twins,
            no_address,
            office,
            strangers,
            next_newcomer: NEWCOMERS_START,
        }
    }

    /// Changes people in Keap; gives back what was done.
    pub fn change(&mut self, keap: &Keap) -> Vec<String> {
        let phone = |person: &mut Person, number: u64| {
            person.phones.clear();
            *person =
                std::mem::take(person).phone(&people::phone(number), Some(&people::e164(number)));
        };
        let phones = keap.bulk_edit(1..=200, |person| phone(person, 7_000_000));
        let each = |ids: std::ops::RangeInclusive<i64>, edit: &dyn Fn(i64, &mut Person)| {
            ids.filter(|id| keap.edit(*id, |person| edit(*id, person)))
                .count()
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
        keap.add_many(NEWCOMERS as usize, |at| {
            invented(start + at as u64, Shape::Plain)
        })
        .len()
    }

    /// What a person would do in Keap about two of the cases: `held` is the twin that was held.
    pub fn put_right(&self, keap: &Keap, held: i64) -> [String; 2] {
        let give = |id: i64, address: &str| {
            keap.edit(id, |person| {
                person.emails.clear();
                *person = std::mem::take(person).email(address);
            })
        };
        give(held, "ida.holm.2@example.org");
        give(self.no_address, "rolf@example.org");
        [
            "one of two people with the same e-mail gets another".to_owned(),
            "an e-mail that was none is corrected".to_owned(),
        ]
    }

    /// Changes while the daemon is off.
    pub fn change_a_few(&mut self, keap: &Keap) -> usize {
        let edited = (401..=410)
            .filter(|id| {
                keap.edit(*id, |person| {
                    person.given_name = Some("Kim".to_owned());
                })
            })
            .count();
        edited + self.add_newcomers(keap)
    }

    /// How many of those whom Keap does not know are as they were, of how many.
    pub fn untouched_strangers(&self, intercom: &Intercom) -> (usize, usize) {
        let untouched = self
            .strangers
            .iter()
            .filter(|then| intercom.contact(&then.id).as_ref() == Some(then))
            .count();
        (untouched, self.strangers.len())
    }

    /// E-mails that more than one live user has, beside the one that two had from the start.
    pub fn doubled_emails(intercom: &Intercom) -> usize {
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
