//! The `audit` feed: compares every linked contact in Intercom with what was settled, a page a
//! step. Those that differ become due once all are known, so that a mass change can be stopped.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::contact::KeapId;
use crate::feed::{Counts, Feed, Lane, RunReason};
use crate::outcome::{PlanKind, RunFailure};
use crate::store::{
    ChangedInIntercom, Fence, Group, IntercomCursor, IntercomFeed, NewRun, SeenUsers,
};
use crate::sync::context::Context;
use crate::sync::feeds::missing::{MOST_READ, missing, welcome_back};
use crate::sync::result::Halt;
use crate::sync::users::{WalkedPage, next_page};
use crate::sync::{newcomers, opt_outs, plans};

/// So few contacts are never a mass change.
const FEW: usize = 100;

/// Contacts that become due in one transaction.
const DUE_AT_ONCE: usize = 1_000;

/// The `audit` feed.
pub(crate) struct AuditFeed {
    context: Arc<Context>,
    walk: Option<Walk>,
}

/// What a walk reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Intercom's users.
    Users,
    /// The addresses that have opted out in Keap.
    OptOuts,
}

/// A walk under way. Another process begins it anew.
struct Walk {
    run: Uuid,
    /// A person asked for it: the brake does not apply.
    forced: bool,
    began: DateTime<Utc>,
    part: Part,
    from: Option<String>,
    /// The linked contacts that were compared.
    seen: Vec<KeapId>,
    /// Those that differ from what was settled.
    differ: ChangedInIntercom,
}

impl AuditFeed {
    /// No walk is under way yet.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, walk: None }
    }

    /// The run of the walk under way.
    pub(crate) fn run(&self) -> Option<Uuid> {
        self.walk.as_ref().map(|walk| walk.run)
    }

    /// Begins a requested walk.
    pub(crate) async fn begin(&mut self, run: Uuid, reason: &str) -> Result<(), Halt> {
        let new = NewRun { id: run, feed: Feed::Audit, reason: RunReason::Manual, since: None };
        let fence = self.context.fence()?;
        if self.context.store.begin_run(&fence, &new, &[], None).await? {
            let forced = reason != RunReason::Schedule.as_str();
            let (began, seen, differ) = (Utc::now(), Vec::new(), ChangedInIntercom::default());
            let part = Part::Users;
            self.walk = Some(Walk { run, forced, began, part, from: None, seen, differ });
        }
        Ok(())
    }

    /// Compares the next page of the walk under way. False if there is none.
    pub(crate) async fn step(&mut self) -> Result<bool, Halt> {
        let Some(walk) = &mut self.walk else {
            return Ok(false);
        };
        let context = &self.context;
        if !context.policy.direction.to_keap {
            let why = RunFailure::Other(
                "an audit needs intercom_to_keap.enabled = true: only then it is remembered what Intercom shows".into(),
            );
            context.store.refuse_run(&context.fence()?, walk.run, &why).await?;
            self.walk = None;
            return Ok(true);
        }
        let before = context.calls(Lane::Bulk);
        let mut cost = match walk.part {
            Part::Users => compare_users(context, walk).await?,
            Part::OptOuts => look_at_opt_outs(context, walk).await?,
        };
        cost.add(&context.calls(Lane::Bulk).since(before));
        let group = Group { cost, run: Some(walk.run), ..Group::of(Vec::new()) };
        context.store.record(&context.fence()?, &group).await?;
        context.advance(&cost);
        if walk.from.is_some() {
            return Ok(true);
        }
        if walk.part == Part::Users && opt_outs::rule(context).is_some() {
            walk.part = Part::OptOuts;
            return Ok(true);
        }
        end(context, walk).await?;
        self.walk = None;
        Ok(true)
    }
}

async fn compare_users(context: &Context, walk: &mut Walk) -> Result<Counts, Halt> {
    let WalkedPage { seen, differ, next } =
        next_page(context, walk.run, walk.from.as_deref()).await?;
    let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let counts = Counts {
        seen: signed(seen.len()),
        unchanged: signed(seen.len() - differ.len()),
        late: signed(differ.len()),
        ..Counts::default()
    };
    walk.seen.extend(seen);
    walk.differ.extend(differ);
    walk.from = next;
    Ok(counts)
}

