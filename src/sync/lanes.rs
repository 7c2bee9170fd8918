//! The lanes: two loops side by side. The urgent lane serves requests and retries, the bulk lane
//! walks.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::context::Context;
use super::erasing;
use super::feeds::{
    AuditFeed, BackfillFeed, ChangedFeed, DueFeed, PacedFeed, PlanFeed, Polled, SweepFeed, Swept,
};
use super::newcomers;
use super::notice::Notice;
use super::result::Halt;
use super::{pass, users};
use crate::feed::{Cursor, Feed, Lane, RunReason};
use crate::memory;
use crate::outcome::RunFailure;
use crate::pause::Direction;
use crate::store::{NewRun, Run, RunState};
use crate::trigger::Trigger;

/// How long an idle lane rests at most while it hears of requests. A request of the former release,
/// which announces nothing, waits this long.
const LONGEST_REST: Duration = Duration::from_secs(120);

/// Holds that a poll makes due because they can end without a change in Keap. A workspace of
/// another program may have thousands of them.
const HOLDS_PER_POLL: i64 = 100;

/// What a lane does between two waits.
pub trait Work: Sized + Send + 'static {
    const LANE: Lane;

    /// Work that remembers nothing yet.
    fn new(context: Arc<Context>) -> Self;

    /// The lane's trigger was fired.
    fn fired(&mut self);

    /// Takes one step. False when there is nothing to do.
    fn step(&mut self) -> impl Future<Output = Result<bool, Halt>> + Send;
}

/// Runs a lane until the daemon stops.
pub async fn run<W: Work>(context: Arc<Context>, trigger: Arc<Trigger>) {
    let mut work = W::new(Arc::clone(&context));
    let mut notice = Notice::default();
    while let Some(fired) = wake(&context, W::LANE, &trigger).await {
        if fired {
            work.fired();
        }
        while context.may_work() {
            context.board.heartbeat.beat(W::LANE, Duration::ZERO);
            if trigger.take() {
                work.fired();
            }
            let stepped;
            (work, stepped) = step(&context, work).await;
            match stepped {
                Ok(worked) => {
                    notice.clear(W::LANE);
                    if !worked {
                        break;
                    }
                }
                Err(halt) => {
                    notice.log(W::LANE, &halt);
                    rest(&context, W::LANE, halt.retry_in()).await;
                }
            }
        }
    }
}

/// Waits for the trigger (true) or the next look (false); `None` when the daemon stops.
async fn wake(context: &Context, lane: Lane, trigger: &Trigger) -> Option<bool> {
    if lane == Lane::Bulk {
        memory::give_back();
    }
    let rest = idle_rest(context, lane).await;
    context.board.heartbeat.beat(lane, rest);
    let requests = &context.board.requests;
    let requested = match lane {
        Lane::Urgent => &requests.due,
        Lane::Bulk => &requests.runs,
    };
    let mut lease = context.lease.clone();
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => None,
        () = trigger.fired() => Some(true),
        () = requested.fired() => Some(false),
        () = lease.passed_on() => Some(false),
        () = tokio::time::sleep(rest) => Some(false),
    }
}

/// How long an idle lane rests if nothing wakes it.
async fn idle_rest(context: &Context, lane: Lane) -> Duration {
    let idle_check = context.policy.sync.idle_check;
    if !context.board.requests.are_heard() {
        return idle_check;
    }
    let longest = LONGEST_REST.max(idle_check);
    if !context.lease.is_held() {
        return longest;
    }
    match next_turn(context, lane).await {
        // Due, and not for this lane now: the other lane has the contact, or hints have used up
        // their calls.
        Ok(Some(Duration::ZERO)) | Err(_) => idle_check,
        Ok(next) => next.unwrap_or(longest).min(longest),
    }
}

/// The time until a contact or a newcomer has its turn in this lane; `None` if none waits. What a
/// pause holds up has no turn: requests and the end of the pause are announced.
async fn next_turn(context: &Context, lane: Lane) -> Result<Option<Duration>, Halt> {
    let due = match lane {
        Lane::Urgent if context.is_paused(Feed::Due) => None,
        Lane::Urgent => context.store.next_due().await?,
        Lane::Bulk => PacedFeed::next_in(context).await?,
    };
    let pauses = &context.board.pauses;
    if !context.policy.creating.is_on() || pauses.of_due_to_keap(false).is_some() {
        return Ok(due);
    }
    let newcomer = context.store.next_newcomer(lane).await?;
    Ok(due.into_iter().chain(newcomer).min())
}

