//! Reads a list of ids from a file: one on a line, or a column of a CSV.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::contact::KeapId;

/// A larger file is the wrong file: it holds a million ids and more.
const LARGEST_BYTES: u64 = 64 * 1024 * 1024;

/// The headings of a column of ids, without blanks, lines and capitals.
const HEADINGS: [&str; 4] = ["id", "keapid", "contactid", "keapcontactid"];

/// The ids of a file, each once, in its order. `-` is the standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<KeapId>> {
    let name = if path == Path::new("-") {
        "the standard input".into()
    } else {
        path.display().to_string()
    };
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(LARGEST_BYTES + 1).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LARGEST_BYTES + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("{name} cannot be read"))?;
    if text.len() as u64 > LARGEST_BYTES {
        bail!("{name} is larger than {LARGEST_BYTES} bytes");
    }
    ids(&text).map_err(|(line, why)| anyhow::anyhow!("{name}, line {line}: {why}"))
}

/// The ids of a text. `Err`: the first bad line, and why. What stands there is not repeated,
/// because it may be a person's.
fn ids(text: &str) -> Result<Vec<KeapId>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).peekable();
    let heading = lines.peek().and_then(|(_, line)| heading(line));
    if heading.is_some() {
        lines.next();
    }
    let (separator, column) = heading.unwrap_or((',', 0));
    let (mut ids, mut known) = (Vec::new(), HashSet::new());
    for (at, line) in lines {
        let cells = cells(line, separator);
        // Without a heading, nobody says which column holds the ids.
        let cell = match (heading, cells.as_slice()) {
            (None, [cell]) => Some(cell),
            (None, _) => None,
            (Some(_), cells) => cells.get(column),
        };
        let without_comment = cell.map(|cell| cell.split('#').next().unwrap_or_default().trim());
        let id = without_comment.and_then(|cell| cell.parse::<KeapId>().ok()).ok_or_else(|| {
            let expected = "expected one Keap contact id, such as 12345 (a CSV needs a heading with a column `id`, `Keap id` or `Contact Id`)";
            (at, expected.to_owned())
        })?;
        if known.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The separator, and which column holds the ids, if the line is a heading.
fn heading(line: &str) -> Option<(char, usize)> {
    let plain = |cell: &String| -> String {
        let letters = cell.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    [',', ';', '\t'].into_iter().find_map(|separator| {
        let cells: Vec<String> = cells(line, separator).iter().map(plain).collect();
        // The more exact heading counts where a table has several ids.
        let place = |name: &str| cells.iter().position(|cell| cell == name);
        let column = HEADINGS.iter().rev().find_map(|name| place(name))?;
        Some((separator, column))
    })
}

/// The cells of a line of a CSV. A quoted cell may hold the separator.
fn cells(line: &str, separator: char) -> Vec<String> {
    let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            letter if letter == separator && !is_quoted => {
                cells.push(std::mem::take(&mut cell).trim().to_owned());
            }
            letter => cell.push(letter),
        }
    }
    cells.push(cell.trim().to_owned());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<i64> {
        ids(text).unwrap().iter().map(|id| id.get()).collect()
    }

    #[test]
    fn a_list_may_have_comments_and_a_csv_has_a_heading() {
        assert_eq!(numbers("12\n\n# old ones\n  7  \n12\n9 # Ann\n"), [12, 7, 9]);
        assert_eq!(numbers("\u{feff}Id\r\n12\r\n7\r\n"), [12, 7]);
        assert_eq!(
            numbers("Name,Contact Id,Email\n\"Lee, Ann\",12,a@example.org\nBob,\"7\",\n"),
            [12, 7]
        );
        assert_eq!(numbers("id;keap_contact_id\n1;12\n2;7\n"), [12, 7]);
        assert_eq!(numbers("name\tKeap id\nAnn\t12\n"), [12]);
        assert_eq!(numbers("# nothing\n"), [0_i64; 0]);
    }

    #[test]
    fn the_first_bad_line_is_named_and_not_repeated() {
        for (text, line) in [
            ("12\nann@example.org\n", 2),
            ("12\n\n-3\n", 3),
            ("12,13\n", 1),
            ("Name,Email\nAnn,a@example.org\n", 1),
            ("name,id\nAnn\n", 2),
            ("id\n12\n1.5\n", 3),
        ] {
            let (at, why) = ids(text).unwrap_err();
            assert_eq!(at, line, "{text:?}");
            assert!(why.contains("Keap contact id") && !why.contains("ann@"), "{why}");
        }
    }
}
