//! What came of a decision, and why a side stops.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::decide::Hold;
use crate::contact::{Bases, Contact, Digest, FieldName, IntercomId, KeapId};
use crate::outcome::{Action, SkipReason};
use crate::remote::Failure;
use crate::store::{StoreError, Tally};

/// What came of a decision.
#[derive(Debug)]
pub(super) enum Outcome {
    Synced {
        action: Action,
        intercom: IntercomId,
        request_id: Option<String>,
        /// What Keap showed.
        keap_base: Bases,
        /// A field was not written, because its place is gone for every contact.
        incomplete: bool,
        /// Its former Intercom contact had vanished.
        replaced: bool,
        /// Fields that Intercom refuses. It keeps its own values.
        left_out: Vec<FieldName>,
        /// Fields that were edited on both sides.
        conflicts: Vec<FieldName>,
        /// What has become of its fields.
        fields: Tally,
        /// What both sides show, where both directions are on.
        both: Option<Box<Both>>,
    },
    /// Keap no longer has the contact.
    Gone {
        action: Action,
        intercom: IntercomId,
        /// The contact that gets the Intercom contact.
        new_owner: Option<KeapId>,
    },
    /// Keap no longer has it. The Intercom contact that its create has made gets a link.
    Adopted {
        intercom: IntercomId,
    },
    /// Its Intercom contact was archived or deleted in Intercom, and nothing in Keap asks for one.
    GoneInIntercom {
        intercom: IntercomId,
        /// It has got a tag in Keap.
        tagged: bool,
    },
    /// `forget`: its former Intercom contact has vanished, and it cannot be matched again.
    Skipped {
        reason: SkipReason,
        forget: bool,
    },
    /// It is tried again. Without a `delay`, that uses up an attempt. With one, the remote is to
    /// blame.
    Again {
        why: String,
        delay: Option<Duration>,
    },
    /// The other lane has or had the contact. It is looked at once more, and no attempt is used up.
    Requeue,
    /// A person has paused the write that comes next. It stays due, and no attempt is used up.
    Paused {
        why: String,
    },
    /// A walk has found it, and its write to Keap waits for its turn. No attempt is used up.
    Paced,
    Held(Hold),
    /// It is held, and this is its own Intercom contact, which does not show what Keap shows: it
    /// has given up its e-mail address to a circle of contacts, or a write with an unknown outcome
    /// has made it. It is written when the hold ends.
    HeldWith {
        intercom: IntercomId,
        /// The address that it has there.
        email: Option<Digest>,
        hold: Hold,
    },
}

/// What both sides show of a contact after a look at both.
#[derive(Debug)]
pub(super) struct Both {
    pub intercom_base: Bases,
    pub intercom_updated_at: Option<DateTime<Utc>>,
    /// The contact as Keap shows it after a write there.
    pub keap: Option<Contact>,
    /// Intercom was written, too.
    pub wrote_intercom: bool,
    /// Nothing but values that were put back.
    pub only_restored: bool,
    /// Fields that Keap refuses. It keeps its own values.
    pub refused_in_keap: Vec<FieldName>,
}

/// Why a side stops. Nothing is lost: the page is taken again.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    #[error("{why}")]
    Remote { why: String, retry_in: Duration, needs_person: bool },
    #[error("this process no longer holds the lease")]
    LeaseLost,
    #[error("the daemon is stopping")]
    Cancelled,
    /// A person has paused it. What was done is recorded.
    #[error("{0}")]
    Paused(String),
    #[error("{0}")]
    Store(StoreError),
    /// Reading Keap does not end, or its answers contradict each other.
    #[error("{0}")]
    Feed(String),
    /// A mistake in this program. The panic itself has been logged where it happened.
    #[error(
        "a step ended in a panic: this is a mistake in keap-intercom-sync; please report the lines before this one"
    )]
    Panicked,
}

impl Outcome {
    pub(super) fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), delay: None }
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost => Self::LeaseLost,
            error => Self::Store(error),
        }
    }
}

/// The longest pause of a lane after a failure that names no time of its own.
const READING_PAUSE: Duration = Duration::from_secs(5);

impl Halt {
    /// The failure of a whole page's reading. It is not about a single contact.
    pub fn of_reading(failure: Failure) -> Self {
        match failure {
            Failure::Stop { why, retry_in } => Self::Remote { why, retry_in, needs_person: true },
            Failure::Paused { why } => Self::Paused(why),
            Failure::Down { why, retry_in } => Self::Remote { why, retry_in, needs_person: false },
            Failure::Again { why, delay } => Self::Remote {
                why,
                retry_in: delay.unwrap_or(READING_PAUSE.mul_f64(rand::random_range(0.2..1.0))),
                needs_person: false,
            },
            Failure::Never { why } => Self::Feed(why),
        }
    }

    /// Keap's calls that are left today are kept for opt-outs.
    pub(super) fn only_opt_outs() -> Self {
        Self::Remote {
            why: "Keap has few calls left for today, which are kept for opt-outs; the others wait until it counts anew".into(),
            retry_in: Duration::from_secs(60),
            needs_person: false,
        }
    }

    /// How long to wait before the side is tried again.
    pub fn retry_in(&self) -> Duration {
        match self {
            Self::Remote { retry_in, .. } => *retry_in,
            Self::Cancelled => Duration::ZERO,
            // The lease's keeper may not know it yet.
            Self::LeaseLost => Duration::from_secs(1),
            // The next step takes nothing that is paused.
            Self::Paused(_) => Duration::from_millis(100),
            Self::Store(_) => Duration::from_secs(1).mul_f64(rand::random_range(0.5..1.5)),
            Self::Feed(_) | Self::Panicked => Duration::from_secs(60),
        }
    }
}
