//! Planning a page: gathers what is known of its contacts for all of them together, then decides
//! each one.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use rand::seq::SliceRandom;
use uuid::Uuid;

use super::context::Context;
use super::decide::{Decision, ErasedAs, Hold, Seen, decide};
use super::matching::{Owners, match_up};
use super::newcomers;
use super::page::Page;
use super::result::Halt;
use super::write::KeapIntent;
use crate::config::{Deleted, Left};
use crate::contact::{
    Bases, Candidate, Contact, Digest, DigestKey, Email, FieldName, FieldRule, Fields, KeapId,
    Link, LinkState, Writes,
};
use crate::feed::{DueReason, Feed, Lane};
use crate::intercom::Wanted;
use crate::outcome::{HoldReason, InForce, SkipReason};
use crate::remote::Failure;
use crate::store::{FoundIntent, IntentSide, Known, KnownHold, Waiting};

/// Searches under way at once. They answer slowly, and a page of new contacts needs dozens.
const SEARCHES_AT_ONCE: usize = 8;

/// A contact with its decision, and what the decision depends on.
pub(super) struct Planned {
    pub contact: Contact,
    pub decision: Decision,
    pub link: Option<Link>,
    pub waiting: Option<Waiting>,
    pub hold: Option<KnownHold>,
    /// What a person has decided about it.
    pub decided: Option<InForce>,
    /// It was to be ignored until it changes, and it has changed.
    pub ends_ignoring: bool,
    pub fingerprint: Digest,
    pub sighting: Digest,
    pub email_digest: Option<Digest>,
    /// Its address, also where the filter leaves the contact out: an opt-out travels even then.
    pub address: Option<Email>,
    /// Why the search for this contact failed, and the delay if the remote failed. Nothing
    /// else of the page suffers.
    pub search_failed: Option<(String, Option<Duration>)>,
    /// Earlier writes of the contact to Intercom whose outcome is unknown.
    pub found: Vec<FoundIntent>,
    /// The same of writes to Keap.
    pub found_in_keap: Vec<FoundIntent>,
    /// The contact has changed in Intercom, as far as it is known.
    pub looks_at_intercom: bool,
    /// The intent of the writes to Keap, once they have begun.
    pub keap_intent: Option<KeapIntent>,
    /// One of them has no certain answer.
    pub is_unknown_in_keap: bool,
    /// Another mapping wrote its link, and nothing of this one has to be written: the bases to
    /// store.
    pub settles: Option<Bases>,
    /// The intent of the write that this page makes.
    pub intent: Option<Uuid>,
    /// That write has begun and has no certain answer.
    pub is_unknown: bool,
}

impl Planned {
    /// A contact that Keap did not show. It has an id and an outcome, and nothing is decided for
    /// it.
    pub(super) fn unseen(id: KeapId, known: &mut Known, key: &DigestKey) -> Self {
        let contact = Contact::showing(id, Fields::default());
        Self {
            decision: Decision::Skip(SkipReason::NotInKeap),
            link: known.links.remove(&id),
            waiting: known.waiting.remove(&id),
            hold: known.holds.remove(&id),
            decided: known.decisions.remove(&id),
            ends_ignoring: false,
            fingerprint: key.fingerprint(&contact),
            sighting: key.sighting(&contact),
            email_digest: None,
            address: None,
            search_failed: None,
            found: of_side(IntentSide::Intercom, &known.intents, id),
            found_in_keap: of_side(IntentSide::Keap, &known.intents, id),
            looks_at_intercom: false,
            keap_intent: None,
            is_unknown_in_keap: false,
            settles: None,
            intent: None,
            is_unknown: false,
            contact,
        }
    }

    /// Keap shows it so after a write there.
    pub(super) fn shows_now(&mut self, contact: Contact, key: &DigestKey) {
        self.fingerprint = key.fingerprint(&contact);
        self.sighting = key.sighting(&contact);
        if contact.fields.get(FieldName::EMAIL).is_some() {
            self.email_digest = contact.email().map(|email| key.email(email));
        }
        self.contact = contact;
    }

    /// How often each side was written lately. Who asks for the contact by name begins anew.
    pub(super) fn writes(&self) -> Writes {
        let link = self.link.as_ref().filter(|_| !self.is_request());
        link.map(|link| link.writes).unwrap_or_default()
    }

    /// Whether a person or a script asked for it.
    pub(super) fn is_request(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.reason == DueReason::Manual)
    }

    /// Whether it waits for a person. While it has a due row, its hold does not count.
    pub(super) fn is_held(&self) -> bool {
        self.hold.is_some() && self.waiting.is_none()
    }
}

