//! Writing: carries one decision out, step by step: at Intercom, and at Keap where a value of
//! Intercom's wins.

mod both;
mod chosen;
mod circle;
mod conflict;
mod field_tally;
mod foresee;
mod keap;
mod keap_intent;
mod refused;
mod relations;
mod target;
mod unknown;

pub(super) use foresee::{Foreseen, foresee};
pub(super) use keap_intent::KeapIntent;
pub(super) use target::Target;
pub(super) use unknown::shows_what_was_sent;

use crate::contact::{IntercomId, KeapId};
use crate::intercom::{Found, Written};
use crate::outcome::{Action, HoldReason};
use crate::sync::decide::Decision;
use crate::sync::result::{Halt, Outcome};
use conflict::Named;
use refused::LeftOut;
use target::End;

/// The steps of one contact. None needs more than update, vanished, create, archived, unarchive and
/// update, with two to spare.
const MAX_STEPS: usize = 8;

/// What a step leads to.
enum Next {
    Done(Outcome),
    Decide(Decision),
}

/// Carries a decision out. Safe to repeat: an update repeats its content, and a create answers 409
/// and is linked.
pub(super) async fn carry_out(target: &Target<'_>, decision: Decision) -> Result<Outcome, Halt> {
    match run(target, decision).await {
        Ok(outcome) => Ok(outcome),
        Err(End::Outcome(outcome)) => Ok(*outcome),
        Err(End::Halt(halt)) => Err(halt),
    }
}

async fn run(target: &Target<'_>, decision: Decision) -> Result<Outcome, End> {
    Box::pin(unknown::put_back(target)).await?;
    let hold = match steps(target, decision).await {
        Ok(Outcome::Held(hold)) => hold,
        Err(End::Outcome(outcome)) => match *outcome {
            Outcome::Held(hold) => hold,
            outcome => return Ok(outcome),
        },
        ended => return ended,
    };
    Box::pin(unknown::held(target, hold)).await
}

async fn steps(target: &Target<'_>, mut decision: Decision) -> Result<Outcome, End> {
    let mut named = Named::default();
    let mut left_out = LeftOut::default();
    let mut replaced = false;
    for _ in 0..MAX_STEPS {
        match step(target, decision, &mut named, &mut left_out, &mut replaced).await? {
            Next::Done(outcome) => return Ok(outcome),
            Next::Decide(next) => decision = next,
        }
    }
    Err(named.unsettled())
}

/// Rare steps are boxed: every write would hold the memory of the largest of them.
async fn step(
    target: &Target<'_>,
    decision: Decision,
    named: &mut Named,
    left_out: &mut LeftOut,
    replaced: &mut bool,
) -> Result<Next, End> {
    let (intercom, lane, contact) = (&target.context.intercom, target.lane, target.contact);
    let (written, action, id) = match decision {
        Decision::Create => (left_out.write(target, None).await?, Action::Created, None),
        Decision::Link(id) => {
            Box::pin(left_out.merge(target, &id, true)).await?;
            (Box::pin(left_out.bring(target, &id)).await?, Action::Linked, Some(id))
        }
        Decision::Update(id) => {
            Box::pin(left_out.merge(target, &id, false)).await?;
            if left_out.decided().is_some_and(|merge| merge.is_missing) {
                let tagged = Box::pin(keap::tag_as_gone(target)).await?;
                return Ok(Next::Done(Outcome::GoneInIntercom { intercom: id, tagged }));
            }
            (Box::pin(left_out.bring(target, &id)).await?, Action::Updated, Some(id))
        }
        // The others write no fields.
        other => return Box::pin(step_without_fields(target, other, named, *replaced)).await,
    };
    let next = match written {
        Written::Done(done) => {
            if contact.relations.iter().next().is_some() {
                Box::pin(left_out.relate(target, &done.id)).await?;
            }
            return Ok(Next::Done(left_out.synced(target, action, done, *replaced)));
        }
        Written::Refused(refused) => return Err(End::hold(HoldReason::Refused(refused.why), [])),
        Written::Conflict(conflict) if left_out.may_go_without_email(target, action) => {
            Box::pin(chosen::settle(target, conflict, id, left_out)).await?
        }
        Written::Conflict(conflict) => Box::pin(named.settle(target, conflict, action, id)).await?,
        // What a person has chosen is read once more.
        Written::Merged(_) | Written::Missing
            if action == Action::Linked && target.chosen().is_some() =>
        {
            target.chosen().map_or(Decision::Match, |id| Decision::Choose(id.clone()))
        }
        Written::Merged(survivor) => match intercom.read(lane, &survivor).await? {
            Found::Contact(found) => Box::pin(target.match_survivor(&found)).await?,
            // The survivor is gone as well: as if there had been no link.
            Found::Merged(_) | Found::Missing => target.unlinked(),
        },
        Written::Missing if action == Action::Updated => {
            target.refuse_second_replacement()?;
            *replaced = true;
            target.unlinked()
        }
        // The match vanished before the write. Create: a 409 names whatever is in the way.
        Written::Missing => Decision::Create,
    };
    Ok(Next::Decide(next))
}

/// A step that writes no field of the contact.
async fn step_without_fields(
    target: &Target<'_>,
    decision: Decision,
    named: &mut Named,
    replaced: bool,
) -> Result<Next, End> {
    Ok(match decision {
        Decision::Relate(id) => {
            target.refuse_ping_pong(false, true)?;
            let mut related = LeftOut::default();
            related.relate(target, &id).await?;
            Next::Done(related.related(target, id))
        }
        Decision::Archive(id) => {
            target.context.intercom.archive(target.lane, &id, target.contact.id).await?;
            gone(Action::Archived, id, None)
        }
        Decision::Unlink(id) => gone(Action::Unlinked, id, None),
        Decision::Transfer(id, new_owner) => gone(Action::Unlinked, id, Some(new_owner)),
        Decision::Skip(reason) => Next::Done(Outcome::Skipped { reason, forget: replaced }),
        Decision::Hold(hold) => match named.reconsider(target, &hold).await? {
            Some(next) => Next::Decide(next),
            None => Next::Done(Outcome::Held(hold)),
        },
        Decision::Look(reason) => Next::Decide(unknown::look(target, reason).await?),
        Decision::Adopt(intercom) => Next::Done(Outcome::Adopted { intercom }),
        Decision::Match => Next::Decide(target.search().await?),
        Decision::Choose(id) => Next::Decide(chosen::choose(target, &id).await?),
        // These write the fields of the contact.
        decision @ (Decision::Create | Decision::Link(_) | Decision::Update(_)) => {
            Next::Decide(decision)
        }
    })
}

fn gone(action: Action, intercom: IntercomId, new_owner: Option<KeapId>) -> Next {
    Next::Done(Outcome::Gone { action, intercom, new_owner })
}
