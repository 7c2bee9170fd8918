//! Why a contact needs a person.

use std::fmt;

use crate::contact::KeapId;

/// The stored word of the hold that a value of Intercom causes.
pub const EMAIL_IN_KEAP: &str = "email_in_keap";

/// The stored word of the hold that two programs cause which change a contact in turn.
pub const PING_PONG: &str = "ping_pong";

/// What the hold says of the side that was written too often.
const TO_KEAP: &str = "Keap was written more than six times within an hour";
const TO_INTERCOM: &str = "Intercom was written more than six times within an hour";

/// Why a contact needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldReason {
    /// The Intercom contact with this e-mail belongs to that Keap contact.
    EmailLinkedTo(KeapId),
    /// Intercom's new e-mail address is that of this other contact in Keap.
    EmailInKeap(KeapId),
    /// More than one contact in Keap has the address of this user of Intercom.
    SeveralInKeap,
    /// Keap does not take the contact of this user.
    CreateRefused(String),
    /// Keap has not answered a create, and shows no contact of it.
    CreateUnsure,
    ExternalIdTaken,
    /// An Intercom contact carries the Keap id, and shows another person.
    ExternalIdUnproven,
    SeveralUsers,
    Archived,
    NotRestorable,
    DeletedAgain,
    Conflict,
    /// What a person has decided cannot be carried out any more.
    DecisionOutdated(String),
    /// One side was written again and again within an hour.
    PingPong {
        in_keap: bool,
    },
    Refused(String),
    LastTry(String),
}

