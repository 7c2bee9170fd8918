//! The second direction: asks Intercom which users have changed, on a schedule.

use std::sync::Arc;

use crate::feed::Feed;
use crate::pause::Direction;
use crate::store::IntercomFeed;
use crate::sync::users::{UsersWalk, poll_changed};
use crate::sync::{Context, Halt};
use crate::trigger::Trigger;

/// When the list is read.
pub struct Schedule {
    pub poll: Arc<Trigger>,
    /// Wakes the lane of walks.
    pub bulk: Arc<Trigger>,
}

/// Reads the list whenever its time has come, while this process holds the lease. Once the first
/// poll is stored, an audit is asked for: it compares everybody.
pub async fn watch(context: Arc<Context>, schedule: Schedule) {
    let mut lease = context.lease.clone();
    // At the start, whoever holds the lease polls at once: nobody knows how old the last poll is.
    schedule.poll.fire("start");
    loop {
        tokio::select! {
            () = context.cancel.cancelled() => return,
            () = schedule.poll.fired() => {}
            () = lease.passed_on() => {}
        }
        // The place of the list stays where it is until the pause ends.
        let is_paused = context.board.pauses.of_direction(Direction::IntercomToKeap).is_some();
        if is_paused || context.fence().is_err() {
            continue;
        }
        let polled = Box::pin(poll_changed(&context)).await;
        let is_whole = polled.is_ok();
        report(polled);
        if is_whole {
            match ask_for_audit(&context).await {
                Ok(true) => schedule.bulk.fire("audit"),
                Ok(false) => {}
                Err(halt) => report(Err(halt)),
            }
        }
    }
}

/// Asks for the first audit. False if there was one, whatever came of it.
async fn ask_for_audit(context: &Context) -> Result<bool, Halt> {
    let cursor = context.store.intercom_cursor(IntercomFeed::Audit).await?;
    if cursor.walked_at.is_some() {
        return Ok(false);
    }
    context.store.request_scheduled(&context.fence()?, Feed::Audit).await?;
    Ok(true)
}

fn report(polled: Result<UsersWalk, Halt>) {
    match polled {
        Ok(UsersWalk { compared, changed }) if changed > 0 => {
            tracing::info!(compared, changed, "Contacts have changed in Intercom.");
        }
        Ok(UsersWalk { compared, .. }) => {
            tracing::debug!(compared, "No contact has changed in Intercom.");
        }
        Err(Halt::Cancelled | Halt::LeaseLost) => {}
        Err(halt) => tracing::warn!(
            error = &halt as &dyn std::error::Error,
            "Intercom's users could not be read; the next poll begins at the same place."
        ),
    }
}