/// Plans contacts that were read from Keap.
pub(super) struct Planner<'a> {
    pub context: &'a Context,
    pub lane: Lane,
    pub feed: Feed,
    /// The versions of the due rows that the page was made for.
    pub versions: &'a HashMap<KeapId, i64>,
}

impl<'a> Planner<'a> {
    /// The planner of a page.
    pub(super) fn of(context: &'a Context, page: &'a Page) -> Self {
        Self { context, lane: page.lane, feed: page.feed, versions: &page.versions }
    }

    /// Decides every contact. Costs one transaction, two more if contacts are unlinked, and one
    /// search per 15 of those.
    pub(super) async fn plan(&self, contacts: Vec<Contact>) -> Result<Vec<Planned>, Halt> {
        let ids: Vec<KeapId> = contacts.iter().map(|contact| contact.id).collect();
        let mut known = self.known(&ids).await?;
        let addresses = self.erased_addresses(&contacts, &known).await?;
        // Until the accounts are looked at again, a field whose place is gone is no field.
        let gone = self.context.board.doubt.gone();
        let mut first_look = |mut contact: Contact| {
            contact.fields.remove(&gone);
            self.first_look(contact, &mut known, &addresses)
        };
        let mut planned: Vec<Planned> = contacts.into_iter().map(&mut first_look).collect();
        self.match_unlinked(&mut planned).await?;
        Ok(planned)
    }

    /// The addresses of these contacts that are erased. It costs a transaction where somebody is.
    async fn erased_addresses(
        &self,
        contacts: &[Contact],
        known: &Known,
    ) -> Result<HashSet<Digest>, Halt> {
        if !known.knows_erased {
            return Ok(HashSet::new());
        }
        let emails = contacts.iter().filter_map(Contact::email);
        let emails: Vec<Digest> = emails.map(|email| self.context.key.email(email)).collect();
        Ok(self.context.store.erased_addresses(&emails).await?)
    }

    /// Plans contacts that are gone from Keap and still linked, by the policy for deletions.
    pub(super) async fn plan_gone(&self, gone: &[KeapId]) -> Result<Vec<Planned>, Halt> {
        if gone.is_empty() || self.context.policy.sweep.deleted == Deleted::Ignore {
            return Ok(Vec::new());
        }
        let mut known = self.known(gone).await?;
        let new_owners = self.context.store.new_owners(gone).await?;
        let planned = gone.iter().filter_map(|id| {
            let planned = Planned::unseen(*id, &mut known, &self.context.key);
            // The erasure has its Intercom contact.
            if known.erased.contains(id) {
                return Some(Planned { decision: Decision::Skip(SkipReason::Erased), ..planned });
            }
            let LinkState::Linked(intercom) = planned.link.as_ref()?.state.clone() else {
                return None;
            };
            let decision = match (new_owners.get(id), self.context.policy.sweep.deleted) {
                (Some(new_owner), _) => Decision::Transfer(intercom, *new_owner),
                (None, Deleted::Archive) => Decision::Archive(intercom),
                (None, _) => Decision::Unlink(intercom),
            };
            Some(Planned { decision, ..planned })
        });
        Ok(planned.collect())
    }

    /// Plans contacts that Keap does not have, and of which a write without an outcome may have
    /// left an Intercom contact without a link. Also returns the other ones.
    pub(super) async fn plan_missing(
        &self,
        missing: Vec<KeapId>,
    ) -> Result<(Vec<Planned>, Vec<KeapId>), Halt> {
        if missing.is_empty() {
            return Ok((Vec::new(), missing));
        }
        let mut known = self.known(&missing).await?;
        let is_lost = |id: &KeapId| {
            let linked = known.links.get(id).is_some_and(|link| link.intercom().is_some());
            !linked && known.intents.contains_key(id) && !known.erased.contains(id)
        };
        let (lost, rest): (Vec<KeapId>, Vec<KeapId>) = missing.into_iter().partition(is_lost);
        let planned = lost.into_iter().map(|id| Planned {
            decision: Decision::Look(SkipReason::NotInKeap),
            ..Planned::unseen(id, &mut known, &self.context.key)
        });
        Ok((planned.collect(), rest))
    }

