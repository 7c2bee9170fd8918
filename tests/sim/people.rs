//! Invented people. A number always gives the same person, so a million people need no file.

use serde::{Deserialize, Serialize};

use super::intercom::contact::Seed;
use super::keap::person::Person;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// Everybody has a name, one unique e-mail and one phone.
    #[default]
    Plain,
    /// Some people have no e-mail, no phone, no family name, two e-mails, another script, capitals
    /// or blanks.
    Mixed,
}

const GIVEN: [&str; 16] = [
    "Ada", "Bela", "Cleo", "Dario", "Edda", "Femi", "Greta", "Hugo", "Ines", "Jiro", "Kemal",
    "Lena", "Mira", "Nils", "Olga", "Pavel",
];
const FAMILY: [&str; 16] = [
    "Abel", "Brook", "Castell", "Dahl", "Ekberg", "Farrow", "Gomez", "Hale", "Ivers", "Jansen",
    "Klee", "Lind", "Moreau", "Novak", "Okafor", "Pratt",
];
const OTHER_SCRIPTS: [(&str, &str); 4] = [
    ("Žofie", "Nováková"),
    ("小百合", "田中"),
    ("Ольга", "Орлова"),
    ("Zoë", "Müller-Lüdenscheidt"),
];

/// The person with this number.
pub(crate) fn invented(number: u64, shape: Shape) -> Person {
    let given = GIVEN[(number % 16) as usize];
    let family = FAMILY[(number / 16 % 16) as usize];
    let plain = Person::named(given, family)
        .email(&email(number))
        .phone(&phone(number), Some(&e164(number)));
    if shape == Shape::Plain {
        return plain;
    }
    match number % 20 {
        3 => Person { emails: Vec::new(), ..plain },
        5 => Person { phones: Vec::new(), ..plain },
        7 => Person { family_name: None, ..plain },
        11 => plain.email(&format!("second.{number}@example.net")),
        13 => {
            let (given, family) = OTHER_SCRIPTS[(number / 20 % 4) as usize];
            Person {
                given_name: Some(given.to_owned()),
                family_name: Some(family.to_owned()),
                ..plain
            }
        }
        17 => Person::named(&format!(" {given} "), family)
            .email(&format!("Person.{number}+tag@Example.org"))
            .phone(&phone(number), None),
        _ => plain,
    }
}

/// The same person as an Intercom user with an e-mail and a given name.
pub(crate) fn seed(number: u64) -> Seed {
    let person = invented(number, Shape::Plain);
    Seed { email: Some(email(number)), name: person.given_name, ..Seed::default() }
}

pub(crate) fn email(number: u64) -> String {
    format!("person.{number}@example.org")
}

/// A number of the 555 range, which is reserved for fiction.
pub(crate) fn phone(number: u64) -> String {
    format!("({}) 555-{:04}", 200 + number / 10_000 % 700, number % 10_000)
}

pub(crate) fn e164(number: u64) -> String {
    format!("+1{}555{:04}", 200 + number / 10_000 % 700, number % 10_000)
}
