//! Planning a page: what is known of its contacts is gathered for all of them together, then each is decided.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use rand::seq::SliceRandom;

use super::decide::{Decision, Hold, HoldReason, Seen, SkipReason, decide, match_up};
use super::outcome::Halt;
use super::write::Rules;
use crate::contact::{Candidate, Contact, Digest, DigestKey, EmailField, IntercomId, KeapId, Link};
use crate::intercom::{IntercomClient, Wanted};
use crate::remote::{Failure, Lane};
use crate::store::{DueReason, Feed, Known, Store, Waiting};

/// Searches under way at once: they answer slowly, and a page of new contacts needs dozens.
const SEARCHES: usize = 8;

/// A contact with its decision and what the decision stands on.
pub struct Planned {
    pub contact: Contact,
    pub decision: Decision,
    pub link: Option<Link>,
    pub waiting: Option<Waiting>,
    pub fingerprint: Digest,
    pub sighting: Digest,
    pub email_digest: Option<Digest>,
    /// Why the search that this contact was part of failed, and for how long the contact makes way if that is no fault of its
    /// own; nothing else of the page suffers.
    pub search_failed: Option<(String, Option<Duration>)>,
}

impl Planned {
    /// A contact that Keap did not show: it has an id and an outcome, and nothing is decided for it.
    pub fn unseen(id: KeapId, waiting: Option<Waiting>, key: &DigestKey) -> Self {
        let contact = Contact {
            id,
            updated_at: None,
            email: EmailField::Absent,
            name: None,
            phone: None,
        };
        Self {
            decision: Decision::Skip(SkipReason::NotInKeap),
            link: None,
            waiting,
            fingerprint: key.fingerprint(&contact),
            sighting: key.sighting(&contact),
            email_digest: None,
            search_failed: None,
            contact,
        }
    }
}

/// What planning stands on.
pub struct Planner<'a> {
    pub store: &'a Store,
    pub intercom: &'a IntercomClient,
    pub key: &'a DigestKey,
    pub rules: Rules,
    pub lane: Lane,
    pub feed: Feed,
    /// The versions of the due rows that the page was made for.
    pub versions: &'a HashMap<KeapId, i64>,
}

