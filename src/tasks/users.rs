//! The second direction: asks Intercom which users have changed, on a schedule, and compares all of
//! them at times.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use crate::store::IntercomFeed;
use crate::sync::users::{UsersWalk, poll_changed, walk_all};
use crate::sync::{Context, Halt};
use crate::trigger::Trigger;

/// When the lists are read.
pub struct Schedule {
    pub poll: Arc<Trigger>,
    pub audit: Arc<Trigger>,
    /// How far a poll looks back.
    pub overlap: Duration,
}

/// Reads the lists whenever their time has come, while this process holds the lease. All users are
/// compared once before the first poll counts.
pub async fn watch(context: Arc<Context>, schedule: Schedule) {
    let overlap = TimeDelta::from_std(schedule.overlap).unwrap_or(TimeDelta::minutes(15));
    loop {
        let is_audit = tokio::select! {
            () = context.cancel.cancelled() => return,
            () = schedule.audit.fired() => true,
            () = schedule.poll.fired() => false,
        };
        if context.fence().is_err() {
            continue;
        }
        if is_audit {
            report("audit", walk_all(&context, IntercomFeed::Audit).await);
            continue;
        }
        // The poll first: what changes from now on is its matter, whatever the backfill has read.
        report("poll", poll_changed(&context, overlap).await);
        match context.store.intercom_cursor(IntercomFeed::Backfill).await {
            Ok(cursor) if cursor.walked_at.is_some() => {}
            _ => report("backfill", walk_all(&context, IntercomFeed::Backfill).await),
        }
    }
}

fn report(walk: &'static str, ended: Result<UsersWalk, Halt>) {
    match ended {
        Ok(UsersWalk { compared, changed }) if changed > 0 => {
            tracing::info!(walk, compared, changed, "Contacts have changed in Intercom.");
        }
        Ok(UsersWalk { compared, .. }) => {
            tracing::debug!(walk, compared, "No contact has changed in Intercom.");
        }
        Err(Halt::Cancelled | Halt::LeaseLost) => {}
        Err(halt) => tracing::warn!(
            walk,
            error = &halt as &dyn std::error::Error,
            "Intercom's users could not be read; the next poll begins at the same place."
        ),
    }
}
