//! One contact on its way to Intercom: what is known of it, and the single lookups about it.

use std::collections::HashSet;
use std::slice;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::keap_intent::KeapIntent;
use crate::contact::{
    Bases, Candidate, Clears, Contact, Email, IntercomId, KeapId, Link, Reading, Writes,
};
use crate::feed::Lane;
use crate::intercom::{Found, Unarchived, Wanted};
use crate::outcome::{Decided, HoldReason, InForce, SkipReason};
use crate::remote::Failure;
use crate::store::{FoundIntent, StoreError};
use crate::sync::context::Context;
use crate::sync::decide::{Decision, Hold};
use crate::sync::matching::match_up;
use crate::sync::result::{Halt, Outcome};

/// One contact on its way to Intercom.
pub(crate) struct Target<'a> {
    pub context: &'a Context,
    pub lane: Lane,
    pub contact: &'a Contact,
    /// Its address in Keap, also where the filter leaves the contact out.
    pub address: Option<&'a Email>,
    pub link: Option<&'a Link>,
    /// What a person has decided about it.
    pub decided: Option<&'a InForce>,
    /// Earlier writes of the contact whose outcome is unknown.
    pub found: &'a [FoundIntent],
    /// The intent under which this contact is written.
    pub intent: Option<Uuid>,
    /// Earlier writes to Keap whose outcome is unknown.
    pub found_in_keap: &'a [FoundIntent],
    /// The contact has changed in Intercom, so Intercom is read in every case.
    pub looks_at_intercom: bool,
    /// How often each side was written lately.
    pub writes: Writes,
    /// The intent of the writes to Keap, once they have begun.
    pub to_keap: Mutex<Option<KeapIntent>>,
    /// An archived Intercom contact is live only to be looked at.
    pub borrows: AtomicBool,
    pub now: DateTime<Utc>,
}

/// Why the steps of a contact end early.
pub(crate) enum End {
    Outcome(Box<Outcome>),
    Halt(Halt),
}

impl End {
    /// The contact needs a person.
    pub(crate) fn hold(
        reason: HoldReason,
        candidates: impl IntoIterator<Item = IntercomId>,
    ) -> Self {
        Outcome::Held(Hold::new(reason, candidates)).into()
    }
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(Box::new(outcome))
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Again { why, delay } => Outcome::Again { why, delay }.into(),
            Failure::Never { why } => Self::hold(HoldReason::Refused(why), []),
            Failure::Paused { why } => Outcome::Paused { why }.into(),
            Failure::Stop { why, retry_in } => {
                Self::Halt(Halt::Remote { why, retry_in, needs_person: true })
            }
            Failure::Down { why, retry_in } => {
                Self::Halt(Halt::Remote { why, retry_in, needs_person: false })
            }
        }
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Halt(error.into())
    }
}

impl From<Halt> for End {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// What Keap has said of the external id of a candidate a moment ago, when the page was planned.
#[derive(Default)]
pub(crate) struct Asked {
    in_keap: Option<KeapId>,
    not_in_keap: Option<KeapId>,
}

impl Asked {
    /// What a hold says about it.
    pub(crate) fn of(hold: &Hold) -> Self {
        Self { in_keap: hold.reason.about(), not_in_keap: hold.not_in_keap }
    }
}

impl Target<'_> {
    /// Whether the contact's own link has this Intercom contact.
    fn is_own(&self, id: &IntercomId) -> bool {
        self.link.and_then(Link::intercom) == Some(id)
    }

    /// What Keap has shown before of the fields that this Intercom contact has. At the first match
    /// that is nothing.
    pub(crate) fn shown_before(&self, id: &IntercomId) -> Option<Bases> {
        match self.link {
            Some(link) if self.is_own(id) => link.keap_base.clone(),
            _ => Some(Bases::nothing()),
        }
    }

    /// What this Intercom contact showed when its fields were settled last. `None`: nobody knows.
    pub(crate) fn intercom_before(&self, id: &IntercomId) -> Option<Bases> {
        self.link.filter(|_| self.is_own(id)).and_then(|link| link.intercom_base.clone())
    }

    /// The fields that a write to this Intercom contact clears. A value that an earlier write may
    /// have left there counts as shown.
    pub(crate) fn clears(&self, id: &IntercomId) -> Clears {
        let key = &self.context.key;
        let may_be_there = |name: &str| {
            self.found.iter().any(|intent| key.has_value(self.contact.id, &intent.sent, name))
        };
        let fields = &self.context.fields;
        let clears = key.clears(fields, self.contact, self.shown_before(id).as_ref());
        let may_travel = |name: &str| fields.rule(name).is_none_or(|rule| !rule.never_clears());
        let empty = self.contact.fields.iter().filter(|(_, reading)| **reading == Reading::Empty);
        let is_cleared =
            |name: &str| clears.includes(name) || (may_travel(name) && may_be_there(name));
        empty.map(|(name, _)| name).filter(|name| is_cleared(name.as_str())).cloned().collect()
    }