/// Takes a step in a task of its own, so that a panic ends the step and not the lane. After a panic
/// the work starts with an empty memory, which costs some calls.
async fn step<W: Work>(context: &Arc<Context>, mut work: W) -> (W, Result<bool, Halt>) {
    let stepping = async move {
        let stepped = work.step().await;
        (work, stepped)
    };
    match tokio::spawn(stepping).await {
        Ok(stepped) => stepped,
        Err(_) => (W::new(Arc::clone(context)), Err(Halt::Panicked)),
    }
}

async fn rest(context: &Context, lane: Lane, time: Duration) {
    context.board.heartbeat.beat(lane, time);
    tokio::select! {
        () = context.cancel.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}

/// Erasures, requests and retries.
pub struct Urgent {
    context: Arc<Context>,
    due: DueFeed,
}

impl Work for Urgent {
    const LANE: Lane = Lane::Urgent;

    fn new(context: Arc<Context>) -> Self {
        Self { due: DueFeed::new(Arc::clone(&context)), context }
    }

    fn fired(&mut self) {}

    /// One erasure, or one page of due contacts.
    async fn step(&mut self) -> Result<bool, Halt> {
        self.context.intercom_is_ready(Lane::Urgent).await?;
        if Box::pin(erasing::step(&self.context)).await? {
            return Ok(true);
        }
        let Some(page) = self.context.unless_cancelled(Box::pin(self.due.next())).await? else {
            return Box::pin(newcomers::step(&self.context, Lane::Urgent)).await;
        };
        Box::pin(pass::run(&self.context, page)).await?;
        Ok(true)
    }
}

/// Polls, backfills and sweeps.
pub struct Bulk {
    context: Arc<Context>,
    changed: ChangedFeed,
    backfill: BackfillFeed,
    sweep: SweepFeed,
    audit: AuditFeed,
    plans: PlanFeed,
    paced: PacedFeed,
    /// A poll is due: at the start, and whenever the trigger fires. During a backfill it runs
    /// between two pages.
    poll: bool,
    /// The lease's epoch under which the former holder's work was taken over.
    taken_over: Option<i64>,
}

impl Work for Bulk {
    const LANE: Lane = Lane::Bulk;

    fn new(context: Arc<Context>) -> Self {
        Self {
            changed: ChangedFeed::new(Arc::clone(&context)),
            backfill: BackfillFeed::new(Arc::clone(&context)),
            sweep: SweepFeed::new(Arc::clone(&context)),
            audit: AuditFeed::new(Arc::clone(&context)),
            plans: PlanFeed::new(Arc::clone(&context)),
            paced: PacedFeed::new(Arc::clone(&context)),
            context,
            poll: true,
            taken_over: None,
        }
    }

    fn fired(&mut self) {
        self.poll = true;
    }

    /// A page of changes, one of each walk, and one of the contacts that nobody waits for, so that
    /// none waits for the whole of another.
    async fn step(&mut self) -> Result<bool, Halt> {
        let context = Arc::clone(&self.context);
        context.unless_cancelled(Box::pin(self.take_requests())).await?;
        context.intercom_is_ready(Lane::Bulk).await?;
        if self.poll && !context.is_paused(Feed::Changed) {
            context.store.recheck_holds(&context.fence()?, HOLDS_PER_POLL).await?;
        }
        let changed = self.changed_step().await;
        if is_down(&changed) {
            return changed;
        }
        let backfill = self.backfill_step().await;
        if is_down(&backfill) {
            return backfill;
        }
        let sweep = self.sweep_step().await;
        if is_down(&sweep) {
            return sweep;
        }
        let audit = self.audit_step().await;
        if is_down(&audit) {
            return audit;
        }
        let plan = Box::pin(self.plan_step()).await;
        if is_down(&plan) {
            return plan;
        }
        let paced = self.paced_step().await;
        if is_down(&paced) {
            return paced;
        }
        let newcomers = Box::pin(newcomers::step(&context, Lane::Bulk)).await;
        Ok(changed? | backfill? | sweep? | audit? | plan? | paced? | newcomers?)
    }
}

/// Whether a fault concerns all feeds: a remote or the database is down. After a fault of one feed
/// the others still take their step.
fn is_down(stepped: &Result<bool, Halt>) -> bool {
    matches!(stepped, Err(Halt::Remote { .. } | Halt::Store(_) | Halt::Cancelled | Halt::LeaseLost))
}

impl Bulk {
    /// The same work without a poll of its own, for a command that makes one walk.
    pub fn without_poll(context: Arc<Context>) -> Self {
        Self { poll: false, ..Self::new(context) }
    }

    /// Whether a poll is due.
    pub fn poll_is_due(&self) -> bool {
        self.poll
    }

    async fn changed_step(&mut self) -> Result<bool, Halt> {
        let context = Arc::clone(&self.context);
        if context.is_paused(Feed::Changed) {
            return Ok(false);
        }
        let page = match context.unless_cancelled(Box::pin(self.changed.next(self.poll))).await? {
            None => return Ok(false),
            Some(Polled::Nothing) => {
                self.poll = false;
                return Ok(false);
            }
            Some(Polled::Page(page)) => page,
        };
        let ends = page.cursor.as_ref().is_some_and(Cursor::is_at_rest);
        let own = self.changed.is_own(page.run_id);
        Box::pin(pass::run(&context, *page)).await?;
        if ends {
            let asked_again = self.changed.end().await?;
            self.poll = asked_again || (self.poll && !own);
        }
        Ok(true)
    }

    async fn backfill_step(&mut self) -> Result<bool, Halt> {
        let context = Arc::clone(&self.context);
        if context.is_paused(Feed::Backfill) {
            return Ok(false);
        }
        let Some(page) = context.unless_cancelled(Box::pin(self.backfill.next())).await? else {
            return Ok(false);
        };
        Box::pin(pass::run(&context, page)).await?;
        Ok(true)
    }

    /// Writes to Keap come last: a walk needs few calls, and each of these needs one.
    async fn paced_step(&mut self) -> Result<bool, Halt> {
        let context = Arc::clone(&self.context);
        let Some(page) = context.unless_cancelled(Box::pin(self.paced.next())).await? else {
            return Ok(false);
        };
        Box::pin(pass::run(&context, page)).await?;
        Ok(true)
    }

    /// The time until the next contact may be written that nobody waits for; `None` if none is.
    pub async fn next_paced(&self) -> Result<Option<Duration>, Halt> {
        PacedFeed::next_in(&self.context).await
    }

    async fn audit_step(&mut self) -> Result<bool, Halt> {
        if self.context.is_paused(Feed::Audit) {
            return Ok(false);
        }
        let context = Arc::clone(&self.context);
        context.unless_cancelled(Box::pin(self.audit.step())).await
    }

    /// A page of an approved plan.
    async fn plan_step(&mut self) -> Result<bool, Halt> {
        let context = Arc::clone(&self.context);
        if self.plans.run().is_none() || context.is_paused(Feed::Plan) {
            return Ok(false);
        }
        let Some(page) = context.unless_cancelled(Box::pin(self.plans.next())).await? else {
            return Ok(true);
        };
        let part = page.approved.as_ref();
        let part = part.map(|part| (part.plan, part.rows.keys().copied().collect::<Vec<_>>()));
        Box::pin(pass::run(&context, page)).await?;
        if let Some((plan, ids)) = part {
            self.plans.settle(plan, &ids).await?;
        }
        Ok(true)
    }

    async fn sweep_step(&mut self) -> Result<bool, Halt> {
        let context = Arc::clone(&self.context);
        if context.is_paused(Feed::Sweep) {
            return Ok(false);
        }
        match context.unless_cancelled(Box::pin(self.sweep.next())).await? {
            Swept::Idle => Ok(false),
            Swept::Step => Ok(true),
            Swept::Page(page) => {
                Box::pin(pass::run(&context, *page)).await?;
                Ok(true)
            }
        }
    }

    /// Begins requested walks.
    async fn take_requests(&mut self) -> Result<(), Halt> {
        self.take_over().await?;
        let requested = self.requested_runs().await?;
        if requested.is_empty() {
            return Ok(());
        }
        let (polls, walks): (Vec<Run>, Vec<Run>) =
            requested.into_iter().partition(|run| Feed::parse(&run.feed) == Some(Feed::Changed));
        // They begin after the pause.
        if !self.context.is_paused(Feed::Changed) {
            self.take_polls(&polls).await?;
        }
        let mut backfill = self.is_walking(Feed::Backfill).await?;
        let mut sweep = self.is_walking(Feed::Sweep).await?;
        for Run { id, feed, since, reason, .. } in walks {
            let begins = |feed| NewRun { id, feed, reason: RunReason::Manual, since };
            match Feed::parse(&feed) {
                Some(feed) if self.context.is_paused(feed) => {}
                // A second walk waits for the first, because contacts behind its place are to be
                // read again.
                Some(Feed::Backfill) if !backfill => {
                    if let Some(why) = self.mapping_waits(since.is_none()).await? {
                        let fence = self.context.fence()?;
                        self.context.store.refuse_run(&fence, id, &why).await?;
                        continue;
                    }
                    let changed = match since {
                        None => self.first_changed().await?,
                        Some(_) => None,
                    };
                    self.backfill.begin(&begins(Feed::Backfill), changed.as_ref()).await?;
                    backfill = true;
                }
                Some(Feed::Sweep) if !sweep => {
                    self.sweep.begin(&begins(Feed::Sweep)).await?;
                    sweep = true;
                }
                // A walk over all contacts settles what an audit compares, so that one comes first.
                Some(Feed::Audit) if self.audit.run().is_none() && !backfill => {
                    self.audit.begin(id, &reason).await?;
                }
                Some(Feed::Plan) if self.plans.run().is_none() => {
                    Box::pin(self.plans.begin(id)).await?;
                }
                // The walk of a feed that only a newer release knows is left to that release.
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Takes up requested polls. They are about what has changed on both sides.
    async fn take_polls(&mut self, requested: &[Run]) -> Result<(), Halt> {
        if requested.is_empty() {
            return Ok(());
        }
        let context = &self.context;
        let is_paused = context.board.pauses.of_direction(Direction::IntercomToKeap).is_some();
        if context.policy.direction.to_keap && !is_paused {
            match Box::pin(users::poll_in_lane(context)).await {
                Err(Halt::Feed(why)) => {
                    let why = RunFailure::Other(why);
                    for run in requested {
                        context.store.refuse_run(&context.fence()?, run.id, &why).await?;
                    }
                    return Ok(());
                }
                polled => drop(polled?),
            }
        }
        for run in requested {
            // Such a poll begins at a time that a person has chosen.
            if let Some(to) = run.since {
                self.changed.set_cursor(to).await?;
            }
            self.changed.ask(run.id).await?;
        }
        self.poll = true;
        Ok(())
    }

    /// Why a walk over everything may not begin: a changed mapping waits for a person.
    async fn mapping_waits(&self, whole: bool) -> Result<Option<RunFailure>, Halt> {
        if !whole {
            return Ok(None);
        }
        let state = self.context.store.mapping_state().await?;
        Ok(state.and_then(|state| state.waits()).map(RunFailure::Other))
    }

    /// The requested walks that have not begun. A walk that runs without a place, and that this
    /// process does not carry out, is taken over first: nobody else would ever end it.
    async fn requested_runs(&self) -> Result<Vec<Run>, Halt> {
        let store = &self.context.store;
        let own: Vec<Uuid> = self
            .changed
            .own_runs()
            .into_iter()
            .chain(self.audit.run())
            .chain(self.plans.run())
            .collect();
        let waiting = store.waiting_runs().await?;
        let is_left = |run: &Run| run.state == RunState::Running && !own.contains(&run.id);
        let waiting = if waiting.iter().any(is_left) {
            store.take_over_runs(&self.context.fence()?, &own).await?;
            store.waiting_runs().await?
        } else {
            waiting
        };
        Ok(waiting.into_iter().filter(|run| run.state == RunState::Requested).collect())
    }

    /// The cursor of the polls where they have none: a first walk over everything also sets it.
    /// Else the first poll would read everything again.
    async fn first_changed(&self) -> Result<Option<Cursor>, Halt> {
        match self.context.store.cursor(Feed::Changed).await? {
            Some(_) => Ok(None),
            None => self.changed.first_cursor(true).await.map(Some),
        }
    }

    async fn is_walking(&self, feed: Feed) -> Result<bool, Halt> {
        let cursor = self.context.store.cursor(feed).await?;
        Ok(cursor.is_some_and(|cursor| !cursor.is_at_rest()))
    }

    /// Once per lease: takes over what a former holder left.
    async fn take_over(&mut self) -> Result<(), Halt> {
        let fence = self.context.fence()?;
        if self.taken_over == Some(fence.epoch()) {
            return Ok(());
        }
        // Polls of a former lease are over. Their requests are requested again.
        self.changed.forget_polls();
        self.context.store.take_over_runs(&fence, &[]).await?;
        self.taken_over = Some(fence.epoch());
        Ok(())
    }
}
