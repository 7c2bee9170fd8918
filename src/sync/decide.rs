//! Deciding: says what is to be done for a contact, from what is known of it. No clock, no network,
//! no database.

use std::collections::HashSet;

use crate::contact::{Contact, Digest, IntercomId, KeapId, Link, LinkState};
use crate::outcome::{Decided, HoldReason, InForce, SkipReason};

/// What is to be done for a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Create,
    /// An existing Intercom contact gets the Keap id and the fields.
    Link(IntercomId),
    Update(IntercomId),
    /// Only its relations differ.
    Relate(IntercomId),
    /// Keap no longer has it: its Intercom contact is archived.
    Archive(IntercomId),
    /// Keap no longer has it: only its link is removed.
    Unlink(IntercomId),
    /// Keap merged it into another contact, which gets its Intercom contact.
    Transfer(IntercomId, KeapId),
    Skip(SkipReason),
    /// A write of the contact has an unknown outcome, so Intercom is read first. The reason is the
    /// one for a skip if Intercom shows nothing that must be done.
    Look(SkipReason),
    /// Keap no longer has the contact, and its create has landed unknown: the Intercom contact gets
    /// a link, so that the sweep finds it.
    Adopt(IntercomId),
    Hold(Hold),
    /// Not linked yet: candidates must be looked up before it can be decided.
    Match,
    /// A person has chosen this Intercom contact. It is read before it is linked.
    Choose(IntercomId),
}

/// Why a contact needs a person, and the Intercom contacts to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    pub reason: HoldReason,
    pub candidates: Vec<IntercomId>,
    /// The candidate's external id, if Keap was asked and has no contact of that id.
    pub not_in_keap: Option<KeapId>,
    /// The candidate is archived: each look makes it live for a moment.
    pub is_archived: bool,
}

impl Hold {
    pub(super) fn new(
        reason: HoldReason,
        candidates: impl IntoIterator<Item = IntercomId>,
    ) -> Self {
        let candidates = candidates.into_iter().collect();
        Self { reason, candidates, not_in_keap: None, is_archived: false }
    }
}

/// What is known of a contact before the first call to Intercom.
pub(super) struct Seen<'a> {
    pub link: Option<&'a Link>,
    /// Another mapping wrote the link, and nothing of this one has to be written.
    pub settles: bool,
    pub fingerprint: Digest,
    pub sighting: Digest,
    /// It is held: how it looked then.
    pub held_as: Option<Option<Digest>>,
    /// A retry waits for its time: how the contact looked at the last attempt.
    pub retry_as: Option<Option<Digest>>,
    /// Relations differ from what was settled.
    pub relates: bool,
    /// One of them is a tag that Intercom may decide: Intercom is read first.
    pub looks_at_tags: bool,
    /// The contact has changed in Intercom, as far as it is known.
    pub changed_in_intercom: bool,
    /// Who leaves the scope is archived.
    pub archives_left: bool,
    /// A write of the contact has an unknown outcome: what is recorded of Intercom may be wrong.
    pub unknown: bool,
    /// What a person has decided about it.
    pub decided: Option<&'a InForce>,
    /// Whether a person had it erased, or somebody with its address.
    pub erased: ErasedAs,
}

/// What of a contact is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErasedAs {
    Nothing,
    /// An erased contact had its e-mail address.
    Address,
    /// The contact itself.
    Contact,
}

impl ErasedAs {
    /// `is_erased`: the contact itself is. `email`: its address, compared with the erased ones.
    pub(super) fn of(is_erased: bool, email: Option<Digest>, erased: &HashSet<Digest>) -> Self {
        if is_erased {
            Self::Contact
        } else if email.is_some_and(|email| erased.contains(&email)) {
            Self::Address
        } else {
            Self::Nothing
        }
    }
}

