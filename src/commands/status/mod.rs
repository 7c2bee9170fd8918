//! `status`: says whether contacts flow, how far behind they are, what is wrong and what to do.

mod daemon_only;
mod document;
mod show;

use std::time::Duration;

use self::document::document;
use super::{Ended, SOME_FAILED, WELL, ask, database, exit};
use crate::app;
use crate::config::{Migrate, Needed, Settings};
use crate::report::{DayQuota, PartStates, Status};
use crate::store::{Store, StoreError};

/// `stale_after`: the seconds after which the last successful poll is late, instead of the setting.
pub async fn run(settings: &Settings, stale_after: Option<u64>, json: bool) -> Ended {
    settings.require(&[Needed::DatabaseUrl])?;
    let store = app::store(settings)?;
    let taken = match database::prepare(&store, settings, Migrate::Refuse).await {
        Ok(()) => take(&store, settings, stale_after).await,
        Err(error) => Err(error),
    };
    let (status, linked) = match taken {
        Ok(taken) => taken,
        Err(error) => return daemon_only::run(settings, error, json).await,
    };
    let stale = stale_after.map(|limit| status.poll_age().is_none_or(|age| age > limit));
    let troubles = status.troubles();
    if json {
        out!("{}\n", document(&status, linked, &troubles, stale));
    } else {
        show::show(&status, linked, &troubles);
    }
    let works = troubles.iter().all(|trouble| !trouble.stops);
    exit(if works && stale != Some(true) { WELL } else { SOME_FAILED })
}

/// The status, and how many contacts are linked.
async fn take(
    store: &Store,
    settings: &Settings,
    stale_after: Option<u64>,
) -> Result<(Status, i64), StoreError> {
    let poll_age_limit = stale_after.map_or(settings.http.ready_poll_age, Duration::from_secs);
    let status = Status::take(
        store,
        part_states(settings).await,
        poll_age_limit,
        app::second_direction(settings),
    )
    .await?;
    Ok((status, store.count_linked().await?))
}

/// What the daemon on this machine says about the remotes and its hooks, if one answers.
async fn part_states(settings: &Settings) -> PartStates {
    let daemon = ask::daemon(settings, "/ready").await;
    let checks = daemon.map(|(_, document)| document["checks"].clone()).unwrap_or_default();
    let state = |part: &str| checks[part]["state"].as_str().map(str::to_owned);
    let queue = &checks["keapQueue"];
    let day = queue["callsADay"].as_i64().zip(queue["callsLeft"].as_i64());
    PartStates {
        keap: state("keap"),
        intercom: state("intercom"),
        webhooks: state("webhooks"),
        keap_day: day.map(|(limit, left)| DayQuota { limit, left }),
    }
}
