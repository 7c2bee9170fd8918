//! The dry run of a sweep: the same comparison, the same single reads and the same brake. Nothing
//! is written, and nobody is archived.

use std::collections::HashSet;
use std::sync::Arc;

use super::context::Context;
use super::feeds::brake::Brake;
use super::feeds::by_id;
use super::feeds::sweep::{MAX_UNLISTED, SWEEP_SINGLE_READS, unlisted};
use super::feeds::walk::{Walker, sorted};
use super::preview::Preview;
use super::result::Halt;
use crate::config::Deleted;
use crate::contact::{IntercomId, KeapId};
use crate::feed::{Counts, Lane, Walk};
use crate::keap::Show;
use crate::outcome::{Action, Reason, RunFailure};
use crate::store::SweepStanding;

/// Links that are read from the database at once.
const LINKS_AT_ONCE: i64 = 10_000;

/// What the brake does to a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepBrake {
    /// It ends the look, as it would end the sweep.
    On,
    /// A person would lift it.
    Lifted,
    /// A person looks at all of them first.
    Shown,
}

/// What a sweep would find.
pub struct DrySweep {
    pub counts: Counts,
    /// Why it would do nothing to anybody.
    pub stopped: Option<RunFailure>,
}

/// Finds the linked contacts that Keap no longer has, and hands each to `show`.
pub async fn run(
    context: &Context,
    brake: SweepBrake,
    mut show: impl FnMut(Preview),
) -> Result<DrySweep, Halt> {
    let listed = listed(context).await?;
    let mut counts = Counts { seen: count(listed.len()), ..Counts::default() };
    let (candidates, linked) = candidates(context, &listed).await?;
    let action = match context.policy.sweep.deleted {
        Deleted::Ignore => {
            counts.skipped = count(candidates.len());
            return Ok(DrySweep { counts, stopped: None });
        }
        Deleted::Archive => Action::Archived,
        Deleted::Unlink => Action::Unlinked,
    };
    let (gone, stopped) = gone(context, &candidates, linked, brake).await?;
    let ids: Vec<KeapId> = gone.iter().copied().collect();
    let new_owners = context.store.new_owners(&ids).await?;
    for (id, intercom) in candidates.into_iter().filter(|(id, _)| gone.contains(id)) {
        let new_owner = new_owners.get(&id).copied();
        let action = if new_owner.is_some() { Action::Unlinked } else { action };
        counts.seen += 1;
        counts.add(&Counts::of(action));
        show(Preview {
            intercom: Some(intercom),
            reason: Some(new_owner.map_or(Reason::Deleted, Reason::MergedInto).to_string()),
            ..Preview::of(id, action, None)
        });
    }
    Ok(DrySweep { counts, stopped })
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The ids that Keap's lists show.
async fn listed(context: &Context) -> Result<HashSet<KeapId>, Halt> {
    let mut walker =
        Walker::new(Arc::clone(&context.keap), context.policy.keap.page_size, Show::Stamp);
    let mut listed = HashSet::new();
    let mut next = Some(Walk::default());
    while let Some(walk) = next {
        let step = walker.step(Lane::Bulk, &walk).await?;
        let rows = sorted(step.rows)?;
        listed.extend(rows.contacts.iter().map(|contact| contact.id));
        listed.extend(rows.unreadable.iter().map(|(id, _)| *id));
        next = step.next;
    }
    Ok(listed)
}

/// The linked contacts that no list shows, and how many are linked in all.
async fn candidates(
    context: &Context,
    listed: &HashSet<KeapId>,
) -> Result<(Vec<(KeapId, IntercomId)>, i64), Halt> {
    let (mut candidates, mut linked, mut after) = (Vec::new(), 0, None);
    loop {
        let page = context.store.linked_after(after, LINKS_AT_ONCE).await?;
        let Some((last, _)) = page.last() else { return Ok((candidates, linked)) };
        after = Some(*last);
        linked += count(page.len());
        candidates.extend(page.into_iter().filter(|(id, _)| !listed.contains(id)));
    }
}

/// Those for which Keap answers 404 alone, because lists may lag. Also returns why a sweep would do
/// nothing; then no further contact is read.
async fn gone(
    context: &Context,
    candidates: &[(KeapId, IntercomId)],
    linked: i64,
    mode: SweepBrake,
) -> Result<(HashSet<KeapId>, Option<RunFailure>), Halt> {
    let brake = Brake::of(&context.policy.sweep);
    let ids: Vec<KeapId> = candidates.iter().map(|(id, _)| *id).collect();
    let (mut gone, mut shown, mut read) = (HashSet::new(), 0, 0);
    for chunk in ids.chunks(context.policy.keap.ids_at_once()) {
        let (mut rows, alone) = by_id::list(context, Lane::Bulk, chunk).await?;
        for some in alone.chunks(SWEEP_SINGLE_READS) {
            let before = rows.contacts.len();
            gone.extend(by_id::read_alone(context, Lane::Bulk, some.to_vec(), &mut rows).await?);
            shown += rows.contacts.len() - before;
            read += some.len();
            let standing = SweepStanding {
                unconfirmed: count(ids.len() - gone.len()),
                confirmed: count(gone.len()),
                linked,
                forced: mode != SweepBrake::On,
            };
            if let Some(why) = brake.stops(standing) {
                return Ok((gone, Some(why)));
            }
            let is_broken = shown > MAX_UNLISTED && shown * 2 > read;
            if mode != SweepBrake::Lifted
                && is_broken
                && brake.limit(count(ids.len()), linked).is_some()
            {
                return Ok((gone, Some(unlisted(shown, read, count(ids.len()), linked))));
            }
        }
    }
    Ok((gone, None))
}
