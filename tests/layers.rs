//! House rules that read `src/`: arrows point down only, each file says what it is for, and no secret way in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of ours each module may name; the table of `src/lib.rs`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("contact", &[]),
    ("bucket", &[]),
    ("config", &[]),
    ("trigger", &[]),
    ("remote", &["contact"]),
    ("keap", &["remote", "contact"]),
    ("intercom", &["remote", "contact"]),
    ("store", &["contact"]),
    (
        "sync",
        &[
            "bucket", "contact", "remote", "keap", "intercom", "store", "trigger",
        ],
    ),
    ("schedule", &["trigger"]),
    ("http", &["trigger", "store", "bucket", "contact", "config"]),
    ("systemd", &["remote", "store", "sync"]),
    ("logs", &["config"]),
];

/// Crates that live in one place.
const LIVES_IN: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("axum", &["http"]),
    ("reqwest", &["remote", "keap", "intercom", "commands"]),
    ("tokio_cron_scheduler", &["schedule", "config"]),
    ("sd_notify", &["systemd"]),
    ("listenfd", &["systemd"]),
];

fn sources() -> BTreeMap<PathBuf, String> {
    fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.insert(path.clone(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    walk(&root, &mut found);
    found
        .into_iter()
        .map(|(path, text)| (path.strip_prefix(&root).unwrap().to_owned(), text))
        .collect()
}

/// The module of a file: `sync/feeds/due.rs` and `sync/mod.rs` are `sync`, `app.rs` is `app`.
fn module(path: &Path) -> String {
    let first = path
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn names(code: &str, prefix: &str) -> Vec<String> {
    code.match_indices(prefix)
        .map(|(at, _)| {
            code[at + prefix.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn arrows_point_down_only() {
    let mut seen = 0;
    for (path, text) in sources() {
        let module = module(&path);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        for imported in names(&code(&text), "crate::") {
            seen += 1;
            assert!(
                imported == module || allowed.contains(&imported.as_str()),
                "{} imports crate::{imported}",
                path.display()
            );
        }
    }
    assert!(seen > 50, "the rule must have something to look at");
}

#[test]
fn each_crate_of_an_edge_lives_in_its_place() {
    for (path, text) in sources() {
        let module = module(&path);
        for (name, places) in LIVES_IN {
            let used = code(&text).contains(&format!("{name}::"));
            assert!(
                !used || places.contains(&module.as_str()),
                "{} names {name}",
                path.display()
            );
        }
    }
}

#[test]
fn every_module_has_its_rule() {
    let above = ["lib", "main", "app", "commands"];
    for (path, _) in sources() {
        let module = module(&path);
        assert!(
            above.contains(&module.as_str()) || MAY_IMPORT.iter().any(|(name, _)| *name == module),
            "{module} has no rule: add it to the table here and in src/lib.rs"
        );
    }
}

#[test]
fn each_file_opens_with_a_sentence_on_its_duty() {
    for (path, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "{} does not say what it is for",
            path.display()
        );
    }
}

#[test]
fn nothing_is_called_by_a_name_that_says_nothing() {
    for (path, _) in sources() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            ![
                "utils", "util", "common", "helpers", "helper", "manager", "service", "misc"
            ]
            .contains(&name.as_str()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn tls_is_never_loosened() {
    for (path, text) in sources() {
        assert!(!text.contains("danger_"), "{} loosens TLS", path.display());
    }
}

#[test]
fn every_migration_is_applied() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let files = fs::read_dir(dir).unwrap().count();
    // A file whose name has no number, underscore and name would be passed over without a word.
    assert_eq!(sqlx::migrate!().iter().count(), files);
}
