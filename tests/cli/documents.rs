//! The documents name commands and options that exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::shown::blocks;

/// The recorded help of every command.
const HELP: &str = include_str!("snapshots/tests__cli__golden__help.snap");

/// The help of each command, by its words: `sync`, `held retry`.
fn help() -> BTreeMap<String, &'static str> {
    let parts = HELP.split("Usage: keap-intercom-sync ").skip(1);
    parts
        .map(|part| {
            let is_letter = |c: char| c.is_ascii_lowercase() || c == '-';
            let is_name = |word: &&str| !word.starts_with('-') && word.chars().all(is_letter);
            let usage = part.lines().next().unwrap_or_default();
            let words: Vec<_> = usage.split(' ').take_while(is_name).collect();
            (words.join(" "), part)
        })
        .collect()
}

/// The documents for people.
pub(super) fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = ["docs", "docs/api"].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let pages = pages.into_iter().flatten().map(|entry| entry.unwrap().path());
    let names = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|name| root.join(name));
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    names.into_iter().chain(pages.filter(is_page)).collect()
}

/// The commands of a document: what stands between backticks, and the lines of its blocks.
fn commands(text: &str) -> Vec<&str> {
    let blocks = blocks(text);
    let lines = blocks.iter().filter(|(language, _)| ["sh", "console"].contains(language));
    let lines = lines.flat_map(|(_, lines)| lines.iter().copied());
    let lines = lines.map(|line| line.trim_start_matches("$ ").split(" #").next().unwrap_or(line));
    // Every second part stands between backticks.
    text.split('`').skip(1).step_by(2).chain(lines).collect()
}

#[test]
fn every_command_in_the_documents_takes_the_options_that_stand_there() {
    let help = help();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default.toml");
    for path in documents().into_iter().chain([settings]) {
        let text = fs::read_to_string(&path).unwrap();
        for span in commands(&text) {
            let words: Vec<&str> = span.split_whitespace().collect();
            let words = words.strip_prefix(&["keap-intercom-sync"]).unwrap_or(&words);
            let words = words.strip_prefix(&["--service"]).unwrap_or(words);
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
