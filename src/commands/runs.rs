//! `runs`: the walks and polls, the newest first; one of them; or one to its end.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::look;
use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, database, exit, out};
use crate::config::Settings;
use crate::feed::Counts;
use crate::report::{came_of, scope_of};
use crate::store::{Run, RunState, Store};

/// How often a run that is followed is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keap-intercom-sync runs                       the last twenty
  keap-intercom-sync runs --feed sweep          the last sweeps
  keap-intercom-sync runs b89b5e77              one of them, by the beginning of its id
  keap-intercom-sync runs --follow              the newest one, until it ends

Exit status: 0 all well; 1 the run failed, or some of its contacts did; 2 nothing could be done; 78 a setting is wrong.")]
pub struct RunsArgs {
    /// The id of a run, or its beginning.
    #[arg(conflicts_with_all = ["feed", "limit"])]
    pub id: Option<String>,
    /// Only runs of this feed: changed (polls), backfill, sweep or audit (of Intercom).
    #[arg(long, value_parser = ["changed", "backfill", "sweep", "audit", "plan"])]
    pub feed: Option<String>,
    /// The most runs to list.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub limit: i64,
    /// Show the run until it ends: the one of the id, or the newest one.
    #[arg(long, conflicts_with = "limit")]
    pub follow: bool,
    /// Print JSON instead of text. With --follow, one document a line.
    #[arg(long)]
    pub json: bool,
}

pub async fn run(settings: &Settings, args: RunsArgs) -> Ended {
    let store = database::open(settings).await?;
    if args.id.is_none() && !args.follow {
        let runs = store.runs(args.feed.as_deref(), args.limit).await?;
        return list(&runs, args.json);
    }
    let Some(run) = find(&store, &args).await? else {
        let what = args.id.as_deref().map_or("There is no run yet.".to_owned(), |id| {
            format!("There is no run whose id begins with {id:?}.")
        });
        errln!("{what}");
        return exit(NOTHING_DONE);
    };
    if args.follow {
        return follow(&store, run, args.json).await;
    }
    show(&run, args.json);
    exit(status_of(&run))
}

/// The run of the id, else the newest one of the feed. `None`: there is none, or the beginning of
/// an id fits several.
async fn find(store: &Store, args: &RunsArgs) -> anyhow::Result<Option<Run>> {
    let Some(id) = &args.id else {
        return Ok(store.runs(args.feed.as_deref(), 1).await?.into_iter().next());
    };
    if let Ok(id) = Uuid::try_parse(id) {
        return Ok(store.run(id).await?);
    }
    let mut found = store.runs_by_prefix(&id.to_lowercase()).await?;
    if found.len() > 1 {
        anyhow::bail!("the ids of several runs begin with {id:?}; give more of the id");
    }
    Ok(found.pop())
}

fn list(runs: &[Run], json: bool) -> Ended {
    if json {
        out!("{}\n", serde_json::to_string(runs)?);
    } else if runs.is_empty() {
        outln!("No run yet.");
    } else {
        table(runs);
    }
    exit(WELL)
}

/// Prints runs as a table.
pub(super) fn table(runs: &[Run]) {
    let rows = runs.iter().map(|run| {
        let id = run.id.to_string();
        let id = id.split('-').next().unwrap_or_default();
        let state = run.state.as_str();
        let cells = [&look::stamp(run.created_at), id, &run.feed, state, &came_of(run)];
        cells.map(|cell| cell.to_string()).to_vec()
    });
    look::table(&["STARTED (UTC)", "ID", "FEED", "STATE", "WHAT CAME OF IT"], &[], &[4], rows);
}

fn show(run: &Run, json: bool) {
    if json {
        out!("{}\n", json!(run));
        return;
    }
    let time = run.finished_at.map(|end| (end - run.created_at).to_std().unwrap_or_default());
    let state = match time {
        Some(time) => format!("{}, after {}", run.state.as_str(), look::span(time)),
        None => run.state.as_str().to_owned(),
    };
    look::pairs([
        ("run", run.id.to_string()),
        ("feed", format!("{} ({}); reason: {}", run.feed, scope_of(run), run.reason)),
        ("started", format!("{} UTC", look::stamp(run.created_at))),
        ("state", state),
        ("outcome", came_of(run)),
    ]);
    if let Some(failure) = &run.failure {
        outln!("\nto do     {}", failure.remedy());
    }
}

/// Shows the run until it ends, a line for each change.
async fn follow(store: &Store, mut run: Run, json: bool) -> Ended {
    let mut shown: Option<(RunState, Counts)> = None;
    loop {
        if shown != Some((run.state, run.counts)) {
            shown = Some((run.state, run.counts));
            if json {
                out!("{}\n", json!(run));
            } else {
                outln!("{:<9} {:<9} {}", run.feed, run.state.as_str(), came_of(&run));
            }
        }
        if matches!(run.state, RunState::Done | RunState::Failed) || out::is_closed() {
            return exit(status_of(&run));
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        match store.run(run.id).await? {
            Some(newer) => run = newer,
            None => anyhow::bail!("the run has vanished from sync_run"),
        }
    }
}

fn status_of(run: &Run) -> u8 {
    let some_failed = run.counts.failed + run.counts.held > 0;
    if run.state == RunState::Failed || some_failed { SOME_FAILED } else { WELL }
}
