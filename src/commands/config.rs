//! `config`: the settings in force, and where each comes from.

use clap::Args;
use serde_json::json;

use super::{Ended, WELL, exit, look};
use crate::config::Settings;

#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Only settings that differ from the defaults, and secrets.
    #[arg(long)]
    pub changed: bool,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Shows the settings. A secret is only said to be set or not.
pub fn run(settings: &Settings, args: &ConfigArgs) -> Ended {
    let shown = settings.in_force();
    let shown: Vec<_> = shown.into_iter().filter(|one| !args.changed || !one.is_default).collect();
    if args.json {
        let rows: Vec<_> = shown
            .iter()
            .map(|one| json!({ "key": one.key, "environment": one.env, "value": one.value, "isSecret": one.is_secret, "isSet": one.is_set, "from": one.from }))
            .collect();
        out!("{}\n", json!(rows));
        return exit(WELL);
    }
    let rows = shown.iter().map(|one| vec![one.key.to_owned(), one.in_words(), one.from.clone()]);
    look::table(&["KEY", "VALUE", "FROM"], &[], &[1, 2], rows);
    exit(WELL)
}
