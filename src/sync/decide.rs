//! Deciding: what is to be done for a contact, from what is known of it. No clock, no network, no database.

use std::fmt;

use crate::contact::{
    Candidate, Contact, Digest, EmailField, IntercomId, KeapId, Link, LinkState, Role,
};

/// What is to be done for a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Create,
    /// An existing Intercom contact gets the Keap id and the fields.
    Link(IntercomId),
    Update(IntercomId),
    /// Keap does not have it any more: its Intercom contact is archived, or only let go of.
    Archive(IntercomId),
    Unlink(IntercomId),
    /// The same, and another contact waits for its Intercom contact: the two were merged.
    HandOver(IntercomId, KeapId),
    Skip(SkipReason),
    Hold(Hold),
    /// Not linked yet: candidates must be looked up before it can be decided.
    Match,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// What would be written was written last time.
    Unchanged,
    /// Nothing to find or create the contact by. `told`: seen just so before.
    NoEmail { told: bool },
    /// Held, and just as it was when it was held.
    StillHeld,
    /// Its next try comes later, and nothing has changed since the last.
    RetryLater,
    /// Keap does not have it.
    NotInKeap,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unchanged => "unchanged",
            Self::NoEmail { .. } => {
                "no_email: the contact has no valid e-mail address and no Intercom contact yet"
            }
            Self::StillHeld => "still_held",
            Self::RetryLater => "retry_later",
            Self::NotInKeap => "not_in_keap: Keap answers 404 for this contact",
        })
    }
}

/// A contact that needs a person, and between which Intercom contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub reason: HoldReason,
    pub candidates: Vec<IntercomId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldReason {
    EmailLinkedTo(KeapId),
    ExternalIdTaken,
    SeveralUsers,
    Archived,
    NotRestorable,
    DeletedAgain,
    Conflict,
    Refused(String),
    LastTry(String),
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmailLinkedTo(other) => write!(f, "email_linked_to {other}: another Keap contact with this e-mail has the Intercom contact"),
            Self::ExternalIdTaken => f.write_str("external_id_taken: the Intercom contact found carries another external id"),
            Self::SeveralUsers => f.write_str("several_users: more than one Intercom user has this e-mail"),
            Self::Archived => f.write_str("archived: the Intercom contact is archived and sync.unarchive is off"),
            Self::NotRestorable => f.write_str("not_restorable: the archived Intercom contact was merged, blocked or deleted for good"),
            Self::DeletedAgain => f.write_str("deleted_again: the Intercom contact vanished twice within an hour"),
            Self::Conflict => f.write_str("conflict: Intercom names another contact with these details and it cannot be settled"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::LastTry(why) => write!(f, "last_try: {why}"),
        }
    }
}

/// What is known of a contact before anything is asked of Intercom.
pub struct Seen<'a> {
    pub link: Option<&'a Link>,
    pub fingerprint: Digest,
    pub sighting: Digest,
    /// Held: how it looked then.
    pub held_as: Option<Option<Digest>>,
    /// A retry waits for its time: how the contact looked at the last try.
    pub retry_as: Option<Option<Digest>>,
}

/// The first look: settles everything but the matching of unlinked contacts.
pub fn decide(contact: &Contact, seen: &Seen<'_>) -> Decision {
    let same = |as_seen: &Option<Option<Digest>>| {
        as_seen.is_some_and(|as_seen| as_seen == Some(seen.sighting))
    };
    if same(&seen.held_as) {
        return Decision::Skip(SkipReason::StillHeld);
    }
    if same(&seen.retry_as) {
        return Decision::Skip(SkipReason::RetryLater);
    }
    if let Some(Link {
        state: LinkState::Linked(id),
        fingerprint,
        ..
    }) = seen.link
    {
        return if *fingerprint == seen.fingerprint {
            Decision::Skip(SkipReason::Unchanged)
        } else {
            Decision::Update(id.clone())
        };
    }
    match contact.email {
        EmailField::Valid(_) => Decision::Match,
        EmailField::Absent | EmailField::Invalid => Decision::Skip(SkipReason::NoEmail {
            told: seen.link.is_some_and(|link| link.sighting == seen.sighting),
        }),
    }
}

