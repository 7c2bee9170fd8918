//! A changed mapping: counts, before anything is written, which linked contacts it would rewrite.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::context::Context;
use super::dry_run::preview;
use super::feeds::walk::{Walker, sorted};
use super::plan::Planner;
use super::plans::mark::mark;
use super::plans::row::{Draft, row_of};
use super::result::Halt;
use crate::contact::FieldName;
use crate::feed::{Counts, Feed, Lane, Walk};
use crate::keap::Show;
use crate::outcome::PlanKind;
use crate::store::{NewPlan, PlanRow};

/// What a changed mapping would rewrite.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewrites {
    /// Linked contacts.
    pub contacts: i64,
    /// The contacts in which each field would be written.
    pub by_field: BTreeMap<FieldName, i64>,
    rows: Vec<PlanRow>,
}

impl Rewrites {
    /// The plan that waits for a person. `why`: what the brake says.
    pub async fn plan(self, context: &Context, why: String) -> Result<NewPlan, Halt> {
        let mut draft = Draft::new(context);
        for row in self.rows {
            draft.add(row);
        }
        draft.count(self.by_field);
        let counts = Counts { seen: self.contacts, ..Counts::default() };
        Ok(draft.plan(PlanKind::Mapping, mark(context).await?, counts, Some(why)))
    }
}

/// Counts what the mapping would rewrite of the contacts that another mapping has linked. It reads
/// every contact of Keap, a page a call, and nothing of Intercom's. `enough`: it stops above this
/// number of contacts.
pub async fn rewrites(context: &Context, enough: i64) -> Result<Rewrites, Halt> {
    let mut walker =
        Walker::new(Arc::clone(&context.keap), context.policy.keap.page_size, Show::Everything);
    let versions = HashMap::new();
    let planner = Planner { context, lane: Lane::Bulk, feed: Feed::Backfill, versions: &versions };
    let mut rewrites = Rewrites::default();
    let mut next = Some(Walk::default());
    while let Some(walk) = next {
        let step = context.unless_cancelled(async { walker.step(Lane::Bulk, &walk).await }).await?;
        for (planned, fields) in planner.rewritten(sorted(step.rows)?.contacts).await? {
            rewrites.contacts += 1;
            rewrites.rows.extend(row_of(&context.key, &preview(context, &planned)));
            for field in fields {
                *rewrites.by_field.entry(field).or_default() += 1;
            }
        }
        if rewrites.contacts > enough {
            break;
        }
        next = step.next;
    }
    Ok(rewrites)
}
