//! An Intercom contact that may belong to a Keap contact without a link.

use super::agreement::agree;
use super::{Contact, Email, FieldName, Fields, IntercomId, KeapId, Reading, Value};

/// The role of an Intercom contact. Intercom gives a lead its external id, so that one is never a
/// Keap id (`docs/api/intercom.md`, "Ids and roles").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    User,
    Lead,
}

/// A live Intercom contact that may belong to a Keap contact.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: IntercomId,
    pub role: Role,
    /// The external id of a user, if it has one. Always `None` for a lead.
    pub external_id: Option<String>,
    /// The e-mail in lower case.
    pub email: Option<String>,
    /// Its e-mail, name and phone, by the names that the mapping gives them.
    pub shows: Fields,
    /// The other fields of the mapping. They prove nothing about a person.
    pub rest: Fields,
    /// It has mapped tags or not, and did not show which: it shows ten of them.
    pub hides_tags: bool,
    /// The ids of its tags. `None`: Intercom does not show all of them here.
    pub tags: Option<Vec<String>>,
    /// Unix seconds.
    pub created_at: i64,
    /// When it last changed, in Unix seconds. `None`: Intercom does not say.
    pub updated_at: Option<i64>,
}

impl Candidate {
    /// Its address as Intercom shows it. `None`: it has none, or one that is not valid.
    pub fn address(&self) -> Option<&Email> {
        match self.field(FieldName::EMAIL)? {
            Reading::Is(Value::Email(email)) => Some(email),
            _ => None,
        }
    }

    /// Whether the contact carries this Keap id.
    pub fn belongs_to(&self, keap: KeapId) -> bool {
        self.external_id.as_deref() == Some(keap.to_string().as_str())
    }

    /// Whether its e-mail, name or phone is that of the Keap contact.
    pub fn agrees_with(&self, contact: &Contact) -> bool {
        agree(&self.shows, &contact.fields)
    }

    /// What it shows of a field of the mapping.
    pub fn field(&self, name: &str) -> Option<&Reading> {
        self.shows.get(name).or_else(|| self.rest.get(name))
    }

    /// All fields of the mapping.
    pub fn fields(&self) -> Fields {
        let all = self.shows.iter().chain(self.rest.iter());
        all.map(|(name, reading)| (name.clone(), reading.clone())).collect()
    }

    /// The Keap contact whose id it carries, if its external id is such a number.
    pub fn external_keap_id(&self) -> Option<KeapId> {
        self.external_id.as_deref()?.parse().ok()
    }
}

/// Candidates are people: a debug print shows the id alone.
impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Candidate({})", self.id)
    }
}
