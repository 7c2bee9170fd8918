//! A contact in our own words: ids, e-mail, mapped fields; no vendor's names and no I/O.

mod candidate;
mod digest;
mod email;
mod id;
mod link;

pub use candidate::{Candidate, Role};
pub use digest::{Digest, DigestKey};
pub use email::{Email, EmailField};
pub use id::{IntercomId, KeapId};
pub use link::{Link, LinkState};

use chrono::{DateTime, Utc};
use unicode_normalization::UnicodeNormalization;

/// A person as both remotes know them, holding only the fields that are synced, already normalised.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    pub id: KeapId,
    /// Keap's own update stamp; Keap does not promise one (`api/keap.md` 5.4).
    pub updated_at: Option<DateTime<Utc>>,
    pub email: EmailField,
    pub name: Option<String>,
    pub phone: Option<String>,
}

impl Contact {
    /// Joins the name's parts with one space; nothing left of them is no name.
    pub fn full_name(given: Option<&str>, family: Option<&str>) -> Option<String> {
        let parts: Vec<String> = [given, family].into_iter().filter_map(normalise).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

/// Contacts are people: a debug print shows the id alone, so that no log line can carry more.
impl std::fmt::Debug for Contact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contact({})", self.id)
    }
}

/// Trims and composes (NFC) a text, so that one text typed in two ways has one fingerprint; blank is nothing.
pub fn normalise(text: Option<&str>) -> Option<String> {
    let composed: String = text?.nfc().collect();
    let trimmed = composed.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_is_left_of_its_parts() {
        for (given, family, name) in [
            (Some(" Ann "), Some("Lee"), Some("Ann Lee")),
            (Some("Ann"), None, Some("Ann")),
            (None, Some(" Lee"), Some("Lee")),
            (Some(""), Some("  "), None),
            (None, None, None),
            (Some("Zoe\u{308}"), None, Some("Zo\u{eb}")),
        ] {
            assert_eq!(Contact::full_name(given, family).as_deref(), name);
        }
    }

    #[test]
    fn a_debug_print_shows_no_person() {
        let contact = Contact {
            id: KeapId::new(7).expect("positive"),
            updated_at: None,
            email: EmailField::of(Some("ann@example.org")),
            name: Some("Ann".into()),
            phone: Some("+16025550144".into()),
        };
        assert_eq!(
            format!("{contact:?} {:?}", contact.email),
            "Contact(7) Valid"
        );
    }
}
