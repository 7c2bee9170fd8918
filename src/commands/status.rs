//! `status`: is it working, how far behind, what is wrong.

use serde_json::json;

use super::{Ended, WELL, exit};
use crate::app;
use crate::config::{Migrate, Needed, Settings};
use crate::store::{Cursor, Feed};
use crate::sync::lease;

pub async fn run(settings: &Settings, json: bool) -> Ended {
    settings.require(&[Needed::DatabaseUrl])?;
    let store = app::store(settings)?;
    app::prepare_database(&store, Migrate::Refuse).await?;
    let lease = store.lease_holder().await?;
    let is_free = lease::is_free(&store).await?;
    let (changed, backfill) = (
        store.cursor(Feed::Changed).await?,
        store.cursor(Feed::Backfill).await?,
    );
    let (due, held) = store.count_due().await?;
    let linked = store.count_linked().await?;
    let runs = store.last_runs(5).await?;
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
            json!({ "lease": lease, "changed": feed(&changed), "backfill": feed(&backfill), "due": due, "held": held, "linked": linked, "runs": runs })
        );
        return exit(WELL);
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
            "  {}  {:<8} {:<9} seen {}, created {}, linked {}, updated {}, unchanged {}, skipped {}, held {}, failed {}; calls: Keap {}, Intercom {}{}",
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
            counts.keap_calls,
            counts.intercom_calls,
            run.error
                .map(|error| format!("; {error}"))
                .unwrap_or_default(),
        );
    }
    exit(WELL)
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
