//! The `audit` feed: compares every linked contact in Intercom with what was settled, a page a step.
//! Those that differ become due once all are known, so that a mass change can be stopped.

use std::sync::Arc;

use chrono::Utc;
use uuid::Uuid;

use crate::contact::KeapId;
use crate::feed::{Counts, Feed, RunReason};
use crate::outcome::RunFailure;
use crate::store::{ChangedInIntercom, Group, IntercomCursor, IntercomFeed, NewRun, SeenUsers};
use crate::sync::context::Context;
use crate::sync::result::Halt;
use crate::sync::users::next_page;

/// So few contacts are never a mass change.
const FEW: usize = 100;

/// Contacts that become due in one transaction.
const DUE_AT_ONCE: usize = 1_000;

/// The `audit` feed.
pub(crate) struct AuditFeed {
    context: Arc<Context>,
    walk: Option<Walk>,
}

/// A walk under way. Another process begins it anew.
struct Walk {
    run: Uuid,
    /// A person asked for it: the brake does not apply.
    forced: bool,
    from: Option<String>,
    compared: usize,
    differ: Vec<KeapId>,
    /// The same of contacts with an opt-out in Intercom.
    consent: Vec<KeapId>,
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
            let (compared, differ, consent) = (0, Vec::new(), Vec::new());
            self.walk = Some(Walk { run, forced, from: None, compared, differ, consent });
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
        let (changed, compared, next) = next_page(context, walk.from.as_deref()).await?;
        let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let cost = Counts {
            seen: signed(compared),
            unchanged: signed(compared - changed.consent.len() - changed.paced.len()),
            late: signed(changed.consent.len() + changed.paced.len()),
            intercom_calls: 1,
            ..Counts::default()
        };
        let group = Group { cost, run: Some(walk.run), ..Group::of(Vec::new()) };
        context.store.record(&context.fence()?, &group).await?;
        context.advance(&cost);
        walk.compared += compared;
        walk.differ.extend(changed.paced);
        walk.consent.extend(changed.consent);
        walk.from = next;
        if walk.from.is_none() {
            end(context, walk).await?;
            self.walk = None;
        }
        Ok(true)
    }
}

/// Makes those due that differ, unless they are too many.
async fn end(context: &Context, walk: &Walk) -> Result<(), Halt> {
    let (store, fence) = (&context.store, context.fence()?);
    let percent = usize::try_from(context.policy.audit_brake_percent).unwrap_or(100);
    let differ = walk.differ.len() + walk.consent.len();
    let is_braked =
        !walk.forced && differ > FEW && differ * 100 > walk.compared.saturating_mul(percent);
    if !is_braked {
        let consent = walk.consent.chunks(DUE_AT_ONCE).map(|part| ChangedInIntercom {
            consent: part.to_vec(),
            ..ChangedInIntercom::default()
        });
        // Nobody waits for what a walk over everybody finds.
        let paced = walk
            .differ
            .chunks(DUE_AT_ONCE)
            .map(|part| ChangedInIntercom { paced: part.to_vec(), ..ChangedInIntercom::default() });
        for changed in consent.chain(paced) {
            let seen = SeenUsers { changed, settled: Vec::new() };
            store.record_users(&fence, &seen, None).await?;
        }
    }
    let cursor = IntercomCursor { walked_at: Some(Utc::now()), ..IntercomCursor::default() };
    let ended = Some((IntercomFeed::Audit, &cursor));
    store.record_users(&fence, &SeenUsers::default(), ended).await?;
    if !is_braked {
        return Ok(store.end_runs(&fence, &[walk.run]).await?);
    }
    let why = RunFailure::AuditBrake(format!(
        "{differ} of {} linked contacts differ from their Intercom contacts, which is more than {percent} % (mapping.brake_percent); none of them is changed",
        walk.compared
    ));
    Ok(store.refuse_run(&fence, walk.run, &why).await?)
}
