//! Matching: finds the Intercom contact of a Keap contact that has no link. No clock, no network,
//! no database.

use std::collections::{HashMap, HashSet};

use super::decide::{Decision, Hold};
use crate::contact::{Candidate, Contact, IntercomId, KeapId, Role};
use crate::outcome::HoldReason;

/// The settings that matching depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// A lead becomes a user.
    pub promote_leads: bool,
    /// An equal external id is proof without anything else: the former worker wrote these ids.
    pub trust_external_id: bool,
}

/// Whose the candidates are, as far as our records and Keap say it.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Our links.
    pub linked: HashMap<IntercomId, KeapId>,
    /// Former links: whose the Intercom contact was when Keap lost its contact.
    pub former: HashMap<IntercomId, KeapId>,
    /// Intercom contacts that belonged to the contact to be matched, until one of the two vanished.
    pub ours: HashSet<IntercomId>,
    /// External ids that are ids of contacts in Keap.
    pub in_keap: HashSet<KeapId>,
    /// External ids that Keap was asked for and does not have.
    pub not_in_keap: HashSet<KeapId>,
}

impl Owners {
    /// Another Keap contact that the Intercom contact belongs to: our link says it, or it carries
    /// the id of a contact that Keap has.
    pub(super) fn other_owner(&self, contact: KeapId, found: &Candidate) -> Option<KeapId> {
        let linked = self.linked.get(&found.id).copied();
        let carried = || found.external_keap_id().filter(|id| self.in_keap.contains(id));
        linked.or_else(carried).filter(|owner| *owner != contact)
    }

    /// Whether an Intercom contact that carries the id of this Keap contact really belongs to it. A
    /// stranger may carry the same number.
    fn prove(&self, contact: &Contact, found: &Candidate, rules: Rules) -> bool {
        let id = &found.id;
        let by_link = self.ours.contains(id)
            || match self.linked.get(id) {
                Some(owner) => *owner == contact.id,
                None => self.former.get(id) == Some(&contact.id),
            };
        by_link || rules.trust_external_id || found.agrees_with(contact)
    }
}

/// Decides for an unlinked contact. `found` are live Intercom contacts with its e-mail, or with its
/// Keap id as external id; a contact that a 409 names belongs here too.
pub(super) fn match_up(
    contact: &Contact,
    found: &[Candidate],
    owners: &Owners,
    rules: Rules,
) -> Decision {
    let users: Vec<&Candidate> =
        found.iter().filter(|candidate| candidate.role == Role::User).collect();
    let carriers: Vec<&Candidate> =
        users.iter().copied().filter(|user| user.belongs_to(contact.id)).collect();
    if let Some(ours) = carriers.iter().find(|user| owners.prove(contact, user, rules)) {
        return Decision::Link(ours.id.clone());
    }
    // While a stranger carries our id, no other Intercom contact can get it.
    if !carriers.is_empty() {
        return hold(HoldReason::ExternalIdUnproven, &carriers);
    }
    match users.as_slice() {
        [] => {}
        [user] => return match_user(contact, user, owners),
        _ => return hold(HoldReason::SeveralUsers, &users),
    }
    // Leads may share an e-mail. The newest lead is in the conversation with support.
    let newest_lead = found
        .iter()
        .filter(|candidate| candidate.role == Role::Lead)
        .max_by_key(|lead| (lead.created_at, &lead.id));
    match newest_lead {
        // Search lags: the lead may be the user of another contact by now.
        Some(lead) if owners.other_owner(contact.id, lead).is_some() => {
            match_user(contact, lead, owners)
        }
        Some(lead) if rules.promote_leads => Decision::Link(lead.id.clone()),
        _ => Decision::Create,
    }
}

/// Decides by the only Intercom contact that has the e-mail.
fn match_user(contact: &Contact, user: &Candidate, owners: &Owners) -> Decision {
    if let Some(owner) = owners.other_owner(contact.id, user) {
        return hold(HoldReason::EmailLinkedTo(owner), &[user]);
    }
    if user.external_id.is_none() {
        return Decision::Link(user.id.clone());
    }
    Decision::Hold(Hold {
        not_in_keap: user.external_keap_id().filter(|id| owners.not_in_keap.contains(id)),
        ..Hold::new(HoldReason::ExternalIdTaken, [user.id.clone()])
    })
}

