//! Conflicts: what to do when Intercom names another contact in the way, or a match turns out
//! wrong.

use std::collections::HashSet;

use super::circle::give_way;
use super::target::{Asked, End, Target};
use crate::contact::{IntercomId, KeapId};
use crate::intercom::{Conflict, Found, Unarchived};
use crate::outcome::{Action, HoldReason};
use crate::sync::decide::{Decision, Hold};
use crate::sync::result::Outcome;

/// The Intercom contacts that the steps of one contact have met.
#[derive(Default)]
pub(super) struct Named {
    /// Conflicts have named these. A conflict about one that was named before cannot be settled.
    conflicts: HashSet<IntercomId>,
    /// These were read by id, so what is decided by them does not depend on search.
    read: HashSet<IntercomId>,
}

impl Named {
    /// The hold of a contact whose steps do not end.
    pub(super) fn unsettled(self) -> End {
        End::hold(HoldReason::Conflict, self.conflicts)
    }

    /// Looks again at a hold before it is stored, because search lags. Returns another decision if
    /// the Intercom contact in the way says so now.
    ///
    /// It may also have belonged to a Keap contact that is gone: a person deleted the contact in
    /// Keap and created it again.
    pub(super) async fn reconsider(
        &mut self,
        target: &Target<'_>,
        hold: &Hold,
    ) -> Result<Option<Decision>, End> {
        let [id] = hold.candidates.as_slice() else {
            return Ok(None);
        };
        let is_about_its_owner = matches!(
            hold.reason,
            HoldReason::ExternalIdTaken
                | HoldReason::ExternalIdUnproven
                | HoldReason::EmailLinkedTo(_)
        );
        if !is_about_its_owner {
            return Ok(None);
        }
        let former = target.former_owner(id).await?;
        let was_read = !self.read.insert(id.clone());
        if was_read && former.is_none() {
            return Ok(None);
        }
        let found = target.context.intercom.read(target.lane, id).await?;
        Ok(match (found, former) {
            (Found::Contact(found), Some(former)) if found.belongs_to(former) => {
                Some(take_over(target, id, former))
            }
            (Found::Contact(_), _) if was_read => None,
            (Found::Contact(found), _) => Some(target.match_found(&found, &Asked::of(hold)).await?),
            // It is archived, and search has not noticed: creating names it.
            (Found::Missing, _) => Some(Decision::Create),
            (Found::Merged(_), _) => None,
        })
    }

    /// Decides after a 409, which names the contact that exists
    /// (`docs/api/intercom.md`, "Conflicts"). `written`: the contact that was to be written.
    pub(super) async fn settle(
        &mut self,
        target: &Target<'_>,
        conflict: Conflict,
        action: Action,
        written: Option<IntercomId>,
    ) -> Result<Decision, End> {
        let Some(id) = conflict.id else {
            return after_nameless_conflict(target, action, written).await;
        };
        if !self.conflicts.insert(id.clone()) || written.as_ref() == Some(&id) {
            return Err(blocked_by(target, id).await?);
        }
        match (conflict.archived, written) {
            (false, written) => {
                self.read.insert(id.clone());
                after_live_conflict(target, id, action, written).await
            }
            (true, Some(written)) => {
                if !free_email(target, &id).await? {
                    return Err(blocked_by(target, id).await?);
                }
                Ok(match action {
                    Action::Linked => Decision::Link(written),
                    _ => Decision::Update(written),
                })
            }
            (true, None) => {
                self.read.insert(id.clone());
                after_archived_conflict(target, id).await
            }
        }
    }
}

/// A live contact is in the way. A linked contact keeps its own unless the other one really carries
/// our id.
async fn after_live_conflict(
    target: &Target<'_>,
    id: IntercomId,
    action: Action,
    written: Option<IntercomId>,
) -> Result<Decision, End> {
    let found = target.read_named(&id).await?;
    if action == Action::Created || found.belongs_to(target.contact.id) {
        return target.match_one(&found).await;
    }
    let Some(owner) = target.other_owner(&found).await? else {
        return Err(End::hold(HoldReason::Conflict, [id]));
    };
    Err(wait_for(target, owner, action, written, Some(id)).await?)
}

/// The end of a contact whose e-mail address another Keap contact has in Intercom. If the two
/// exchange addresses, this one makes way.
async fn wait_for(
    target: &Target<'_>,
    owner: KeapId,
    action: Action,
    written: Option<IntercomId>,
    named: Option<IntercomId>,
) -> Result<End, End> {
    if let Some(own) = written.filter(|_| action == Action::Updated)
        && let Some(outcome) = give_way(target, &own, owner, named.as_ref()).await?
    {
        return Ok(outcome.into());
    }
    Ok(End::hold(HoldReason::EmailLinkedTo(owner), named))
}

