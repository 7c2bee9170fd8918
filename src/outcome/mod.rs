//! Outcomes in one typed vocabulary: every action, reason and run failure, with its code and
//! remedy.
//!
//! Codes are stored and shown, so they never change. Only this folder makes the text of an outcome,
//! and only this folder reads it back.

mod action;
mod decided;
mod hold;
mod plan;
mod proof;
mod run;
mod skip;

pub use action::{Action, SyncStatus};
pub use decided::{Decided, Fate, InForce, offered, refusal};
pub use hold::{EMAIL_IN_KEAP, HoldReason, PING_PONG};
pub use plan::{PLAN_REMEDY, PlanAction, PlanKind, PlanState};
pub use proof::Proof;
pub use run::{AUDIT_BRAKE, BRAKE, CREATE_BRAKE_REMEDY, RunFailure};
pub use skip::SkipReason;

use std::fmt;

use crate::contact::{FieldName, KeapId};

/// The reason of an outcome, as its log row says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Skip(SkipReason),
    Hold(HoldReason),
    /// Keap does not have the contact any more.
    Deleted,
    /// Keap no longer has the contact. This other contact was held for it, and gets its Intercom
    /// contact.
    MergedInto(KeapId),
    /// The write left out the e-mail, which is no valid address.
    InvalidEmail,
    /// The write left out these fields, because Intercom refuses their values.
    FieldRefused(Vec<FieldName>),
    /// The write left out these fields, because Keap refuses Intercom's values.
    RefusedInKeap(Vec<FieldName>),
    /// The write left out these fields, because Intercom cannot take the values that Keap shows.
    FieldInvalid(Vec<FieldName>),
    /// These fields were edited on both sides. The later edit counts.
    Conflict(Vec<FieldName>),
    /// An attempt failed. The text holds ids, statuses and codes only.
    Failed(String),
}

/// The code of reasons that have none of their own.
const OTHER: &str = "other";

