//! Whom a dry run expects to be created in Keap. The walk over all of Keap's contacts shows whose
//! address it has, so that nobody is asked for.

use std::collections::HashMap;

use super::whom::{Tagged, has_tag, is_wanted, tag_of, tagged};
use crate::contact::{Candidate, Digest, IntercomId};
use crate::feed::Lane;
use crate::intercom::NamedTag;
use crate::sync::context::Context;
use crate::sync::result::Halt;

/// Users that are looked up in one query.
const AT_ONCE: usize = 1_000;

/// Users without a link that the settings want. Of several with one address, the first is created.
pub(in crate::sync) struct Expected {
    tag: NamedTag,
    users: HashMap<Digest, User>,
}

struct User {
    id: IntercomId,
    /// Intercom did not show all of its tags.
    unsure: Option<Box<Candidate>>,
}

impl Expected {
    pub(in crate::sync) async fn begin(context: &Context) -> Result<Self, Halt> {
        Ok(Self { tag: tag_of(context, Lane::Bulk).await?, users: HashMap::new() })
    }

    /// Takes in a user without a link, as a list shows it.
    pub(in crate::sync) fn see(&mut self, context: &Context, user: &Candidate) {
        let Some(email) = user.address().filter(|_| is_wanted(context, user)) else {
            return;
        };
        let unsure = match tagged(context, user, Some(&self.tag)) {
            Tagged::Yes => None,
            Tagged::Unsure => Some(Box::new(user.clone())),
            Tagged::No => return,
        };
        // The link would replace another program's id.
        if user.external_id.is_none() {
            let new = || User { id: user.id.clone(), unsure };
            self.users.entry(context.key.email(email)).or_insert_with(new);
        }
    }

    /// Keap has a contact with this address.
    pub(in crate::sync) fn has_contact(&mut self, email: Digest) {
        self.users.remove(&email);
    }

    /// Those that are left, when Keap has shown all of its contacts. It costs a call for each user
    /// that hides tags.
    pub(in crate::sync) async fn left(self, context: &Context) -> Result<Vec<IntercomId>, Halt> {
        let mut users: Vec<User> = self.users.into_values().collect();
        users.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        let mut created = Vec::new();
        for chunk in users.chunks(AT_ONCE) {
            let ids: Vec<IntercomId> = chunk.iter().map(|user| user.id.clone()).collect();
            let new = context.store.not_in_keap(&ids).await?;
            for user in chunk.iter().filter(|user| new.contains(&user.id)) {
                let is_tagged = match &user.unsure {
                    Some(candidate) => has_tag(context, Lane::Bulk, candidate).await?,
                    None => true,
                };
                if is_tagged {
                    created.push(user.id.clone());
                }
            }
        }
        Ok(created)
    }
}
