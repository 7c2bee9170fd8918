//! Checks single values, shows them without secrets, and reads them from files.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use config::ValueKind;

use super::kinds::{Key, Kind};

/// No secret is longer; a larger file is the wrong file.
const LARGEST_SECRET_BYTES: u64 = 64 * 1024;

/// The value in the type of its key; `None` if it does not fit.
pub(super) fn checked(key: &Key, value: &ValueKind, is_text: bool) -> Option<ValueKind> {
    let read = match (&key.kind, value) {
        (Kind::Int(..), ValueKind::String(text)) if is_text => ValueKind::I64(text.parse().ok()?),
        (Kind::Texts, ValueKind::String(text)) if is_text => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            ValueKind::Array(parts.map(|part| config::Value::new(None, part)).collect())
        }
        (Kind::Bool, ValueKind::String(text)) if is_text => ValueKind::Boolean(text.parse().ok()?),
        _ => value.clone(),
    };
    let fits = match (&key.kind, &read) {
        (Kind::Int(min, max), ValueKind::I64(number)) => (min..=max).contains(&number),
        (Kind::Bool, ValueKind::Boolean(_)) => true,
        (Kind::Texts, ValueKind::Array(list)) => list
            .iter()
            .all(|value| matches!(&value.kind, ValueKind::String(text) if !text.trim().is_empty())),
        (Kind::Choice(names), ValueKind::String(text)) => names.contains(&text.as_str()),
        (Kind::Text(form) | Kind::Secret(form), ValueKind::String(text)) => {
            !text.contains(char::REPLACEMENT_CHARACTER) && (form.holds)(text)
        }
        _ => false,
    };
    fits.then_some(read)
}

/// The value for an error text, unless it is or may hold a secret.
pub(super) fn shown(key: &Key, value: &ValueKind) -> String {
    const LONGEST: usize = 60;
    match value {
        ValueKind::String(text) if text.is_empty() => "an empty value".to_owned(),
        _ if key.is_secret() => "the value (not shown)".to_owned(),
        // The refused parts of a URL may hold a password or a key.
        ValueKind::String(text) if text.contains(['@', '?', '#']) && key.path.ends_with("_url") => {
            "the value (not shown, as it may hold a password)".to_owned()
        }
        ValueKind::String(text) if text.chars().count() > LONGEST => {
            format!("{:?}…", text.chars().take(LONGEST).collect::<String>())
        }
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

/// The text of a parse error without the line that it quotes from the file: it may hold a secret.
pub(super) fn without_source(error: &str) -> String {
    let mut lines = error.lines().filter(|line| !line.trim().is_empty());
    match (lines.next(), lines.next_back()) {
        (Some(place), Some(reason)) => format!("{place}: {reason}"),
        (place, _) => place.unwrap_or_default().to_owned(),
    }
}

/// The text of a file without its line end, and the metadata of the file.
pub(super) fn read_small(path: &Path) -> Result<(String, Metadata), String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LARGEST_SECRET_BYTES {
        return Err(format!("is larger than {LARGEST_SECRET_BYTES} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok((text.to_owned(), meta))
}

/// Whether a file is empty or holds only line ends.
pub(super) fn is_blank(path: &Path) -> bool {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(3).read_to_end(&mut bytes))
        .is_ok_and(|_| bytes.len() < 3 && bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')))
}

/// Whether every user of the machine can read the file.
#[cfg(unix)]
pub(super) fn is_open_to_all(meta: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.is_file() && meta.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
pub(super) fn is_open_to_all(_: &Metadata) -> bool {
    false
}
