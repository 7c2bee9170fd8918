//! The schedule: cron lines, in UTC, whose only deed is to fire the trigger.

use std::sync::Arc;

use anyhow::Context;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::trigger::Trigger;

/// Starts a schedule of six fields, seconds first. The job is one call, because the scheduler starts it again while it runs.
///
/// Keep the returned value: dropping it ends nothing, `shutdown` does.
pub async fn start(line: &str, trigger: Arc<Trigger>) -> anyhow::Result<JobScheduler> {
    let scheduler = JobScheduler::new()
        .await
        .context("the scheduler did not start")?;
    let job = Job::new(line, move |_, _| trigger.fire("schedule"))
        .with_context(|| format!("poll.schedule (POLL__SCHEDULE) is not a cron line of six fields, seconds first, for example \"0 * * * * *\": {line:?}"))?;
    scheduler
        .add(job)
        .await
        .context("the schedule was not accepted")?;
    scheduler
        .start()
        .await
        .context("the scheduler did not start")?;
    Ok(scheduler)
}
