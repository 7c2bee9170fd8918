//! Writing: carries one decision out at Intercom, and settles what its answers reveal.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::decide::{Decision, Hold, HoldReason, SkipReason, match_up};
use super::outcome::{Action, Halt, Outcome};
use crate::contact::{Candidate, Contact, Email, EmailField, IntercomId, KeapId, Link};
use crate::intercom::{Conflict, Found, IntercomClient, Unarchived, Wanted, Written};
use crate::keap::KeapClient;
use crate::remote::{Failure, Lane};
use crate::store::{Store, StoreError};

/// No contact needs more turns: update, vanished, create, archived, unarchive, update, and one to spare.
const MOST_TURNS: usize = 8;

/// What the operator decided about cases that can be seen either way.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub promote_leads: bool,
    pub unarchive: bool,
}

/// One contact on its way to Intercom.
pub struct Write<'a> {
    pub store: &'a Store,
    pub keap: &'a KeapClient,
    pub intercom: &'a IntercomClient,
    pub rules: Rules,
    pub lane: Lane,
    pub contact: &'a Contact,
    pub link: Option<&'a Link>,
    pub now: DateTime<Utc>,
}

/// Why a contact's turns end early.
enum End {
    Outcome(Outcome),
    Halt(Halt),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Again { why, put_off } => Self::Outcome(Outcome::Again { why, put_off }),
            Failure::Never { why } => hold(HoldReason::Refused(why), []),
            Failure::Stop { why, retry_in } => Self::Halt(Halt::Remote {
                why,
                retry_in,
                needs_person: true,
            }),
            Failure::Down { why, retry_in } => Self::Halt(Halt::Remote {
                why,
                retry_in,
                needs_person: false,
            }),
        }
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Halt(error.into())
    }
}

fn hold(reason: HoldReason, candidates: impl IntoIterator<Item = IntercomId>) -> End {
    End::Outcome(Outcome::Held(Hold {
        reason,
        candidates: candidates.into_iter().collect(),
    }))
}

fn gone(action: Action, intercom: IntercomId, heir: Option<KeapId>) -> Outcome {
    Outcome::Gone {
        action,
        intercom,
        heir,
    }
}

