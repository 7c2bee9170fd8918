//! The schedule: cron lines, in UTC, whose only deed is to fire the trigger.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData};
use tokio_cron_scheduler::store::{DataStore, InitStore};
use tokio_cron_scheduler::{
    Job, JobScheduler, JobSchedulerError, MetaDataStorage, SimpleJobCode, SimpleMetadataStore,
    SimpleNotificationCode, SimpleNotificationStore,
};
use uuid::Uuid;

use crate::trigger::Trigger;

/// The scheduler looks at the jobs this long after a rest, so the rest ends a little earlier than
/// the next job is due.
const BEFORE_JOB: Duration = Duration::from_millis(400);

/// The longest rest: the clock of the machine may be set, or the machine may sleep.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Room for the scheduler's messages to itself.
const CHANNEL_SIZE: usize = 200;

/// A cron line of six fields, seconds first: the setting that it comes from, for texts, and what it
/// fires.
pub struct Line<'a> {
    pub setting: &'static str,
    pub line: &'a str,
    pub trigger: Arc<Trigger>,
}

/// Starts the schedules. Each job is one call, because the scheduler starts it again while it runs.
///
/// Keep the returned value: dropping it ends nothing, `shutdown` does.
pub async fn start(lines: Vec<Line<'_>>) -> anyhow::Result<JobScheduler> {
    let scheduler = JobScheduler::new_with_storage_and_code(
        Box::new(RestfulStore::default()),
        Box::new(SimpleNotificationStore::default()),
        Box::new(SimpleJobCode::default()),
        Box::new(SimpleNotificationCode::default()),
        CHANNEL_SIZE,
    );
    let scheduler = scheduler.await.context("the scheduler did not start")?;
    for Line { setting, line, trigger } in lines {
        let job = Job::new(line, move |_, _| trigger.fire("schedule")).with_context(|| {
            format!("{setting} is not a cron line of six fields, seconds first, for example \"0 * * * * *\": {line:?}")
        })?;
        scheduler.add(job).await.context("the schedule was not accepted")?;
    }
    scheduler.start().await.context("the scheduler did not start")?;
    Ok(scheduler)
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

/// The scheduler's store of jobs. The scheduler asks it twice a second which jobs are due, for
/// ever. This store answers late, when the next job is nearly due, and so an idle daemon sleeps.
///
/// The scheduler changes no job while it waits for the answer: all are added before it starts.
#[derive(Default)]
struct RestfulStore(SimpleMetadataStore);

impl MetaDataStorage for RestfulStore {
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        let jobs = Arc::clone(&self.0.data);
        let ticks = self.0.list_next_ticks();
        Box::pin(async move {
            let now = Utc::now();
            jobs.write().await.values_mut().for_each(|job| bring_near(job, now));
            let ticks = ticks.await?;
            tokio::time::sleep(rest(&ticks, now)).await;
            Ok(ticks)
        })
    }

    fn set_next_and_last_tick(
        &mut self,
        job: Uuid,
        next: Option<DateTime<Utc>>,
        last: Option<DateTime<Utc>>,
    ) -> Answer<()> {
        self.0.set_next_and_last_tick(job, next, last)
    }

    fn time_till_next_job(&mut self) -> Answer<Option<Duration>> {
        self.0.time_till_next_job()
    }
}

impl DataStore<JobStoredData> for RestfulStore {
    fn get(&mut self, job: Uuid) -> Answer<Option<JobStoredData>> {
        self.0.get(job)
    }

    fn add_or_update(&mut self, job: JobStoredData) -> Answer<()> {
        self.0.add_or_update(job)
    }

    fn delete(&mut self, job: Uuid) -> Answer<()> {
        self.0.delete(job)
    }
}

impl InitStore for RestfulStore {
    fn init(&mut self) -> Answer<()> {
        self.0.init()
    }

    fn inited(&mut self) -> Answer<bool> {
        self.0.inited()
    }
}

