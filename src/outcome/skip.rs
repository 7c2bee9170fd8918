//! Why nothing is done for a contact.

use std::fmt;

/// Why nothing is done for a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// The last write has the same content.
    Unchanged,
    /// It has no e-mail address by which it could be matched or created. `logged`: the log already
    /// shows it in this state.
    NoEmail { logged: bool },
    /// It is held, and nothing has changed since.
    StillHeld,
    /// Its next attempt comes later, and nothing has changed since the last one.
    RetryLater,
    /// Keap does not have it.
    NotInKeap,
    /// The filter of the settings leaves it out.
    OutOfScope,
    /// Its Intercom contact was archived or deleted there.
    GoneInIntercom,
    /// A brake has stopped its write, which waits in a plan.
    PlanWaits,
    /// A person has decided to ignore it.
    Ignored,
    /// It was erased, or is about to be.
    Erased,
    /// It has the e-mail address of a contact that was erased. `logged`: the log already shows it
    /// in this state.
    ErasedAddress { logged: bool },
}

impl SkipReason {
    /// The stored words that the log holds.
    pub const CODES: [&'static str; 7] = [
        "no_email",
        "not_in_keap",
        "out_of_scope",
        "gone_in_intercom",
        "ignored",
        "erased",
        "erased_address",
    ];

    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::NoEmail { .. } => "no_email",
            Self::StillHeld => "still_held",
            Self::RetryLater => "retry_later",
            Self::NotInKeap => "not_in_keap",
            Self::OutOfScope => "out_of_scope",
            Self::GoneInIntercom => "gone_in_intercom",
            Self::PlanWaits => "plan_waits",
            Self::Ignored => "ignored",
            Self::Erased => "erased",
            Self::ErasedAddress { .. } => "erased_address",
        }
    }

    /// What a person can do about it, in one sentence.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Unchanged => "Nothing has to be done.",
            Self::NoEmail { .. } => "Give the contact an e-mail address in Keap.",
            Self::StillHeld => "See `keap-intercom-sync held`.",
            Self::RetryLater => "Nothing has to be done; the next attempt comes by itself.",
            Self::NotInKeap => {
                "Nothing has to be done; if it is linked, the next sweep deals with it."
            }
            Self::OutOfScope => {
                "Change [filter] in the settings, or the tags of the contact in Keap."
            }
            Self::GoneInIntercom => {
                "Nothing has to be done; the next change in Keap brings it back if sync.unarchive is on."
            }
            Self::PlanWaits => {
                "`keap-intercom-sync plan show` lists what waits; `keap-intercom-sync plan approve` carries it out."
            }
            Self::Ignored => {
                "Nothing has to be done; to sync it after all, take the decision back: `keap-intercom-sync decide take-back <keap id>`."
            }
            Self::Erased => {
                "Nothing has to be done; `keap-intercom-sync erase --forget` lets it come back."
            }
            Self::ErasedAddress { .. } => {
                "Nothing has to be done; if it is another person, `keap-intercom-sync erase --forget` with the id of the erased contact lets the address come back."
            }
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEmail { .. } => {
                "no_email: the contact has no valid e-mail address and no Intercom contact yet"
            }
            Self::NotInKeap => "not_in_keap: Keap answers 404 for this contact",
            Self::OutOfScope => "out_of_scope: the filter of the settings leaves this contact out",
            Self::GoneInIntercom => {
                "gone_in_intercom: the Intercom contact was archived or deleted there"
            }
            Self::PlanWaits => "plan_waits: a brake has stopped its write, which waits in a plan",
            Self::Ignored => "ignored: a person has decided to ignore this contact",
            Self::Erased => "erased: the contact was erased, and nobody brings it back",
            Self::ErasedAddress { .. } => {
                "erased_address: the contact has the e-mail address of one that was erased"
            }
            Self::StillHeld => "held, and unchanged since: see `keap-intercom-sync held`",
            Self::RetryLater => "failed before; its next try comes later",
            Self::Unchanged => self.code(),
        })
    }
}
