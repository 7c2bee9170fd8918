//! `status`: is it working, how far behind, what is wrong.

use serde_json::json;

use super::{Ended, SOME_FAILED, WELL, exit};
use crate::app;
use crate::config::{Migrate, Needed, Settings};
use crate::contact::KeapId;
use crate::store::{Cursor, Feed, Walk};
use crate::sync::lease;

pub async fn run(settings: &Settings, stale_after: Option<u64>, json: bool) -> Ended {
    settings.require(&[Needed::DatabaseUrl])?;
    let store = app::store(settings)?;
    app::prepare_database(&store, Migrate::Refuse).await?;
    let lease = store.lease_holder().await?;
    let is_free = lease::is_free(&store).await?;
    let (changed, backfill, sweep) = (
        store.cursor(Feed::Changed).await?,
        store.cursor(Feed::Backfill).await?,
        store.cursor(Feed::Sweep).await?,
    );
    let (due, held) = store.count_due().await?;
    let linked = store.count_linked().await?;
    let runs = store.last_runs(5).await?;
    let age = changed.as_ref().and_then(lag_seconds);
    let stale = stale_after.map(|limit| age.is_none_or(|age| age > limit));
    let status = if stale == Some(true) {
        SOME_FAILED
    } else {
        WELL
    };
    if json {
        let feed = |cursor: &Option<Cursor>| {
            cursor.as_ref().map(|cursor| {
                json!({
                    "position": cursor.position, "settled": cursor.settled,
                    "lastSuccessSecondsAgo": cursor.polled_age.map(|age| age.as_secs()),
                    "lagSeconds": lag_seconds(cursor),
                    "walk": cursor.walk.as_ref().map(|walk| json!({ "start": walk.start, "end": walk.end, "lastId": walk.last_id.map(|id| id.get()) })),
                })
            })
        };
        let lease = lease
            .map(|lease| json!({ "holder": lease.holder, "epoch": lease.epoch, "live": !is_free }));
        println!(
            "{}",
            json!({ "lease": lease, "changed": feed(&changed), "backfill": feed(&backfill), "sweep": sweep.as_ref().map(swept), "due": due, "held": held, "linked": linked, "runs": runs, "stale": stale })
        );
        return exit(status);
    }
    match lease {
        Some(lease) if !is_free => println!(
            "lease     held by {} (epoch {})",
            lease::in_words(&lease.holder),
            lease.epoch
        ),
        _ => println!(
            "lease     free: no daemon is running passes; start one with `keap-intercom-sync run`"
        ),
    }
    match &changed {
        None => println!("changed   no cursor yet: the first poll has not happened"),
        Some(cursor) => {
            let lag = lag_seconds(cursor).map_or("no poll has succeeded yet".to_owned(), |lag| {
                format!("at most {lag} s behind Keap")
            });
            let position = cursor.position.format("%Y-%m-%d %H:%M:%S UTC");
            println!(
                "changed   {lag}; newest change recorded {position}{}",
                walking(cursor)
            );
        }
    }
    match &backfill {
        None => println!("backfill  none so far"),
        Some(cursor) if cursor.walk.is_none() => println!("backfill  done"),
        Some(cursor) => println!("backfill  under way{}", walking(cursor)),
    }
    match &sweep {
        None => println!("sweep     none so far"),
        Some(cursor) if is_counted(cursor) => {
            println!("sweep     under way; looking at what Keap does not list")
        }
        Some(cursor) if cursor.walk.is_some() => println!("sweep     under way{}", walking(cursor)),
        Some(cursor) => println!(
            "sweep     {}",
            cursor.polled_age.map_or(
                "none has succeeded yet: see the last runs".to_owned(),
                |age| format!("done {} s ago", age.as_secs())
            )
        ),
    }
    println!(
        "linked    {linked} contacts\ndue       {due}\nheld      {held}{}",
        if held > 0 {
            "  (see `keap-intercom-sync held`)"
        } else {
            ""
        }
    );
    if !runs.is_empty() {
        println!("\nlast runs");
    }
    for run in runs {
        let counts = run.counts;
        println!(
            "  {}  {:<8} {:<9} seen {}, created {}, linked {}, updated {}, unchanged {}, skipped {}, held {}, failed {}{}; calls: Keap {}, Intercom {}{}",
            run.created_at.format("%Y-%m-%d %H:%M:%S"),
            run.feed,
            run.state.as_str(),
            counts.seen,
            counts.created,
            counts.linked,
            counts.updated,
            counts.unchanged,
            counts.skipped,
            counts.held,
            counts.failed,
            if run.feed == Feed::Sweep.as_str() {
                format!(
                    ", archived {}, unlinked {}, late {}",
                    counts.archived, counts.unlinked, counts.late
                )
            } else {
                String::new()
            },
            counts.keap_calls,
            counts.intercom_calls,
            run.error
                .map(|error| format!("; {error}"))
                .unwrap_or_default(),
        );
    }
    if let (Some(limit), SOME_FAILED) = (stale_after, status) {
        let age = age.map_or("no poll has succeeded yet".to_owned(), |age| {
            format!("the last successful poll is {age} s ago")
        });
        println!(
            "\nstale     {age}, the limit is {limit} s; the log of the daemon says why (journalctl -u keap-intercom-sync)"
        );
    }
    exit(status)
}

/// The sweep's walk has passed every id.
fn is_counted(cursor: &Cursor) -> bool {
    cursor
        .walk
        .as_ref()
        .is_some_and(|walk| walk.last_id == Some(KeapId::LAST))
}

/// The sweep has a place, and no position.
fn swept(cursor: &Cursor) -> serde_json::Value {
    let last_id = |walk: &Walk| walk.last_id.map(KeapId::get);
    json!({
        "lastSuccessSecondsAgo": cursor.polled_age.map(|age| age.as_secs()),
        "walk": cursor.walk.as_ref().map(|walk| json!({ "lastId": last_id(walk).filter(|_| !is_counted(cursor)), "counting": is_counted(cursor) })),
    })
}

/// Every change that Keap showed before this many seconds ago is recorded: the last whole poll has seen it.
fn lag_seconds(cursor: &Cursor) -> Option<u64> {
    cursor.polled_age.map(|age| age.as_secs())
}

fn walking(cursor: &Cursor) -> String {
    match cursor.walk.as_ref() {
        None => String::new(),
        Some(walk) => walk.last_id.map_or("; a walk has begun".into(), |id| {
            format!("; a walk is behind Keap id {id}")
        }),
    }
}