    /// What the store knows of contacts. An earlier reading must not answer a later request, so a
    /// due row has the version that it had when the page was made.
    pub(super) async fn known(&self, ids: &[KeapId]) -> Result<Known, Halt> {
        let mut known = self.context.store.known(ids).await?;
        for (id, waiting) in &mut known.waiting {
            if let Some(version) = self.versions.get(id) {
                waiting.version = *version;
            }
        }
        let under_way = &self.context.board.intents;
        for found in known.intents.values_mut() {
            found.retain(|intent| !under_way.contains(intent.id));
            for intent in found {
                intent.sent = intent.sent.clone().under(&self.context.fields);
            }
        }
        known.intents.retain(|_, found| !found.is_empty());
        Ok(known)
    }

    /// Whether a walk has met a retry whose time has not come.
    pub(super) fn retry_waits(&self, waiting: &Waiting) -> bool {
        let is_asked = matches!(self.feed, Feed::Due | Feed::Plan);
        waiting.later && waiting.reason == DueReason::Retry && !is_asked
    }

    /// How the contact looked when its retry was put off, if a walk has met it before its time.
    fn retry_as(&self, waiting: Option<&Waiting>) -> Option<Option<Digest>> {
        waiting.filter(|waiting| self.retry_waits(waiting)).map(|waiting| waiting.sighting)
    }

    fn first_look(
        &self,
        contact: Contact,
        known: &mut Known,
        erased_addresses: &HashSet<Digest>,
    ) -> Planned {
        let key = &self.context.key;
        let email_digest = contact.email().map(|email| key.email(email));
        let is_erased = known.erased.contains(&contact.id);
        let erased = ErasedAs::of(is_erased, email_digest, erased_addresses);
        let address = contact.email().cloned();
        let contact = if contact.in_scope { contact } else { self.left(contact) };
        let (fingerprint, sighting) = (key.fingerprint(&contact), key.sighting(&contact));
        let (link, settles) = self.under_this_mapping(&contact, known.links.remove(&contact.id));
        let waiting = known.waiting.remove(&contact.id);
        let hold = known.holds.remove(&contact.id);
        let decided = known.decisions.remove(&contact.id);
        let found = of_side(IntentSide::Intercom, &known.intents, contact.id);
        let found_in_keap = of_side(IntentSide::Keap, &known.intents, contact.id);
        let looks_at_intercom = self.context.policy.direction.to_keap
            && (self.feed == Feed::Plan
                || comes_back(&contact, link.as_ref())
                || !found.is_empty()
                || !found_in_keap.is_empty()
                || hold.as_ref().is_some_and(KnownHold::is_of_intercom)
                || waiting.as_ref().is_some_and(Waiting::looks_at_both));
        let relations = self.unsettled_relations(&contact, link.as_ref());
        let seen = Seen {
            link: link.as_ref(),
            settles: settles.is_some(),
            fingerprint,
            sighting,
            held_as: hold.as_ref().filter(|_| waiting.is_none()).map(|hold| hold.sighting),
            retry_as: self.retry_as(waiting.as_ref()),
            relates: relates(&relations),
            looks_at_tags: relations.iter().any(|rule| rule.is_tag_of_both() && rule.looks_first()),
            changed_in_intercom: looks_at_intercom,
            archives_left: self.context.policy.left == Left::Archive,
            unknown: !found.is_empty(),
            decided: decided.as_ref(),
            erased,
        };
        let decision = decide(&contact, &seen);
        Planned {
            contact,
            decision,
            link,
            waiting,
            hold,
            ends_ignoring: decided.as_ref().is_some_and(|decided| decided.has_changed(sighting)),
            decided,
            fingerprint,
            sighting,
            email_digest,
            address,
            search_failed: None,
            found,
            found_in_keap,
            looks_at_intercom,
            keap_intent: None,
            is_unknown_in_keap: false,
            settles,
            intent: None,
            is_unknown: false,
        }
    }

    /// A contact that the filter leaves out: only an opt-out still travels, and the tag of those
    /// who left.
    fn left(&self, contact: Contact) -> Contact {
        let only = |fields: &Fields| {
            let travels = |name: &FieldName| self.context.fields.travels_always(name.as_str());
            let kept = fields.iter().filter(|(name, _)| travels(name));
            kept.map(|(name, reading)| (name.clone(), reading.clone())).collect()
        };
        let (fields, relations) = (only(&contact.fields), only(&contact.relations));
        Contact { fields, relations, ..contact }
    }

