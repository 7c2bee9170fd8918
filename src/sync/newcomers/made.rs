//! The users of contacts that a create of ours has made in Keap.

use std::collections::HashMap;

use crate::contact::{Candidate, Digest, IntercomId, KeapId};
use crate::feed::Lane;
use crate::intercom::Found;
use crate::store::FoundIntent;
use crate::sync::context::Context;
use crate::sync::result::Halt;

/// A contact of Keap without a link.
pub(in crate::sync) struct Wanted {
    pub id: KeapId,
    pub email: Option<Digest>,
    /// The user that it was made for, if Keap has answered the create.
    pub user: Option<IntercomId>,
}

/// The user of each contact that a create has made, read by id, because search may not show it yet.
/// A create without an answer is found by its address. It is returned with the user then.
pub(in crate::sync) async fn users_of(
    context: &Context,
    lane: Lane,
    wanted: Vec<Wanted>,
) -> Result<HashMap<KeapId, (Candidate, Option<FoundIntent>)>, Halt> {
    let mut users = HashMap::new();
    if wanted.is_empty() || !context.policy.direction.to_keap {
        return Ok(users);
    }
    let emails: Vec<Digest> = wanted.iter().filter_map(|one| one.email).collect();
    let mut creates = context.store.creates_of(&emails).await?;
    for one in wanted {
        let at = creates.iter().position(|(email, ..)| Some(*email) == one.email);
        let open = at.filter(|_| one.user.is_none()).map(|at| creates.swap_remove(at));
        let intent = open.map(|(_, intent, user)| FoundIntent::of_create(intent, user));
        let user = one.user.or_else(|| intent.as_ref()?.intercom.clone());
        let Some(user) = user else {
            continue;
        };
        let read = context.intercom.read(lane, &user).await.map_err(Halt::of_reading)?;
        if let Found::Contact(user) = read {
            users.insert(one.id, (user, intent));
        }
    }
    Ok(users)
}
