//! `plan`: looks as a dry run does and stores what it finds; shows plans; and approves or drops
//! them.

use anyhow::Context as _;
use chrono::Utc;
use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::look::{self, count, number};
use super::sync::{carry_out_plan, is_paused};
use super::{Ended, NOTHING_DONE, WELL, database, exit};
use crate::app::Parts;
use crate::config::{Needed, Settings};
use crate::feed::Feed;
use crate::outcome::PlanKind;
use crate::report::{
    action_word, plan_actions, plan_facts, plan_line, plan_refusal, plan_scope, plan_standing,
};
use crate::store::{Approval, DecidedBy, Plan, PlanCount, Store};
use crate::sync::plans::look::look;

/// Plans that are listed.
const LISTED: i64 = 50;
/// Contacts of each action that text shows, where the caller asks for no other number.
const SHOWN: i64 = 20;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(group = ArgGroup::new("what").required(true).multiple(false).args(["all", "changed", "sweep", "audit"]))]
#[command(after_help = "Examples:
  keap-intercom-sync plan --all        look at every contact, and store what would be written
  keap-intercom-sync plan list         the plans, the newest first
  keap-intercom-sync plan show         the plan that waits, with its contacts
  keap-intercom-sync plan approve      carry it out; who has changed since is decided afresh

Exit status: 0 all well; 1 some contacts failed or are held; 2 nothing could be done; 78 a setting is wrong.")]
pub struct PlanArgs {
    #[command(subcommand)]
    pub command: Option<PlanCommand>,
    /// Look at every contact in Keap.
    #[arg(long)]
    pub all: bool,
    /// Look at what has changed since the stored cursor.
    #[arg(long)]
    pub changed: bool,
    /// Look for linked contacts that were deleted or merged in Keap.
    #[arg(long)]
    pub sweep: bool,
    /// Look for linked contacts that differ in Intercom, or are missing there.
    #[arg(long)]
    pub audit: bool,
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// List the plans, the newest first.
    List,
    /// Show a plan: its counts, its fields, and its contacts by what is to be done.
    Show {
        /// The id of a plan, or its beginning. Without it, the one that waits.
        id: Option<String>,
        /// Only contacts with this action, for example archived.
        #[arg(long, value_name = "ACTION")]
        action: Option<String>,
        /// The most contacts to show; in text, of each action.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
        limit: Option<i64>,
    },
    /// Carry a plan out. It writes the contacts of the plan and no others.
    Approve {
        /// The id of a plan, or its beginning. Without it, the one that waits.
        id: Option<String>,
    },
    /// End a plan without carrying it out.
    Drop {
        /// The id of a plan, or its beginning. Without it, the one that waits.
        id: Option<String>,
    },
}

impl PlanArgs {
    fn kind(&self) -> PlanKind {
        match self {
            Self { changed: true, .. } => PlanKind::Changed,
            Self { sweep: true, .. } => PlanKind::Sweep,
            Self { audit: true, .. } => PlanKind::Audit,
            _ => PlanKind::All,
        }
    }
}

const BY: &str = DecidedBy::Command.as_str();

pub async fn run(settings: &Settings, args: PlanArgs) -> Ended {
    let json = args.json;
    match &args.command {
        None => make(settings, args.kind(), json).await,
        Some(PlanCommand::List) => list(&database::open(settings).await?, json).await,
        Some(PlanCommand::Show { id, action, limit }) => {
            let store = database::open(settings).await?;
            let Some(plan) = find(&store, id.as_deref()).await? else {
                return exit(NOTHING_DONE);
            };
            show(&store, &plan, (action.as_deref(), *limit), json).await
        }
        Some(PlanCommand::Approve { id }) => approve(settings, id.as_deref(), json).await,
        Some(PlanCommand::Drop { id }) => {
            let store = database::open(settings).await?;
            let Some(plan) = find(&store, id.as_deref()).await? else {
                return exit(NOTHING_DONE);
            };
            if !store.drop_plan(plan.id, BY).await? {
                errln!("Stopped: {}.", plan_refusal(&plan, Utc::now()));
                return exit(NOTHING_DONE);
            }
            if json {
                outln!("{}", json!({ "dropped": plan.id }));
            } else {
                outln!("Dropped: {}. Nothing was written.", plan_scope(&plan));
            }
            exit(WELL)
        }
    }
}

/// Looks, and stores the plan.
async fn make(settings: &Settings, kind: PlanKind, json: bool) -> Ended {
    let (parts, cancel) = database::with_remotes(settings).await?;
    let fitted = parts.fit().await.context("the fields of the mapping cannot be read")?;
    let context = parts.reading_context(&fitted, cancel.clone()).await?;
    let looked = tokio::select! {
        looked = Box::pin(look(&context, kind)) => looked,
        () = cancel.cancelled() => return exit(NOTHING_DONE),
    };
    let new = match looked {
        Ok(new) => new,
        Err(halt) => {
            errln!("Stopped: {halt}");
            return exit(NOTHING_DONE);
        }
    };
    let store = &parts.store;
    let id = store.put_plan(None, BY, &new).await?;
    let plan = store.plan(id).await?.context("the plan has vanished from sync_plan")?;
    show(store, &plan, (None, None), json).await
}