impl HoldReason {
    /// The stored word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmailLinkedTo(_) => "email_linked_to",
            Self::EmailInKeap(_) => EMAIL_IN_KEAP,
            Self::SeveralInKeap => "several_in_keap",
            Self::CreateRefused(_) => "create_refused",
            Self::CreateUnsure => "create_unsure",
            Self::ExternalIdTaken => "external_id_taken",
            Self::ExternalIdUnproven => "external_id_unproven",
            Self::SeveralUsers => "several_users",
            Self::Archived => "archived",
            Self::NotRestorable => "not_restorable",
            Self::DeletedAgain => "deleted_again",
            Self::Conflict => "conflict",
            Self::DecisionOutdated(_) => "decision_outdated",
            Self::PingPong { .. } => PING_PONG,
            Self::Refused(_) => "refused",
            Self::LastTry(_) => "last_try",
        }
    }

    /// The Keap contact that blocks the held one. Its next change concerns the held one too.
    pub fn about(&self) -> Option<KeapId> {
        match self {
            Self::EmailLinkedTo(other) | Self::EmailInKeap(other) => Some(*other),
            _ => None,
        }
    }

    /// Whether the hold can end without any change in Keap that the daemon would notice: a person
    /// corrects, merges or archives a contact in Intercom. It is looked at again from time to time.
    pub fn ends_in_intercom(&self) -> bool {
        matches!(
            self,
            Self::EmailInKeap(_)
                | Self::ExternalIdTaken
                | Self::ExternalIdUnproven
                | Self::SeveralUsers
                | Self::Conflict
        )
    }

    /// What a remote or the database answered, if the code alone does not say it.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Refused(why)
            | Self::LastTry(why)
            | Self::CreateRefused(why)
            | Self::DecisionOutdated(why) => Some(why),
            Self::PingPong { in_keap } => Some(if *in_keap { TO_KEAP } else { TO_INTERCOM }),
            _ => None,
        }
    }

    /// The reason of stored parts; `None` for those of another release.
    pub fn from_parts(code: &str, about: Option<KeapId>, detail: Option<&str>) -> Option<Self> {
        let detail = || detail.unwrap_or_default().to_owned();
        Some(match code {
            "email_linked_to" => Self::EmailLinkedTo(about?),
            EMAIL_IN_KEAP => Self::EmailInKeap(about?),
            "several_in_keap" => Self::SeveralInKeap,
            "create_refused" => Self::CreateRefused(detail()),
            "create_unsure" => Self::CreateUnsure,
            "external_id_taken" => Self::ExternalIdTaken,
            "external_id_unproven" => Self::ExternalIdUnproven,
            "several_users" => Self::SeveralUsers,
            "archived" => Self::Archived,
            "not_restorable" => Self::NotRestorable,
            "deleted_again" => Self::DeletedAgain,
            "conflict" => Self::Conflict,
            "decision_outdated" => Self::DecisionOutdated(detail()),
            PING_PONG => Self::PingPong { in_keap: detail() != TO_INTERCOM },
            "refused" => Self::Refused(detail()),
            "last_try" => Self::LastTry(detail()),
            _ => return None,
        })
    }

    /// Reads the reason back from its text. A text without a known code is the last error of a
    /// contact that failed too often.
    pub fn read(text: &str) -> Self {
        let (head, detail) = text.split_once(": ").unwrap_or((text, ""));
        let (code, about) = head.split_once(' ').unwrap_or((head, ""));
        Self::from_parts(code, about.parse().ok(), Some(detail))
            .unwrap_or_else(|| Self::LastTry(text.to_owned()))
    }

    /// A reason of this code, for what all reasons of one code share: the meaning and the remedy.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::from_parts(code, KeapId::new(1), None)
    }

    /// What it means, without its particulars.
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::EmailLinkedTo(_) => {
                "the Intercom contact with this e-mail belongs to another Keap contact"
            }
            Self::EmailInKeap(_) => {
                "another contact in Keap has the e-mail address that Intercom shows"
            }
            Self::SeveralInKeap => {
                "more than one contact in Keap has the e-mail of this Intercom user"
            }
            Self::CreateRefused(_) => "Keap does not take the contact of this Intercom user",
            Self::CreateUnsure => {
                "Keap has not answered the create of a contact, and nobody knows whether it was made"
            }
            Self::ExternalIdTaken => "the Intercom contact found carries another external id",
            Self::ExternalIdUnproven => {
                "an Intercom contact has this Keap id as its external id, and neither e-mail, name nor phone agrees"
            }
            Self::SeveralUsers => "more than one Intercom user has this e-mail",
            Self::Archived => "the Intercom contact is archived and sync.unarchive is off",
            Self::NotRestorable => {
                "the archived Intercom contact was merged, blocked or deleted for good"
            }
            Self::DeletedAgain => "the Intercom contact vanished twice within an hour",
            Self::Conflict => {
                "Intercom names another contact with these details and it cannot be settled"
            }
            Self::DecisionOutdated(_) => {
                "what a person has decided about the contact cannot be done any more"
            }
            Self::PingPong { .. } => {
                "another program changes the contact again and again, and each change is written to the other side"
            }
            Self::Refused(_) => "Intercom refuses the contact",
            Self::LastTry(_) => "it failed at every attempt",
        }
    }

    /// What a person can do about it, in one sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::EmailLinkedTo(_) => {
                "Merge the two contacts in Keap, or change the e-mail address of one of them."
            }
            Self::EmailInKeap(_) => {
                "Merge the two contacts in Keap, or correct the e-mail address in Intercom."
            }
            Self::SeveralInKeap => "Merge the contacts in Keap.",
            Self::CreateRefused(_) => {
                "Correct the e-mail address or the name in Intercom, or make the contact in Keap by hand."
            }
            Self::CreateUnsure => {
                "Look for the person in Keap. If there is a contact, correct its e-mail address; then retry the user."
            }
            Self::ExternalIdTaken => {
                "If that external id is wrong, correct it in Intercom, or change the e-mail address there."
            }
            Self::ExternalIdUnproven => {
                "If it is the same person, correct the e-mail, name or phone on one side; if not, change the external id in Intercom."
            }
            Self::SeveralUsers => "Merge or archive all but one of them in Intercom.",
            Self::Archived => "Unarchive the contact in Intercom, or leave it held.",
            Self::NotRestorable => {
                "Unblock the contact in Intercom; after a deletion, wait seven days."
            }
            Self::DeletedAgain => "Find out who deletes the contact in Intercom.",
            Self::Conflict => "Compare the two contacts in Intercom, and correct one of them.",
            Self::DecisionOutdated(_) => {
                "Retry the contact: the rules look at it anew, and if they cannot decide either, the candidates of now are listed."
            }
            Self::PingPong { .. } => {
                "Find the program or automation that changes the contact again and again, and stop it or give the field another owner; then retry the contact, or wait: it is tried again when the hour is over."
            }
            Self::Refused(_) => "Correct the field in Keap: its next change is tried by itself.",
            Self::LastTry(_) => "Settle the last error, then retry the contact.",
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code();
        match self {
            Self::EmailLinkedTo(other) | Self::EmailInKeap(other) => {
                write!(f, "{code} {other}: {}", self.meaning())
            }
            Self::Refused(why)
            | Self::LastTry(why)
            | Self::CreateRefused(why)
            | Self::DecisionOutdated(why) => {
                write!(f, "{code}: {why}")
            }
            Self::PingPong { .. } => write!(f, "{code}: {}", self.detail().unwrap_or_default()),
            _ => write!(f, "{code}: {}", self.meaning()),
        }
    }
}
