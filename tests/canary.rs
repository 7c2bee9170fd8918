//! People and texts that are recognised wherever they appear (F101).
#![allow(dead_code)] // Each test, example or bench uses only a part.

use crate::sim::Person;

/// Texts that no process may print: each secret, and each name, e-mail and phone number of
/// [`canary`], contains one of them. The last one is the first as Postgres shows bytes.
pub(crate) const CANARIES: [&str; 4] = ["canary", "1777555", "(777)", "63616e617279"];

/// The first text of [`CANARIES`] that `text` contains, in any case of letters.
pub(crate) fn canary_in(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    CANARIES.into_iter().find(|canary| lower.contains(canary))
}

/// A person whose every field is recognised when it is printed.
pub(crate) fn canary(number: usize) -> Person {
    let digits = format!("{number:04}");
    Person::named(&format!("Canary{number}"), "Canarysson")
        .email(&format!("canary.{number}@canary.example"))
        .phone(&format!("(777) 555-{digits}"), Some(&format!("+1777555{digits}")))
}
