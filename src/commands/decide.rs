//! `decide`: decides about held contacts, takes a decision back, and lists the decisions in force.

use clap::{Args, Subcommand};
use serde_json::json;

use super::look::{self, count, stamp};
use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, database, exit};
use crate::config::Settings;
use crate::contact::{IntercomId, KeapId};
use crate::outcome::Decided;
use crate::report::decision_in_words;
use crate::store::{DecidedBy, NewDecision, Store, Taken, Whose};

#[derive(Debug, Args)]
pub struct DecideArgs {
    #[command(subcommand)]
    pub command: DecideCommand,
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum DecideCommand {
    /// Use one of the candidates that `held` lists. It gets the Keap id, whatever external id it
    /// has.
    Use {
        /// The Keap contact id.
        id: KeapId,
        /// The id of the Intercom contact.
        intercom_id: String,
    },
    /// Create a new Intercom contact. If Intercom does not take the e-mail address a second time,
    /// the new contact has none.
    Create(WhoseArgs),
    /// Do nothing for the contacts until the decision is taken back.
    Ignore {
        #[command(flatten)]
        whose: WhoseArgs,
        /// Only until the contact changes in Keap.
        #[arg(long)]
        until_changed: bool,
    },
    /// Look at the contacts again. The daemon, or the next `sync`, does it.
    Retry(WhoseArgs),
    /// End the decisions in force. What was not carried out yet is looked at again.
    TakeBack(WhoseArgs),
    /// List the decisions in force, the newest first.
    List {
        /// The most decisions to list.
        #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
        limit: i64,
    },
}

/// About whom it is decided.
#[derive(Debug, Args)]
pub struct WhoseArgs {
    /// Keap contact ids.
    #[arg(required_unless_present = "reason")]
    ids: Vec<KeapId>,
    /// Every contact that is held for this reason, for example several_users.
    #[arg(long, value_name = "CODE", conflicts_with = "ids")]
    reason: Option<String>,
}

impl WhoseArgs {
    fn whose(&self) -> Whose<'_> {
        match &self.reason {
            Some(code) => Whose::Reason(code),
            None => Whose::These(&self.ids),
        }
    }
}

const BY: DecidedBy = DecidedBy::Command;

pub async fn run(settings: &Settings, args: DecideArgs) -> Ended {
    let store = database::open(settings).await?;
    let (whose, decided) = match &args.command {
        DecideCommand::Use { id, intercom_id } => {
            let Some(intercom) = IntercomId::new(intercom_id) else {
                errln!("{intercom_id:?} is no id of an Intercom contact");
                return exit(NOTHING_DONE);
            };
            let ids = [*id];
            let (whose, intercom) = (Whose::These(&ids), Some(&intercom));
            let new = NewDecision { whose, decided: Decided::Use, intercom, by: BY };
            return say("decided", &store.decide(&new).await?, args.json);
        }
        DecideCommand::List { limit } => return list(&store, *limit, args.json).await,
        DecideCommand::TakeBack(whose) => {
            return say("taken back", &store.take_back(whose.whose(), BY).await?, args.json);
        }
        DecideCommand::Create(whose) => (whose, Decided::Create),
        DecideCommand::Retry(whose) => (whose, Decided::Retry),
        DecideCommand::Ignore { whose, until_changed: true } => {
            (whose, Decided::IgnoreUntilChanged)
        }
        DecideCommand::Ignore { whose, until_changed: false } => (whose, Decided::Ignore),
    };
    let new = NewDecision { whose: whose.whose(), decided, intercom: None, by: BY };
    say("decided", &store.decide(&new).await?, args.json)
}

/// Says what came of it.
fn say(what: &str, taken: &Taken, json: bool) -> Ended {
    let Taken { decided, refused, not_held } = taken;
    if json {
        let refused =
            refused.iter().map(|(id, why)| json!({ "keapContactId": id.get(), "why": why }));
        let document = json!({
            "decided": decided.iter().map(|id| id.get()).collect::<Vec<_>>(),
            "refused": refused.collect::<Vec<_>>(),
            "notHeld": not_held.iter().map(|id| id.get()).collect::<Vec<_>>(),
        });
        out!("{document}\n");
    } else {
        let contacts = i64::try_from(decided.len()).unwrap_or(i64::MAX);
        outln!("{}: {what}.", count(contacts, "contact"));
        for (id, why) in refused {
            errln!("{id}: {why}");
        }
        if !not_held.is_empty() {
            let ids: Vec<String> = not_held.iter().map(ToString::to_string).collect();
            outln!("Not held, or nothing is decided: {}", ids.join(", "));
        }
    }
    exit(match (decided.is_empty(), refused.is_empty() && not_held.is_empty()) {
        (_, true) => WELL,
        (false, false) => SOME_FAILED,
        (true, false) => NOTHING_DONE,
    })
}

async fn list(store: &Store, limit: i64, json: bool) -> Ended {
    let decisions = store.decisions_in_force(None, None, limit).await?;
    if json {
        out!("{}\n", serde_json::to_string(&decisions)?);
        return exit(WELL);
    }
    if decisions.is_empty() {
        outln!("No decision is in force.");
        return exit(WELL);
    }
    let rows = decisions.iter().map(|decision| {
        let since = stamp(decision.decided_at);
        vec![decision.keap_contact_id.to_string(), since, decision_in_words(decision)]
    });
    look::table(&["KEAP ID", "SINCE (UTC)", "DECISION"], &[0], &[2], rows);
    outln!("\nEnd one: keap-intercom-sync decide take-back <keap id>");
    exit(WELL)
}
