//! One Intercom contact of an erasure: it is read, deleted under an intent, and read again.

use std::time::Duration;

use uuid::Uuid;

use super::end::{End, Erasing};
use crate::config::EraseMode;
use crate::contact::IntercomId;
use crate::feed::Lane;
use crate::intercom::{Deletion, Found, Unarchived};
use crate::outcome::Proof;
use crate::store::{Intent, IntentKind, IntentSide, Traces};

/// Intercom took the deletion, and a read shows the contact still.
const STILL_SHOWN: Duration = Duration::from_secs(5);

/// What came of one Intercom contact.
pub(super) enum Removed {
    Proved(Proof),
    /// Intercom has merged it into this one, which has its data now.
    MergedInto(IntercomId),
}

impl Erasing<'_> {
    /// Removes one Intercom contact, and proves it by a read afterwards.
    pub(super) async fn remove(&self, id: &IntercomId, traces: &Traces) -> Result<Removed, End> {
        let found = self.context.intercom.read(Lane::Urgent, id).await?;
        let is_shown = match found {
            Found::Merged(survivor) => return Ok(Removed::MergedInto(survivor)),
            Found::Missing => false,
            Found::Contact(found) => {
                let other = found.external_keap_id().filter(|other| *other != self.id());
                if let Some(other) = other {
                    return Err(End::Waits(format!(
                        "its Intercom contact {id} carries the id of Keap contact {other} as its external id, so it may be another person; correct that in Intercom, then ask for the erasure again"
                    )));
                }
                let mut known = traces.emails.clone();
                self.add_address(&mut known, found.address().cloned()).await?;
                true
            }
        };
        let proof = match self.mode().0 {
            EraseMode::Delete => self.delete(id, is_shown, traces).await?,
            EraseMode::Archive if is_shown => self.archive(id).await?,
            EraseMode::Archive => self.absent(id, traces)?,
        };
        match self.context.intercom.read(Lane::Urgent, id).await? {
            Found::Missing | Found::Merged(_) => Ok(Removed::Proved(proof)),
            Found::Contact(_) => Err(End::Later {
                after: Some(STILL_SHOWN),
                why: Some(format!("Intercom still shows its contact {id} after the deletion")),
            }),
        }
    }

    /// Deletes the contact for good. An archived one is deleted, too, although no read shows it.
    async fn delete(&self, id: &IntercomId, is_shown: bool, traces: &Traces) -> Result<Proof, End> {
        let intent = self.intend(id, IntentKind::Delete).await?;
        let (intercom, fence) = (&self.context.intercom, self.context.fence()?);
        let mut answer = intercom.delete(Lane::Urgent, id, self.id()).await?;
        // Intercom may take the deletion of live contacts only.
        if answer == Deletion::Missing && !is_shown && self.is_live_again(id).await? {
            answer = intercom.delete(Lane::Urgent, id, self.id()).await?;
        }
        match answer {
            Deletion::Done if is_shown => Ok(Proof::Deleted),
            Deletion::Done if traces.deleting.contains(id) => Ok(Proof::DeletedUnheard),
            Deletion::Done => Ok(Proof::DeletedFromArchive),
            // Both answers are certain, so the intent explains nothing afterwards.
            Deletion::Missing => {
                self.context.store.drop_intent(&fence, intent).await?;
                self.absent(id, traces)
            }
            Deletion::Forbidden => {
                self.context.store.drop_intent(&fence, intent).await?;
                let why = "Intercom does not allow this token to delete contacts (403); give the app of INTERCOM_ACCESS_TOKEN that permission, or set erase.mode = \"archive\"";
                Err(End::Later { after: None, why: Some(why.into()) })
            }
        }
    }

    /// Makes an archived contact live, only to be deleted. False: it is not there, or it was
    /// deleted before.
    async fn is_live_again(&self, id: &IntercomId) -> Result<bool, End> {
        let unarchived = self.context.intercom.unarchive(Lane::Urgent, id, self.id()).await?;
        Ok(unarchived == Unarchived::Live)
    }

    async fn archive(&self, id: &IntercomId) -> Result<Proof, End> {
        self.intend(id, IntentKind::Archive).await?;
        self.context.intercom.archive(Lane::Urgent, id, self.id()).await?;
        Ok(Proof::Archived)
    }

    /// Stores the intent, before the call.
    async fn intend(&self, id: &IntercomId, kind: IntentKind) -> Result<Uuid, End> {
        let intent = Intent {
            id: Uuid::new_v4(),
            side: IntentSide::Intercom,
            keap: self.id(),
            intercom: Some(id.clone()),
            kind,
            sent: None,
        };
        self.context.store.intend(&self.context.fence()?, std::slice::from_ref(&intent)).await?;
        Ok(intent.id)
    }

    /// Why Intercom does not have the contact. A 404 alone is no success: the token may belong to
    /// another workspace.
    fn absent(&self, id: &IntercomId, traces: &Traces) -> Result<Proof, End> {
        if traces.deleting.contains(id) {
            return Ok(Proof::DeletedUnheard);
        }
        if traces.gone.contains(id) {
            return Ok(Proof::GoneBefore);
        }
        if self.open.accepts_absence {
            return Ok(Proof::AbsenceAccepted);
        }
        Err(End::Waits(format!(
            "Intercom answers 404 for its contact {id}, and no record says that it was archived or deleted; see that INTERCOM_ACCESS_TOKEN belongs to the right workspace, and look for the person in Intercom; if it is really gone, ask for the erasure again and accept that (--absent)"
        )))
    }
}
