//! `log`: the recorded outcomes, filtered, the newest first, or as they come.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{Ended, WELL, database, exit, look, out, since};
use crate::config::Settings;
use crate::contact::KeapId;
use crate::report::csv;
use crate::store::{LogEntry, LogFilter, Store, StoreError};

/// How often new rows are looked for.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// New rows that are shown between two looks.
const NEW_ROWS: i64 = 1000;
/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 1000;
/// Rows that are listed where nobody asks for a number.
const ROWS: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keap-intercom-sync log                              the last twenty outcomes
  keap-intercom-sync log --action held --since 1d     what was held since yesterday
  keap-intercom-sync log --contact 12345              everything about one contact
  keap-intercom-sync log --reason refused --json      one JSON document a line
  keap-intercom-sync log --follow                     outcomes as they are recorded
  keap-intercom-sync log --since 30d --csv >log.csv   a month for a spreadsheet

An unchanged contact has no row; its run counts it (`keap-intercom-sync runs`).

Exit status: 0 all well; 2 nothing could be done; 78 a setting is wrong.")]
pub struct LogArgs {
    /// Only outcomes of this Keap contact.
    #[arg(long, value_name = "KEAP ID")]
    pub contact: Option<KeapId>,
    /// Only this action.
    #[arg(long, value_parser = ["created", "linked", "updated", "unchanged", "archived", "unlinked", "restored", "skipped", "held", "failed"])]
    pub action: Option<String>,
    /// Only outcomes whose reason begins with this code, for example no_email.
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// Only outcomes of this feed.
    #[arg(long, value_parser = ["due", "changed", "backfill", "sweep", "audit", "plan"])]
    pub feed: Option<String>,
    /// Only outcomes of this run.
    #[arg(long, value_name = "RUN ID")]
    pub run: Option<Uuid>,
    /// Only outcomes since a time: a date, a time, or how long ago (2h, 3d).
    #[arg(long, value_name = "TIME", value_parser = since::parse)]
    pub since: Option<DateTime<Utc>>,
    /// Only outcomes before a time.
    #[arg(long, value_name = "TIME", value_parser = since::parse)]
    pub until: Option<DateTime<Utc>>,
    /// Only outcomes of this status.
    #[arg(long, value_parser = ["synced", "failed", "skipped", "pending"])]
    pub status: Option<String>,
    /// Only outcomes of this direction.
    #[arg(long, value_parser = ["keap_to_intercom", "intercom_to_keap"])]
    pub direction: Option<String>,
    /// The most outcomes to list: 20 if it is not given, and all with --csv.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: Option<u32>,
    /// Then go on with new outcomes, until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
    /// Print one JSON document a line instead of text.
    #[arg(long)]
    pub json: bool,
    /// Print CSV: times, ids and codes only.
    #[arg(long, conflicts_with_all = ["json", "follow"])]
    pub csv: bool,
}

pub async fn run(settings: &Settings, args: LogArgs) -> Ended {
    let store = database::open(settings).await?;
    let filter = LogFilter {
        contact: args.contact,
        action: args.action,
        feed: args.feed,
        run_id: args.run,
        reason: args.reason,
        status: args.status,
        direction: args.direction,
        since: args.since,
        until: args.until,
    };
    let limit = args.limit.and_then(|limit| usize::try_from(limit).ok());
    if args.csv {
        out!("{}", csv::HEAD);
        newest(&store, &filter, limit, |row| out!("{}", csv::line(&row))).await?;
        return exit(WELL);
    }
    let mut rows = Vec::new();
    newest(&store, &filter, Some(limit.unwrap_or(ROWS)), |row| rows.push(row)).await?;
    if args.follow {
        rows.reverse();
        return follow(&store, &filter, rows, args.json).await;
    }
    if args.json {
        for row in &rows {
            out!("{}\n", json!(row));
        }
    } else if rows.is_empty() {
        outln!("No outcome is recorded that fits.");
    } else {
        table(&rows);
    }
    exit(WELL)
}

/// Takes the newest rows, the newest first, some at a time. `limit`: the most of them.
async fn newest(
    store: &Store,
    filter: &LogFilter,
    limit: Option<usize>,
    mut take: impl FnMut(LogEntry),
) -> Result<(), StoreError> {
    let (mut left, mut place) = (limit.unwrap_or(usize::MAX), None);
    while left > 0 && !out::is_closed() {
        let stretch = store.log_stretch(filter, place, left.min(ROWS_AT_ONCE)).await?;
        left -= stretch.entries.len();
        stretch.entries.into_iter().for_each(&mut take);
        place = stretch.next;
        if place.is_none() {
            break;
        }
    }
    Ok(())
}

fn table(rows: &[LogEntry]) {
    let rows = rows.iter().map(|row| {
        vec![
            look::stamp(row.at),
            row.keap_contact_id.clone(),
            row.action.clone().unwrap_or_else(|| row.status.clone()),
            row.feed.clone().unwrap_or_else(|| "-".to_owned()),
            what(row),
        ]
    });
    let head = ["AT (UTC)", "KEAP ID", "ACTION", "FEED", "INTERCOM ID AND REASON"];
    look::table(&head, &[1], &[4], rows);
}

/// The Intercom contact and the reason, as far as there are any.
fn what(row: &LogEntry) -> String {
    let parts = [row.intercom_contact_id.as_deref(), row.reason.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// Shows rows and then every later one, a line each.
async fn follow(store: &Store, filter: &LogFilter, rows: Vec<LogEntry>, json: bool) -> Ended {
    // Nothing is missed between the first rows and the first look: the place is that of a row.
    let mut place = match rows.last() {
        Some(last) => (last.at, last.id),
        None => (store.now().await?, Uuid::nil()),
    };
    let mut rows = rows;
    loop {
        for row in &rows {
            if json {
                out!("{}\n", json!(row));
            } else {
                outln!("{}", one_line(row));
            }
            place = (row.at, row.id);
        }
        if out::is_closed() {
            return exit(WELL);
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        rows = store.log_after(filter, place, NEW_ROWS).await?;
    }
}

fn one_line(row: &LogEntry) -> String {
    let action = row.action.as_deref().unwrap_or(&row.status);
    let line =
        format!("{}  {:>10}  {action:<9}  {}", look::stamp(row.at), row.keap_contact_id, what(row));
    line.trim_end().to_owned()
}
