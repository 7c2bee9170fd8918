//! A contact in our own words: ids, fields and digests; no vendor's names and no I/O.

mod agreement;
mod as_shown;
mod base;
mod candidate;
mod digest;
mod email;
mod fields;
mod form;
mod id;
mod link;
mod rule;
mod text;
mod writes;

pub use as_shown::AsShown;
pub use base::{Bases, Clears, FieldOrder};
pub use candidate::{Candidate, Role};
pub use digest::{Digest, DigestKey};
pub use email::Email;
pub use fields::{FieldName, FieldPlace, Fields, TooLong};
pub use form::{Form, Reading, Value};
pub use id::{IntercomId, KeapId, NotAKeapId, NotAnIntercomId};
pub use link::{Link, LinkState};
pub use rule::{FieldRule, OnEmpty, Owner};
pub use text::tidy;
pub use writes::Writes;

use chrono::{DateTime, Utc};

/// A person as Keap shows them, with the mapped fields only.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    pub id: KeapId,
    /// Keap's own update stamp. Keap does not promise to show one (`docs/api/keap.md`, "Times").
    pub updated_at: Option<DateTime<Utc>>,
    pub fields: Fields,
    /// The mapped tags and the company, which a call of their own writes each.
    pub relations: Fields,
    /// Whether the filter of the settings lets the contact in.
    pub in_scope: bool,
    /// How Keap showed it, if the contact may be written there.
    pub as_shown: AsShown,
}

impl Contact {
    /// A contact that shows these fields, and nothing else.
    pub fn showing(id: KeapId, fields: Fields) -> Self {
        Self {
            id,
            updated_at: None,
            fields,
            relations: Fields::default(),
            in_scope: true,
            as_shown: AsShown::default(),
        }
    }

    /// What Keap shows of a field or relation.
    pub fn reading(&self, field: &str) -> Option<&Reading> {
        self.fields.get(field).or_else(|| self.relations.get(field))
    }

    /// `None`: the contact has no e-mail address, or one that is not valid.
    pub fn email(&self) -> Option<&Email> {
        match self.fields.get(FieldName::EMAIL) {
            Some(Reading::Is(Value::Email(email))) => Some(email),
            _ => None,
        }
    }

    /// The same contact, of which these fields are not written: the other side keeps its values.
    #[must_use]
    pub fn without<'a>(&self, fields: impl Iterator<Item = &'a FieldName>) -> Self {
        let fields = fields.fold(self.fields.clone(), |rest, name| rest.without(name));
        Self { fields, ..self.clone() }
    }

    /// Whether Keap was asked for all built-in fields.
    pub fn has_built_in_fields(&self) -> bool {
        digest::BUILT_IN.iter().all(|name| self.fields.get(name).is_some())
    }
}

/// Contacts are people: a debug print shows the id alone, so that no log line can carry more.
impl std::fmt::Debug for Contact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contact({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(email: Option<&str>) -> Contact {
        Contact::showing(
            KeapId::new(7).expect("positive"),
            Fields::from_iter([
                ("email", Form::Email.read(email)),
                ("name", Form::Text.read(Some("Ann Canary"))),
            ]),
        )
    }

    #[test]
    fn a_contact_has_an_address_only_if_it_is_valid() {
        let ann = contact(Some("Ann@Example.org"));
        assert_eq!(ann.email().map(Email::as_written), Some("Ann@Example.org"));
        assert_eq!(contact(Some("n/a")).email(), None);
        assert_eq!(contact(None).email(), None);
    }

    #[test]
    fn a_debug_print_shows_no_person() {
        assert_eq!(format!("{:?}", contact(Some("ann@canary.example"))), "Contact(7)");
    }
}