    /// A link as this mapping sees it. With it the bases to store, if another mapping wrote it and
    /// nothing of this one has to be written.
    fn under_this_mapping(
        &self,
        contact: &Contact,
        link: Option<Link>,
    ) -> (Option<Link>, Option<Bases>) {
        let Context { key, fields, .. } = self.context;
        let Some(mut link) = link else {
            return (None, None);
        };
        // With one direction, nobody keeps what Intercom shows up to date.
        let remembers = self.context.policy.direction.to_keap;
        link.intercom_base =
            link.intercom_base.filter(|_| remembers).map(|base| base.under(fields));
        if !contact.in_scope {
            // Little of it travels, so no fingerprint says whether that is settled.
            let before = link.keap_base.take().unwrap_or_else(Bases::nothing).under(fields);
            let settles = key.unsettled(fields, contact, &before).is_empty();
            link.keap_base = Some(before.clone());
            return (Some(link), settles.then_some(before));
        }
        let is_other = match &link.keap_base {
            Some(base) => base.order().is_some_and(|order| !order.is_same(fields)),
            None => fields.is_more_than_built_in(),
        };
        link.keap_base = match link.keap_base {
            Some(base) => Some(base.under(fields)),
            // A former release wrote the built-in fields as Keap still shows them.
            None if is_other && is_as_written(key, contact, &link) => {
                Some(key.built_in_bases(fields, contact))
            }
            None => None,
        };
        if !is_other || link.intercom().is_none() {
            // Without the fields whose place is gone, the stored fingerprint cannot be made again.
            let is_same = |base: &Bases| key.unsettled(fields, contact, base).is_empty();
            if !self.context.board.doubt.gone().is_empty()
                && link.fingerprint != Digest::UNKNOWN
                && link.keap_base.as_ref().is_some_and(is_same)
            {
                link.fingerprint = key.fingerprint(contact);
            }
            return (Some(link), None);
        }
        let settles = link
            .keap_base
            .as_ref()
            .filter(|_| link.fingerprint != Digest::UNKNOWN)
            .filter(|before| key.unsettled(fields, contact, before).is_empty())
            .map(|before| key.bases(fields, contact, Some(before)));
        // A fingerprint names no places: under another mapping, an equal one says nothing.
        link.fingerprint = Digest::UNKNOWN;
        (Some(link), settles)
    }

    /// The linked contacts whose relations differ from what was settled. Only their relations were
    /// read.
    pub(super) async fn related(&self, contacts: &[Contact]) -> Result<Vec<KeapId>, Halt> {
        let ids: Vec<KeapId> = contacts.iter().map(|contact| contact.id).collect();
        let mut known = self.known(&ids).await?;
        let fields = &self.context.fields;
        let differs = |contact: &&Contact| {
            let link = known.links.remove(&contact.id).filter(|link| link.intercom().is_some());
            link.is_some_and(|link| {
                let keap_base = link.keap_base.clone().map(|base| base.under(fields));
                relates(&self.unsettled_relations(contact, Some(&Link { keap_base, ..link })))
            })
        };
        Ok(contacts.iter().filter(differs).map(|contact| contact.id).collect())
    }

    /// The relations of a linked contact that differ from what was settled.
    fn unsettled_relations(&self, contact: &Contact, link: Option<&Link>) -> Vec<&FieldRule> {
        let Context { key, fields, .. } = self.context;
        let unsettled = link.map(|link| {
            let nothing = Bases::nothing();
            let before = link.keap_base.as_ref().unwrap_or(&nothing);
            key.unsettled_relations(fields, contact, before)
        });
        let names = unsettled.unwrap_or_default().into_iter();
        names.filter_map(|name| fields.rule(name.as_str())).collect()
    }

    /// Each linked contact that this mapping rewrites and another one had linked, with the fields.
    /// The contacts that changed in Keap are rewritten anyway.
    pub(super) async fn rewritten(
        &self,
        contacts: Vec<Contact>,
    ) -> Result<Vec<(Planned, Vec<FieldName>)>, Halt> {
        let ids: Vec<KeapId> = contacts.iter().map(|contact| contact.id).collect();
        let mut known = self.known(&ids).await?;
        let addresses = self.erased_addresses(&contacts, &known).await?;
        let Context { key, fields, .. } = self.context;
        let each = contacts.into_iter().filter_map(|contact| {
            let planned = self.first_look(contact.clone(), &mut known, &addresses);
            let link = planned.link.as_ref().filter(|link| link.intercom().is_some())?;
            if !contact.in_scope {
                let acts = self.context.policy.left != Left::Nothing;
                return acts.then(|| (planned, vec![FieldName::from("left")]));
            }
            let before = link.keap_base.clone().unwrap_or_else(Bases::nothing);
            let mut unsettled = key.unsettled_relations(fields, &contact, &before);
            if planned.settles.is_none() {
                unsettled.extend(key.unsettled(fields, &contact, &before));
            }
            let is_new = |name: &FieldName| !before.has(name.as_str());
            unsettled.iter().any(is_new).then_some((planned, unsettled))
        });
        Ok(each.collect())
    }