async fn look_at_opt_outs(context: &Context, walk: &mut Walk) -> Result<Counts, Halt> {
    if let Some(rule) = opt_outs::rule(context) {
        walk.from = opt_outs::look(context, rule, walk.from.as_deref()).await?;
    }
    Ok(Counts::default())
}

/// Makes those due that differ, and those that the list does not show; neither of them if they are
/// too many.
async fn end(context: &Context, walk: &mut Walk) -> Result<(), Halt> {
    let (store, fence) = (&context.store, context.fence()?);
    walk.seen.sort_unstable();
    welcome_back(context, &walk.seen).await?;
    let mut missing = missing(context, &walk.seen, walk.began).await?;
    let (seen, gone) = (walk.seen.len(), missing.len());
    let brakes = [
        brake(context, walk, (walk.differ.len(), seen), "differ from their Intercom contacts"),
        brake(context, walk, (gone, seen + gone), "are missing in the list of Intercom's users"),
    ];
    if brakes[0].is_none() {
        make_due(context, &fence, walk.run, &walk.differ).await?;
    }
    let missing_ids = missing.clone();
    if brakes[1].is_none() {
        let all = missing.len();
        missing.truncate(MOST_READ);
        if all > 0 {
            let read = missing.len();
            tracing::info!(
                missing = all,
                read,
                "Linked contacts are missing in the list of Intercom's users, and are read by id."
            );
        }
        let missing = ChangedInIntercom { paced: missing, ..ChangedInIntercom::default() };
        make_due(context, &fence, walk.run, &missing).await?;
    }
    let cursor = IntercomCursor { walked_at: Some(Utc::now()), ..IntercomCursor::default() };
    let ended = Some((IntercomFeed::Audit, &cursor));
    store.record_users(&fence, &SeenUsers::default(), ended).await?;
    if brakes.iter().all(Option::is_none)
        && let Some(why) = newcomers::braked(context).await?
    {
        let why = RunFailure::CreateBrake(why);
        let plan = Box::pin(plans::brakes::creates(context, &why)).await?;
        return Ok(store.brake_run(&fence, walk.run, &why, &plan).await?);
    }
    let mut stopped = Vec::new();
    if brakes[0].is_some() {
        stopped.extend(walk.differ.ids());
    }
    if brakes[1].is_some() {
        stopped.extend(missing_ids);
    }
    let why: Vec<String> = brakes.into_iter().flatten().collect();
    if why.is_empty() {
        store.outdate_plan(PlanKind::Audit).await?;
        return Ok(store.end_runs(&fence, &[walk.run]).await?);
    }
    let why = RunFailure::AuditBrake(format!("{}; none of them is changed", why.join(", and ")));
    let plan = Box::pin(plans::brakes::audit(context, stopped, &why)).await?;
    Ok(store.brake_run(&fence, walk.run, &why, &plan).await?)
}

/// What is wrong if so many linked contacts are a mass change that nobody has asked for.
fn brake(
    context: &Context,
    walk: &Walk,
    (number, all): (usize, usize),
    what: &str,
) -> Option<String> {
    let percent = usize::try_from(context.policy.brake_percent).unwrap_or(100);
    let is_mass = number > FEW && number * 100 > all.saturating_mul(percent);
    (is_mass && !walk.forced).then(|| {
        format!(
            "{number} of {all} linked contacts {what}, which is more than {percent} % (mapping.brake_percent)"
        )
    })
}

/// Makes contacts due, as changed in Intercom.
async fn make_due(
    context: &Context,
    fence: &Fence,
    run: Uuid,
    changed: &ChangedInIntercom,
) -> Result<(), Halt> {
    for changed in changed.parts(DUE_AT_ONCE) {
        let seen = SeenUsers { changed, run: Some(run), ..SeenUsers::default() };
        context.store.record_users(fence, &seen, None).await?;
    }
    Ok(())
}
