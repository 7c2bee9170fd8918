//! The stored pair Keap contact – Intercom contact, as decisions see it.

use chrono::{DateTime, Utc};

use super::{Digest, IntercomId};

/// What became of a contact that was acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    Linked(IntercomId),
    /// Looked at and left out; remembered so that it is told once per change.
    Skipped,
}

/// The link of a contact, with what was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub state: LinkState,
    pub fingerprint: Digest,
    /// How the contact looked then, with its stamp.
    pub sighting: Digest,
    pub keap_updated_at: Option<DateTime<Utc>>,
    /// When an Intercom contact that had vanished was last replaced.
    pub replaced_at: Option<DateTime<Utc>>,
}
