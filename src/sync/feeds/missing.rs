//! Missing contacts: links whose Intercom contact the audit's list does not show. A list may be cut
//! short, so only a read by id says that a contact is gone.

use chrono::{DateTime, TimeDelta, Utc};
use rand::seq::SliceRandom;

use crate::contact::KeapId;
use crate::sync::context::Context;
use crate::sync::result::Halt;

/// The index behind the list may be minutes behind a write.
const LISTED_AFTER: TimeDelta = TimeDelta::hours(1);

/// Contacts that are read by id after one audit at most. The next audit takes others.
pub(super) const MOST_READ: usize = 500;

/// Links that are compared with the list in one query.
const AT_ONCE: i64 = 10_000;

/// The linked contacts that the list has not shown, in any order. `seen`: those that it has shown,
/// sorted. `began`: when the list was begun.
pub async fn missing(
    context: &Context,
    seen: &[KeapId],
    began: DateTime<Utc>,
) -> Result<Vec<KeapId>, Halt> {
    let (mut missing, mut after) = (Vec::new(), None);
    loop {
        let written_before = began - LISTED_AFTER;
        let links = context.store.listed_in_intercom(after, written_before, AT_ONCE).await?;
        let Some(last) = links.last() else {
            break;
        };
        after = Some(*last);
        missing.extend(links.into_iter().filter(|id| seen.binary_search(id).is_err()));
    }
    // A contact that is live and never listed must not keep the others out for ever.
    missing.shuffle(&mut rand::rng());
    Ok(missing)
}

/// Forgets that these were gone, as far as they were. They are sorted.
pub(super) async fn welcome_back(context: &Context, seen: &[KeapId]) -> Result<(), Halt> {
    let mut gone = context.store.gone_in_intercom().await?;
    gone.retain(|id| seen.binary_search(id).is_ok());
    Ok(context.store.back_in_intercom(&context.fence()?, &gone).await?)
}