/// Matches an unlinked contact: `owner` has the same e-mail among our links, `found` are live Intercom contacts.
///
/// `found` holds contacts with this e-mail or this Keap id as external id; those of a 409 belong here too.
pub fn match_up(
    contact: &Contact,
    owner: Option<KeapId>,
    found: &[Candidate],
    promote_leads: bool,
) -> Decision {
    if let Some(ours) = found
        .iter()
        .find(|candidate| candidate.role == Role::User && candidate.belongs_to(contact.id))
    {
        return Decision::Link(ours.id.clone());
    }
    let hold = |reason, candidates: &[&Candidate]| {
        Decision::Hold(Hold {
            reason,
            candidates: candidates.iter().map(|one| one.id.clone()).collect(),
        })
    };
    let users: Vec<&Candidate> = found
        .iter()
        .filter(|candidate| candidate.role == Role::User)
        .collect();
    if let Some(other) = owner.filter(|other| *other != contact.id) {
        return hold(HoldReason::EmailLinkedTo(other), &users);
    }
    match users.as_slice() {
        [] => {}
        [user] if user.external_id.is_none() => return Decision::Link(user.id.clone()),
        [_] => return hold(HoldReason::ExternalIdTaken, &users),
        _ => return hold(HoldReason::SeveralUsers, &users),
    }
    // Leads may share an e-mail; the newest is the conversation that support is in.
    let newest_lead = found
        .iter()
        .filter(|candidate| candidate.role == Role::Lead)
        .max_by_key(|lead| (lead.created_at, &lead.id));
    match newest_lead {
        Some(lead) if promote_leads => Decision::Link(lead.id.clone()),
        _ => Decision::Create,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::Email;

    fn keap(n: i64) -> KeapId {
        KeapId::new(n).unwrap()
    }

    fn ann() -> Contact {
        Contact {
            id: keap(7),
            updated_at: None,
            email: EmailField::Valid(Email::new("ann@example.org").unwrap()),
            name: Some("Ann".into()),
            phone: None,
        }
    }

    fn found(id: &str, role: Role, external_id: Option<&str>, created_at: i64) -> Candidate {
        Candidate {
            id: IntercomId::new(id).unwrap(),
            role,
            external_id: external_id.map(str::to_owned),
            email: None,
            created_at,
        }
    }

    fn digest(n: u8) -> Digest {
        Digest::from_bytes(&[n; 16]).unwrap()
    }

    fn link(state: LinkState, fingerprint: u8, sighting: u8) -> Link {
        Link {
            state,
            fingerprint: digest(fingerprint),
            sighting: digest(sighting),
            keap_updated_at: None,
            replaced_at: None,
        }
    }

    fn seen(link: Option<&Link>) -> Seen<'_> {
        Seen {
            link,
            fingerprint: digest(1),
            sighting: digest(2),
            held_as: None,
            retry_as: None,
        }
    }

    #[test]
    fn a_linked_contact_is_written_only_when_its_fingerprint_differs() {
        let id = IntercomId::new("a").unwrap();
        let same = link(LinkState::Linked(id.clone()), 1, 9);
        let differs = link(LinkState::Linked(id.clone()), 3, 9);
        assert_eq!(
            decide(&ann(), &seen(Some(&same))),
            Decision::Skip(SkipReason::Unchanged)
        );
        assert_eq!(
            decide(&ann(), &seen(Some(&differs))),
            Decision::Update(id.clone())
        );
        // A linked one whose e-mail is cleared, or is no address, is still an update.
        for email in [EmailField::Absent, EmailField::Invalid] {
            assert_eq!(
                decide(&Contact { email, ..ann() }, &seen(Some(&differs))),
                Decision::Update(id.clone())
            );
        }
    }

    #[test]
    fn an_unlinked_contact_without_an_address_is_skipped_and_told_once_per_change() {
        let nameless = Contact {
            email: EmailField::Absent,
            ..ann()
        };
        assert_eq!(
            decide(&nameless, &seen(None)),
            Decision::Skip(SkipReason::NoEmail { told: false })
        );
        assert_eq!(
            decide(&nameless, &seen(Some(&link(LinkState::Skipped, 1, 2)))),
            Decision::Skip(SkipReason::NoEmail { told: true })
        );
        assert_eq!(
            decide(&nameless, &seen(Some(&link(LinkState::Skipped, 1, 3)))),
            Decision::Skip(SkipReason::NoEmail { told: false })
        );
        assert_eq!(
            decide(&ann(), &seen(Some(&link(LinkState::Skipped, 1, 2)))),
            Decision::Match
        );
    }

    #[test]
    fn a_hold_or_a_waiting_retry_is_revived_by_a_change_only() {
        let held = |as_seen| Seen {
            held_as: Some(as_seen),
            ..seen(None)
        };
        assert_eq!(
            decide(&ann(), &held(Some(digest(2)))),
            Decision::Skip(SkipReason::StillHeld)
        );
        assert_eq!(decide(&ann(), &held(Some(digest(3)))), Decision::Match);
        assert_eq!(decide(&ann(), &held(None)), Decision::Match);
        let waits = Seen {
            retry_as: Some(Some(digest(2))),
            ..seen(None)
        };
        assert_eq!(
            decide(&ann(), &waits),
            Decision::Skip(SkipReason::RetryLater)
        );
    }

    #[test]
    fn every_case_of_matching() {
        let user = |id, external| found(id, Role::User, external, 0);
        let lead = |id, created| found(id, Role::Lead, None, created);
        let link = |id: &str| Decision::Link(IntercomId::new(id).unwrap());
        let hold = |reason, ids: &[&str]| {
            Decision::Hold(Hold {
                reason,
                candidates: ids.iter().map(|id| IntercomId::new(*id).unwrap()).collect(),
            })
        };
        for (what, owner, candidates, expected) in [
            ("nobody", None, vec![], Decision::Create),
            (
                "one user without external id",
                None,
                vec![user("a", None)],
                link("a"),
            ),
            (
                "the user that carries our id",
                None,
                vec![user("a", None), user("b", Some("7"))],
                link("b"),
            ),
            (
                "our id beats a twin of ours",
                Some(keap(8)),
                vec![user("b", Some("7"))],
                link("b"),
            ),
            (
                "another's external id",
                None,
                vec![user("a", Some("8"))],
                hold(HoldReason::ExternalIdTaken, &["a"]),
            ),
            (
                "several users",
                None,
                vec![user("a", None), user("b", None)],
                hold(HoldReason::SeveralUsers, &["a", "b"]),
            ),
            (
                "a twin of ours",
                Some(keap(8)),
                vec![],
                hold(HoldReason::EmailLinkedTo(keap(8)), &[]),
            ),
            ("itself is no twin", Some(keap(7)), vec![], Decision::Create),
            ("a lead", None, vec![lead("l", 1)], link("l")),
            (
                "the newest lead",
                None,
                vec![lead("l", 1), lead("m", 5), lead("k", 2)],
                link("m"),
            ),
            (
                "a user before a lead",
                None,
                vec![lead("l", 1), user("a", None)],
                link("a"),
            ),
        ] {
            assert_eq!(
                match_up(&ann(), owner, &candidates, true),
                expected,
                "{what}"
            );
        }
        assert_eq!(
            match_up(&ann(), None, &[lead("l", 1)], false),
            Decision::Create
        );
    }
}
