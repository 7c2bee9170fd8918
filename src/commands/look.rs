//! How output looks: colours, and tables that fit the terminal.

use std::fmt::Display;
use std::io::stdout;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

use super::wrap;
pub(super) use crate::report::words::{count, number, span, stamp};

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

/// The columns of the terminal; `None` in a pipe or a file.
fn width() -> Option<u16> {
    wrap::width_of(&stdout())
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

/// Prints a table with a heading. `numbers`: the columns whose cells stand at the right. `prose`:
/// the columns whose cells wrap where the terminal is narrow. The others stay whole, so that an id
/// can be copied.
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
        out!("{}\n", line.trim_end());
    }
}