    /// Makes an archived Intercom contact live, only to look at it. That is stored before the call,
    /// so that a process that dies in between leaves it to the next one.
    pub(crate) async fn borrow(&self, id: &IntercomId) -> Result<Unarchived, End> {
        if let Some(intent) = self.intent {
            self.context.store.borrow(&self.context.fence()?, intent, id).await?;
        }
        self.borrows.store(true, Ordering::Relaxed);
        let unarchived = self.context.intercom.unarchive(self.lane, id, self.contact.id).await?;
        if unarchived != Unarchived::Live {
            self.borrows.store(false, Ordering::Relaxed);
        }
        Ok(unarchived)
    }

    /// Archives the borrowed contact again.
    pub(crate) async fn give_back(&self, id: &IntercomId) -> Result<(), End> {
        self.context.intercom.archive(self.lane, id, self.contact.id).await?;
        self.borrows.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// What Keap shows now, to be recorded with the write of `written` to this Intercom contact.
    pub(crate) fn keap_base(&self, id: &IntercomId, written: &Contact) -> Bases {
        let Context { key, fields, .. } = self.context;
        key.bases(fields, written, self.shown_before(id).as_ref())
    }

    /// The decision for the contact as if it had never been linked.
    pub(crate) fn unlinked(&self) -> Decision {
        match self.contact.email() {
            Some(_) if self.is_to_be_made() => Decision::Create,
            Some(_) => Decision::Match,
            None => Decision::Skip(SkipReason::NoEmail { logged: false }),
        }
    }

    /// The Intercom contact that a person has chosen for it.
    pub(crate) fn chosen(&self) -> Option<&IntercomId> {
        let decided = self.decided.filter(|decided| decided.decided == Decided::Use);
        decided.and_then(|decided| decided.intercom.as_ref())
    }

    /// Whether a person has decided that it gets a new Intercom contact, and it has none yet.
    fn is_to_be_made(&self) -> bool {
        self.decided.is_some_and(|decided| decided.makes_new() && !decided.is_done)
    }

    /// Fails if one write more to a side says that another program changes the contact again and
    /// again. With one direction, no write of ours can be undone by another one.
    pub(crate) fn refuse_ping_pong(&self, to_keap: bool, to_intercom: bool) -> Result<(), End> {
        let in_keap = to_keap && self.writes.fill_keap(self.now);
        let in_intercom = to_intercom && self.writes.fill_intercom(self.now);
        if self.context.policy.direction.to_keap && (in_keap || in_intercom) {
            return Err(End::hold(HoldReason::PingPong { in_keap }, []));
        }
        Ok(())
    }

    /// Fails if the contact's Intercom contact vanished twice within an hour: a person deletes it
    /// on purpose.
    pub(crate) fn refuse_second_replacement(&self) -> Result<(), End> {
        match self.link.and_then(|link| link.replaced_at) {
            _ if self.is_to_be_made() => Ok(()),
            Some(last) if (TimeDelta::zero()..TimeDelta::hours(1)).contains(&(self.now - last)) => {
                Err(End::hold(HoldReason::DeletedAgain, []))
            }
            _ => Ok(()),
        }
    }

    /// Searches for this one contact. Pages search for all of theirs together.
    pub(crate) async fn search(&self) -> Result<Decision, End> {
        let Some(email) = self.contact.email() else {
            return Ok(self.unlinked());
        };
        let wanted = [Wanted { keap: self.contact.id, email: email.clone() }];
        let intercom = &self.context.intercom;
        let found = match intercom.search(self.lane, &wanted).await {
            // If Intercom takes a search without the address, the address is the reason. Then no
            // contact there has it.
            Err(Failure::Never { .. }) => intercom.search_ids(self.lane, &wanted).await?,
            found => found?,
        };
        let decision = self.match_all(&found, None, &Asked::default()).await?;
        let Decision::Link(id) = decision else {
            return Ok(decision);
        };
        // Search lags: another Keap contact may have the Intercom contact by now.
        match self.context.intercom.read(self.lane, &id).await? {
            Found::Contact(found) => self.match_found(&found, &Asked::default()).await,
            Found::Merged(_) | Found::Missing => Ok(Decision::Create),
        }
    }

    /// Decides by a live Intercom contact that search has named and that is read now. Without our
    /// e-mail and our Keap id it is no concern of this contact any more.
    pub(crate) async fn match_found(
        &self,
        found: &Candidate,
        asked: &Asked,
    ) -> Result<Decision, End> {
        let email = self.contact.email().map(Email::folded);
        if found.email.as_deref() != email && !found.belongs_to(self.contact.id) {
            return Ok(Decision::Create);
        }
        self.match_all(slice::from_ref(found), None, asked).await
    }

    /// Reads a contact that Intercom named. Reads by id are immediate, while search lags
    /// (`docs/api/intercom.md`, "Reading by id").
    pub(crate) async fn read_named(&self, id: &IntercomId) -> Result<Candidate, End> {
        let found = match self.context.intercom.read(self.lane, id).await? {
            // One hop is enough: Intercom follows chains itself
            // (`docs/api/intercom.md`, "Archived and merged contacts").
            Found::Merged(survivor) => self.context.intercom.read(self.lane, &survivor).await?,
            found => found,
        };
        match found {
            Found::Contact(found) => Ok(found),
            Found::Merged(other) => Err(End::hold(HoldReason::Conflict, [id.clone(), other])),
            Found::Missing => {
                Err(Outcome::again("Intercom named a contact that it does not show").into())
            }
        }
    }

    /// Decides by one live Intercom contact that a conflict has named.
    pub(crate) async fn match_one(&self, found: &Candidate) -> Result<Decision, End> {
        self.match_all(slice::from_ref(found), None, &Asked::default()).await
    }

    /// Decides by the Intercom contact into which the linked one was merged.
    pub(crate) async fn match_survivor(&self, found: &Candidate) -> Result<Decision, End> {
        self.match_all(slice::from_ref(found), Some(&found.id), &Asked::default()).await
    }

    /// `ours`: an Intercom contact that belongs to this contact, beside the linked one.
    async fn match_all(
        &self,
        found: &[Candidate],
        ours: Option<&IntercomId>,
        asked: &Asked,
    ) -> Result<Decision, End> {
        let in_keap = [self.contact.id].into_iter().chain(asked.in_keap).collect();
        let not_in_keap = asked.not_in_keap.into_iter().collect();
        let mut owners = self.context.owners(self.lane, found, in_keap, not_in_keap).await?;
        let linked = self.link.and_then(Link::intercom);
        owners.ours.extend(ours.into_iter().chain(linked).cloned());
        Ok(match_up(self.contact, found, &owners, self.context.matching_rules()))
    }

    /// The other Keap contact that a live Intercom contact belongs to, if there is one.
    pub(crate) async fn other_owner(&self, found: &Candidate) -> Result<Option<KeapId>, End> {
        let in_keap = HashSet::from([self.contact.id]);
        let found = slice::from_ref(found);
        let owners = self.context.owners(self.lane, found, in_keap, HashSet::new()).await?;
        Ok(found.iter().find_map(|found| owners.other_owner(self.contact.id, found)))
    }

    /// The other Keap contact that our records link to an Intercom contact.
    pub(crate) async fn linked_owner(&self, id: &IntercomId) -> Result<Option<KeapId>, End> {
        let linked = self.context.store.linked_owners(slice::from_ref(id)).await?;
        Ok(linked.get(id).copied().filter(|owner| *owner != self.contact.id))
    }

    /// The other Keap contact that our records give the contact's e-mail address.
    pub(crate) async fn email_owner(&self) -> Result<Option<KeapId>, End> {
        let Some(email) = self.contact.email() else {
            return Ok(None);
        };
        let digest = self.context.key.email(email);
        let owners = self.context.store.email_owners(&[digest]).await?;
        Ok(owners.get(&digest).copied().filter(|owner| *owner != self.contact.id))
    }

    /// The deleted Keap contact that owned this Intercom contact, if our records show it and Keap
    /// still answers 404. An id that is not in our records may be that of another system.
    pub(crate) async fn former_owner(&self, id: &IntercomId) -> Result<Option<KeapId>, End> {
        let former = self.context.store.former_owner(id).await?;
        let Some(former) = former.filter(|former| *former != self.contact.id) else {
            return Ok(None);
        };
        match self.context.keap.by_id(self.lane, former).await {
            Ok(None) => Ok(Some(former)),
            // Only a 404 says that it is gone.
            Ok(Some(_)) | Err(Failure::Never { .. }) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }
}
