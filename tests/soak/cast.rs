//! The people of a scene: the shapes and the special cases of real accounts. Every name, e-mail and
//! phone holds a canary.

use std::collections::BTreeSet;

use crate::canary::canary;
use crate::checker::History;
use crate::sim::{Intercom, Keap, Person, Seed, StoredContact};

/// People with shapes that mix. The special cases come on top.
pub(crate) const MIXED: usize = 60;
const STRANGERS: usize = 5;

/// What the checker must know of the start.
pub(crate) struct Cast {
    pub history: History,
    pub at_start: Vec<StoredContact>,
    pub strangers: Vec<String>,
    pub shared: BTreeSet<String>,
}

impl Cast {
    /// Adds everybody to both stand-ins: `mixed` people and the special cases.
    pub(crate) fn add_to(keap: &Keap, intercom: &Intercom, mixed: usize) -> Cast {
        let yesterday = keap.clock().now_ms() - 86_400_000;
        for (number, id) in keap.add_many(mixed, mixed_person).into_iter().enumerate() {
            known(intercom, number, id);
        }
        let mut strangers: Vec<String> = (0..STRANGERS)
            .map(|number| {
                let seed = Seed::with_email(&address(&format!("stranger.{number}")));
                intercom.add_user(seed.name("Canary Stranger"))
            })
            .collect();
        let shared = special_cases(keap, intercom, &mut strangers);
        intercom.reindex_now();
        for id in keap.ids() {
            keap.set_stamp_ms(id, Some(yesterday + id * 1000));
        }
        Cast {
            history: History::of(keap),
            at_start: intercom.contacts(),
            strangers,
            shared: BTreeSet::from([shared]),
        }
    }
}

pub(crate) fn address(name: &str) -> String {
    format!("{name}@canary.example")
}

/// One of twenty has no e-mail, no phone, no family name, two e-mails, another script, or blanks
/// and capitals.
pub(crate) fn mixed_person(number: usize) -> Person {
    let plain = canary(number);
    match number % 20 {
        3 => Person { emails: Vec::new(), ..plain },
        5 => Person { phones: Vec::new(), ..plain },
        7 => Person { family_name: None, ..plain },
        11 => plain.email(&address(&format!("second.{number}"))),
        13 => Person { given_name: Some(format!("小百合Canary{number}")), ..plain },
        17 => Person::named(&format!(" Canary{number} "), "Canarysson")
            .email(&format!("Canary.{number}+tag@Canary.Example"))
            .phone(&format!("(777) 555-{number:04}"), None),
        _ => plain,
    }
}

/// Some are in Intercom already: with the e-mail alone, or with the Keap id that a former program
/// wrote.
fn known(intercom: &Intercom, number: usize, id: i64) {
    let person = mixed_person(number);
    let (Some(email), Some(name)) = (person.wanted_email(), person.wanted_name()) else {
        return;
    };
    let seed = Seed::with_email(&email).name(&name);
    match number % 8 {
        1 => drop(intercom.add_user(seed)),
        2 => drop(intercom.add_user(seed.external_id(id.to_string()))),
        _ => {}
    }
}

/// Returns the address that two Intercom users have.
fn special_cases(keap: &Keap, intercom: &Intercom, strangers: &mut Vec<String>) -> String {
    let person =
        |name: &str, mailbox: &str| Person::named(name, "Canarysson").email(&address(mailbox));
    keap.add(person("Canary Twin One", "twins"));
    keap.add(person("Canary Twin Two", "twins"));
    keap.add(person("Canary Archived", "archived"));
    let archived = intercom.add_user(Seed::with_email(&address("archived")));
    intercom.archive(&archived);
    keap.add(person("Canary Lead", "lead"));
    intercom.add_lead(Seed::with_email(&address("lead")));
    keap.add(person("Canary Office", "office"));
    for name in ["Canary Reception", "Canary Desk"] {
        strangers.push(intercom.add_user(Seed::with_email(&address("office")).name(name)));
    }
    keap.add(person("Canary Borrower", "borrowed"));
    let borrowed = intercom.add_user(Seed::with_email(&address("borrowed")).external_id("other-1"));
    intercom.archive(&borrowed);
    strangers.push(borrowed);
    address("office")
}
