//! Whom the settings bring into Keap, and the brake.

use super::creating::Creating;
use crate::config::CreateInKeap;
use crate::contact::{Candidate, IntercomId, Role};
use crate::feed::Lane;
use crate::intercom::NamedTag;
use crate::store::{NewcomerRow, StoreError};
use crate::sync::context::Context;
use crate::sync::result::Halt;

/// Whether a user has the tag that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tagged {
    Yes,
    No,
    /// Intercom does not show all of its tags here.
    Unsure,
}

/// The users among these that may be newcomers. Whether they have a link, the store says.
pub(in crate::sync) async fn among(
    context: &Context,
    users: &[Candidate],
) -> Result<Vec<NewcomerRow>, Halt> {
    if !context.policy.creating.is_on() {
        return Ok(Vec::new());
    }
    let tag = tag_of(context, Lane::Bulk).await?;
    Ok(users.iter().filter_map(|user| row(context, user, Some(&tag))).collect())
}

/// Stores a user that a notification shows, if it may be a newcomer. It costs no call.
pub(in crate::sync) async fn hint(context: &Context, user: &Candidate) -> Result<bool, StoreError> {
    if !context.policy.creating.is_on() {
        return Ok(false);
    }
    let tag = context.intercom.known_tag(&context.policy.creating.tag);
    // Without the tag's id, it is seen when the user is read by id.
    let tags = user.tags.clone().filter(|_| tag.is_some());
    let user = Candidate { tags, ..user.clone() };
    let Some(row) = row(context, &user, tag.as_ref()) else {
        return Ok(false);
    };
    context.store.hint_newcomer(&row).await?;
    Ok(true)
}

/// What is stored of a user that may be a newcomer. `None`: it is none.
fn row(context: &Context, user: &Candidate, tag: Option<&NamedTag>) -> Option<NewcomerRow> {
    let email = user.address().filter(|_| is_wanted(context, user))?;
    let tagged = tagged(context, user, tag);
    if tagged == Tagged::No {
        return None;
    }
    // Only the time of its last change tells whether it may have got the tag.
    let at = user.updated_at.filter(|_| tagged == Tagged::Unsure).map(|at| at.to_string());
    let external_id = user.external_id.as_deref();
    let sighting = context.key.newcomer(email, external_id, at.as_deref());
    let (email, external_id) = (context.key.email(email), user.external_keap_id());
    Some(NewcomerRow { id: user.id.clone(), sighting, email, external_id })
}

/// Whether the settings want a user with this role and this address.
pub(super) fn is_wanted(context: &Context, user: &Candidate) -> bool {
    let excluded = &context.policy.creating.excluded;
    user.role == Role::User
        && user.address().is_some_and(|email| excluded.iter().all(|one| one != email.domain()))
}

pub(super) fn tagged(context: &Context, user: &Candidate, tag: Option<&NamedTag>) -> Tagged {
    if context.policy.creating.whom != CreateInKeap::Tagged {
        return Tagged::Yes;
    }
    match (&user.tags, tag) {
        (_, Some(None)) => Tagged::No,
        (Some(tags), Some(Some(tag))) if tags.contains(tag) => Tagged::Yes,
        (Some(_), Some(Some(_))) => Tagged::No,
        _ => Tagged::Unsure,
    }
}

/// Whether a user that was read by id has the tag that it needs. It costs a call where a contact
/// does not show all of its tags.
pub(super) async fn has_tag(context: &Context, lane: Lane, user: &Candidate) -> Result<bool, Halt> {
    let tag = tag_of(context, lane).await?;
    match (tagged(context, user, Some(&tag)), tag) {
        (Tagged::Yes, _) => Ok(true),
        (Tagged::Unsure, Some(tag)) => Ok(tags_of(context, lane, &user.id).await?.contains(&tag)),
        _ => Ok(false),
    }
}

async fn tags_of(context: &Context, lane: Lane, id: &IntercomId) -> Result<Vec<String>, Halt> {
    let tags = context.intercom.tags_of(lane, id).await.map_err(Halt::of_reading)?;
    Ok(tags.unwrap_or_default())
}

/// The tag that a user needs, if one is needed. It costs a call now and then.
pub(super) async fn tag_of(context: &Context, lane: Lane) -> Result<NamedTag, Halt> {
    let Creating { whom: CreateInKeap::Tagged, tag, .. } = &context.policy.creating else {
        return Ok(None);
    };
    context.intercom.tag_named(lane, tag).await.map_err(Halt::of_reading)
}

/// Why the brake stops creates, for a run that fails by it; `None` if it does not.
pub async fn braked(context: &Context) -> Result<Option<String>, Halt> {
    if !context.policy.creating.is_on() {
        return Ok(None);
    }
    let most = context.policy.creating.most;
    let braked = context.store.create_brake().await?;
    Ok(braked.map(|(since, waiting)| {
        let since = since.format("%Y-%m-%d %H:%M");
        format!("more than {most} contacts would have been created in Keap within an hour (intercom_to_keap.create_brake); since {since} UTC none is, and {waiting} users of Intercom wait")
    }))
}
