//! What a person has decided about the matching of a contact: which Intercom contact it uses, or
//! that it gets one of its own.

use super::refused::LeftOut;
use super::target::{End, Target};
use crate::contact::IntercomId;
use crate::intercom::{Conflict, Found, Unarchived};
use crate::outcome::HoldReason;
use crate::sync::decide::Decision;

/// Decides by the Intercom contact that a person has chosen, as it is now: it may have been
/// archived, merged or linked since.
pub(super) async fn choose(target: &Target<'_>, id: &IntercomId) -> Result<Decision, End> {
    let (intercom, lane) = (&target.context.intercom, target.lane);
    let found = match intercom.read(lane, id).await? {
        // A person has merged it: the survivor is the same person.
        Found::Merged(survivor) => intercom.read(lane, &survivor).await?,
        found => found,
    };
    match found {
        Found::Contact(found) => link(target, found.id).await,
        Found::Missing if target.decided.is_some_and(|decided| decided.unarchives) => {
            unarchive(target, id).await
        }
        Found::Missing | Found::Merged(_) => outdated(
            target,
            format!("the chosen Intercom contact {id} was archived, merged or deleted in Intercom"),
        ),
    }
}

async fn link(target: &Target<'_>, id: IntercomId) -> Result<Decision, End> {
    match target.linked_owner(&id).await? {
        None => Ok(Decision::Link(id)),
        Some(owner) => outdated(
            target,
            format!(
                "the chosen Intercom contact {id} is linked to the Keap contact {owner} by now"
            ),
        ),
    }
}

/// Makes the chosen contact live: the person has seen that it is archived. Whatever comes then, it
/// stays live.
async fn unarchive(target: &Target<'_>, id: &IntercomId) -> Result<Decision, End> {
    match target.context.intercom.unarchive(target.lane, id, target.contact.id).await? {
        Unarchived::Live => link(target, id.clone()).await,
        Unarchived::NotRestorable => Err(End::hold(HoldReason::NotRestorable, [id.clone()])),
        Unarchived::Missing => {
            outdated(target, format!("the chosen Intercom contact {id} was deleted in Intercom"))
        }
    }
}

/// The end of a decision that cannot be carried out. The rules do not choose another contact in its
/// place. Once it was carried out, the rules go on, as for every contact without a link.
fn outdated(target: &Target<'_>, why: String) -> Result<Decision, End> {
    if target.decided.is_some_and(|decided| decided.is_done) {
        return Ok(target.unlinked());
    }
    Err(End::hold(HoldReason::DecisionOutdated(why), []))
}

/// Decides after a 409 for a contact that gets an Intercom contact of its own: another one has its
/// e-mail address, so it goes without. `written`: the contact that was to be written.
pub(super) async fn settle(
    target: &Target<'_>,
    conflict: Conflict,
    written: Option<IntercomId>,
    left_out: &mut LeftOut,
) -> Result<Decision, End> {
    // The 409 does not say which field is in the way (`docs/api/intercom.md`, "Conflicts").
    if let Conflict { id: Some(id), archived: false } = &conflict {
        let found = target.read_named(id).await?;
        if found.belongs_to(target.contact.id) {
            return target.match_one(&found).await;
        }
    }
    left_out.go_without_email();
    Ok(written.map_or(Decision::Create, Decision::Update))
}
