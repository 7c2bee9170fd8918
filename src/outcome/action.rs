//! What was done for a contact.

/// What was done for a contact. The first three are the words of the original worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Created,
    Updated,
    Linked,
    /// Somebody had edited a field on the side that does not own it, and the owner's value was
    /// written there again.
    Restored,
    /// Nothing had to be written.
    Unchanged,
    /// Keap no longer has it, and its Intercom contact was archived.
    Archived,
    /// Keap no longer has it, and only its link was removed.
    Unlinked,
    Skipped,
    /// It needs a person.
    Held,
    /// This attempt failed; another one follows.
    Failed,
}

/// The status of a row in the log table, in the words of the original worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStatus {
    Synced,
    Failed,
    Skipped,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Updated,
        Self::Linked,
        Self::Restored,
        Self::Unchanged,
        Self::Archived,
        Self::Unlinked,
        Self::Skipped,
        Self::Held,
        Self::Failed,
    ];

    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Linked => "linked",
            Self::Restored => "restored",
            Self::Unchanged => "unchanged",
            Self::Archived => "archived",
            Self::Unlinked => "unlinked",
            Self::Skipped => "skipped",
            Self::Held => "held",
            Self::Failed => "failed",
        }
    }

    /// The action of a stored word; `None` for the word of another release.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.code() == code)
    }

    /// The status that its log row carries.
    pub fn status(self) -> SyncStatus {
        match self {
            Self::Skipped => SyncStatus::Skipped,
            Self::Held | Self::Failed => SyncStatus::Failed,
            _ => SyncStatus::Synced,
        }
    }

    /// Whether the action wrote the contact.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Created | Self::Updated | Self::Linked | Self::Restored)
    }
}

impl SyncStatus {
    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}
