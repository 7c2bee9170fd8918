//! What comes of the decision of a person, by the outcome of its contact.

use super::plan::Planned;
use super::result::Outcome;
use crate::outcome::{Decided, Fate, SkipReason};

/// What the outcome says about the decision of a person. A hold that says again that matching
/// cannot decide ends one that was to settle it.
pub(super) fn fate(planned: &Planned, outcome: &Outcome) -> Option<(i64, Fate)> {
    let decided = planned.decided.as_ref()?;
    let settles = !decided.is_done && matches!(decided.decided, Decided::Use | Decided::Create);
    let fate = match outcome {
        Outcome::Requeue | Outcome::Paced => return None,
        Outcome::Gone { .. } | Outcome::Skipped { reason: SkipReason::NotInKeap, .. } => Fate::Gone,
        _ if planned.ends_ignoring => Fate::Changed,
        Outcome::Synced { intercom, .. } => match decided.decided {
            Decided::Create => Fate::Done,
            Decided::Use if decided.intercom.as_ref() == Some(intercom) => Fate::Done,
            Decided::Use => Fate::Void,
            _ => return None,
        },
        Outcome::Held(hold) | Outcome::HeldWith { hold, .. }
            if settles && hold.reason.is_about_matching() =>
        {
            Fate::Void
        }
        _ => return None,
    };
    Some((decided.id, fate))
}
