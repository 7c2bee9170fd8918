//! Plans in words: what a plan is about, how it stands, and what it says of a contact.

use super::Action;

/// What a plan is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlanKind {
    /// Every contact.
    All,
    /// What the next polls would find.
    Changed,
    /// Linked contacts that Keap no longer has.
    Sweep,
    /// Linked contacts that differ in Intercom from what was settled.
    Audit,
    /// What a changed mapping rewrites.
    Mapping,
    /// Contacts that have left the scope of the filter.
    Leaving,
    /// Users of Intercom that get a contact in Keap.
    Create,
    /// Writes that no change in Keap explains.
    Unexplained,
}

impl PlanKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::All,
        Self::Changed,
        Self::Sweep,
        Self::Audit,
        Self::Mapping,
        Self::Leaving,
        Self::Create,
        Self::Unexplained,
    ];

    /// The kinds that a person may ask for. Brakes make the others.
    pub const ASKED: [Self; 4] = [Self::All, Self::Changed, Self::Sweep, Self::Audit];

    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Changed => "changed",
            Self::Sweep => "sweep",
            Self::Audit => "audit",
            Self::Mapping => "mapping",
            Self::Leaving => "leaving",
            Self::Create => "create",
            Self::Unexplained => "unexplained",
        }
    }

    /// The kind of a stored word; `None` for the word of another release.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// What it is about, as a person reads it.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::All => "every contact",
            Self::Changed => "what has changed since the stored cursor",
            Self::Sweep => "linked contacts that Keap no longer has",
            Self::Audit => "linked contacts that differ in Intercom",
            Self::Mapping => "what the changed mapping rewrites",
            Self::Leaving => "contacts that have left the scope of [filter]",
            Self::Create => "users of Intercom that would get a contact in Keap",
            Self::Unexplained => "writes that no change in Keap explains",
        }
    }
}

/// How a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanState {
    /// The daemon is to look.
    Requested,
    /// It waits for a person.
    Waiting,
    /// A person has approved it, and it is being carried out.
    Approved,
    Done,
    Dropped,
    /// A later look has shown another picture, or the brake was lifted.
    Replaced,
    Failed,
}

impl PlanState {
    const ALL: [Self; 7] = [
        Self::Requested,
        Self::Waiting,
        Self::Approved,
        Self::Done,
        Self::Dropped,
        Self::Replaced,
        Self::Failed,
    ];

    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Done => "done",
            Self::Dropped => "dropped",
            Self::Replaced => "replaced",
            Self::Failed => "failed",
        }
    }

    /// The state of a stored word; `None` for the word of another release.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// What a plan says of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanAction {
    Decided(Action),
    /// It is looked at on both sides, and what comes of it is decided then.
    Look,
    /// A user of Intercom gets a contact in Keap.
    CreateInKeap,
}

impl PlanAction {
    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Decided(action) => action.code(),
            Self::Look => "looked_at",
            Self::CreateInKeap => "created_in_keap",
        }
    }

    /// The action of a stored word; `None` for the word of another release.
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Look, Self::CreateInKeap]
            .into_iter()
            .find(|action| action.code() == code)
            .or_else(|| Action::parse(code).map(Self::Decided))
    }
}

/// What a person can do about a plan that waits.
pub const PLAN_REMEDY: &str = "`keap-intercom-sync plan show` lists the contacts; carry it out with `keap-intercom-sync plan approve`, or end it with `keap-intercom-sync plan drop`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stored_word_is_read_back() {
        for kind in PlanKind::ALL {
            assert_eq!(PlanKind::parse(kind.code()), Some(kind));
        }
        for state in PlanState::ALL {
            assert_eq!(PlanState::parse(state.code()), Some(state));
        }
        let actions = Action::ALL.map(PlanAction::Decided);
        for action in actions.into_iter().chain([PlanAction::Look, PlanAction::CreateInKeap]) {
            assert_eq!(PlanAction::parse(action.code()), Some(action));
        }
    }
}
