//! Reads a list of ids from a file: one on a line, or a column of a CSV.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, bail};
use csv::{Position, ReaderBuilder, StringRecord, Trim};

use crate::contact::KeapId;

/// A larger file is the wrong file: it holds a million ids and more.
const LARGEST_BYTES: u64 = 64 * 1024 * 1024;

/// The headings of a column of ids, without blanks, lines and capitals.
const HEADINGS: [&str; 4] = ["id", "keapid", "contactid", "keapcontactid"];

const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

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
fn ids(text: &str) -> Result<Vec<KeapId>, (u64, String)> {
    const EXPECTED: &str = "expected one Keap contact id, such as 12345 (a CSV needs a heading with a column `id`, `Keap id` or `Contact Id`)";
    let (separator, column) = match SEPARATORS.into_iter().find_map(|one| heading(text, one)) {
        Some((separator, column)) => (separator, Some(column)),
        None => (b',', None),
    };
    let (mut ids, mut known) = (Vec::new(), HashSet::new());
    for row in rows(text, separator).skip(usize::from(column.is_some())) {
        let row = row.map_err(|error| (line_of(text, error.position()), EXPECTED.to_owned()))?;
        let cell = match column {
            Some(column) => row.get(column),
            // Without a heading, nobody says which column holds the ids.
            None => row.get(0).filter(|_| row.len() == 1),
        };
        let without_comment = cell.map(|cell| cell.split('#').next().unwrap_or_default().trim());
        let id = without_comment
            .and_then(|cell| cell.parse::<KeapId>().ok())
            .ok_or_else(|| (line_of(text, row.position()), EXPECTED.to_owned()))?;
        if known.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The rows of a text, without empty lines and comments.
fn rows(text: &str, separator: u8) -> impl Iterator<Item = csv::Result<StringRecord>> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).trim(Trim::All);
    let reader = builder.comment(Some(b'#')).delimiter(separator).from_reader(text.as_bytes());
    // A line of blanks is empty, too.
    let is_empty = |row: &StringRecord| row.iter().all(str::is_empty);
    reader.into_records().filter(move |row| !row.as_ref().is_ok_and(is_empty))
}

/// The line on which a row begins. The reader's position stands before what it skips.
fn line_of(text: &str, position: Option<&Position>) -> u64 {
    let (line, byte) = position.map_or((1, 0), |position| (position.line(), position.byte()));
    let rest = usize::try_from(byte).ok().and_then(|byte| text.get(byte..)).unwrap_or_default();
    let is_skipped = |line: &&str| line.trim().is_empty() || line.starts_with('#');
    line + rest.lines().take_while(is_skipped).count() as u64
}

/// The separator, and which column holds the ids, if the first row is a heading.
fn heading(text: &str, separator: u8) -> Option<(u8, usize)> {
    let first = rows(text, separator).next()?.ok()?;
    let plain = |cell: &str| -> String {
        let letters = cell.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    // The more exact heading counts where a table has several ids.
    let place = |name: &str| first.iter().position(|cell| plain(cell) == name);
    let column = HEADINGS.iter().rev().find_map(|name| place(name))?;
    Some((separator, column))
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
            ("# old\nid\n12\n# new\nx\n", 5),
            ("name,id\n\"Lee,\nAnn\",12\nBob,x\n", 4),
        ] {
            let (at, why) = ids(text).unwrap_err();
            assert_eq!(at, line, "{text:?}");
            assert!(why.contains("Keap contact id") && !why.contains("ann@"), "{why}");
        }
    }
}