/// An archived contact is in the way of a new one. It is unarchived and read. If it is not ours, it
/// is archived again.
async fn after_archived_conflict(target: &Target<'_>, id: IntercomId) -> Result<Decision, End> {
    if !target.context.policy.sync.unarchive {
        return Err(End::hold(HoldReason::Archived, [id]));
    }
    // Its owner decides what becomes of it, so it need not be looked at.
    if let Some(owner) = target.linked_owner(&id).await? {
        return Err(End::hold(HoldReason::EmailLinkedTo(owner), [id]));
    }
    // Keap is asked first, so that a Keap that does not answer leaves the contact archived.
    let former = target.former_owner(&id).await?;
    match target.borrow(&id).await? {
        Unarchived::Live => {}
        Unarchived::NotRestorable => return Err(End::hold(HoldReason::NotRestorable, [id])),
        Unarchived::Missing => {
            return Err(
                Outcome::again("Intercom named an archived contact that it does not show").into()
            );
        }
    }
    let mut decided = look_at_restored(target, &id, former).await;
    if !matches!(decided, Ok(Decision::Link(_))) {
        target.give_back(&id).await?;
    }
    if let Ok(Decision::Hold(hold)) = &mut decided {
        hold.is_archived = true;
    }
    decided
}

/// Decides by a contact that was unarchived to be looked at.
async fn look_at_restored(
    target: &Target<'_>,
    id: &IntercomId,
    former: Option<KeapId>,
) -> Result<Decision, End> {
    let found = target.read_named(id).await?;
    match former {
        Some(former) if found.id == *id && found.belongs_to(former) => {
            Ok(take_over(target, id, former))
        }
        _ => target.match_one(&found).await,
    }
}

/// Decides after a conflict that names no contact. A linked contact waits for the one that has its
/// e-mail address in our records. Any other is looked up by external id first, then by one search.
/// Else a person decides.
async fn after_nameless_conflict(
    target: &Target<'_>,
    action: Action,
    written: Option<IntercomId>,
) -> Result<Decision, End> {
    if written.is_some()
        && let Some(owner) = target.email_owner().await?
    {
        return Err(wait_for(target, owner, action, written, None).await?);
    }
    let found = target.context.intercom.find_by_external_id(target.lane, target.contact.id).await?;
    match found {
        // It is the one that was to be written: the conflict is about another field.
        Found::Contact(found) if written.as_ref() == Some(&found.id) => {
            Err(End::hold(HoldReason::Conflict, []))
        }
        Found::Contact(found) => target.match_one(&found).await,
        _ => match target.search().await? {
            Decision::Create => Err(End::hold(HoldReason::Conflict, [])),
            decision => Ok(decision),
        },
    }
}

fn take_over(target: &Target<'_>, id: &IntercomId, former: KeapId) -> Decision {
    tracing::info!(
        keap.contact_id = target.contact.id.get(),
        keap.former_id = former.get(),
        intercom.contact_id = id.as_str(),
        "This contact takes over the Intercom contact of a contact that Keap no longer has."
    );
    Decision::Link(id.clone())
}

/// The hold for a contact blocked by another's Intercom contact. It names the blocker, so that its
/// next change releases this one.
async fn blocked_by(target: &Target<'_>, id: IntercomId) -> Result<End, End> {
    let reason = match target.linked_owner(&id).await? {
        Some(owner) => HoldReason::EmailLinkedTo(owner),
        None => HoldReason::Conflict,
    };
    Ok(End::hold(reason, [id]))
}

/// Clears the e-mail of an archived Intercom contact whose Keap contact is gone, for a contact that
/// has one of its own: Keap merged the two, Intercom did not. It stays archived. False if it is not
/// ours to change.
async fn free_email(target: &Target<'_>, id: &IntercomId) -> Result<bool, End> {
    let (intercom, lane) = (&target.context.intercom, target.lane);
    if !target.context.policy.sync.unarchive {
        return Ok(false);
    }
    let Some(former) = target.former_owner(id).await? else {
        return Ok(false);
    };
    if target.borrow(id).await? != Unarchived::Live {
        return Ok(false);
    }
    let found = intercom.read(lane, id).await;
    let cleared = match &found {
        Ok(Found::Contact(found)) if found.belongs_to(former) => {
            intercom.clear_email(lane, id, target.contact.id).await.map(|()| true)
        }
        _ => Ok(false),
    };
    // It is archived again in every case.
    target.give_back(id).await?;
    found?;
    Ok(cleared?)
}