impl Write<'_> {
    /// Carries the decision out. Safe to repeat: an update repeats its content, a create answers 409 and is linked.
    pub async fn carry_out(&self, decision: Decision) -> Result<Outcome, Halt> {
        match self.turns(decision).await {
            Ok(outcome) | Err(End::Outcome(outcome)) => Ok(outcome),
            Err(End::Halt(halt)) => Err(halt),
        }
    }

    async fn turns(&self, mut decision: Decision) -> Result<Outcome, End> {
        // Intercom contacts that a conflict named: one that is named twice cannot be settled.
        let mut named = HashSet::new();
        let mut replaced = false;
        for _ in 0..MOST_TURNS {
            let (written, action, target) = match decision {
                Decision::Create => (
                    self.intercom.create(self.lane, self.contact).await?,
                    Action::Created,
                    None,
                ),
                Decision::Link(id) => (
                    self.intercom.update(self.lane, &id, self.contact).await?,
                    Action::Linked,
                    Some(id),
                ),
                Decision::Update(id) => (
                    self.intercom.update(self.lane, &id, self.contact).await?,
                    Action::Updated,
                    Some(id),
                ),
                Decision::Archive(id) => {
                    self.intercom
                        .archive(self.lane, &id, self.contact.id)
                        .await?;
                    return Ok(gone(Action::Archived, id, None));
                }
                Decision::Unlink(id) => return Ok(gone(Action::Unlinked, id, None)),
                Decision::HandOver(id, heir) => return Ok(gone(Action::Unlinked, id, Some(heir))),
                Decision::Skip(reason) => {
                    return Ok(Outcome::Skipped {
                        reason,
                        forget: replaced,
                    });
                }
                Decision::Hold(hold) => match self.reconsider(&hold, &named).await? {
                    Some(next) => {
                        decision = next;
                        continue;
                    }
                    None => return Ok(Outcome::Held(hold)),
                },
                Decision::Match => {
                    decision = self.search().await?;
                    continue;
                }
            };
            decision = match written {
                Written::Done(done) => {
                    return Ok(Outcome::Synced {
                        action,
                        intercom: done.id,
                        request_id: done.request_id,
                        replaced,
                    });
                }
                Written::Conflict(conflict) => {
                    self.after_conflict(conflict, action, target, &mut named)
                        .await?
                }
                Written::Merged(survivor) => {
                    match self.intercom.read(self.lane, &survivor).await? {
                        Found::Contact(found) => self.match_one(&found),
                        // The survivor is gone as well: as if there had been no link.
                        Found::Merged(_) | Found::Missing => self.unlinked(),
                    }
                }
                Written::Missing if action == Action::Updated => {
                    self.refuse_second_replacement()?;
                    replaced = true;
                    self.unlinked()
                }
                // A found contact that is gone meanwhile: creating names what is in the way, if anything is.
                Written::Missing => Decision::Create,
            };
        }
        Err(hold(HoldReason::Conflict, named))
    }

    /// The decision for the contact as if it had never been linked.
    fn unlinked(&self) -> Decision {
        match self.contact.email {
            EmailField::Valid(_) => Decision::Match,
            EmailField::Absent | EmailField::Invalid => {
                Decision::Skip(SkipReason::NoEmail { told: false })
            }
        }
    }

    /// Somebody who deletes a contact again within the hour after we replaced it does so on purpose.
    fn refuse_second_replacement(&self) -> Result<(), End> {
        match self.link.and_then(|link| link.replaced_at) {
            Some(last) if (TimeDelta::zero()..TimeDelta::hours(1)).contains(&(self.now - last)) => {
                Err(hold(HoldReason::DeletedAgain, []))
            }
            _ => Ok(()),
        }
    }

    /// Looks for this one contact; pages look for all of theirs together.
    async fn search(&self) -> Result<Decision, End> {
        let EmailField::Valid(email) = &self.contact.email else {
            return Ok(self.unlinked());
        };
        let found = self
            .intercom
            .search(
                self.lane,
                &[Wanted {
                    keap: self.contact.id,
                    email: email.clone(),
                }],
            )
            .await?;
        let decision = match_up(self.contact, None, &found, self.rules.promote_leads);
        let Decision::Link(id) = decision else {
            return Ok(decision);
        };
        // The index lags: somebody else may have the contact by now.
        Ok(match self.intercom.read(self.lane, &id).await? {
            Found::Contact(found) => self.match_one(&found),
            Found::Merged(_) | Found::Missing => Decision::Create,
        })
    }

    /// Reads a contact that Intercom named. Reads by id are immediate where search lags (`api/intercom.md` 0.2).
    async fn read_named(&self, id: &IntercomId) -> Result<Candidate, End> {
        let found = match self.intercom.read(self.lane, id).await? {
            // One hop is enough: chains are followed by Intercom itself (`api/intercom.md` 3).
            Found::Merged(survivor) => self.intercom.read(self.lane, &survivor).await?,
            found => found,
        };
        match found {
            Found::Contact(found) => Ok(found),
            Found::Merged(other) => Err(hold(HoldReason::Conflict, [id.clone(), other])),
            Found::Missing => Err(End::Outcome(Outcome::again(
                "Intercom named a contact that it does not show",
            ))),
        }
    }

    fn match_one(&self, found: &Candidate) -> Decision {
        match_up(
            self.contact,
            None,
            std::slice::from_ref(found),
            self.rules.promote_leads,
        )
    }

    /// The Keap contact that this Intercom contact was let go of for. `None` unless Keap still does not have it.
    ///
    /// Our log must say so: an id that Keap does not know may as well be that of another system.
    async fn let_go(&self, id: &IntercomId) -> Result<Option<KeapId>, End> {
        let former = self.store.let_go(id).await?;
        let Some(former) = former.filter(|former| *former != self.contact.id) else {
            return Ok(None);
        };
        match self.keap.by_id(self.lane, former).await {
            Ok(None) => Ok(Some(former)),
            // Only a 404 says that it is gone.
            Ok(Some(_)) | Err(Failure::Never { .. }) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// A contact that carries another external id is no obstacle where we let go of it when Keap lost that id: somebody deleted
    /// the contact in Keap and made it again. Nor where only search, which lags, still shows it with our e-mail.
    async fn reconsider(
        &self,
        hold: &Hold,
        named: &HashSet<IntercomId>,
    ) -> Result<Option<Decision>, End> {
        let (HoldReason::ExternalIdTaken, [id]) = (&hold.reason, hold.candidates.as_slice()) else {
            return Ok(None);
        };
        let former = self.let_go(id).await?;
        if former.is_none() && named.contains(id) {
            // It has been read just now.
            return Ok(None);
        }
        let email = self.contact.email.valid().map(Email::folded);
        Ok(match (self.intercom.read(self.lane, id).await?, former) {
            (Found::Contact(found), Some(former)) if found.belongs_to(former) => {
                Some(self.take_over(id, former))
            }
            (Found::Contact(found), None) if found.email.as_deref() != email.as_deref() => {
                Some(Decision::Create)
            }
            // Archived, and search has not noticed: creating names it.
            (Found::Missing, Some(_)) => Some(Decision::Create),
            _ => None,
        })
    }

    fn take_over(&self, id: &IntercomId, former: KeapId) -> Decision {
        tracing::info!(
            keap.contact_id = self.contact.id.get(),
            keap.former_id = former.get(),
            intercom.contact_id = id.as_str(),
            "The Intercom contact of a contact that Keap does not have any more is taken over."
        );
        Decision::Link(id.clone())
    }

    /// A 409 is an answer: it names the contact that exists (`api/intercom.md` 5).
    async fn after_conflict(
        &self,
        conflict: Conflict,
        action: Action,
        target: Option<IntercomId>,
        named: &mut HashSet<IntercomId>,
    ) -> Result<Decision, End> {
        let Some(id) = conflict.id else {
            return self.after_nameless_conflict().await;
        };
        if !named.insert(id.clone()) || target.as_ref() == Some(&id) {
            return Err(self.in_the_way(id).await?);
        }
        if !conflict.archived {
            let found = self.read_named(&id).await?;
            // A linked contact keeps its partner unless the other one really carries our id.
            let settled = action == Action::Created || found.belongs_to(self.contact.id);
            return if settled {
                Ok(self.match_one(&found))
            } else {
                Err(self.in_the_way(id).await?)
            };
        }
        if let Some(target) = target {
            if !self.free_email(&id).await? {
                return Err(self.in_the_way(id).await?);
            }
            return Ok(match action {
                Action::Linked => Decision::Link(target),
                _ => Decision::Update(target),
            });
        }
        if !self.rules.unarchive {
            return Err(hold(HoldReason::Archived, [id]));
        }
        // Asked before it is brought back, so that a Keap that does not answer leaves it where it is.
        let former = self.let_go(&id).await?;
        match self
            .intercom
            .unarchive(self.lane, &id, self.contact.id)
            .await?
        {
            Unarchived::Live => {}
            Unarchived::NotRestorable => return Err(hold(HoldReason::NotRestorable, [id])),
            Unarchived::Missing => {
                return Err(End::Outcome(Outcome::again(
                    "Intercom named an archived contact that it does not show",
                )));
            }
        }
        let found = self.read_named(&id).await?;
        let decision = match former {
            Some(former) if found.id == id && found.belongs_to(former) => {
                self.take_over(&id, former)
            }
            _ => self.match_one(&found),
        };
        if !matches!(decision, Decision::Link(_)) {
            // It is not ours: it goes back to where it was.
            self.intercom
                .archive(self.lane, &id, self.contact.id)
                .await?;
        }
        Ok(decision)
    }

    /// The hold for a contact that another one's Intercom contact is in the way of: told by whose it is, so that the next
    /// change of that one is known to concern it.
    async fn in_the_way(&self, id: IntercomId) -> Result<End, End> {
        let owner = self.store.linked_owners(std::slice::from_ref(&id)).await?;
        let reason = match owner.get(&id).filter(|owner| **owner != self.contact.id) {
            Some(owner) => HoldReason::EmailLinkedTo(*owner),
            None => HoldReason::Conflict,
        };
        Ok(hold(reason, [id]))
    }

    /// Takes the e-mail from an archived contact that we let go of, for a contact that has a partner of its own: what Keap
    /// merged are two in Intercom. The archived one stays archived. `false`: it is not ours to change.
    async fn free_email(&self, id: &IntercomId) -> Result<bool, End> {
        if !self.rules.unarchive {
            return Ok(false);
        }
        let Some(former) = self.let_go(id).await? else {
            return Ok(false);
        };
        if self.intercom.unarchive(self.lane, id, former).await? != Unarchived::Live {
            return Ok(false);
        }
        let found = self.intercom.read(self.lane, id).await;
        let cleared = match &found {
            Ok(Found::Contact(found)) if found.belongs_to(former) => self
                .intercom
                .clear_email(self.lane, id, former)
                .await
                .map(|()| true),
            _ => Ok(false),
        };
        // It goes back to where it was, whatever came of it.
        self.intercom.archive(self.lane, id, former).await?;
        found?;
        Ok(cleared?)
    }

    /// A conflict whose text names nobody: the external id first, then one search, then a person.
    async fn after_nameless_conflict(&self) -> Result<Decision, End> {
        if let Found::Contact(found) = self
            .intercom
            .find_by_external_id(self.lane, self.contact.id)
            .await?
        {
            return Ok(Decision::Link(found.id));
        }
        match self.search().await? {
            Decision::Create => Err(hold(HoldReason::Conflict, [])),
            decision => Ok(decision),
        }
    }
}
