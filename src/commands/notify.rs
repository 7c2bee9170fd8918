//! `notify`: the targets of alarms, and a test of each.

use clap::Subcommand;
use serde_json::json;

use super::look::mark;
use super::{Ended, NOTHING_DONE, SOME_FAILED, WELL, exit};
use crate::app;
use crate::config::Settings;

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send each target of [notify] a test message, and print what it has answered.
    Test {
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(settings: &Settings, command: NotifyCommand) -> Ended {
    let NotifyCommand::Test { json } = command;
    let notifier = app::notifier(settings)?;
    if notifier.targets().is_empty() {
        errln!(
            "Nobody is told of troubles: no target is set in [notify], such as NOTIFY__SLACK_URL."
        );
        return exit(NOTHING_DONE);
    }
    let answers = notifier.test().await;
    let is_well = answers.iter().all(|one| one.said.is_ok());
    if json {
        let targets = answers.iter().map(|one| {
            let answer = one.said.as_ref().unwrap_or_else(|why| why);
            json!({ "target": one.name, "place": one.place, "delivered": one.said.is_ok(), "answer": answer })
        });
        out!("{}\n", json!({ "targets": targets.collect::<Vec<_>>() }));
    } else {
        for one in &answers {
            let answer = one.said.as_ref().unwrap_or_else(|why| why);
            outln!("{} {:<7}  {}: {answer}", mark(one.said.is_ok()), one.name, one.place);
        }
    }
    exit(if is_well { WELL } else { SOME_FAILED })
}
