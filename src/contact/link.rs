//! The stored pair of a Keap contact and an Intercom contact, as decisions see it.

use chrono::{DateTime, Utc};

use super::{Bases, Digest, IntercomId, Writes};

/// What the last decision made of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    Linked(IntercomId),
    /// The contact was left out. The link is kept so that this is logged once per change.
    Skipped,
}

/// The link of a contact, with digests of what was last recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub state: LinkState,
    /// The fields as they were last written.
    pub fingerprint: Digest,
    /// The contact as Keap showed it then, with its stamp.
    pub sighting: Digest,
    /// What Keap showed then, field by field. `None`: a former release wrote the link, and does not
    /// say it.
    pub keap_base: Option<Bases>,
    pub keap_updated_at: Option<DateTime<Utc>>,
    /// What Intercom showed when each field was settled last. `None`: nobody has looked since the
    /// second direction was switched on.
    pub intercom_base: Option<Bases>,
    /// Intercom's stamp of the contact when it was last written or read.
    pub intercom_updated_at: Option<DateTime<Utc>>,
    /// When the daemon last replaced an Intercom contact that had vanished.
    pub replaced_at: Option<DateTime<Utc>>,
    /// Intercom does not show the contact: it was archived or deleted there.
    pub gone_in_intercom: bool,
    /// The filter left the contact out at the last look.
    pub is_out: bool,
    /// How often each side was written lately.
    pub writes: Writes,
}

impl Link {
    /// The linked Intercom contact; `None` for a contact that was left out.
    pub fn intercom(&self) -> Option<&IntercomId> {
        match &self.state {
            LinkState::Linked(id) => Some(id),
            LinkState::Skipped => None,
        }
    }
}
