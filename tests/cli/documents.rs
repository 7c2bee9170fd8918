//! The documents name commands and options that exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The recorded help of every command.
const HELP: &str = include_str!("snapshots/tests__cli__golden__help.snap");

/// The help of each command, by its words: `sync`, `held retry`.
fn help() -> BTreeMap<String, &'static str> {
    let parts = HELP.split("Usage: keap-intercom-sync ").skip(1);
    parts
        .map(|part| {
            let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
            let usage = part.lines().next().unwrap_or_default();
            let words: Vec<_> = usage.split(' ').take_while(is_name).collect();
            (words.join(" "), part)
        })
        .collect()
}

/// The README, the change log, the default settings, and the pages in `docs`.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let names = ["README.md", "CHANGELOG.md", "config/default.toml"].map(|name| root.join(name));
    names.into_iter().chain(pages.filter(|path| path.extension().is_some())).collect()
}

#[test]
fn every_command_in_the_documents_takes_the_options_that_stand_there() {
    let help = help();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        // Every second part stands between backticks.
        for span in text.split('`').skip(1).step_by(2) {
            let words: Vec<&str> = span.split_whitespace().collect();
            let words = words.strip_prefix(&["keap-intercom-sync"]).unwrap_or(&words);
            let known = (1..=words.len().min(2)).rev().map(|length| words[..length].join(" "));
            let Some(help) = known.filter_map(|name| help.get(&name)).next() else {
                continue;
            };
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap_or(option);
                seen += 1;
                let fits = |word: &str| word.trim_end_matches([',', '[']) == option;
                if !help.replace('[', " ").split_whitespace().any(fits) {
                    wrong.push(format!("{}: {span}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 30, "only {seen} options were found");
}
