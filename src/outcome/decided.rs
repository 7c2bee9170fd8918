//! What a person may decide about a held contact, and which decisions each reason offers. The page,
//! the HTTP surface and the command read the same table.

use super::hold::HoldReason;
use crate::contact::{Digest, IntercomId};

/// What a person has decided about a held contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// One of the candidates becomes its Intercom contact.
    Use,
    /// It gets an Intercom contact of its own.
    Create,
    /// It is skipped until it changes in Keap.
    IgnoreUntilChanged,
    /// It is skipped until the decision is taken back.
    Ignore,
    /// It is looked at again now.
    Retry,
}

use Decided::{Create, Ignore, IgnoreUntilChanged, Retry, Use};

impl Decided {
    /// Every decision, in the order in which people see them.
    pub const ALL: [Self; 5] = [Use, Create, Retry, IgnoreUntilChanged, Ignore];

    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Use => "use",
            Self::Create => "create",
            Self::IgnoreUntilChanged => "ignore_until_changed",
            Self::Ignore => "ignore",
            Self::Retry => "retry",
        }
    }

    /// The decision of a stored word; `None` for the word of another release.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decided| decided.code() == code)
    }

    /// What happens then, in one sentence.
    pub fn effect(self) -> &'static str {
        match self {
            Self::Use => {
                "The Intercom contact gets this Keap id, whatever external id it has, and is kept up to date from then on."
            }
            Self::Create => {
                "It gets a new Intercom contact of its own. If Intercom does not take its e-mail address a second time, the new contact has none."
            }
            Self::IgnoreUntilChanged => {
                "Nothing is done for the contact until it changes in Keap; then it is looked at again."
            }
            Self::Ignore => {
                "Nothing is done for the contact, whatever changes, until the decision is taken back."
            }
            Self::Retry => {
                "It is looked at now. If its reason still holds, it comes back to this list."
            }
        }
    }

    /// Whether it can be taken for several contacts at once.
    pub fn is_for_many(self) -> bool {
        self != Self::Use
    }

    /// Whether it hides the contact from the list of those that need a person.
    pub fn ignores(self) -> bool {
        matches!(self, Self::Ignore | Self::IgnoreUntilChanged)
    }
}

impl HoldReason {
    /// The decisions that this reason offers. `is_linked`: the contact has its Intercom contact
    /// already, so it needs no other one.
    pub fn offers(&self, is_linked: bool) -> &'static [Decided] {
        match self {
            // The Intercom contact of a linked one has vanished.
            Self::DeletedAgain => &[Create, Retry, IgnoreUntilChanged, Ignore],
            // It changes again and again.
            Self::PingPong { .. } => &[Retry, Ignore],
            _ if is_linked => &[Retry, IgnoreUntilChanged, Ignore],
            Self::EmailLinkedTo(_)
            | Self::ExternalIdTaken
            | Self::SeveralUsers
            | Self::Archived
            | Self::Conflict => &[Use, Create, Retry, IgnoreUntilChanged, Ignore],
            // No other Intercom contact can get this Keap id meanwhile.
            Self::ExternalIdUnproven => &[Use, Retry, IgnoreUntilChanged, Ignore],
            Self::NotRestorable | Self::DecisionOutdated(_) => {
                &[Create, Retry, IgnoreUntilChanged, Ignore]
            }
            Self::EmailInKeap(_) | Self::Refused(_) | Self::LastTry(_) => {
                &[Retry, IgnoreUntilChanged, Ignore]
            }
            // These hold users of Intercom who have no contact in Keap.
            Self::SeveralInKeap | Self::CreateRefused(_) | Self::CreateUnsure => &[Retry],
        }
    }

    /// Whether it says that matching cannot decide. Such a hold ends a decision that was to settle
    /// the matching.
    pub fn is_about_matching(&self) -> bool {
        matches!(
            self,
            Self::EmailLinkedTo(_)
                | Self::ExternalIdTaken
                | Self::ExternalIdUnproven
                | Self::SeveralUsers
                | Self::Archived
                | Self::NotRestorable
                | Self::DeletedAgain
                | Self::Conflict
                | Self::DecisionOutdated(_)
        )
    }
}

