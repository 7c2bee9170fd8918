//! `sync`: runs the passes of the daemon once, in the foreground. Whichever process holds the lease
//! does the work.

mod args;
mod audit;
mod bar;
mod dry_run;
mod mapping;
mod other_process;
mod part;
mod previews;
mod report;
mod requested;
mod this_process;
mod to_keap;

pub use args::SyncArgs;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::bar::Bar;
use self::dry_run::dry_run;
use self::mapping::Brake;
use self::other_process::Delegated;
use self::requested::{Requested, feed_of};
use self::this_process::Work;
use super::run::stop_on_signals;
use super::{Ended, NOTHING_DONE, database, exit};
use crate::app::Parts;
use crate::config::{Migrate, Needed, Settings};
use crate::feed::Feed;
use crate::store::{Store, StoreError};
use crate::sync::Context;
use crate::tasks::lease;

const AUDIT_NEEDS_BOTH: &str = "Stopped: an audit needs intercom_to_keap.enabled = true: only then it is remembered what Intercom shows.";
const UNKNOWN_FIELDS: &str = "the fields of the mapping cannot be read";

pub async fn run(settings: &Settings, mut args: SyncArgs) -> Ended {
    settings.require(&[Needed::DatabaseUrl, Needed::KeapApiKey, Needed::IntercomAccessToken])?;
    let parts = Parts::build(settings)?;
    let cancel = CancellationToken::new();
    stop_on_signals(&cancel)?;
    if args.audit && !settings.intercom_to_keap.enabled {
        errln!("{AUDIT_NEEDS_BOTH}");
        return exit(NOTHING_DONE);
    }
    part::find(&parts, settings, &mut args).await?;
    if args.dry_run || (args.audit && !args.repair) {
        return look(&parts, settings, &args, &cancel).await;
    }
    database::prepare(&parts.store, settings, settings.database.migrate)
        .await
        .context("nothing could be done")?;
    let feed = feed_of(&args);
    if is_paused(&parts.store, feed).await? {
        return exit(NOTHING_DONE);
    }
    let is_first = parts.store.cursor(Feed::Changed).await?.is_none();
    let requested = match requested(&parts, settings, &args, &cancel).await? {
        Ok(requested) => requested,
        Err(why) => {
            errln!("Stopped: {why}");
            return exit(NOTHING_DONE);
        }
    };
    let total = total(&parts.store, &args).await?;
    let bar = &Bar::new(args.json, total, args.sweep);
    let (cancel, json, is_sweep) = (&cancel, args.json, args.sweep);
    let lease_ttl = settings.lease.ttl;
    // What an audit or a poll of Intercom finds is looked at after it.
    let compares = settings.intercom_to_keap.enabled && (args.changed || args.all || args.audit);
    let until_idle = compares || (args.changed && is_first);
    let requested = &requested;
    let work =
        Work { parts: &parts, lease_ttl, requested, until_idle, json, is_sweep, bar, cancel };
    let store = &parts.store;
    let delegated = Delegated { store, requested, compares, json, is_sweep, bar, cancel };
    carry_out(&work, &delegated).await
}

/// Does the work if the lease is free. Else the holder does it.
async fn carry_out(work: &Work<'_>, delegated: &Delegated<'_>) -> Ended {
    let mut announced = false;
    loop {
        match lease::take(&work.parts.store, work.lease_ttl).await? {
            Ok(lease) => {
                let fitted = work.parts.fit().await.context(UNKNOWN_FIELDS)?;
                return work.run(&fitted, lease).await;
            }
            Err(holder) => {
                announce(&holder.holder, announced);
                announced = true;
            }
        }
        if let Some(status) = delegated.wait().await? {
            return exit(status);
        }
    }
}

/// Carries an approved plan out, or waits until the holder of the lease has done it.
pub(super) async fn carry_out_plan(
    parts: &Parts,
    settings: &Settings,
    run: Uuid,
    json: bool,
) -> Ended {
    let cancel = &CancellationToken::new();
    stop_on_signals(cancel)?;
    let bar = &Bar::new(json, None, false);
    let requested = &Requested::Runs(vec![run]);
    let compares = settings.intercom_to_keap.enabled;
    let (lease_ttl, is_sweep) = (settings.lease.ttl, false);
    let work =
        Work { parts, lease_ttl, requested, until_idle: compares, json, is_sweep, bar, cancel };
    let store = &parts.store;
    let delegated = Delegated { store, requested, compares, json, is_sweep, bar, cancel };
    carry_out(&work, &delegated).await
}

/// Says once who does the work.
fn announce(holder: &str, announced: bool) {
    if !announced {
        tracing::info!(
            holder = lease::in_words(holder),
            "Another process holds the lease; it is asked to do the work."
        );
    }
}

/// Whether a pause stops the feed. Says so, because then nothing is asked for.
pub(super) async fn is_paused(store: &Store, feed: Feed) -> Result<bool, StoreError> {
    let pauses = store.pauses().await?;
    let Some(pause) = pauses.of_feed(feed, feed == Feed::Due) else {
        return Ok(false);
    };
    errln!(
        "Stopped: {}, so nothing was asked for. `keap-intercom-sync resume` ends the pause.",
        pause.in_words()
    );
    Ok(true)
}

/// Only looks, and changes nothing.
async fn look(
    parts: &Parts,
    settings: &Settings,
    args: &SyncArgs,
    cancel: &CancellationToken,
) -> Ended {
    // A dry run writes nothing, not even tables.
    database::prepare(&parts.store, settings, Migrate::Refuse)
        .await
        .context("nothing could be done")?;
    let fitted = parts.fit().await.context(UNKNOWN_FIELDS)?;
    let context: &Context = &*parts.reading_context(&fitted, cancel.clone()).await?;
    let looked = async {
        if args.audit {
            audit::audit(context, args.json).await
        } else {
            dry_run(context, settings, args).await
        }
    };
    tokio::select! {
        ended = looked => ended,
        () = cancel.cancelled() => exit(NOTHING_DONE),
    }
}

/// Stores what is asked for. `Err`: a changed mapping waits for a person, and this is why.
async fn requested(
    parts: &Parts,
    settings: &Settings,
    args: &SyncArgs,
    cancel: &CancellationToken,
) -> anyhow::Result<Result<Requested, String>> {
    let mut begun = None;
    if args.all {
        let fitted = parts.fit().await.context(UNKNOWN_FIELDS)?;
        let context = parts.reading_context(&fitted, cancel.clone()).await?;
        match mapping::brake(&context, &fitted, settings, args).await? {
            Brake::Open => {}
            Brake::Run(run) => begun = Some(run),
            Brake::Stops(why) => return Ok(Err(why)),
        }
    }
    let both = settings.intercom_to_keap.enabled;
    Ok(Ok(Requested::store(&parts.store, args, begun, both).await?))
}

/// How many contacts there are to look at: about as many as are known. `None` for a window of time,
/// and before the first walk.
async fn total(store: &Store, args: &SyncArgs) -> Result<Option<i64>, StoreError> {
    if !args.ids.is_empty() {
        return Ok(i64::try_from(args.ids.len()).ok());
    }
    if args.all || args.sweep {
        return store.count_known().await.map(Some);
    }
    Ok(None)
}
