//! `held`: lists the contacts that need a person, by reason, or makes them due again.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::confirm::confirmed;
use super::look::{self, STRONG, count, styled};
use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, database, exit, since};
use crate::config::Settings;
use crate::contact::{IntercomId, KeapId, NotAKeapId};
use crate::outcome::{Decided, HoldReason};
use crate::store::{
    DecidedBy, Held, HeldFilter, HeldNewcomer, NewDecision, Store, StoreError, Whose,
};

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
        /// Keap contact ids, or ids of Intercom users without a contact in Keap.
        #[arg(required_unless_present_any = ["all", "reason", "since", "until"])]
        ids: Vec<HeldId>,
        /// Retry every held contact.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Retry every contact that is held for this reason.
        #[arg(long, value_name = "CODE", conflicts_with_all = ["ids", "all"])]
        reason: Option<String>,
        #[command(flatten)]
        range: RangeArgs,
    },
}

/// Since when contacts are held.
#[derive(Debug, Default, Args)]
pub struct RangeArgs {
    /// Only contacts that are held since this time or later: a date (2026-01-31), a time
    /// (2026-01-31T09:30, in UTC unless a zone follows), or how long ago (2h, 3d). First says how
    /// many there are, and asks.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["ids", "all"], value_parser = since::parse)]
    since: Option<DateTime<Utc>>,
    /// Only contacts that are held since this time or earlier.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["ids", "all"], value_parser = since::parse)]
    until: Option<DateTime<Utc>>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Only say how many there are.
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
}

/// Who is held: a contact of Keap, or a user of Intercom without one.
#[derive(Debug, Clone)]
pub enum HeldId {
    Keap(KeapId),
    Intercom(IntercomId),
}

impl FromStr for HeldId {
    type Err = NotAKeapId;

    fn from_str(text: &str) -> Result<Self, NotAKeapId> {
        // Intercom's ids are longer than any number of Keap's.
        match text.parse() {
            Ok(id) => Ok(Self::Keap(id)),
            Err(not) if text.len() < SHORTEST_INTERCOM_ID => Err(not),
            Err(not) => IntercomId::new(text).map(Self::Intercom).ok_or(not),
        }
    }
}

/// Who is held, in JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum HeldOne {
    Contact(Held),
    User(HeldNewcomer),
}

/// Every sample of Intercom's ids has 24 characters (`docs/api/intercom.md`, "Ids and roles").
const SHORTEST_INTERCOM_ID: usize = 20;

/// Contacts of one reason that text lists.
const LISTED: i64 = 20;

pub async fn run(settings: &Settings, args: HeldArgs) -> Ended {
    let store = database::open(settings).await?;
    let reason = args.reason.as_deref();
    match args.command {
        Some(HeldCommand::Retry { ids, reason: only, range, .. }) => {
            let reason = only.as_deref().or(reason);
            let filter = HeldFilter { reason, since: range.since, until: range.until };
            if range.dry_run || filter.since.is_some() || filter.until.is_some() {
                let (contacts, users) =
                    (store.count_held(filter).await?, store.count_held_newcomers(filter).await?);
                if range.dry_run && args.json {
                    out!("{}\n", json!({ "dryRun": true, "contacts": contacts, "users": users }));
                    return exit(WELL);
                }
                let question = format!("{} held so.", held_count(contacts, users));
                if range.dry_run || contacts + users == 0 {
                    outln!("{question}");
                    return exit(WELL);
                }
                if !range.yes && !confirmed(&format!("{question} Try them again?"))? {
                    return exit(NOTHING_DONE);
                }
            }
            retry(&store, &ids, filter, args.json).await
        }
        None if args.json => {
            let contacts = store.held_after(reason, None, args.limit).await?;
            let users = newcomers(&store, reason).await?.into_iter().map(HeldOne::User);
            let mut held: Vec<HeldOne> = contacts.into_iter().map(HeldOne::Contact).collect();
            held.extend(users);
            held.truncate(
                args.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX),
            );
            out!("{}\n", serde_json::to_string(&held)?);
            exit(WELL)
        }
        None => list(&store, reason, args.limit.unwrap_or(LISTED)).await,
    }
}

/// How many contacts and users are held, as the beginning of a sentence.
fn held_count(contacts: i64, users: i64) -> String {
    let are = if contacts + users == 1 { "is" } else { "are" };
    match users {
        0 => format!("{} {are}", count(contacts, "contact")),
        users => format!("{} and {} {are}", count(contacts, "contact"), count(users, "user")),
    }
}

/// Makes the contacts due again, or all that the filter names if no contact is named.
async fn retry(store: &Store, ids: &[HeldId], filter: HeldFilter<'_>, json: bool) -> Ended {
    let (mut of_keap, mut of_intercom) = (Vec::new(), Vec::new());
    for id in ids {
        match id {
            HeldId::Keap(id) => of_keap.push(*id),
            HeldId::Intercom(id) => of_intercom.push(id.clone()),
        }
    }
    let is_named = !ids.is_empty();
    let whose = if is_named { Whose::These(&of_keap) } else { Whose::Held(filter) };
    let by = DecidedBy::Command;
    let retry = NewDecision { whose, decided: Decided::Retry, intercom: None, by };
    let contacts = store.decide(&retry).await?.decided;
    let users = store.retry_newcomers(is_named.then_some(&of_intercom), filter).await?;
    let ids = of_keap.iter().map(|id| json!(id.get()));
    let ids: Vec<Value> = ids.chain(of_intercom.iter().map(|id| json!(id.as_str()))).collect();
    let revived = contacts.iter().map(|id| json!(id.get()));
    let revived: Vec<Value> = revived.chain(users.iter().map(|id| json!(id))).collect();
    let unknown: Vec<&Value> = ids.iter().filter(|id| !revived.contains(id)).collect();
    if json {
        out!("{}\n", json!({ "retried": revived, "notHeld": unknown }));
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
            let text = |id: &&Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            let unknown: Vec<String> = unknown.iter().map(text).collect();
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
    let users = newcomers(store, only).await?;
    if groups.is_empty() && users.is_empty() {
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
    if !users.is_empty() {
        if !groups.is_empty() {
            outln!();
        }
        show_newcomers(&users);
    }
    outln!("\nSee one in both products: keap-intercom-sync open <keap id>");
    outln!("Settle each one, then: keap-intercom-sync held retry <id>");
    outln!("Or decide: keap-intercom-sync decide --help");
    exit(WELL)
}

/// The users of Intercom without a contact in Keap that wait for a person.
async fn newcomers(store: &Store, only: Option<&str>) -> Result<Vec<HeldNewcomer>, StoreError> {
    store.held_newcomers_after(only, None, None).await
}

fn show_newcomers(users: &[HeldNewcomer]) {
    let total = i64::try_from(users.len()).unwrap_or(i64::MAX);
    outln!("{}: {}", styled(STRONG, "Not in Keap"), count(total, "user of Intercom"));
    let rows = users.iter().take(usize::try_from(LISTED).unwrap_or_default()).map(|user| {
        let remedy = HoldReason::of_code(&user.code).map(|reason| reason.remedy());
        let reason = format!("{} {}", user.reason, remedy.unwrap_or_default());
        vec![user.intercom_contact_id.clone(), look::stamp(user.since), reason]
    });
    look::table(&["INTERCOM ID", "SINCE (UTC)", "REASON"], &[], &[2], rows);
    if total > LISTED {
        outln!("and {} more: keap-intercom-sync held --json", look::number(total - LISTED));
    }
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
