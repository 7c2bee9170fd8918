//! Outcomes: what came of a contact, and why a side stops.

use std::time::Duration;

use super::decide::{Hold, SkipReason};
use crate::contact::{IntercomId, KeapId};
use crate::remote::Failure;
use crate::store::StoreError;

/// What was done to bring a contact to the wanted state; the first three in the words of the original worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Created,
    Linked,
    Updated,
    /// Gone from Keap: its Intercom contact is archived, or only let go of.
    Archived,
    Unlinked,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Linked => "linked",
            Self::Updated => "updated",
            Self::Archived => "archived",
            Self::Unlinked => "unlinked",
        }
    }
}

/// What came of a decision.
#[derive(Debug)]
pub enum Outcome {
    Synced {
        action: Action,
        intercom: IntercomId,
        request_id: Option<String>,
        /// Its former Intercom contact had vanished.
        replaced: bool,
    },
    /// Keap does not have it any more.
    Gone {
        action: Action,
        intercom: IntercomId,
        /// Who gets the Intercom contact.
        heir: Option<KeapId>,
    },
    /// `forget`: its former Intercom contact has vanished, and it cannot be matched again.
    Skipped {
        reason: SkipReason,
        forget: bool,
    },
    /// To be tried again. Uses up an attempt, unless it is put off: then the remote is to blame.
    Again {
        why: String,
        put_off: Option<Duration>,
    },
    /// The other lane was at the contact: to be looked at afresh, without using up an attempt.
    Afresh,
    Held(Hold),
}

/// Why a side stops: nothing is lost, the page is taken again.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    #[error("{why}")]
    Remote {
        why: String,
        retry_in: Duration,
        needs_person: bool,
    },
    #[error("this process no longer holds the lease")]
    LeaseLost,
    #[error("the daemon is stopping")]
    Cancelled,
    #[error("{0}")]
    Store(StoreError),
    /// Reading Keap does not come to an end, or its answers contradict each other.
    #[error("{0}")]
    Feed(String),
    /// A mistake of ours; the panic itself has been logged where it happened.
    #[error(
        "a step ended in a panic: this is a mistake in keap-intercom-sync; please report the lines before this one"
    )]
    Panicked,
}

impl Outcome {
    pub fn again(why: impl Into<String>) -> Self {
        Self::Again {
            why: why.into(),
            put_off: None,
        }
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

/// How long a lane waits before it looks again after a failure that names no time of its own.
const PAUSE: Duration = Duration::from_secs(5);

impl Halt {
    /// A failure of a whole page's reading: there is no contact to put it on.
    pub fn of_reading(failure: Failure) -> Self {
        match failure {
            Failure::Stop { why, retry_in } => Self::Remote {
                why,
                retry_in,
                needs_person: true,
            },
            Failure::Down { why, retry_in } => Self::Remote {
                why,
                retry_in,
                needs_person: false,
            },
            Failure::Again { why, put_off } => Self::Remote {
                why,
                retry_in: put_off.unwrap_or(PAUSE.mul_f64(rand::random_range(0.2..1.0))),
                needs_person: false,
            },
            Failure::Never { why } => Self::Feed(why),
        }
    }

    /// How long to wait before the side is tried again.
    pub fn retry_in(&self) -> Duration {
        match self {
            Self::Remote { retry_in, .. } => *retry_in,
            Self::Cancelled => Duration::ZERO,
            // The keeper of the lease may not know it yet.
            Self::LeaseLost => Duration::from_secs(1),
            Self::Store(_) => Duration::from_secs(1).mul_f64(rand::random_range(0.5..1.5)),
            Self::Feed(_) | Self::Panicked => Duration::from_secs(60),
        }
    }
}