    /// Matches contacts without a link: our own links by e-mail first, then one search for all
    /// that are left.
    async fn match_unlinked(&self, planned: &mut [Planned]) -> Result<(), Halt> {
        self.hold_twins(planned).await?;
        self.match_made(planned).await?;
        let parts = self.searches(planned);
        if parts.is_empty() {
            return Ok(());
        }
        let mut found = self.search(parts).await?;
        let owners = self.owners(&found.candidates, planned).await?;
        let candidates = Candidates::by_key(&found.candidates);
        for one in unmatched(planned) {
            one.search_failed = found.failed.remove(&one.contact.id);
            if one.search_failed.is_none() && !found.alone.contains(&one.contact.id) {
                one.decision = self.match_one(one, &candidates, &owners);
            }
        }
        Ok(())
    }

    /// Holds contacts whose e-mail another linked contact has.
    async fn hold_twins(&self, planned: &mut [Planned]) -> Result<(), Halt> {
        let digests: Vec<Digest> = unmatched(planned).filter_map(|one| one.email_digest).collect();
        if digests.is_empty() {
            return Ok(());
        }
        let owners = self.context.store.email_owners(&digests).await?;
        for one in unmatched(planned) {
            let owner = one.email_digest.and_then(|digest| owners.get(&digest).copied());
            if let Some(owner) = owner.filter(|owner| *owner != one.contact.id) {
                one.decision = Decision::Hold(Hold::new(HoldReason::EmailLinkedTo(owner), []));
            }
        }
        Ok(())
    }

    /// Matches contacts that a create of ours has made in Keap.
    async fn match_made(&self, planned: &mut [Planned]) -> Result<(), Halt> {
        let wanted = unmatched(planned).map(|one| newcomers::Wanted {
            id: one.contact.id,
            email: one.email_digest,
            user: one
                .found_in_keap
                .iter()
                .filter(|intent| intent.has_made)
                .find_map(|intent| intent.intercom.clone()),
        });
        let mut users = newcomers::users_of(self.context, self.lane, wanted.collect()).await?;
        if users.is_empty() {
            return Ok(());
        }
        let candidates: Vec<Candidate> = users.values().map(|(user, _)| user.clone()).collect();
        let owners = self.owners(&candidates, planned).await?;
        let rules = self.context.matching_rules();
        for one in unmatched(planned) {
            if let Some((user, intent)) = users.remove(&one.contact.id) {
                one.decision = match_up(&one.contact, std::slice::from_ref(&user), &owners, rules);
                one.found_in_keap.extend(intent);
            }
        }
        Ok(())
    }

    /// The searches that the page needs. A contact that failed before gets a search of its own: its
    /// address may be the one that made a shared search fail.
    fn searches(&self, planned: &mut [Planned]) -> Vec<Vec<Wanted>> {
        let (mut wanted, mut parts) = (Vec::new(), Vec::new());
        for one in unmatched(planned) {
            let Some(email) = one.contact.email().cloned() else {
                continue;
            };
            let search = Wanted { keap: one.contact.id, email };
            let failed_before = |waiting: &Waiting| waiting.reason == DueReason::Retry;
            if one.is_held() || one.waiting.as_ref().is_some_and(failed_before) {
                parts.push(vec![search]);
            } else {
                wanted.push(search);
            }
        }
        parts.extend(self.context.intercom.searches(wanted));
        // While all searches fail, one of them is on trial. It must not always be the same one,
        // which may fail because of its own address.
        parts.shuffle(&mut rand::rng());
        parts
    }

