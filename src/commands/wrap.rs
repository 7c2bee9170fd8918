//! Lines that fit the terminal: a long one wraps between words, and what follows is indented.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// A narrower terminal than this is not served: output for it would be torn to pieces.
const NARROWEST: u16 = 40;
/// The label of a line, such as `next      `, ends before this column.
const WIDEST_LABEL: usize = 24;

/// The columns of the terminal that a stream leads to; `None` for a pipe or a file.
pub(super) fn width_of(stream: &(impl AsFd + IsTerminal)) -> Option<u16> {
    if !stream.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(stream).map(|(width, _)| width.0.max(NARROWEST))
}

/// The text with each line wrapped to `width`, if there is one.
pub(super) fn fitting(text: &str, width: Option<u16>) -> Cow<'_, str> {
    let Some(width) = width.map(usize::from) else { return Cow::Borrowed(text) };
    if text.split('\n').all(|line| columns(line) <= width) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<String> = text.split('\n').map(|line| wrapped(line, width)).collect();
    Cow::Owned(lines.join("\n"))
}

/// The columns that a text takes. A colour takes none.
fn columns(text: &str) -> usize {
    let (mut columns, mut in_colour) = (0, false);
    for c in text.chars() {
        match c {
            '\u{1b}' => in_colour = true,
            'm' if in_colour => in_colour = false,
            _ if in_colour => {}
            _ => columns += 1,
        }
    }
    columns
}

fn wrapped(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let indent = hanging(line).min(width / 2);
    let mut text = String::new();
    let mut used = 0;
    for word in words(line) {
        let needed = columns(word.trim_end_matches(' '));
        if used > indent && used + needed > width {
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            used = indent;
        }
        text.push_str(word);
        used += columns(word);
    }
    text
}

/// Where the second line begins: below the text that stands after the label of the first, else a
/// little further in than the first.
fn hanging(line: &str) -> usize {
    let start = line.len() - line.trim_start_matches(' ').len();
    let label = line[start..].find("  ").map(|gap| {
        let gap = start + gap;
        let after = line[gap..].trim_start_matches(' ');
        columns(&line[..line.len() - after.len()])
    });
    label.filter(|column| *column <= WIDEST_LABEL).unwrap_or(start + 2)
}

/// The words of a line, each with the spaces after it. What stands between backticks is one word,
/// because people copy it.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut begin, mut in_code, mut in_gap) = (Vec::new(), 0, false, true);
    for (at, c) in line.char_indices() {
        if c == '`' {
            in_code = !in_code;
        }
        let is_gap = c == ' ' && !in_code;
        // The spaces before the first word belong to it.
        if in_gap && !is_gap && !line[begin..at].trim().is_empty() {
            words.push(&line[begin..at]);
            begin = at;
        }
        in_gap = is_gap;
    }
    words.push(&line[begin..]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_wraps_between_words_below_its_text() {
        for (line, expected) in [
            ("short", "short"),
            (
                "one two three four five six seven eight nine ten",
                "one two three four five six seven eight\n  nine ten",
            ),
            (
                "next      Nothing until it changes in Keap. The next poll",
                "next      Nothing until it changes in\n          Keap. The next poll",
            ),
            (
                "    then: `keap-intercom-sync held retry` and more",
                "    then:\n      `keap-intercom-sync held retry`\n      and more",
            ),
            (
                "a-word-that-is-longer-than-the-whole-terminal-stays-whole so",
                "a-word-that-is-longer-than-the-whole-terminal-stays-whole\n  so",
            ),
        ] {
            assert_eq!(fitting(line, Some(40)), expected);
            assert_eq!(fitting(line, None), line);
        }
    }

    #[test]
    fn colours_take_no_column() {
        let line = "\u{1b}[32mone\u{1b}[0m two three four five six seven eig";

        assert_eq!(columns(line), 37);
        assert_eq!(fitting(line, Some(40)), line);
        assert_eq!(fitting("first\n\nthird", Some(40)), "first\n\nthird");
    }
}
