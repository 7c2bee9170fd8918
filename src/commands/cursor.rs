//! `cursor`: shows how far each feed has come, and sets the cursor of the polls by hand.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::confirm::confirmed;
use super::look::{self, count, span, stamp};
use super::stamped::{Found, Window};
use super::{Ended, NOTHING_DONE, WELL, database, exit, since};
use crate::app::{self, Parts};
use crate::config::{Migrate, Needed, Settings};
use crate::feed::{Cursor, Feed, RunReason};
use crate::remote::Failure;
use crate::report::{PartStates, Status, lag_seconds};
use crate::store::{IntercomFeed, RunState, Store};
use crate::tasks::lease;

#[derive(Debug, Subcommand)]
pub enum CursorCommand {
    /// Show how far each feed has come, and how far behind it is.
    Show {
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Set the time at which the next poll begins. First says what that costs, and asks. Works
    /// beside a running daemon.
    ///
    /// Back: the poll reads what has changed since then once more. Forward: polls never read what
    /// has changed in between; the next sweep finds it.
    Set {
        /// A date (2026-01-31, yesterday), a time (2026-01-31T09:30, in UTC unless a zone follows),
        /// or how long ago (2h, 3d).
        #[arg(value_parser = since::parse)]
        time: DateTime<Utc>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// Pages that are counted before somebody is asked. Twenty calls are no cost.
const COUNTED_PAGES: usize = 20;
/// How long a daemon gets to take the request up.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// While the daemon reads a page, it takes up nothing else.
const BUSY: &str = "The daemon has not begun there yet. The request is stored, and waits for the step under way, or for the end of a pause.";

pub async fn run(settings: &Settings, command: CursorCommand) -> Ended {
    match command {
        CursorCommand::Show { json } => show(settings, json).await,
        CursorCommand::Set { time, yes } => set(settings, time, yes).await,
    }
}

async fn show(settings: &Settings, json: bool) -> Ended {
    let store = database::open(settings).await?;
    let second = app::second_direction(settings);
    let limit = settings.http.ready_poll_age;
    let status = Status::take(&store, PartStates::default(), limit, second).await?;
    let intercom = store.intercom_cursor(IntercomFeed::Changed).await?.position;
    if json {
        let walk = |cursor: &Option<Cursor>| {
            cursor.as_ref().map(|cursor| {
                let last_id = cursor.walk.as_ref().and_then(|walk| walk.last_id);
                json!({ "ageSeconds": lag_seconds(cursor), "walking": cursor.walk.is_some(), "lastId": last_id.map(|id| id.get()) })
            })
        };
        let changed = status.changed.as_ref().map(|cursor| {
            let mut document = walk(&status.changed).unwrap_or_default();
            document["position"] = json!(cursor.position);
            document["settled"] = json!(cursor.settled);
            document
        });
        out!(
            "{}\n",
            json!({ "changed": changed, "backfill": walk(&status.backfill), "sweep": walk(&status.sweep), "intercomPosition": intercom })
        );
        return exit(WELL);
    }
    let mut pairs = vec![
        ("changed", status.changed_line()),
        ("backfill", status.backfill_line()),
        ("sweep", status.sweep_line()),
    ];
    pairs.extend(status.intercom_line().map(|line| ("intercom", line)));
    look::pairs(pairs);
    if let Some(cursor) = &status.changed {
        outln!(
            "\nThe next poll reads what has changed in Keap since {} UTC. `keap-intercom-sync cursor set <time>` moves that.",
            stamp(cursor.settled)
        );
    }
    exit(WELL)
}

async fn set(settings: &Settings, to: DateTime<Utc>, yes: bool) -> Ended {
    settings.require(&[Needed::DatabaseUrl, Needed::KeapApiKey, Needed::IntercomAccessToken])?;
    let parts = Parts::build(settings)?;
    database::prepare(&parts.store, settings, Migrate::Refuse).await?;
    let Some(cursor) = parts.store.cursor(Feed::Changed).await? else {
        errln!(
            "Stopped: no poll has happened yet, so there is no cursor to set. `keap-intercom-sync sync --changed` makes it."
        );
        return exit(NOTHING_DONE);
    };
    if to < DateTime::UNIX_EPOCH {
        errln!("Stopped: nothing in Keap is that old; expected 1970-01-01 or later.");
        return exit(NOTHING_DONE);
    }
    outln!("The cursor of the polls stands at {} UTC.", stamp(cursor.position));
    for line in cost(&parts, settings, cursor.position, to).await {
        outln!("{line}");
    }
    if !yes && !confirmed(&format!("Set it to {} UTC?", stamp(to)))? {
        return exit(NOTHING_DONE);
    }
    let run = parts.store.request_run(Feed::Changed, RunReason::Manual, Some(to)).await?;
    outln!("{}", carried_out(&parts.store, settings, run, to).await?);
    exit(WELL)
}

/// What the move means, and what it costs.
async fn cost(
    parts: &Parts,
    settings: &Settings,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Vec<String> {
    let by = span((from - to).abs().to_std().unwrap_or_default());
    let window =
        if to < from { Window { from: to, until: None } } else { Window { from, until: Some(to) } };
    let found = window.read(&parts.keap, settings.keap.page_size, COUNTED_PAGES).await;
    if to < from {
        vec![format!("At {} UTC it moves back by {by}.", stamp(to)), back(settings, &found)]
    } else {
        let finds = if settings.sweep.schedule.is_some() {
            "The next sweep finds them: it compares the stamps of all contacts."
        } else {
            "Nothing finds them by itself, because sweep.schedule is off: `keap-intercom-sync sync --since` does."
        };
        vec![
            format!("At {} UTC it moves forward by {by}.", stamp(to)),
            format!("Polls never read what has changed in between: {}. {finds}", contacts(&found)),
        ]
    }
}

/// How many contacts are read again.
fn back(settings: &Settings, found: &Result<Found, Failure>) -> String {
    let Ok(one) = found else {
        return format!("The next poll reads {}.", contacts(found));
    };
    let most = i64::try_from(one.ids.len()).unwrap_or(i64::MAX);
    let calls = i64::try_from(one.calls).unwrap_or(i64::MAX);
    let rate = f64::from(settings.intercom.calls_per_10_seconds) / 10.0;
    #[expect(clippy::cast_precision_loss, reason = "a forecast")]
    let time = Duration::from_secs_f64(most as f64 / rate);
    let at_least = if one.is_cut { "at least " } else { "" };
    format!(
        "The next poll reads {}, with {at_least}{} to Keap. Contacts that are up to date cost no more; each other one costs a call to Intercom. If all of them do, that takes {at_least}{}.",
        contacts(found),
        count(calls, "call"),
        span(time.max(Duration::from_secs(1)))
    )
}

fn contacts(found: &Result<Found, Failure>) -> String {
    match found {
        Ok(found) => {
            let contacts = count(i64::try_from(found.ids.len()).unwrap_or(i64::MAX), "contact");
            if found.is_cut { format!("more than {contacts}") } else { contacts }
        }
        Err(failure) => format!("contacts that could not be counted ({failure})"),
    }
}

/// Sets the cursor here if the lease is free. Else the holder does it.
async fn carried_out(
    store: &Store,
    settings: &Settings,
    run: Uuid,
    to: DateTime<Utc>,
) -> anyhow::Result<String> {
    if let Ok(held) = lease::take(store, settings.lease.ttl).await? {
        let fence = held.fence();
        let done = match &fence {
            Some(fence) => {
                store.move_cursor(fence, to).await?;
                store.end_runs(fence, &[run]).await
            }
            None => Ok(()),
        };
        store.release_lease(&held).await?;
        done?;
        return Ok(format!(
            "The cursor stands at {} UTC now. No daemon runs; the next poll begins there.",
            stamp(to)
        ));
    }
    let began = tokio::time::Instant::now();
    while began.elapsed() < PATIENCE {
        let state = store.run(run).await?.map(|run| run.state);
        if state != Some(RunState::Requested) {
            return Ok(format!(
                "The daemon has set the cursor and polls from {} UTC on. `keap-intercom-sync runs {run}` shows what comes of it.",
                stamp(to)
            ));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(BUSY.to_owned())
}