/// The decisions that a stored reason offers. A reason of another release offers what never depends
/// on it.
pub fn offered(code: &str, is_linked: bool) -> &'static [Decided] {
    match HoldReason::of_code(code) {
        Some(reason) => reason.offers(is_linked),
        None => &[Retry, IgnoreUntilChanged, Ignore],
    }
}

/// Why a decision cannot be taken, in one sentence; `None` if it can.
pub fn refusal(decided: Decided, code: &str, is_linked: bool) -> Option<String> {
    let offered = offered(code, is_linked);
    if offered.contains(&decided) {
        return None;
    }
    let linked = if is_linked { " of a contact that is linked to Intercom already" } else { "" };
    let words: Vec<&str> = offered.iter().map(|decided| decided.code()).collect();
    Some(format!(
        "{} does not settle the reason {code}{linked}; it can be settled by: {}",
        decided.code(),
        words.join(", ")
    ))
}

/// A decision in force, as a pass meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    pub id: i64,
    pub decided: Decided,
    /// The Intercom contact to use.
    pub intercom: Option<IntercomId>,
    /// It was archived when the contact was held, and is made live.
    pub unarchives: bool,
    /// It was carried out.
    pub is_done: bool,
    /// How the contact looked when it was decided.
    pub sighting: Option<Digest>,
}

impl InForce {
    /// Whether nothing is done for a contact that looks so.
    pub fn ignores(&self, sighting: Digest) -> bool {
        match self.decided {
            Ignore => true,
            IgnoreUntilChanged => self.sighting == Some(sighting),
            Use | Create | Retry => false,
        }
    }

    /// Whether the contact has changed since it was to be ignored until then.
    pub fn has_changed(&self, sighting: Digest) -> bool {
        self.decided == IgnoreUntilChanged && self.sighting != Some(sighting)
    }

    /// Whether the contact gets an Intercom contact of its own, which may lack its e-mail address.
    pub fn makes_new(&self) -> bool {
        self.decided == Create
    }
}

/// What an outcome says about the decision in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was carried out, and stays in force.
    Done,
    /// It cannot be carried out any more.
    Void,
    /// The contact has changed.
    Changed,
    /// Keap no longer has the contact.
    Gone,
}

impl Fate {
    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Void => "void",
            Self::Changed => "changed",
            Self::Gone => "gone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_keep_their_words() {
        for decided in Decided::ALL {
            assert_eq!(Decided::parse(decided.code()), Some(decided));
        }
        assert_eq!(Decided::parse("take_back"), None);
    }

    #[test]
    fn a_linked_contact_never_gets_another_one_and_every_reason_can_be_tried_again() {
        let codes = ["email_linked_to", "several_users", "conflict", "external_id_unproven"];
        for code in codes {
            assert!(!offered(code, true).contains(&Use), "{code}");
            assert!(!offered(code, true).contains(&Create), "{code}");
            assert!(offered(code, false).contains(&Use), "{code}");
        }
        for code in
            codes.into_iter().chain(["refused", "last_try", "ping_pong", "of another release"])
        {
            assert!(offered(code, false).contains(&Retry), "{code}");
            assert!(offered(code, false).contains(&Ignore), "{code}");
        }
    }

    #[test]
    fn a_refusal_names_the_reason_and_what_is_possible() {
        assert_eq!(refusal(Use, "several_users", false), None);
        assert_eq!(
            refusal(Create, "external_id_unproven", false).unwrap(),
            "create does not settle the reason external_id_unproven; it can be settled by: use, retry, ignore_until_changed, ignore"
        );
        let linked = refusal(Use, "email_linked_to", true).unwrap();
        assert!(linked.contains("of a contact that is linked to Intercom already"), "{linked}");
    }

    #[test]
    fn ignoring_until_a_change_ends_with_the_change() {
        let digest = |n| Digest::from_bytes(&[n; 16]).unwrap();
        let of = |decided| InForce {
            id: 1,
            decided,
            intercom: None,
            unarchives: false,
            is_done: false,
            sighting: Some(digest(1)),
        };
        assert!(of(IgnoreUntilChanged).ignores(digest(1)));
        assert!(!of(IgnoreUntilChanged).ignores(digest(2)));
        assert!(of(IgnoreUntilChanged).has_changed(digest(2)));
        assert!(of(Ignore).ignores(digest(2)) && !of(Ignore).has_changed(digest(2)));
        assert!(!of(Create).ignores(digest(1)) && !of(Use).has_changed(digest(2)));
    }
}
