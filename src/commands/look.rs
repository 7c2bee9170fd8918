//! How output looks: numbers, spans of time, colours and tables that fit the terminal.

use std::fmt::Display;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

/// A table in a narrower terminal than this is not squeezed further.
const NARROWEST: u16 = 40;

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();
pub(super) const STRONG: Style = Style::new().bold();

/// A text in a style. Where colours are off, the output leaves the style out.
pub(super) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The mark of a line that says whether something is well.
pub(super) fn mark(is_well: bool) -> String {
    if is_well { styled(GOOD, "✓") } else { styled(BAD, "✗") }
}

/// Writes 1234567 as `1,234,567`.
pub(super) fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 contact`, `1,234 contacts`.
pub(super) fn count(number_of: i64, thing: &str) -> String {
    let plural = if number_of == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", number(number_of))
}

/// A span of time in words, in its two largest units at most: `12 s`, `5 min`, `3 h 10 min`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{large} {unit}")
        } else {
            format!("{large} {unit} {small} {small_unit}")
        }
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..3600 => format!("{} min", seconds / 60),
        3600..172_800 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "days", seconds % 86_400 / 3600, "h"),
    }
}

/// A time in UTC, without its zone: the headings name it.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The columns of the terminal; `None` in a pipe or a file.
fn width() -> Option<u16> {
    if !stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| width.0.max(NARROWEST))
}

/// A table without lines. In a terminal its cells wrap to the width of it. In a pipe every row is
/// one line.
fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    match width() {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table
}

/// Prints a table with a heading. `numbers`: the columns whose cells stand at the right. `prose`: the
/// columns whose cells wrap where the terminal is narrow. The others stay whole, so that an id can be
/// copied.
pub(super) fn table(
    head: &[&str],
    numbers: &[usize],
    prose: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
) {
    let mut table = plain_table();
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((u16::from(at != 0), 1));
        if numbers.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if !prose.contains(&at) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    print(&table);
}

/// Ids in one cell: below each other in a terminal, in one line elsewhere.
pub(super) fn ids(ids: &[String]) -> String {
    ids.join(if width().is_some() { "\n" } else { " " })
}

/// Prints names and what is said about each.
pub(super) fn pairs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) {
    let mut table = plain_table();
    for (name, text) in rows {
        table.add_row([format!("{name:<9}"), text]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    print(&table);
}

fn print(table: &Table) {
    for line in table.lines() {
        outln!("{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (-12_345, "-12,345"),
            (i64::MIN, "-9,223,372,036,854,775,808"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            (count(1, "contact"), count(1200, "contact")),
            ("1 contact".into(), "1,200 contacts".into())
        );
    }

    #[test]
    fn spans_are_in_words() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (11_400, "3 h 10 min"),
            (172_800, "2 days"),
            (180_000, "2 days 2 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
