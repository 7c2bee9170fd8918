//! Classes of failure: every answer of a remote is classed once, and nothing above looks at a status code.

use std::time::Duration;

/// Why a call did not bring what was asked for. The text holds ids, statuses and codes only: remotes quote people in theirs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// This call failed in passing: the same call may succeed later. `put_off`: it was on trial for a remote that fails
    /// for everybody, so no contact is to blame, and whoever it was about makes way for others for so long.
    #[error("{why}")]
    Again {
        why: String,
        put_off: Option<Duration>,
    },
    /// This call will be refused however often it is repeated.
    #[error("{why}")]
    Never { why: String },
    /// The whole side refuses us until a person acts: credentials, plan, version, address.
    #[error("{why}")]
    Stop { why: String, retry_in: Duration },
    /// The whole side is out of reach, or its quota is used up: it comes back by itself.
    #[error("{why}")]
    Down { why: String, retry_in: Duration },
}

impl Failure {
    pub fn again(why: impl Into<String>) -> Self {
        Self::Again {
            why: why.into(),
            put_off: None,
        }
    }

    pub fn never(why: impl Into<String>) -> Self {
        Self::Never { why: why.into() }
    }
}