fn hold(reason: HoldReason, candidates: &[&Candidate]) -> Decision {
    Decision::Hold(Hold::new(reason, candidates.iter().map(|one| one.id.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{Fields, Form};

    const RULES: Rules = Rules { promote_leads: true, trust_external_id: false };

    fn keap(n: i64) -> KeapId {
        KeapId::new(n).unwrap()
    }

    fn intercom(id: &str) -> IntercomId {
        IntercomId::new(id).unwrap()
    }

    fn person(email: &str, name: &str) -> Fields {
        Fields::from_iter([
            ("email", Form::Email.read(Some(email))),
            ("name", Form::Text.read(Some(name))),
        ])
    }

    fn ann() -> Contact {
        Contact::showing(keap(7), person("ann@example.org", "Ann Lee"))
    }

    /// A user with Ann's e-mail.
    fn user(id: &str, external_id: Option<&str>) -> Candidate {
        Candidate {
            hides_tags: false,
            id: intercom(id),
            role: Role::User,
            external_id: external_id.map(str::to_owned),
            email: Some("ann@example.org".into()),
            shows: person("ann@example.org", ""),
            rest: Fields::default(),
            tags: None,
            created_at: 0,
            updated_at: None,
        }
    }

    /// A user of another person, with this Keap id.
    fn stranger(id: &str, external_id: &str) -> Candidate {
        Candidate {
            email: Some("bob@example.org".into()),
            shows: person("bob@example.org", "Bob"),
            ..user(id, Some(external_id))
        }
    }

    fn lead(id: &str, created_at: i64) -> Candidate {
        Candidate { role: Role::Lead, created_at, ..user(id, None) }
    }

    fn link(id: &str) -> Decision {
        Decision::Link(intercom(id))
    }

    fn held(reason: HoldReason, ids: &[&str]) -> Decision {
        Decision::Hold(Hold::new(reason, ids.iter().map(|id| intercom(id))))
    }

    #[test]
    fn every_case_of_matching_by_email() {
        let nobody = Owners::default();
        for (what, candidates, expected) in [
            ("nobody", vec![], Decision::Create),
            ("one user without external id", vec![user("a", None)], link("a")),
            (
                "the user that carries our id",
                vec![user("a", None), user("b", Some("7"))],
                link("b"),
            ),
            (
                "another's external id",
                vec![user("a", Some("8"))],
                held(HoldReason::ExternalIdTaken, &["a"]),
            ),
            (
                "several users",
                vec![user("a", None), user("b", None)],
                held(HoldReason::SeveralUsers, &["a", "b"]),
            ),
            ("a lead", vec![lead("l", 1)], link("l")),
            ("the newest lead", vec![lead("l", 1), lead("m", 5), lead("k", 2)], link("m")),
            ("a user before a lead", vec![lead("l", 1), user("a", None)], link("a")),
        ] {
            assert_eq!(match_up(&ann(), &candidates, &nobody, RULES), expected, "{what}");
        }
        let keeps_leads = Rules { promote_leads: false, ..RULES };
        assert_eq!(match_up(&ann(), &[lead("l", 1)], &nobody, keeps_leads), Decision::Create);
    }

    #[test]
    fn an_equal_external_id_is_proof_only_with_something_else() {
        let unproven = held(HoldReason::ExternalIdUnproven, &["s"]);
        let by_name =
            Candidate { shows: person("old@example.org", "ann lee"), ..stranger("s", "7") };
        let nothing = Candidate { email: None, shows: Fields::default(), ..stranger("s", "7") };
        let owners = |fill: fn(&mut Owners)| {
            let mut owners = Owners::default();
            fill(&mut owners);
            owners
        };
        let nobody = || owners(|_| {});
        for (what, found, owners, expected) in [
            ("nothing agrees", stranger("s", "7"), nobody(), unproven.clone()),
            ("there is nothing that could agree", nothing, nobody(), unproven.clone()),
            ("the name agrees", by_name, nobody(), link("s")),
            (
                "a former link says so",
                stranger("s", "7"),
                owners(|owners| {
                    owners.former.insert(intercom("s"), keap(7));
                }),
                link("s"),
            ),
            (
                "the former link of another contact says nothing",
                stranger("s", "7"),
                owners(|owners| {
                    owners.former.insert(intercom("s"), keap(8));
                }),
                unproven.clone(),
            ),
            (
                "it was ours, and another contact has it now",
                stranger("s", "7"),
                owners(|owners| {
                    owners.former.insert(intercom("s"), keap(7));
                    owners.linked.insert(intercom("s"), keap(8));
                }),
                unproven.clone(),
            ),
            (
                "our own link says so",
                stranger("s", "7"),
                owners(|owners| {
                    owners.ours.insert(intercom("s"));
                }),
                link("s"),
            ),
        ] {
            assert_eq!(match_up(&ann(), &[found], &owners, RULES), expected, "{what}");
        }
        let trusting = Rules { trust_external_id: true, ..RULES };
        assert_eq!(match_up(&ann(), &[stranger("s", "7")], &nobody(), trusting), link("s"));
        // A user without an external id could not get ours while the stranger has it.
        let both = [user("a", None), stranger("s", "7")];
        assert_eq!(match_up(&ann(), &both, &nobody(), RULES), unproven);
    }

    #[test]
    fn a_user_of_another_keap_contact_is_held_for_that_contact() {
        let of_eight = held(HoldReason::EmailLinkedTo(keap(8)), &["a"]);
        let linked =
            Owners { linked: HashMap::from([(intercom("a"), keap(8))]), ..Owners::default() };
        let in_keap = Owners { in_keap: HashSet::from([keap(8)]), ..Owners::default() };
        let gone = Owners { not_in_keap: HashSet::from([keap(8)]), ..Owners::default() };
        for (what, found, owners, expected) in [
            ("linked", user("a", None), &linked, of_eight.clone()),
            (
                "linked, with the external id of nobody",
                user("a", Some("x")),
                &linked,
                of_eight.clone(),
            ),
            ("a lead that search still shows", lead("a", 1), &linked, of_eight.clone()),
            (
                "its external id is that of a contact in Keap",
                user("a", Some("8")),
                &in_keap,
                of_eight,
            ),
            (
                "its external id is that of no contact in Keap",
                user("a", Some("8")),
                &gone,
                Decision::Hold(Hold {
                    not_in_keap: Some(keap(8)),
                    ..Hold::new(HoldReason::ExternalIdTaken, [intercom("a")])
                }),
            ),
            (
                "its external id is no number",
                user("a", Some("x")),
                &in_keap,
                held(HoldReason::ExternalIdTaken, &["a"]),
            ),
        ] {
            assert_eq!(match_up(&ann(), &[found], owners, RULES), expected, "{what}");
        }
        let own = Owners { linked: HashMap::from([(intercom("a"), keap(7))]), ..Owners::default() };
        assert_eq!(match_up(&ann(), &[user("a", None)], &own, RULES), link("a"));
    }
}