    async fn search(&self, parts: Vec<Vec<Wanted>>) -> Result<Found, Halt> {
        let searches = parts.into_iter().map(|part| async move {
            let found = self.context.intercom.search(self.lane, &part).await;
            (part, found)
        });
        let searches: Vec<_> =
            stream::iter(searches).buffer_unordered(SEARCHES_AT_ONCE).collect().await;
        let mut found = Found::default();
        for (part, result) in searches {
            let ids = part.iter().map(|one| one.keap);
            match result {
                Ok(candidates) => found.candidates.extend(candidates),
                Err(Failure::Again { why, delay }) => {
                    found.failed.extend(ids.map(|id| (id, (why.clone(), delay))));
                }
                // Intercom may refuse a single address of the search. Each contact is then searched
                // on its own.
                Err(Failure::Never { .. }) => found.alone.extend(ids),
                Err(failure) => return Err(Halt::of_reading(failure)),
            }
        }
        Ok(found)
    }

    /// Whose the candidates are. Keap has just shown the contacts of this page.
    async fn owners(&self, found: &[Candidate], planned: &[Planned]) -> Result<Owners, Halt> {
        let in_keap = planned.iter().map(|one| one.contact.id).collect();
        self.context.owners(self.lane, found, in_keap, HashSet::new()).await
    }

    fn match_one(&self, one: &Planned, candidates: &Candidates<'_>, owners: &Owners) -> Decision {
        let mine = candidates.of(&one.contact);
        match_up(&one.contact, &mine, owners, self.context.matching_rules())
    }
}

/// Whether a contact shows what a former release wrote, which knew the built-in fields only. Where
/// the mapping no longer has all of them, the fingerprint cannot be made again: then the stamp says
/// that nothing has changed since.
fn is_as_written(key: &DigestKey, contact: &Contact, link: &Link) -> bool {
    if contact.has_built_in_fields() {
        return link.fingerprint == key.built_in_fingerprint(contact);
    }
    let is_known = link.fingerprint != Digest::UNKNOWN && contact.updated_at.is_some();
    is_known && link.keap_updated_at == contact.updated_at
}

/// Whether one of these relations is to be brought to the other side.
fn relates(unsettled: &[&FieldRule]) -> bool {
    unsettled.iter().any(|rule| rule.to_intercom || rule.is_tag_of_both())
}

/// Whether the filter left the contact out until now. What was edited in Intercom meanwhile has not
/// travelled.
fn comes_back(contact: &Contact, link: Option<&Link>) -> bool {
    contact.in_scope && link.is_some_and(|link| link.is_out)
}

/// The intents of one side of a contact.
fn of_side(
    side: IntentSide,
    known: &HashMap<KeapId, Vec<FoundIntent>>,
    id: KeapId,
) -> Vec<FoundIntent> {
    let all = known.get(&id).into_iter().flatten();
    all.filter(|intent| intent.side == side).cloned().collect()
}

fn unmatched(planned: &mut [Planned]) -> impl Iterator<Item = &mut Planned> {
    planned.iter_mut().filter(|one| one.decision == Decision::Match)
}

/// The results of a page's searches.
#[derive(Default)]
struct Found {
    candidates: Vec<Candidate>,
    /// Contacts whose search failed, with the reason and the delay.
    failed: HashMap<KeapId, (String, Option<Duration>)>,
    /// Contacts that must be searched one by one.
    alone: HashSet<KeapId>,
}

/// Candidates by e-mail and by external id.
struct Candidates<'a> {
    by_email: HashMap<&'a str, Vec<&'a Candidate>>,
    by_external_id: HashMap<&'a str, Vec<&'a Candidate>>,
}

impl<'a> Candidates<'a> {
    fn by_key(found: &'a [Candidate]) -> Self {
        Self {
            by_email: group(found, |candidate| candidate.email.as_deref()),
            by_external_id: group(found, |candidate| candidate.external_id.as_deref()),
        }
    }

    /// The candidates of one contact, each once.
    fn of(&self, contact: &Contact) -> Vec<Candidate> {
        let email = contact.email().map(Email::folded);
        let by_id = self.by_external_id.get(contact.id.to_string().as_str());
        let by_email = email.and_then(|email| self.by_email.get(email));
        let mut mine: Vec<Candidate> = Vec::new();
        for candidate in by_id.into_iter().chain(by_email).flatten() {
            if !mine.iter().any(|known| known.id == candidate.id) {
                mine.push((*candidate).clone());
            }
        }
        mine
    }
}

fn group<'a>(
    found: &'a [Candidate],
    key: impl Fn(&'a Candidate) -> Option<&'a str>,
) -> HashMap<&'a str, Vec<&'a Candidate>> {
    let mut groups: HashMap<&str, Vec<&Candidate>> = HashMap::new();
    for candidate in found {
        if let Some(key) = key(candidate) {
            groups.entry(key).or_default().push(candidate);
        }
    }
    groups
}
