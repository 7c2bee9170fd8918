//! What a document shows, and whether it is what a program prints: outputs are compared without
//! their numbers, ids and times.

/// A command of a document, and the lines that follow it.
pub(super) struct Shown<'a> {
    pub command: &'a str,
    pub lines: Vec<&'a str>,
}

/// The fenced blocks of a document: the language of each, and its lines.
pub(super) fn blocks(document: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let inside = lines.by_ref().take_while(|line| line.trim_start() != "```");
            blocks.push((language, inside.collect()));
        }
    }
    blocks
}

/// The commands in the blocks of the kind `console`.
pub(super) fn shown(document: &str) -> Vec<Shown<'_>> {
    let mut all: Vec<Shown<'_>> = Vec::new();
    for (_, lines) in blocks(document).into_iter().filter(|(language, _)| *language == "console") {
        assert!(
            lines.first().is_some_and(|line| line.starts_with("$ ")),
            "{lines:?} begin no command"
        );
        for line in lines {
            match (line.strip_prefix("$ "), all.last_mut()) {
                (Some(command), _) => all.push(Shown { command, lines: Vec::new() }),
                (None, Some(last)) => last.lines.push(line),
                (None, None) => {}
            }
        }
    }
    all
}

/// A line without what differs from run to run: numbers, ids, names of machines, and the widths of
/// columns.
pub(super) fn shape(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if let Some((uuid, after)) = rest.split_at_checked(36)
            && uuid::Uuid::try_parse(uuid).is_ok()
        {
            text.push_str("ID");
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end.max(first.len_utf8()));
        let is_id = run.len() >= 8 && run.contains(|c: char| c.is_ascii_digit());
        if is_id {
            text.push_str("ID");
        } else {
            for c in run.chars() {
                if !c.is_ascii_digit() {
                    text.push(c);
                } else if !text.ends_with('#') {
                    text.push('#');
                }
            }
        }
        rest = after;
    }
    let text = text.replace("#,#", "#").split_whitespace().collect::<Vec<_>>().join(" ");
    match (text.split_once(" on "), text.split_once(" (epoch")) {
        (Some((before, _)), Some((_, after))) => format!("{before} on HOST (epoch{after}"),
        _ => text,
    }
}

/// Whether a line is the one that is shown. `…` stands for anything.
fn line_agrees(shown: &str, printed: &str) -> bool {
    if !shown.contains('…') {
        return shape(shown) == shape(printed);
    }
    let parts: Vec<String> = shown.split('…').map(shape).collect();
    let printed = shape(printed);
    let [first, middle @ .., last] = parts.as_slice() else { return false };
    let Some(mut rest) = printed.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        match rest.split_once(part.as_str()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

/// Whether an output is the one that is shown. A line of `…` stands for any number of lines.
pub(super) fn agrees(shown: &[&str], printed: &[&str]) -> bool {
    let Some((first, shown_rest)) = shown.split_first() else {
        return printed.iter().all(|line| line.trim().is_empty());
    };
    if *first == "…" {
        return (0..=printed.len()).any(|skipped| agrees(shown_rest, &printed[skipped..]));
    }
    let Some((line, printed_rest)) = printed.split_first() else {
        return shown.iter().all(|line| line.is_empty());
    };
    line_agrees(first, line) && agrees(shown_rest, printed_rest)
}

#[test]
fn shapes_differ_where_words_differ() {
    assert_eq!(shape("held      1,040 of 12"), "held # of #");
    assert_eq!(shape("6762f0dd1bb69f9f0000000a x"), "ID x");
    assert_eq!(shape("by process 12 on vm (epoch 3)"), "by process # on HOST (epoch #)");
    assert!(agrees(&["a 1", "…", "b"], &["a 2", "x", "y", "b"]));
    assert!(agrees(&["a 1 …"], &["a 2 and more"]));
    assert!(agrees(&["{\"a\":1,…,\"c\":3…"], &["{\"a\":2,\"b\":9,\"c\":4}"]));
    assert!(!agrees(&["{\"a\":1,…,\"d\":3…"], &["{\"a\":2,\"b\":9,\"c\":4}"]));
    assert!(!agrees(&["a … b"], &["a 2 c"]));
    assert!(!agrees(&["a 1"], &["a 2", "b"]));
    assert!(!agrees(&["working   yes"], &["working   no"]));
}
