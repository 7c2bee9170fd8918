//! Owners: asks our records, and then Keap, whose the Intercom contacts are that a contact without
//! a link has found.

use std::collections::HashSet;

use super::context::Context;
use super::feeds::by_id;
use super::matching::{Owners, Rules};
use super::page::Rows;
use super::result::Halt;
use crate::contact::{Candidate, KeapId};
use crate::feed::Lane;

/// External ids that are read one by one for a page. A workspace of another program may be full of
/// ids that Keap's lists do not have.
const OWNER_SINGLE_READS: usize = 10;

impl Context {
    /// What the settings say about matching.
    pub(super) fn matching_rules(&self) -> Rules {
        Rules {
            promote_leads: self.policy.sync.promote_leads,
            trust_external_id: self.policy.matching.trust_external_id,
        }
    }

    /// Whose these candidates are. `in_keap`: contacts that Keap has just shown. Costs one
    /// transaction, and one call to Keap for many external ids that no record of ours explains.
    pub(super) async fn owners(
        &self,
        lane: Lane,
        found: &[Candidate],
        in_keap: HashSet<KeapId>,
        mut not_in_keap: HashSet<KeapId>,
    ) -> Result<Owners, Halt> {
        if found.is_empty() {
            return Ok(Owners { in_keap, ..Owners::default() });
        }
        let ids: Vec<_> = found.iter().map(|candidate| candidate.id.clone()).collect();
        let (linked, former) = self.store.owners(&ids).await?;
        let unexplained: HashSet<KeapId> = found
            .iter()
            .filter(|candidate| !linked.contains_key(&candidate.id))
            .filter_map(Candidate::external_keap_id)
            .filter(|id| !in_keap.contains(id) && !not_in_keap.contains(id))
            .collect();
        let mut owners = Owners { linked, former, in_keap, ..Owners::default() };
        let (rows, missing) = self.read_owners(lane, unexplained).await?;
        not_in_keap.extend(missing);
        owners.not_in_keap = not_in_keap;
        owners.in_keap.extend(rows.contacts.iter().map(|contact| contact.id));
        owners.in_keap.extend(rows.unreadable.iter().map(|(id, _)| *id));
        Ok(owners)
    }

    /// The contacts that Keap shows of these ids, and the ids that it does not have.
    async fn read_owners(
        &self,
        lane: Lane,
        ids: HashSet<KeapId>,
    ) -> Result<(Rows, Vec<KeapId>), Halt> {
        let mut ids: Vec<KeapId> = ids.into_iter().collect();
        ids.sort_unstable();
        let (mut rows, unlisted) = match ids.as_slice() {
            [] => return Ok((Rows::default(), Vec::new())),
            [_] => (Rows::default(), ids),
            ids => by_id::list(self, lane, ids).await?,
        };
        let (read, unread) = unlisted.split_at(unlisted.len().min(OWNER_SINGLE_READS));
        let mut missing = by_id::read_alone(self, lane, read.to_vec(), &mut rows).await?;
        // A list leaves out an existing contact only for a moment.
        missing.extend(unread);
        Ok((rows, missing))
    }
}
