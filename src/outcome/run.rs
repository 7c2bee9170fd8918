//! Why a run failed.

use std::fmt;

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunFailure {
    /// The brake on mass changes stopped it.
    Brake(String),
    /// The brake on mass changes stopped an audit.
    AuditBrake(String),
    /// The brake on creates in Keap stops them.
    CreateBrake(String),
    /// Another reason, in words.
    Other(String),
}

impl RunFailure {
    /// The stored word; `None` where only the text is stored.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Brake(_) => Some(BRAKE),
            Self::AuditBrake(_) => Some(AUDIT_BRAKE),
            Self::CreateBrake(_) => Some(CREATE_BRAKE),
            Self::Other(_) => None,
        }
    }

    /// The failure of stored parts.
    pub fn from_parts(code: Option<&str>, text: &str) -> Self {
        match code {
            Some(BRAKE) => Self::Brake(text.to_owned()),
            Some(AUDIT_BRAKE) => Self::AuditBrake(text.to_owned()),
            Some(CREATE_BRAKE) => Self::CreateBrake(text.to_owned()),
            _ => Self::Other(text.to_owned()),
        }
    }

    /// What a person can do about it, in one sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Brake(_) => {
                "see who deletes in Keap; `keap-intercom-sync plan show` lists them; if it is meant, `keap-intercom-sync plan approve`, or lift the brake once with `keap-intercom-sync sync --sweep --force`"
            }
            Self::AuditBrake(_) => {
                "`keap-intercom-sync plan show` lists them; if it is meant, `keap-intercom-sync plan approve`, or compare all once more with `keap-intercom-sync sync --audit --repair`"
            }
            Self::CreateBrake(_) => CREATE_BRAKE_REMEDY,
            Self::Other(_) => {
                "the next one is tried by itself; if it fails again, its reason says what to do"
            }
        }
    }
}

/// The code of a run that the brake has stopped.
pub const BRAKE: &str = "brake";

/// The same of an audit.
pub const AUDIT_BRAKE: &str = "audit_brake";

/// The same of creates in Keap.
const CREATE_BRAKE: &str = "create_brake";

/// What a person can do about the brake on creates in Keap.
pub const CREATE_BRAKE_REMEDY: &str = "`keap-intercom-sync plan show` lists the users; if they all belong in Keap, `keap-intercom-sync plan approve`, or lift the brake once with `keap-intercom-sync sync --audit --repair --force`";

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Brake(text)
            | Self::AuditBrake(text)
            | Self::CreateBrake(text)
            | Self::Other(text) => f.write_str(text),
        }
    }
}
