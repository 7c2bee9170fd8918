//! Classes of failure: every answer of a remote is classed once, and nothing above looks at a
//! status code.

use std::time::Duration;

/// Why a call did not bring what it asked for. The text holds ids, statuses and codes only:
/// remotes quote people in theirs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// This call failed for now: the same call may succeed later.
    #[error("{why}")]
    Again {
        why: String,
        /// Set if nobody knows whether the contact is to blame: the call was on trial for a remote
        /// that fails for every contact, or no harmless call could show that the remote works.
        /// Others go first for this long.
        delay: Option<Duration>,
    },
    /// The remote will refuse this call however often it is repeated.
    #[error("{why}")]
    Never { why: String },
    /// A person has paused such writes. Nothing was sent.
    #[error("{why}")]
    Paused { why: String },
    /// The whole side refuses us until a person acts: credentials, plan, version, address.
    #[error("{why}")]
    Stop { why: String, retry_in: Duration },
    /// The whole side is out of reach, or its quota is used up: it comes back by itself.
    #[error("{why}")]
    Down { why: String, retry_in: Duration },
}

impl Failure {
    pub fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), delay: None }
    }

    pub fn never(why: impl Into<String>) -> Self {
        Self::Never { why: why.into() }
    }
}

/// Why a client could not be built: a setting is wrong, or the system has no TLS to offer.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{0} holds characters that no HTTP header can carry")]
    Header(&'static str),
    #[error("{0} names a proxy that cannot be used")]
    Proxy(&'static str),
    #[error(
        "no HTTPS client could be made; are the system's certificate authorities installed (package ca-certificates)?"
    )]
    Client(#[from] reqwest::Error),
}

/// What an answer stands for. The texts follow the remote's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    /// The caller reads it.
    Answer,
    /// The remote failed.
    Failed(String),
    /// It refuses this call, or everything of ours.
    Refused(String),
}
