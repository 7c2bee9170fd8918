//! Makes a plan: the look of a dry run, by the same code.

use super::super::context::Context;
use super::super::dry_run::{self, Foretold};
use super::super::dry_sweep::{self, SweepBrake};
use super::super::preview::Scope;
use super::super::result::Halt;
use super::mark::mark;
use super::row::{Draft, create_row, look_row};
use crate::outcome::PlanKind;
use crate::store::NewPlan;

/// Why nobody can compare Intercom's users.
const NEEDS_BOTH: &str = "an audit needs intercom_to_keap.enabled = true: only then it is remembered what Intercom shows";

/// Looks, and makes a plan of what is found. Nothing is written.
pub async fn look(context: &Context, kind: PlanKind) -> Result<NewPlan, Halt> {
    let mark = mark(context).await?;
    let mut draft = Draft::new(context);
    let scope = match kind {
        PlanKind::Sweep => {
            let swept =
                dry_sweep::run(context, SweepBrake::Shown, |preview| draft.take(&preview)).await?;
            return match swept.stopped {
                Some(why) => Err(Halt::Feed(why.to_string())),
                None => Ok(draft.plan(kind, mark, swept.counts, None)),
            };
        }
        PlanKind::Audit if !context.policy.direction.to_keap => {
            return Err(Halt::Feed(NEEDS_BOTH.into()));
        }
        PlanKind::Audit => Scope::Audit,
        PlanKind::Changed => Scope::Changed,
        _ => Scope::All,
    };
    let show = |preview| {
        draft.take(&preview);
        true
    };
    let Foretold { counts, created, missing } =
        dry_run::run_while(context, scope, false, show).await?;
    for user in created.into_iter().flatten() {
        draft.add(create_row(user));
    }
    for id in missing {
        draft.add(look_row(id));
    }
    Ok(draft.plan(kind, mark, counts, None))
}