impl Reason {
    /// The label under which metrics count the outcome.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Skip(reason) => reason.code(),
            Self::Hold(reason) => reason.code(),
            Self::Deleted => "deleted",
            Self::MergedInto(_) => "merged",
            Self::FieldRefused(_) | Self::RefusedInKeap(_) => "field_refused",
            Self::FieldInvalid(_) => "field_invalid",
            Self::Conflict(_) => "conflict",
            Self::InvalidEmail | Self::Failed(_) => OTHER,
        }
    }

    /// The code with which the text of a reason begins. `None`: the text has none, such as that of
    /// a failed attempt.
    pub fn code_of_text(text: &str) -> Option<&str> {
        let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(text.len());
        let (code, rest) = text.split_at(end);
        let is_known = HoldReason::of_code(code).is_some()
            || SkipReason::CODES.contains(&code)
            || ["deleted", "merged", "field_refused", "field_invalid", "conflict"].contains(&code);
        // A code stands before a colon, or before what it is about.
        (is_known && (rest.is_empty() || rest.starts_with([':', ' ']))).then_some(code)
    }

    /// The other Keap contact that the reason is about.
    pub fn about(&self) -> Option<KeapId> {
        match self {
            Self::Hold(reason) => reason.about(),
            Self::MergedInto(other) => Some(*other),
            _ => None,
        }
    }

    /// Reads the reason back from the text of a log row.
    pub fn read(action: Action, text: &str) -> Self {
        let known = match action {
            Action::Skipped => [
                SkipReason::NoEmail { logged: true },
                SkipReason::NotInKeap,
                SkipReason::OutOfScope,
                SkipReason::GoneInIntercom,
                SkipReason::PlanWaits,
                SkipReason::Ignored,
                SkipReason::Erased,
                SkipReason::ErasedAddress { logged: true },
            ]
            .into_iter()
            .find(|reason| starts_with_code(text, reason.code()))
            .map(Self::Skip),
            Action::Held => Some(Self::Hold(HoldReason::read(text))),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Failed(text.to_owned()))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip(reason) => reason.fmt(f),
            Self::Hold(reason) => reason.fmt(f),
            Self::Deleted => f.write_str(
                "deleted: Keap does not have this contact any more (404); it was deleted, or merged into another",
            ),
            Self::MergedInto(other) => write!(
                f,
                "merged: Keap does not have this contact any more (404); its Intercom contact goes to Keap contact {other}, which was held for it"
            ),
            Self::InvalidEmail => f.write_str(
                "the e-mail in Keap is not a valid address: Intercom keeps its own, the other fields were written",
            ),
            Self::FieldRefused(fields) => write!(
                f,
                "field_refused {}: Intercom does not take this value from Keap and keeps its own; the other fields were written",
                listed(fields)
            ),
            Self::RefusedInKeap(fields) => write!(
                f,
                "field_refused {}: Keap does not take this value from Intercom and keeps its own; the other fields were written",
                listed(fields)
            ),
            Self::FieldInvalid(fields) => write!(
                f,
                "field_invalid {}: the value in Keap does not fit the field in Intercom, which keeps its own (docs/fields.md says which values fit); the other fields were written",
                listed(fields)
            ),
            Self::Conflict(fields) => write!(
                f,
                "conflict {}: edited on both sides; the later edit counts, and Keap's if they are close",
                listed(fields)
            ),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

fn listed(fields: &[FieldName]) -> String {
    fields.iter().map(FieldName::as_str).collect::<Vec<_>>().join(", ")
}

/// Patterns of SQL's `like` for the stored texts that name this Keap contact as another one.
pub fn patterns_naming(id: KeapId) -> [String; 3] {
    [
        format!("email_linked_to {id}: %"),
        format!("{EMAIL_IN_KEAP} {id}: %"),
        format!("merged: % Keap contact {id}, %"),
    ]
}

/// What stands in place of a text that named a contact which was erased since.
pub const NAMED_AN_ERASED_CONTACT: &str = "this reason named a contact that was erased since";

/// Whether a stored reason begins with this code.
fn starts_with_code(text: &str, code: &str) -> bool {
    text.strip_prefix(code).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds() -> Vec<HoldReason> {
        vec![
            HoldReason::EmailLinkedTo(KeapId::new(17).unwrap()),
            HoldReason::EmailInKeap(KeapId::new(18).unwrap()),
            HoldReason::ExternalIdTaken,
            HoldReason::ExternalIdUnproven,
            HoldReason::SeveralUsers,
            HoldReason::Archived,
            HoldReason::NotRestorable,
            HoldReason::DeletedAgain,
            HoldReason::Conflict,
            HoldReason::DecisionOutdated("the chosen Intercom contact is gone".into()),
            HoldReason::PingPong { in_keap: true },
            HoldReason::PingPong { in_keap: false },
            HoldReason::Refused("Intercom refuses it (400: parameter_invalid)".into()),
            HoldReason::LastTry("Intercom failed with 500".into()),
        ]
    }

    #[test]
    fn every_hold_is_read_back_from_its_parts_and_from_its_text() {
        for hold in holds() {
            let parts = HoldReason::from_parts(hold.code(), hold.about(), hold.detail());
            assert_eq!(parts.as_ref(), Some(&hold));
            assert_eq!(Reason::read(Action::Held, &hold.to_string()), Reason::Hold(hold.clone()));
        }
    }

    #[test]
    fn a_skip_is_read_back_from_its_text() {
        for skip in [
            SkipReason::NoEmail { logged: true },
            SkipReason::NotInKeap,
            SkipReason::Ignored,
            SkipReason::Erased,
            SkipReason::ErasedAddress { logged: true },
        ] {
            assert_eq!(Reason::read(Action::Skipped, &skip.to_string()), Reason::Skip(skip));
        }
        assert_eq!(
            Reason::read(Action::Skipped, "not_in_keapsake"),
            Reason::Failed("not_in_keapsake".into())
        );
    }

    /// Whether a text fits one of the patterns, which have no wildcard but `%`.
    fn names(id: i64, text: &str) -> bool {
        let fits = |pattern: &String| {
            let parts: Vec<&str> = pattern.split('%').collect();
            let mut rest = text.strip_prefix(parts[0])?;
            for part in &parts[1..] {
                rest = rest.split_once(part)?.1;
            }
            Some(())
        };
        patterns_naming(KeapId::new(id).unwrap()).iter().any(|pattern| fits(pattern).is_some())
    }

    #[test]
    fn every_text_that_names_another_contact_is_found_by_its_id() {
        let reasons = [
            Reason::Hold(HoldReason::EmailLinkedTo(KeapId::new(17).unwrap())),
            Reason::Hold(HoldReason::EmailInKeap(KeapId::new(17).unwrap())),
            Reason::MergedInto(KeapId::new(17).unwrap()),
        ];
        for reason in reasons {
            assert_eq!(reason.about(), KeapId::new(17));
            assert!(names(17, &reason.to_string()), "{reason}");
            assert!(!names(7, &reason.to_string()) && !names(1, &reason.to_string()), "{reason}");
        }
        assert!(!names(500, &Reason::Failed("Intercom failed with 500".into()).to_string()));
    }

    #[test]
    fn actions_keep_their_words() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.code()), Some(action));
        }
        assert_eq!(Action::parse("elsewhere"), None);
    }
}
