//! docs/faults.md names the test of every fault and rule, and each test that it names exists.

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

/// The first and the last cells of the rows of the tables: a number, and what is named for it.
fn rows() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let cells = |line: &str| {
        let cells: Vec<String> =
            line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned()).collect();
        let number = cells.first()?.clone();
        let is_number = number.len() > 1
            && number.starts_with(['F', 'S'])
            && number[1..].bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| (number, cells[1..].join(" ")))
    };
    page.lines().filter(|line| line.starts_with("| ")).filter_map(cells).collect()
}

#[test]
fn every_fault_and_rule_has_a_row_and_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests"), &mut code);
    let rows = rows();

    let numbers: BTreeSet<&str> = rows.iter().map(|(number, _)| number.as_str()).collect();
    let expected = (1..=102).map(|n| format!("F{n}")).chain((1..=30).map(|n| format!("S{n}")));
    for number in expected {
        assert!(numbers.contains(number.as_str()), "{number} has no row");
    }
    for (number, text) in &rows {
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
