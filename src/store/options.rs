//! The `options` of a connection: settings that Postgres takes when a session begins.

/// A setting of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    name: String,
    value: String,
}

impl Setting {
    /// An expression that sets it up to the end of the transaction.
    pub(super) fn as_expression(&self) -> String {
        format!("set_config({}, {}, true)", quoted(&self.name), quoted(&self.value))
    }
}

/// A text as a literal of SQL.
fn quoted(text: &str) -> String {
    // The form with E means the same whatever `standard_conforming_strings` says.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The settings in `options`: `-c name=value` or `--name=value`. What has another form is left out.
pub(super) fn settings_of(options: &str) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(long) => Some(long.to_owned()),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        if let Some((name, value)) = assignment.as_deref().and_then(|text| text.split_once('=')) {
            settings.push(Setting { name: name.replace('-', "_"), value: value.to_owned() });
        }
    }
    settings
}

/// Splits at blanks. A backslash takes the character after it as it is.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_ascii_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_setting_is_read_and_written_as_sql() {
        for (options, expected) in [
            ("", ""),
            ("-c search_path=acme", "set_config(E'search_path', E'acme', true)"),
            ("  -csearch_path=acme ", "set_config(E'search_path', E'acme', true)"),
            ("--search-path=acme", "set_config(E'search_path', E'acme', true)"),
            (r"-c search_path=a,\ b", "set_config(E'search_path', E'a, b', true)"),
            (r"-c x.y=it's\\here", r"set_config(E'x.y', E'it''s\\here', true)"),
            ("-c a=1 -c b=2", "set_config(E'a', E'1', true), set_config(E'b', E'2', true)"),
            ("endpoint=ep-cool-1 -W 5", ""),
        ] {
            let set: Vec<String> =
                settings_of(options).iter().map(Setting::as_expression).collect();
            assert_eq!(set.join(", "), expected, "{options:?}");
        }
    }
}
