//! `status`: says whether contacts flow, how far behind they are, what is wrong and what to do.

mod daemon_only;
mod document;
mod show;
mod snapshot;
mod troubles;

use self::document::document;
use self::snapshot::Snapshot;
use super::{Ended, SOME_FAILED, WELL, database, exit};
use crate::app;
use crate::config::{Migrate, Needed, Settings};

/// `stale_after`: the seconds after which the last successful poll is late, instead of the setting.
pub async fn run(settings: &Settings, stale_after: Option<u64>, json: bool) -> Ended {
    settings.require(&[Needed::DatabaseUrl])?;
    let store = app::store(settings)?;
    let taken = match database::prepare(&store, settings, Migrate::Refuse).await {
        Ok(()) => Snapshot::take(&store, settings, stale_after).await,
        Err(error) => Err(error),
    };
    let snapshot = match taken {
        Ok(snapshot) => snapshot,
        Err(error) => return daemon_only::run(settings, error, json).await,
    };
    let stale = stale_after.map(|limit| snapshot.poll_age().is_none_or(|age| age > limit));
    let troubles = snapshot.troubles();
    if json {
        outln!("{}", document(&snapshot, &troubles, stale));
    } else {
        snapshot.show(&troubles);
    }
    let works = troubles.iter().all(|trouble| !trouble.stops);
    exit(if works && stale != Some(true) { WELL } else { SOME_FAILED })
}
