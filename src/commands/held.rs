//! `held`: lists the contacts that need a person, by reason, or makes them due again.

use clap::{Args, Subcommand};

use super::look::{self, STRONG, count, styled};
use super::{Ended, SOME_FAILED, WELL, database, exit};
use crate::config::Settings;
use crate::contact::KeapId;
use crate::outcome::HoldReason;
use crate::store::{Held, Store};

#[derive(Debug, Args)]
pub struct HeldArgs {
    #[command(subcommand)]
    pub command: Option<HeldCommand>,
    /// Only contacts that are held for this reason, for example several_users.
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// The most contacts to list. Without it, text lists 20 of each reason, and JSON lists all.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub limit: Option<i64>,
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum HeldCommand {
    /// Make held contacts due again. The daemon, or the next `sync`, looks at them.
    Retry {
        /// Keap contact ids.
        #[arg(required_unless_present_any = ["all", "reason"])]
        ids: Vec<KeapId>,
        /// Retry every held contact.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Retry every contact that is held for this reason.
        #[arg(long, value_name = "CODE", conflicts_with_all = ["ids", "all"])]
        reason: Option<String>,
    },
}

/// Contacts of one reason that text lists.
const LISTED: i64 = 20;

pub async fn run(settings: &Settings, args: HeldArgs) -> Ended {
    let store = database::open(settings).await?;
    let reason = args.reason.as_deref();
    match args.command {
        Some(HeldCommand::Retry { ids, reason: only, .. }) => {
            retry(&store, &ids, only.as_deref().or(reason), args.json).await
        }
        None if args.json => {
            let held = store.held_after(reason, None, args.limit).await?;
            out!("{}\n", serde_json::to_string(&held)?);
            exit(WELL)
        }
        None => list(&store, reason, args.limit.unwrap_or(LISTED)).await,
    }
}

/// Makes the contacts due again, or all that are held for `reason` if no contact is named.
async fn retry(store: &Store, ids: &[KeapId], reason: Option<&str>, json: bool) -> Ended {
    let named = (!ids.is_empty()).then_some(ids);
    let revived = store.retry_held_of(named, reason).await?;
    let unknown: Vec<i64> =
        ids.iter().filter(|id| !revived.contains(id)).map(|id| id.get()).collect();
    if json {
        let retried: Vec<i64> = revived.iter().map(|id| id.get()).collect();
        out!("{}\n", serde_json::json!({ "retried": retried, "notHeld": unknown }));
    } else {
        let revived_count = i64::try_from(revived.len()).unwrap_or(i64::MAX);
        outln!(
            "{} due again.",
            match revived_count {
                1 => "1 held contact is".to_owned(),
                _ => format!("{} are", count(revived_count, "held contact")),
            }
        );
        if !unknown.is_empty() {
            let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
            outln!("Not held: {}", unknown.join(", "));
        }
    }
    exit(if unknown.is_empty() { WELL } else { SOME_FAILED })
}

/// Lists the contacts in groups, each with what a person can do. `limit`: contacts of one group.
async fn list(store: &Store, only: Option<&str>, limit: i64) -> Ended {
    let groups = store.held_by_reason().await?;
    let groups: Vec<_> =
        groups.into_iter().filter(|(code, _)| only.is_none_or(|only| only == code)).collect();
    if groups.is_empty() {
        match only {
            Some(code) => outln!("No contact is held for {code}."),
            None => outln!("No contact is held."),
        }
        return exit(WELL);
    }
    for (at, (code, total)) in groups.iter().enumerate() {
        if at > 0 {
            outln!();
        }
        let held = store.held_after(Some(code), None, Some(limit)).await?;
        show_group(code, *total, &held);
    }
    outln!("\nSee one in both products: keap-intercom-sync open <keap id>");
    outln!("Settle each one, then: keap-intercom-sync held retry <keap id>");
    exit(WELL)
}

fn show_group(code: &str, total: i64, held: &[Held]) {
    outln!("{}: {}", styled(STRONG, code), count(total, "contact"));
    if let Some(reason) = HoldReason::of_code(code) {
        outln!("{}", reason.remedy());
    }
    let rows = held.iter().map(|one| {
        vec![
            one.keap_contact_id.to_string(),
            look::stamp(one.since),
            one.reason.clone(),
            look::ids(&one.candidates),
        ]
    });
    look::table(&["KEAP ID", "SINCE (UTC)", "REASON", "INTERCOM ID"], &[0], &[2], rows);
    let more = total - i64::try_from(held.len()).unwrap_or(i64::MAX);
    if more > 0 {
        outln!(
            "and {} more: keap-intercom-sync held --reason {code} --limit {total}",
            look::number(more)
        );
    }
}
