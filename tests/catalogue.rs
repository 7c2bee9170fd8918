//! docs/faults.md names the test of every fault and rule, and what was seen without its protection.
//! Each test that it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All sources of the package, tests included.
fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

const SEEN: &str = "\n## What was seen without the protection\n";

/// The page before the tables of what was seen, and these tables.
fn parts() -> (String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let (before, seen) = page.split_once(SEEN).expect("the section has this title");
    (before.to_owned(), seen.to_owned())
}

fn is_number(word: &str) -> bool {
    word.len() > 1
        && word.starts_with(['F', 'S'])
        && word[1..].bytes().all(|digit| digit.is_ascii_digit())
}

/// The numbers in the first cell of each row, and the other cells.
fn rows(page: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let cells = |line: &str| {
        let mut cells = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned());
        let numbers: Vec<String> = cells.next()?.split(' ').map(str::to_owned).collect();
        numbers.iter().all(|word| is_number(word)).then(|| (numbers, cells.collect()))
    };
    page.lines().filter(|line| line.starts_with("| ")).filter_map(cells).collect()
}

fn every_number() -> impl Iterator<Item = String> {
    (1..=115).map(|n| format!("F{n}")).chain((1..=31).map(|n| format!("S{n}")))
}

#[test]
fn every_fault_and_rule_has_a_row_and_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests"), &mut code);
    let (page, seen) = parts();
    let rows = [rows(&page), rows(&seen)];

    for number in every_number() {
        let has_row = |(numbers, _): &(Vec<String>, _)| *numbers == [number.as_str()];
        assert!(rows[0].iter().any(has_row), "{number} has no row");
    }
    for (numbers, cells) in rows.iter().flatten() {
        let (number, text) = (numbers.join(" "), cells.join(" "));
        // A name of a test is a sentence, so it has several words.
        let names = text.split('`').skip(1).step_by(2);
        for name in names.filter(|name| name.matches('_').count() > 2 && !name.contains(['.', '/']))
        {
            let is_there =
                code.contains(&format!("fn {name}(")) || code.contains(&format!("{name}: "));
            assert!(is_there, "{number} names {name}, which does not exist");
        }
    }
}

#[test]
fn for_every_fault_and_rule_the_page_says_what_was_seen_without_the_protection() {
    let (_, seen) = parts();
    let mut numbers = BTreeSet::new();
    for (of_row, cells) in rows(&seen) {
        assert_eq!(cells.len(), 2, "{of_row:?}: what was taken out, and what was seen: {cells:?}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{of_row:?} has an empty cell");
        numbers.extend(of_row);
    }
    for number in every_number() {
        assert!(numbers.contains(&number), "nothing is said about {number}");
    }
}
