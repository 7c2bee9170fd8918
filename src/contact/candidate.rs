//! What was found on the other side for a contact that has no link yet.

use super::{IntercomId, KeapId};

/// The role of an Intercom contact: a lead's external id is Intercom's own, never a Keap id (`api/intercom.md` 0.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    User,
    Lead,
}

/// An existing, live Intercom contact that may be the one a Keap contact belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: IntercomId,
    pub role: Role,
    /// A user's external id where it has one; always `None` for a lead.
    pub external_id: Option<String>,
    /// The e-mail in its compared form.
    pub email: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
}

impl Candidate {
    pub fn belongs_to(&self, keap: KeapId) -> bool {
        self.external_id.as_deref() == Some(keap.to_string().as_str())
    }
}

/// Candidates are people: a debug print shows the id alone.
impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Candidate({})", self.id)
    }
}
