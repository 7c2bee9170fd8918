//! `pause` and `resume`: a person stops everything, one feed or one direction for a while.

use std::env;

use clap::Args;

use super::{Ended, WELL, database, exit};
use crate::config::Settings;
use crate::feed::Feed;
use crate::pause::{By, Direction, PauseScope};
use crate::report;

/// What is paused or resumed.
#[derive(Debug, Args)]
pub struct ScopeArgs {
    /// Only this feed: changed (polls), backfill, sweep, audit (of Intercom), due (requests and
    /// retries) or plan (approved plans).
    #[arg(long, value_parser = feed, conflicts_with = "direction")]
    pub feed: Option<Feed>,
    /// Only this direction: keap_to_intercom or intercom_to_keap.
    #[arg(long, value_parser = direction)]
    pub direction: Option<Direction>,
    /// Who does it, for the others. Without it, the account on this machine.
    #[arg(long, value_name = "NAME")]
    pub by: Option<By>,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keap-intercom-sync pause                       nothing is written any more, on neither side
  keap-intercom-sync pause --let-requests        the same, but `sync 12345` still works
  keap-intercom-sync pause --feed sweep          nobody is archived who is gone from Keap
  keap-intercom-sync pause --direction intercom_to_keap

Exit status: 0 all well; 1 some contacts or checks failed; 2 nothing could be done; 78 a setting is wrong.")]
pub struct PauseArgs {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Let requests through: the contacts that a person or a script asks for by name.
    #[arg(long)]
    pub let_requests: bool,
}

fn feed(text: &str) -> Result<Feed, String> {
    let names = || Feed::ALL.map(Feed::as_str).join(", ");
    Feed::parse(text).ok_or_else(|| format!("expected one of {}", names()))
}

fn direction(text: &str) -> Result<Direction, String> {
    match text.parse() {
        Ok(PauseScope::Direction(direction)) => Ok(direction),
        _ => Err(format!("expected {}", Direction::ALL.map(Direction::as_str).join(" or "))),
    }
}

impl ScopeArgs {
    /// `None`: neither a feed nor a direction is named.
    fn scope(&self) -> Option<PauseScope> {
        let feed = self.feed.map(PauseScope::Feed);
        feed.or(self.direction.map(PauseScope::Direction))
    }

    /// The name that is given, or the account behind `sudo`, or the account.
    fn by(&self) -> anyhow::Result<By> {
        let account = || {
            let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter();
            names.filter_map(|name| env::var(name).ok()).find_map(|name| name.parse().ok())
        };
        match self.by.clone().or_else(account) {
            Some(by) => Ok(by),
            None => Ok("the command line".parse()?),
        }
    }
}

/// Pauses.
pub async fn pause(settings: &Settings, args: PauseArgs) -> Ended {
    let store = database::open(settings).await?;
    let scope = args.scope.scope().unwrap_or(PauseScope::All);
    let is_new = store.pause(scope, args.let_requests, &args.scope.by()?).await?;
    let pauses = store.pauses().await?;
    if args.scope.json {
        outln!("{}", serde_json::json!({ "paused": is_new, "pauses": pauses.0 }));
    } else {
        outln!("{}", report::paused(is_new, &pauses, scope));
        outln!("Nothing is lost: what waits is synced after `keap-intercom-sync resume`.");
    }
    exit(WELL)
}

/// Resumes.
pub async fn resume(settings: &Settings, args: ScopeArgs) -> Ended {
    let store = database::open(settings).await?;
    let ended = store.resume(args.scope(), &args.by()?).await?;
    let left = store.pauses().await?;
    if args.json {
        outln!("{}", serde_json::json!({ "ended": ended, "pauses": left.0 }));
    } else {
        outln!("{}", report::resumed(&ended, &left));
    }
    exit(WELL)
}
