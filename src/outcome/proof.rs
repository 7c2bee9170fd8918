//! What proves that an erased contact is gone from Intercom.

/// What proves that an Intercom contact is gone. Each was followed by a read that Intercom answered
/// with 404.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Intercom showed it, and took the deletion.
    Deleted,
    /// It was archived, so no read showed it. Intercom took the deletion.
    DeletedFromArchive,
    /// A deletion of this erasure was sent before, and its answer was lost.
    DeletedUnheard,
    /// Intercom showed it, and took the archiving.
    Archived,
    /// Our records say that it was archived, deleted or unlinked before.
    GoneBefore,
    /// Intercom does not show it, and no record explains that. A person accepted it.
    AbsenceAccepted,
    /// Our records name no Intercom contact, and none carries the Keap id.
    NeverThere,
}

impl Proof {
    /// Every proof.
    pub const ALL: [Self; 7] = [
        Self::Deleted,
        Self::DeletedFromArchive,
        Self::DeletedUnheard,
        Self::Archived,
        Self::GoneBefore,
        Self::AbsenceAccepted,
        Self::NeverThere,
    ];

    /// The stored word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::DeletedFromArchive => "deleted_from_archive",
            Self::DeletedUnheard => "deleted_unheard",
            Self::Archived => "archived",
            Self::GoneBefore => "gone_before",
            Self::AbsenceAccepted => "absence_accepted",
            Self::NeverThere => "never_there",
        }
    }

    /// The proof of a stored word; `None` for the word of another release.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|proof| proof.code() == code)
    }

    /// What it says to a person.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Deleted => {
                "Intercom showed the contact, took its deletion, and answers 404 for it since"
            }
            Self::DeletedFromArchive => {
                "the contact was archived in Intercom, Intercom took its deletion, and answers 404 for it"
            }
            Self::DeletedUnheard => {
                "a deletion was sent whose answer was lost, and Intercom answers 404 for the contact since"
            }
            Self::Archived => {
                "Intercom showed the contact, archived it, and answers 404 for it since; its data stay in Intercom's archive"
            }
            Self::GoneBefore => {
                "our records say that the contact was archived, deleted or unlinked before, and Intercom answers 404 for it"
            }
            Self::AbsenceAccepted => {
                "Intercom does not show the contact; no record explains that, and a person accepted it"
            }
            Self::NeverThere => {
                "our records name no Intercom contact, and no Intercom contact carries the Keap id"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_is_read_back_from_its_word() {
        for proof in Proof::ALL {
            assert_eq!(Proof::parse(proof.code()), Some(proof));
        }
        assert_eq!(Proof::parse("elsewhere"), None);
    }
}
