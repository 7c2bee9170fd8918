//! The schedule: cron lines, in UTC, whose only deed is to fire the trigger.

use std::sync::Arc;

use anyhow::Context;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::trigger::Trigger;

/// A cron line of six fields, seconds first: the setting that it comes from, for texts, and what it fires.
pub struct Line<'a> {
    pub setting: &'static str,
    pub line: &'a str,
    pub trigger: Arc<Trigger>,
}

/// Starts the schedules. Each job is one call, because the scheduler starts it again while it runs.
///
/// Keep the returned value: dropping it ends nothing, `shutdown` does.
pub async fn start(lines: Vec<Line<'_>>) -> anyhow::Result<JobScheduler> {
    let scheduler = JobScheduler::new()
        .await
        .context("the scheduler did not start")?;
    for Line {
        setting,
        line,
        trigger,
    } in lines
    {
        let job = Job::new(line, move |_, _| trigger.fire("schedule")).with_context(|| {
            format!("{setting} is not a cron line of six fields, seconds first, for example \"0 * * * * *\": {line:?}")
        })?;
        scheduler
            .add(job)
            .await
            .context("the schedule was not accepted")?;
    }
    scheduler
        .start()
        .await
        .context("the scheduler did not start")?;
    Ok(scheduler)
}
