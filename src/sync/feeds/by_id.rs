//! Reading contacts by their ids, together where Keap's lists show them, else one by one.

use std::collections::HashSet;

use crate::contact::KeapId;
use crate::feed::Lane;
use crate::remote::Failure;
use crate::sync::context::Context;
use crate::sync::feeds::pulse::Pulse;
use crate::sync::page::Rows;
use crate::sync::result::Halt;

/// Reads contacts, and those that Keap does not have. A contact that a list leaves out is read by
/// itself: lists may lag, and only a 404 says that a contact is gone.
pub(crate) async fn read(
    context: &Context,
    lane: Lane,
    ids: &[KeapId],
) -> Result<(Rows, Vec<KeapId>), Halt> {
    let (mut rows, alone) = list(context, lane, ids).await?;
    let missing = read_alone(context, lane, alone, &mut rows).await?;
    Ok((rows, missing))
}

/// If the lists leave out no more than this, these contacts are read one by one at once.
const FEW: usize = 2;

/// Reads contacts in lists. Also returns the ids that the lists leave out or cannot show.
///
/// Keap may cut an answer short without a word. So what the lists leave out is asked for once more,
/// in lists that are no longer than an answer is known to be. A list that shows nobody then says
/// that nothing was cut: the contacts are missing, or Keap's lists are behind.
pub(crate) async fn list(
    context: &Context,
    lane: Lane,
    ids: &[KeapId],
) -> Result<(Rows, Vec<KeapId>), Halt> {
    let mut lists = Lists::default();
    for chunk in ids.chunks(context.policy.keap.ids_at_once()) {
        lists.read(context, lane, chunk).await?;
    }
    let mut missing = Vec::new();
    let mut left_out = std::mem::take(&mut lists.left_out);
    while left_out.len() > FEW && lists.longest > 0 {
        // Some of every answer, because only some of them may have been cut.
        let step = left_out.len().div_ceil(lists.longest);
        let again: Vec<KeapId> = left_out.iter().copied().step_by(step).collect();
        let asked: HashSet<KeapId> = again.iter().copied().collect();
        left_out.retain(|id| !asked.contains(id));
        lists.read(context, lane, &again).await?;
        let shown_none = lists.left_out.len() == again.len();
        missing.append(&mut lists.left_out);
        if shown_none {
            break;
        }
    }
    missing.append(&mut left_out);
    missing.append(&mut lists.fail);
    Ok((lists.rows, missing))
}

/// What the lists have shown so far.
#[derive(Default)]
struct Lists {
    rows: Rows,
    /// The ids that no answer shows.
    left_out: Vec<KeapId>,
    /// The contacts that fail every list.
    fail: Vec<KeapId>,
    /// The contacts of the longest answer: Keap does not cut a list that is no longer.
    longest: usize,
    pulse: Pulse,
}

impl Lists {
    /// Reads contacts by one list. One contact that Keap cannot show fails the whole list: halves
    /// are tried, down to the contact itself.
    async fn read(&mut self, context: &Context, lane: Lane, ids: &[KeapId]) -> Result<(), Halt> {
        let mut parts = vec![ids];
        while let Some(part) = parts.pop() {
            match context.keap.by_ids(lane, part).await {
                Ok(found) => {
                    self.pulse.worked();
                    self.longest = self.longest.max(found.len().min(part.len()));
                    let found = Rows::sort(found);
                    self.left_out.extend(part.iter().copied().filter(|id| !found.holds(*id)));
                    self.rows.extend(found);
                }
                Err(Failure::Again { why, .. } | Failure::Never { why }) => {
                    let works = self.pulse.failed(&context.keap, lane, &why).await;
                    works.map_err(Halt::of_reading)?;
                    match part {
                        [one] => self.fail.push(*one),
                        _ => {
                            let (first, second) = part.split_at(part.len() / 2);
                            parts.extend([second, first]);
                        }
                    }
                }
                Err(failure) => return Err(Halt::of_reading(failure)),
            }
        }
        Ok(())
    }
}

/// Reads contacts one by one. Returns those that Keap does not have.
pub(crate) async fn read_alone(
    context: &Context,
    lane: Lane,
    alone: Vec<KeapId>,
    rows: &mut Rows,
) -> Result<Vec<KeapId>, Halt> {
    let mut missing = Vec::new();
    for id in alone {
        match context.keap.by_id(lane, id).await {
            Ok(Some(row)) => rows.extend(Rows::sort(vec![row])),
            Ok(None) => missing.push(id),
            Err(Failure::Again { why, .. } | Failure::Never { why }) => {
                unless_keap_is_down(context, lane, &why).await?;
                rows.unreadable.push((id, why));
            }
            Err(failure) => return Err(Halt::of_reading(failure)),
        }
    }
    Ok(missing)
}

/// Fails if Keap does not work at all, so that an outage uses up no contact's attempts.
async fn unless_keap_is_down(context: &Context, lane: Lane, why: &str) -> Result<(), Halt> {
    let works = Pulse::default().failed(&context.keap, lane, why).await;
    works.map_err(Halt::of_reading)
}
