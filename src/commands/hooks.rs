//! `hooks`: lists, makes, verifies or ends our subscriptions in Keap by hand. The daemon does the
//! same by itself.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, exit, look};
use crate::app;
use crate::config::{Needed, Settings};
use crate::tasks::hooks::{HookReport, Hooks, word};

#[derive(Debug, Subcommand)]
pub enum HooksCommand {
    /// Show the subscriptions that point here.
    List,
    /// Subscribe to every event of hooks.events. Subscriptions that work stay as they are. The
    /// daemon must be running.
    Register,
    /// Let Keap verify every subscription again. This also revives inactive ones.
    Verify,
    /// End every subscription that points here.
    Remove,
    /// Move the subscriptions to the first of two secrets, without a gap.
    ///
    /// First set KEAP_WEBHOOK_SECRET to "NEW,OLD" and restart the daemon. Afterwards set it to NEW
    /// alone and restart the daemon again.
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
    let hooks = Hooks::new(Arc::new(app::keap_client(settings)?), app::store(settings)?, options);
    let reports = match command {
        HooksCommand::List => return list(&hooks, json).await,
        HooksCommand::Rotate if secrets < 2 => {
            errln!(
                "There is only one secret, so there is none to move to. Set KEAP_WEBHOOK_SECRET to \"NEW,OLD\" \
                 (`openssl rand -hex 32` prints a new one), restart the daemon, and run this again."
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
        if wanted { "current" } else { "old: another secret, address or event" }
    };
    if json {
        let rows: Vec<_> = ours
            .iter()
            .map(|(hook, wanted)| {
                json!({ "key": hook.key, "eventKey": hook.event_key, "state": word(hook.state), "current": wanted })
            })
            .collect();
        out!("{}\n", json!(rows));
    } else if ours.is_empty() {
        outln!("No subscription points here; `keap-intercom-sync hooks register` makes them.");
    } else {
        let rows = ours.iter().map(|(hook, wanted)| {
            let cells = [hook.event_key.as_str(), &hook.key, word(hook.state), note(*wanted)];
            cells.map(str::to_owned).to_vec()
        });
        look::table(&["EVENT", "KEY", "STATE", "NOTE"], &[], &[3], rows);
    }
    exit(WELL)
}

/// What was done about a subscription. A deed without effect is only a try.
fn deed(report: &HookReport, is_well: bool) -> &'static str {
    match (report.done, is_well) {
        (done, true) => done,
        ("verified", false) => "Keap was asked to verify it",
        ("registered", false) => "it was made, and Keap did not verify it yet",
        _ => "nothing was done",
    }
}

fn show(reports: &[HookReport], json: bool) -> Ended {
    let is_well = |report: &HookReport| matches!(report.state, "verified" | "gone");
    if json {
        out!("{}\n", serde_json::to_string(reports)?);
    } else if reports.is_empty() {
        outln!("No subscription points here.");
    } else {
        for report in reports {
            let error = report.error.as_deref().map(|why| format!(": {why}"));
            outln!(
                "{} {:<28} {:<10} {}{}",
                look::mark(is_well(report)),
                report.event_key,
                report.state,
                deed(report, is_well(report)),
                error.unwrap_or_default()
            );
        }
        if reports.iter().any(|report| report.state == "unverified") {
            outln!(
                "\nKeap could not verify: is the daemon running with this KEAP_WEBHOOK_SECRET, and does HTTP_PUBLIC_URL lead to it \
                 from outside?"
            );
        }
    }
    exit(if reports.iter().all(is_well) { WELL } else { SOME_FAILED })
}