/// The plan of an id, or the one that waits. `None`: there is none, or several wait; it is said
/// which.
async fn find(store: &Store, id: Option<&str>) -> anyhow::Result<Option<Plan>> {
    let Some(id) = id else {
        return the_waiting_one(store).await;
    };
    let mut found = match Uuid::try_parse(id) {
        Ok(id) => store.plan(id).await?.into_iter().collect(),
        Err(_) => store.plans_by_prefix(&id.to_lowercase()).await?,
    };
    if found.len() > 1 {
        anyhow::bail!("the ids of several plans begin with {id:?}; give more of the id");
    }
    if found.is_empty() {
        errln!("There is no plan whose id begins with {id:?}. Old plans are deleted.");
    }
    Ok(found.pop())
}

async fn the_waiting_one(store: &Store) -> anyhow::Result<Option<Plan>> {
    let mut waiting = store.plans(true, None, LISTED).await?;
    match waiting.len() {
        0 => errln!("No plan waits. `keap-intercom-sync plan list` shows the earlier ones."),
        1 => {}
        _ => {
            let now = Utc::now();
            errln!("Several plans wait; name one by its id:");
            for plan in &waiting {
                errln!("  {}", plan_line(plan, now));
            }
            return Ok(None);
        }
    }
    Ok(waiting.pop())
}

async fn list(store: &Store, json: bool) -> Ended {
    let plans = store.plans(false, None, LISTED).await?;
    if json {
        outln!("{}", json!(plans));
        return exit(WELL);
    }
    if plans.is_empty() {
        outln!("No plan yet. `keap-intercom-sync plan --all` makes one.");
        return exit(WELL);
    }
    let now = Utc::now();
    let mut rows = Vec::new();
    for plan in &plans {
        let counts = store.plan_counts(plan.id).await?;
        let id = plan.id.to_string();
        rows.push(vec![
            look::stamp(plan.made_at),
            id.split('-').next().unwrap_or_default().to_owned(),
            plan.kind.clone(),
            plan_standing(plan, now),
            plan_actions(&counts),
        ]);
    }
    look::table(&["MADE (UTC)", "ID", "ABOUT", "STATE", "WHAT IT DOES"], &[], &[3, 4], rows);
    exit(WELL)
}

/// Shows a plan. `only`: the contacts with this action, and how many at most.
async fn show(
    store: &Store,
    plan: &Plan,
    (only, limit): (Option<&str>, Option<i64>),
    json: bool,
) -> Ended {
    let counts = store.plan_counts(plan.id).await?;
    if json {
        let contacts = store.plan_contacts(plan.id, only, 0, limit.unwrap_or(i64::MAX)).await?;
        outln!("{}", json!({ "plan": plan, "counts": counts, "contacts": contacts }));
        return exit(WELL);
    }
    look::pairs(plan_facts(plan, Utc::now()));
    let of = |what: &'static str| counts.iter().filter(move |count| count.what == what);
    for (what, to) in [("to_intercom", "Intercom"), ("to_keap", "Keap")] {
        let fields = of(what).map(|one| format!("{} in {}", one.word, number(one.contacts)));
        let fields: Vec<String> = fields.collect();
        if !fields.is_empty() {
            outln!("Fields that are written to {to}: {}", fields.join(", "));
        }
    }
    for action in of("action").filter(|one| only.is_none_or(|only| one.word == only)) {
        show_contacts(store, plan, action, limit.unwrap_or(SHOWN)).await?;
    }
    if of("action").next().is_none() {
        outln!("Nothing is to be done.");
    }
    if plan.waits() {
        let id = plan.id.to_string();
        let id = id.split('-').next().unwrap_or_default();
        outln!("\nCarry it out: keap-intercom-sync plan approve {id}");
        outln!("End it:       keap-intercom-sync plan drop {id}");
    }
    exit(WELL)
}

async fn show_contacts(
    store: &Store,
    plan: &Plan,
    action: &PlanCount,
    limit: i64,
) -> anyhow::Result<()> {
    outln!("\n{}: {}", action_word(&action.word), count(action.contacts, "contact"));
    let contacts = store.plan_contacts(plan.id, Some(&action.word), 0, limit).await?;
    for one in &contacts {
        let keap = one.keap_contact_id.map(|id| id.to_string());
        let ids = [keap, one.intercom_contact_id.clone().map(|id| format!("Intercom {id}"))];
        let ids: Vec<String> = ids.into_iter().flatten().collect();
        let outcome = one.outcome.as_ref().map(|outcome| format!(" ({outcome})"));
        outln!("  {}{}", ids.join(" → "), outcome.unwrap_or_default());
    }
    let more = action.contacts - i64::try_from(contacts.len()).unwrap_or(i64::MAX);
    if more > 0 {
        outln!("  and {}: --action {} --limit NUMBER", number(more), action.word);
    }
    Ok(())
}

/// Approves a plan, and carries it out or waits for that.
async fn approve(settings: &Settings, id: Option<&str>, json: bool) -> Ended {
    settings.require(&[Needed::DatabaseUrl, Needed::KeapApiKey, Needed::IntercomAccessToken])?;
    let parts = Parts::build(settings)?;
    let store = &parts.store;
    database::prepare(store, settings, settings.database.migrate)
        .await
        .context("nothing could be done")?;
    let Some(plan) = find(store, id).await? else {
        return exit(NOTHING_DONE);
    };
    if is_paused(store, Feed::Plan).await? {
        return exit(NOTHING_DONE);
    }
    match store.approve_plan(plan.id, BY).await? {
        Some(Approval::Run(run)) => carry_out_plan(&parts, settings, run, json).await,
        Some(Approval::No(plan)) => {
            errln!("Stopped: {}.", plan_refusal(&plan, Utc::now()));
            exit(NOTHING_DONE)
        }
        None => {
            errln!("Stopped: the plan is gone. Old plans are deleted.");
            exit(NOTHING_DONE)
        }
    }
}
