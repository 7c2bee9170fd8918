//! `held`: lists the contacts that need a person, and tries them again.

use clap::Subcommand;

use super::{Ended, SOME_FAILED, WELL, exit};
use crate::app;
use crate::config::{Migrate, Needed, Settings};
use crate::contact::KeapId;

#[derive(Debug, Subcommand)]
pub enum HeldCommand {
    /// Make held contacts due again; the daemon, or the next `sync`, looks at them.
    Retry {
        /// Keap contact ids.
        #[arg(required_unless_present = "all")]
        ids: Vec<KeapId>,
        /// All that are held.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

pub async fn run(settings: &Settings, command: Option<HeldCommand>, json: bool) -> Ended {
    settings.require(&[Needed::DatabaseUrl])?;
    let store = app::store(settings)?;
    app::prepare_database(&store, Migrate::Refuse).await?;
    let Some(HeldCommand::Retry { ids, all }) = command else {
        return list(&store, json).await;
    };
    let revived = store.retry_held((!all).then_some(&ids)).await?;
    let unknown: Vec<i64> = ids
        .iter()
        .filter(|id| !revived.contains(id))
        .map(|id| id.get())
        .collect();
    if json {
        let retried: Vec<i64> = revived.iter().map(|id| id.get()).collect();
        println!(
            "{}",
            serde_json::json!({ "retried": retried, "notHeld": unknown })
        );
    } else {
        println!("{} held contact(s) are due again.", revived.len());
        if !unknown.is_empty() {
            let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
            println!("Not held: {}", unknown.join(", "));
        }
    }
    exit(if unknown.is_empty() {
        WELL
    } else {
        SOME_FAILED
    })
}

async fn list(store: &crate::store::Store, json: bool) -> Ended {
    let held = store.held().await?;
    if json {
        println!("{}", serde_json::to_string(&held)?);
    } else if held.is_empty() {
        println!("No contact is held.");
    } else {
        println!("{:>12}  {:<20}  REASON", "KEAP ID", "SINCE (UTC)");
        for one in held {
            let candidates = if one.candidates.is_empty() {
                String::new()
            } else {
                format!(" [Intercom: {}]", one.candidates.join(", "))
            };
            println!(
                "{:>12}  {:<20}  {}{candidates}",
                one.keap_contact_id,
                one.since.format("%Y-%m-%d %H:%M:%S"),
                one.reason
            );
        }
        println!(
            "\nSettle each in Keap or Intercom, then: keap-intercom-sync held retry <keap id>"
        );
    }
    exit(WELL)
}