impl Planner<'_> {
    /// Decides every contact of a page with two queries, two more where contacts are unknown, and one search a fifteen of these.
    pub async fn plan(&self, contacts: Vec<Contact>) -> Result<Vec<Planned>, Halt> {
        let ids: Vec<KeapId> = contacts.iter().map(|contact| contact.id).collect();
        let known = self.store.known(&ids).await?;
        let mut planned: Vec<Planned> = contacts
            .into_iter()
            .map(|contact| self.first_look(contact, &known))
            .collect();
        self.match_unknown(&mut planned).await?;
        Ok(planned)
    }

    /// The due row as it was when the page was read: a later request is not answered by an earlier reading.
    pub fn waiting(&self, id: KeapId, waiting: Option<Waiting>) -> Option<Waiting> {
        let version = self.versions.get(&id).copied();
        waiting.map(|waiting| Waiting {
            version: version.unwrap_or(waiting.version),
            ..waiting
        })
    }

    /// A retry whose time has not come, met by a walk.
    pub fn retry_waits(&self, waiting: &Waiting) -> bool {
        waiting.later && waiting.reason == DueReason::Retry && self.feed != Feed::Due
    }

    fn first_look(&self, contact: Contact, known: &Known) -> Planned {
        let (fingerprint, sighting) = (self.key.fingerprint(&contact), self.key.sighting(&contact));
        let link = known.links.get(&contact.id).cloned();
        let waiting = self.waiting(contact.id, known.waiting.get(&contact.id).cloned());
        let seen = Seen {
            link: link.as_ref(),
            fingerprint,
            sighting,
            held_as: waiting
                .as_ref()
                .filter(|waiting| waiting.held)
                .map(|waiting| waiting.sighting),
            retry_as: waiting
                .as_ref()
                .filter(|waiting| self.retry_waits(waiting))
                .map(|waiting| waiting.sighting),
        };
        let decision = decide(&contact, &seen);
        let email_digest = contact.email.valid().map(|email| self.key.email(email));
        Planned {
            contact,
            decision,
            link,
            waiting,
            fingerprint,
            sighting,
            email_digest,
            search_failed: None,
        }
    }

    /// Own links by e-mail first, then one search for all that are left.
    async fn match_unknown(&self, planned: &mut [Planned]) -> Result<(), Halt> {
        let digests: Vec<Digest> = planned
            .iter()
            .filter(|one| one.decision == Decision::Match)
            .filter_map(|one| one.email_digest)
            .collect();
        if digests.is_empty() {
            return Ok(());
        }
        let owners = self.store.email_owners(&digests).await?;
        let owner_of = |one: &Planned| {
            one.email_digest
                .and_then(|digest| owners.get(&digest).copied())
                .filter(|owner| *owner != one.contact.id)
        };
        for one in planned
            .iter_mut()
            .filter(|one| one.decision == Decision::Match)
        {
            if let Some(owner) = owner_of(one) {
                one.decision = Decision::Hold(Hold {
                    reason: HoldReason::EmailLinkedTo(owner),
                    candidates: Vec::new(),
                });
            }
        }
        // Whoever comes back is searched by itself: it may be the one address that made the search of all fail.
        let (mut wanted, mut parts) = (Vec::new(), Vec::new());
        for one in planned.iter().filter(|one| one.decision == Decision::Match) {
            let Some(email) = one.contact.email.valid().cloned() else {
                continue;
            };
            let keap = one.contact.id;
            let comes_back = |waiting: &Waiting| waiting.reason == DueReason::Retry;
            if one.waiting.as_ref().is_some_and(comes_back) {
                parts.push(vec![Wanted { keap, email }]);
            } else {
                wanted.push(Wanted { keap, email });
            }
        }
        parts.extend(self.intercom.searches(wanted));
        if parts.is_empty() {
            return Ok(());
        }
        // While searches fail for everybody one of them is on trial: not always the same, which may fail for its own sake.
        parts.shuffle(&mut rand::rng());
        let searches = parts.into_iter().map(|part| async move {
            let found = self.intercom.search(self.lane, &part).await;
            (part, found)
        });
        let searches: Vec<_> = stream::iter(searches)
            .buffer_unordered(SEARCHES)
            .collect()
            .await;
        let (mut found, mut failed, mut alone) = (Vec::new(), HashMap::new(), HashSet::new());
        for (part, result) in searches {
            match result {
                Ok(candidates) => found.extend(candidates),
                Err(Failure::Again { why, put_off }) => {
                    failed.extend(part.iter().map(|one| (one.keap, (why.clone(), put_off))))
                }
                // One address that Intercom refuses must not harm its neighbours: each is looked for by itself.
                Err(Failure::Never { .. }) => alone.extend(part.iter().map(|one| one.keap)),
                Err(failure) => return Err(Halt::of_reading(failure)),
            }
        }
        let by_email = group(&found, |candidate| candidate.email.clone());
        let by_external_id = group(&found, |candidate| candidate.external_id.clone());
        let ids: Vec<IntercomId> = found.iter().map(|candidate| candidate.id.clone()).collect();
        let linked_to = if ids.is_empty() {
            HashMap::new()
        } else {
            self.store.linked_owners(&ids).await?
        };
        for one in planned
            .iter_mut()
            .filter(|one| one.decision == Decision::Match)
        {
            one.search_failed = failed.remove(&one.contact.id);
            if one.search_failed.is_some() || alone.contains(&one.contact.id) {
                continue;
            }
            let mut mine: Vec<Candidate> = Vec::new();
            let email = one.contact.email.valid().map(|email| email.folded());
            for candidate in by_external_id
                .get(&one.contact.id.to_string())
                .into_iter()
                .chain(email.and_then(|email| by_email.get(&email)))
                .flatten()
            {
                if !mine.iter().any(|known| known.id == candidate.id) {
                    mine.push((*candidate).clone());
                }
            }
            one.decision = match_up(&one.contact, None, &mine, self.rules.promote_leads);
            // Search lags: a contact that we linked to somebody else lately may still look free.
            if let Decision::Link(id) = &one.decision
                && let Some(other) = linked_to.get(id).filter(|other| **other != one.contact.id)
                && !mine
                    .iter()
                    .any(|candidate| candidate.id == *id && candidate.belongs_to(one.contact.id))
            {
                one.decision = Decision::Hold(Hold {
                    reason: HoldReason::EmailLinkedTo(*other),
                    candidates: vec![id.clone()],
                });
            }
        }
        Ok(())
    }
}

fn group(
    found: &[Candidate],
    key: impl Fn(&Candidate) -> Option<String>,
) -> HashMap<String, Vec<&Candidate>> {
    let mut groups: HashMap<String, Vec<&Candidate>> = HashMap::new();
    for candidate in found {
        if let Some(key) = key(candidate) {
            groups.entry(key).or_default().push(candidate);
        }
    }
    groups
}