/// How long no job needs a look.
fn rest(ticks: &[JobAndNextTick], now: DateTime<Utc>) -> Duration {
    // 0 stands for a job that never runs again.
    let next = ticks.iter().map(|tick| tick.next_tick).filter(|next| *next != 0).min();
    let next = next.and_then(|next| DateTime::from_timestamp(i64::try_from(next).ok()?, 0));
    let wait = next.map_or(LONGEST_REST, |next| (next - now).to_std().unwrap_or_default());
    wait.saturating_sub(BEFORE_JOB).min(LONGEST_REST)
}

/// Ends the wait of a job that our clock would make endless. The slot of a job is a time of our
/// clock, so it moves away when that clock is set back. A job waits for the second slot from now at
/// most: the first one may be the slot that has just run, and a slot runs once.
fn bring_near(job: &mut JobStoredData, now: DateTime<Utc>) {
    let second = job.schedule().and_then(|line| line.iter_after(now).nth(1));
    let second = second.and_then(|slot| u64::try_from(slot.timestamp()).ok());
    if let Some(second) = second.filter(|second| job.next_tick > *second) {
        job.next_tick = second;
        job.last_tick = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(next_tick: u64) -> JobAndNextTick {
        JobAndNextTick { id: None, job_type: 0, next_tick, last_tick: None }
    }

    #[test]
    fn the_rest_ends_before_the_next_job_and_after_a_minute_at_most() {
        let now = DateTime::from_timestamp(1000, 0).unwrap();
        let rest =
            |next: &[u64]| rest(&next.iter().map(|next| job(*next)).collect::<Vec<_>>(), now);

        assert_eq!(rest(&[1010, 1002, 0]), Duration::from_millis(1600));
        assert_eq!(rest(&[1000]), Duration::ZERO);
        assert_eq!(rest(&[900, 1010]), Duration::ZERO, "a job that is late needs a look at once");
        assert_eq!(rest(&[5000]), LONGEST_REST);
        assert_eq!(rest(&[0]), LONGEST_REST.saturating_sub(BEFORE_JOB));
        assert_eq!(rest(&[u64::MAX]), LONGEST_REST.saturating_sub(BEFORE_JOB));
    }

    /// The next slot of a line, if it was this one before the clock showed `now`.
    fn next_at(line: &str, before: &str, now: &str) -> DateTime<Utc> {
        let mut job = Job::new(line, |_, _| {}).unwrap().job_data().unwrap();
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        job.next_tick = at(before).timestamp().unsigned_abs();
        job.last_tick = Some(job.next_tick - 1);
        bring_near(&mut job, at(now));
        job.next_tick_utc().unwrap()
    }

    // F15
    #[test]
    fn a_slot_that_our_clock_passes_twice_runs_once() {
        for (line, before, now) in [
            ("0 * * * * *", "2026-11-30T10:01:00Z", "2026-11-30T10:00:01Z"),
            ("0 * * * * *", "2026-11-30T10:01:00Z", "2026-11-30T09:59:56Z"),
            ("0 0 3 * * *", "2026-12-01T03:00:00Z", "2026-11-30T02:30:00Z"),
        ] {
            assert_eq!(next_at(line, before, now), before.parse::<DateTime<Utc>>().unwrap());
        }
    }

    // F14
    #[test]
    fn no_job_waits_for_more_than_two_slots_when_our_clock_is_set_back() {
        for (line, before, now, next) in [
            ("0 * * * * *", "2026-11-30T10:01:00Z", "2026-11-30T08:00:00Z", "2026-11-30T08:02:00Z"),
            ("0 0 3 * * *", "2036-01-01T03:00:00Z", "2026-11-30T04:00:00Z", "2026-12-02T03:00:00Z"),
        ] {
            assert_eq!(next_at(line, before, now), next.parse::<DateTime<Utc>>().unwrap());
        }
    }
}