/// Decides everything but the matching of unlinked contacts.
///
/// While a write has an unknown outcome, no skip trusts the record. A write needs no look: it sends
/// all that Keap shows.
pub(super) fn decide(contact: &Contact, seen: &Seen<'_>) -> Decision {
    match seen.erased {
        ErasedAs::Nothing => {}
        ErasedAs::Contact => return Decision::Skip(SkipReason::Erased),
        ErasedAs::Address => {
            // Of a link nothing is stored anew, so nothing would say that it is logged.
            let is_known =
                |link: &Link| link.intercom().is_some() || link.sighting == seen.sighting;
            let logged = seen.link.is_some_and(is_known);
            return Decision::Skip(SkipReason::ErasedAddress { logged });
        }
    }
    match decide_by_record(contact, seen) {
        Decision::Skip(
            reason @ (SkipReason::Unchanged
            | SkipReason::OutOfScope
            | SkipReason::Ignored
            | SkipReason::NoEmail { .. }),
        ) if seen.unknown => Decision::Look(reason),
        // What is recorded of the fields may be wrong as well.
        Decision::Relate(id) if seen.unknown => Decision::Update(id),
        decision => decision,
    }
}

fn decide_by_record(contact: &Contact, seen: &Seen<'_>) -> Decision {
    if seen.decided.is_some_and(|decided| decided.ignores(seen.sighting)) {
        return Decision::Skip(SkipReason::Ignored);
    }
    let same = |as_seen: &Option<Option<Digest>>| {
        as_seen.is_some_and(|as_seen| as_seen == Some(seen.sighting))
    };
    // A write that it left the hold for may have made an Intercom contact, which must be found.
    let may_have_made_one = seen.unknown && seen.link.and_then(Link::intercom).is_none();
    if same(&seen.held_as) && !may_have_made_one {
        return Decision::Skip(SkipReason::StillHeld);
    }
    if same(&seen.retry_as) {
        return Decision::Skip(SkipReason::RetryLater);
    }
    if let Some(Link { state: LinkState::Linked(id), fingerprint, .. }) = seen.link {
        if !contact.in_scope && seen.archives_left {
            return Decision::Archive(id.clone());
        }
        let is_settled = *fingerprint == seen.fingerprint || seen.settles;
        return match (is_settled, seen.relates) {
            (true, _) if seen.changed_in_intercom => Decision::Update(id.clone()),
            (true, false) if !contact.in_scope => Decision::Skip(SkipReason::OutOfScope),
            (true, false) => Decision::Skip(SkipReason::Unchanged),
            (true, true) if seen.looks_at_tags => Decision::Update(id.clone()),
            (true, true) => Decision::Relate(id.clone()),
            (false, _) => Decision::Update(id.clone()),
        };
    }
    if !contact.in_scope {
        return Decision::Skip(SkipReason::OutOfScope);
    }
    let decided = seen.decided.map(|decided| (decided.decided, decided));
    if let Some((Decided::Use, InForce { intercom: Some(id), .. })) = decided {
        return Decision::Choose(id.clone());
    }
    match contact.email() {
        // Whoever has the address already is another person.
        Some(_) if matches!(decided, Some((Decided::Create, InForce { is_done: false, .. }))) => {
            Decision::Create
        }
        Some(_) => Decision::Match,
        None => Decision::Skip(SkipReason::NoEmail {
            logged: seen.link.is_some_and(|link| link.sighting == seen.sighting),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{Fields, Form, Reading, Writes};

    fn keap(n: i64) -> KeapId {
        KeapId::new(n).unwrap()
    }

    fn ann() -> Contact {
        Contact::showing(
            keap(7),
            Fields::from_iter([("email", Form::Email.read(Some("ann@example.org")))]),
        )
    }

    fn digest(n: u8) -> Digest {
        Digest::from_bytes(&[n; 16]).unwrap()
    }

    fn link(state: LinkState, fingerprint: u8, sighting: u8) -> Link {
        Link {
            state,
            fingerprint: digest(fingerprint),
            sighting: digest(sighting),
            keap_base: None,
            keap_updated_at: None,
            replaced_at: None,
            intercom_base: None,
            intercom_updated_at: None,
            gone_in_intercom: false,
            is_out: false,
            writes: Writes::default(),
        }
    }

    fn seen(link: Option<&Link>) -> Seen<'_> {
        Seen {
            link,
            settles: false,
            fingerprint: digest(1),
            sighting: digest(2),
            held_as: None,
            retry_as: None,
            relates: false,
            looks_at_tags: false,
            changed_in_intercom: false,
            archives_left: false,
            unknown: false,
            decided: None,
            erased: ErasedAs::Nothing,
        }
    }

    #[test]
    fn a_linked_contact_is_written_only_when_its_fingerprint_differs() {
        let id = IntercomId::new("a").unwrap();
        let same = link(LinkState::Linked(id.clone()), 1, 9);
        let differs = link(LinkState::Linked(id.clone()), 3, 9);
        assert_eq!(decide(&ann(), &seen(Some(&same))), Decision::Skip(SkipReason::Unchanged));
        assert_eq!(decide(&ann(), &seen(Some(&differs))), Decision::Update(id.clone()));
        let settled = Seen { settles: true, ..seen(Some(&differs)) };
        assert_eq!(decide(&ann(), &settled), Decision::Skip(SkipReason::Unchanged));
        let tagged = |link| Seen { relates: true, ..seen(Some(link)) };
        assert_eq!(decide(&ann(), &tagged(&same)), Decision::Relate(id.clone()));
        assert_eq!(decide(&ann(), &tagged(&differs)), Decision::Update(id.clone()));
        let looks = Seen { looks_at_tags: true, ..tagged(&same) };
        assert_eq!(decide(&ann(), &looks), Decision::Update(id.clone()));
        let edited = Seen { changed_in_intercom: true, ..seen(Some(&same)) };
        assert_eq!(decide(&ann(), &edited), Decision::Update(id.clone()));
        let unknown = Seen { unknown: true, ..tagged(&same) };
        assert_eq!(decide(&ann(), &unknown), Decision::Update(id.clone()));
        // A linked one whose e-mail is cleared, or is no address, is still an update.
        for email in [Reading::Empty, Reading::Invalid] {
            let fields = Fields::from_iter([("email", email)]);
            assert_eq!(
                decide(&Contact { fields, ..ann() }, &seen(Some(&differs))),
                Decision::Update(id.clone())
            );
        }
    }

    #[test]
    fn an_unlinked_contact_without_an_address_is_skipped_and_told_once_per_change() {
        let nameless = Contact { fields: Fields::default(), ..ann() };
        assert_eq!(
            decide(&nameless, &seen(None)),
            Decision::Skip(SkipReason::NoEmail { logged: false })
        );
        assert_eq!(
            decide(&nameless, &seen(Some(&link(LinkState::Skipped, 1, 2)))),
            Decision::Skip(SkipReason::NoEmail { logged: true })
        );
        assert_eq!(
            decide(&nameless, &seen(Some(&link(LinkState::Skipped, 1, 3)))),
            Decision::Skip(SkipReason::NoEmail { logged: false })
        );
        assert_eq!(decide(&ann(), &seen(Some(&link(LinkState::Skipped, 1, 2)))), Decision::Match);
    }

    #[test]
    fn nothing_brings_back_who_is_erased() {
        let linked = link(LinkState::Linked(IntercomId::new("a").unwrap()), 3, 9);
        let skipped = |sighting| link(LinkState::Skipped, 1, sighting);
        let as_contact = |link| Seen { erased: ErasedAs::Contact, unknown: true, ..seen(link) };
        for known in [None, Some(&linked), Some(&skipped(2))] {
            assert_eq!(decide(&ann(), &as_contact(known)), Decision::Skip(SkipReason::Erased));
        }

        fn logged(link: Option<&Link>) -> bool {
            let seen = Seen { erased: ErasedAs::Address, changed_in_intercom: true, ..seen(link) };
            match decide(&ann(), &seen) {
                Decision::Skip(SkipReason::ErasedAddress { logged }) => logged,
                other => panic!("{other:?}"),
            }
        }
        assert!(!logged(None) && !logged(Some(&skipped(3))));
        assert!(logged(Some(&skipped(2))) && logged(Some(&linked)));
    }

    #[test]
    fn a_hold_does_not_hide_a_write_that_may_have_made_an_intercom_contact() {
        let held = |link| Seen { held_as: Some(Some(digest(2))), unknown: true, ..seen(link) };
        assert_eq!(decide(&ann(), &held(None)), Decision::Match);
        let linked = link(LinkState::Linked(IntercomId::new("a").unwrap()), 3, 9);
        assert_eq!(decide(&ann(), &held(Some(&linked))), Decision::Skip(SkipReason::StillHeld));
    }

    fn in_force(decided: Decided) -> InForce {
        InForce {
            id: 1,
            decided,
            intercom: (decided == Decided::Use).then(|| IntercomId::new("a").unwrap()),
            unarchives: false,
            is_done: false,
            sighting: Some(digest(2)),
        }
    }

    #[test]
    fn what_a_person_has_decided_goes_before_the_rules() {
        let (chosen, new) = (in_force(Decided::Use), in_force(Decided::Create));
        let with = |decided| Seen { decided: Some(decided), ..seen(None) };
        let id = IntercomId::new("a").unwrap();
        assert_eq!(decide(&ann(), &with(&chosen)), Decision::Choose(id.clone()));
        assert_eq!(decide(&ann(), &with(&new)), Decision::Create);
        let made = InForce { is_done: true, ..new.clone() };
        assert_eq!(decide(&ann(), &with(&made)), Decision::Match, "made, and vanished since");
        // The link keeps to what was chosen.
        let linked = link(LinkState::Linked(IntercomId::new("b").unwrap()), 3, 9);
        let seen_linked = Seen { decided: Some(&chosen), ..seen(Some(&linked)) };
        assert_eq!(decide(&ann(), &seen_linked), Decision::Update(IntercomId::new("b").unwrap()));
        let outside = Contact { in_scope: false, ..ann() };
        assert_eq!(decide(&outside, &with(&chosen)), Decision::Skip(SkipReason::OutOfScope));
    }

    #[test]
    fn an_ignored_contact_is_skipped_whatever_else_is_known_of_it() {
        let ignored = Decision::Skip(SkipReason::Ignored);
        let linked = link(LinkState::Linked(IntercomId::new("a").unwrap()), 3, 9);
        for (decided, sighting, is_ignored) in [
            (Decided::Ignore, 2, true),
            (Decided::Ignore, 3, true),
            (Decided::IgnoreUntilChanged, 2, true),
            (Decided::IgnoreUntilChanged, 3, false),
        ] {
            let decided = in_force(decided);
            for link in [None, Some(&linked)] {
                for held_as in [None, Some(Some(digest(sighting)))] {
                    let sighting = digest(sighting);
                    let now = Seen { decided: Some(&decided), sighting, held_as, ..seen(link) };
                    assert_eq!(decide(&ann(), &now) == ignored, is_ignored, "{decided:?}");
                }
            }
        }
        // What an earlier write may have made is found all the same.
        let decided = in_force(Decided::Ignore);
        let unknown = Seen { decided: Some(&decided), unknown: true, ..seen(None) };
        assert_eq!(decide(&ann(), &unknown), Decision::Look(SkipReason::Ignored));
    }

    #[test]
    fn a_hold_or_a_waiting_retry_is_revived_by_a_change_only() {
        let held = |as_seen| Seen { held_as: Some(as_seen), ..seen(None) };
        assert_eq!(decide(&ann(), &held(Some(digest(2)))), Decision::Skip(SkipReason::StillHeld));
        assert_eq!(decide(&ann(), &held(Some(digest(3)))), Decision::Match);
        assert_eq!(decide(&ann(), &held(None)), Decision::Match);
        let waits = Seen { retry_as: Some(Some(digest(2))), ..seen(None) };
        assert_eq!(decide(&ann(), &waits), Decision::Skip(SkipReason::RetryLater));
    }
}
