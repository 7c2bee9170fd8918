//! House rules that read `src/`: who may import whom, no cycle, and each file says what it is for.

mod imports;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imports::{Imports, cycle};

/// Crates that live in one place.
const LIVES_IN: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("axum", &["http"]),
    ("reqwest", &["remote", "keap", "intercom", "notify", "commands"]),
    ("lettre", &["notify"]),
    ("tokio_cron_scheduler", &["schedule", "config"]),
    ("sd_notify", &["systemd"]),
    ("listenfd", &["systemd"]),
    ("libc", &["memory"]),
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

/// The room of a file: `sync/feeds/due.rs` and `sync/mod.rs` are `sync`, `app.rs` is `app`.
fn room(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Which rooms each room may import: the table of `src/lib.rs`. `None` stands for all.
fn may_import() -> BTreeMap<String, Option<Vec<String>>> {
    let map = &sources()[Path::new("lib.rs")];
    let words = |cell: &str| -> Vec<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(|word| word.trim_matches(['[', ']']).into())
            .collect()
    };
    let mut rules = BTreeMap::new();
    for line in map.lines().filter_map(|line| line.strip_prefix("//! | [")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [rooms, _, allowed, ..] = cells.as_slice() else {
            panic!("a row of the table in lib.rs has other cells: {line}");
        };
        let allowed = match *allowed {
            "everything" => None,
            "nothing of ours" => Some(Vec::new()),
            cell => Some(words(cell)),
        };
        for room in words(rooms) {
            rules.insert(room, allowed.clone());
        }
    }
    rules
}

#[test]
fn each_room_imports_only_what_the_table_of_lib_rs_allows() {
    let rules = may_import();
    let edges = Imports::read(&sources()).edges();

    for (file, imported) in &edges {
        let (from, to) = (room(file), room(imported));
        if ["lib", "main"].contains(&from.as_str()) || from == to {
            continue;
        }
        let allowed = rules.get(&from).unwrap_or_else(|| panic!("{from} is not in the table"));
        assert!(
            allowed.as_ref().is_none_or(|allowed| allowed.contains(&to)),
            "{} imports {}",
            file.display(),
            imported.display()
        );
    }
    assert!(edges.len() > 200, "the rule must have something to look at: {}", edges.len());
}

#[test]
fn no_file_imports_itself_through_others() {
    let edges = Imports::read(&sources()).edges();

    assert_eq!(cycle(&edges), None);
}

#[test]
fn each_crate_of_an_edge_lives_in_its_place() {
    for (path, text) in sources() {
        let module = room(&path);
        for (name, places) in LIVES_IN {
            let used = code(&text).contains(&format!("{name}::"));
            assert!(!used || places.contains(&module.as_str()), "{} names {name}", path.display());
        }
    }
}

#[test]
fn every_room_has_its_row() {
    let rules = may_import();

    for (path, _) in sources() {
        let room = room(&path);
        assert!(
            ["lib", "main"].contains(&room.as_str()) || rules.contains_key(&room),
            "{room} has no row: add it to the table of src/lib.rs"
        );
    }
}

#[test]
fn each_file_opens_with_a_sentence_on_its_duty() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not say what it is for", path.display());
    }
}

#[test]
fn nothing_is_called_by_a_name_that_says_nothing() {
    for (path, _) in sources() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            !["utils", "util", "common", "helpers", "helper", "manager", "service", "misc"]
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

// S27
#[test]
fn random_values_come_from_the_operating_system() {
    // `rand::rng` and `rand::random` are seeded by the system. These are what is not.
    let weak =
        ["SmallRng", "StdRng", "SeedableRng", "seed_from", "from_seed", "fastrand", "Xoshiro"];
    for (path, text) in sources() {
        for word in weak {
            assert!(!text.contains(word), "{} uses {word}", path.display());
        }
    }
    let migration = include_str!("../../migrations/0002_sync_state.sql");
    let (_, key) = migration.split_once("insert into sync_digest_key").unwrap();
    let (key, _) = key.split_once(';').unwrap();
    assert!(key.contains("gen_random_uuid()") && !key.contains(" random()"), "{key}");
}

#[test]
fn every_migration_is_applied() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let files = fs::read_dir(dir).unwrap().count();
    // A file whose name has no number, underscore and name would be passed over without a word.
    assert_eq!(sqlx::migrate!().iter().count(), files);
}
