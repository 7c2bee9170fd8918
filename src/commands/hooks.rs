//! `hooks`: our subscriptions to Keap's events, by hand. The daemon looks after them by itself.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, exit};
use crate::app;
use crate::config::{Needed, Settings};
use crate::sync::hooks::{HookReport, Hooks, word};

#[derive(Debug, Subcommand)]
pub enum HooksCommand {
    /// Show the subscriptions that point here.
    List,
    /// Subscribe to every event of hooks.events; what is in order already is left alone. The daemon must be running.
    Register,
    /// Have Keap shake hands anew with every subscription, which also revives inactive ones.
    Verify,
    /// End every subscription that points here.
    Remove,
    /// Move the subscriptions to the first of two secrets, without a gap.
    ///
    /// Before: set KEAP_WEBHOOK_SECRET to "NEW,OLD" and restart the daemon. After: set it to NEW alone and restart it again.
    Rotate,
}

pub async fn run(settings: &Settings, command: HooksCommand, json: bool) -> Ended {
    settings.require(&[
        Needed::DatabaseUrl,
        Needed::KeapApiKey,
        Needed::HttpPublicUrl,
        Needed::KeapWebhookSecret,
    ])?;
    let Some(options) = app::hook_options(settings) else {
        return exit(NOTHING_DONE);
    };
    let secrets = options.secrets.len();
    let hooks = Hooks::new(
        Arc::new(app::keap_client(settings)?),
        app::store(settings)?,
        options,
    );
    let reports = match command {
        HooksCommand::List => return list(&hooks, json).await,
        HooksCommand::Rotate if secrets < 2 => {
            eprintln!(
                "There is one secret, so there is nothing to move to. Set KEAP_WEBHOOK_SECRET to \"NEW,OLD\" (NEW for example from \
                 `openssl rand -hex 32`), restart the daemon, and run this again."
            );
            return exit(NOTHING_DONE);
        }
        HooksCommand::Register | HooksCommand::Rotate => hooks.look_after(false).await?,
        HooksCommand::Verify => hooks.look_after(true).await?,
        HooksCommand::Remove => hooks.remove_all().await?,
    };
    show(&reports, json)
}

async fn list(hooks: &Hooks, json: bool) -> Ended {
    let ours = hooks.list().await?;
    let note = |wanted: bool| {
        if wanted {
            "current"
        } else {
            "old: another secret, address or event"
        }
    };
    if json {
        let rows: Vec<_> = ours
            .iter()
            .map(|(hook, wanted)| {
                json!({ "key": hook.key, "eventKey": hook.event_key, "state": word(hook.state), "current": wanted })
            })
            .collect();
        println!("{}", json!(rows));
    } else if ours.is_empty() {
        println!("No subscription points here; `keap-intercom-sync hooks register` makes them.");
    } else {
        println!("{:<28}  {:<12}  {:<10}  NOTE", "EVENT", "KEY", "STATE");
        for (hook, wanted) in &ours {
            println!(
                "{:<28}  {:<12}  {:<10}  {}",
                hook.event_key,
                hook.key,
                word(hook.state),
                note(*wanted)
            );
        }
    }
    exit(WELL)
}

fn show(reports: &[HookReport], json: bool) -> Ended {
    let well = |report: &HookReport| matches!(report.state, "verified" | "gone");
    if json {
        println!("{}", serde_json::to_string(reports)?);
    } else if reports.is_empty() {
        println!("No subscription points here.");
    } else {
        for report in reports {
            let error = report.error.as_deref().map(|why| format!(": {why}"));
            println!(
                "{} {:<28} {:<10} {}{}",
                if well(report) { "✓" } else { "✗" },
                report.event_key,
                report.state,
                report.done,
                error.unwrap_or_default()
            );
        }
        if reports.iter().any(|report| report.state == "unverified") {
            println!(
                "\nKeap could not shake hands: is the daemon running with this KEAP_WEBHOOK_SECRET, and does HTTP_PUBLIC_URL lead to it \
                 from outside?"
            );
        }
    }
    exit(if reports.iter().all(well) {
        WELL
    } else {
        SOME_FAILED
    })
}
