//! What is wrong with the settings, in words for the person who wrote them.

use std::path::{Path, PathBuf};

use super::keys;
use super::kinds::Kind;

/// The exit status for wrong settings: `EX_CONFIG` of sysexits.
pub const EXIT_STATUS: u8 = 78;

/// All that is wrong with the settings; its text has one line per problem and no secret.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError(Vec<Problem>);

impl SettingsError {
    pub(super) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    pub(super) fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// A setting that a library refused later. `text` names the setting and holds no secret.
    pub fn refused(text: impl Into<String>) -> Self {
        Self::one(Problem::Other(text.into()))
    }

    /// The same for several.
    pub fn refused_all(texts: impl IntoIterator<Item = String>) -> Self {
        Self(texts.into_iter().map(Problem::Other).collect())
    }

    /// The problems, one line each.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(ToString::to_string)
    }
}

/// One thing that is wrong. `name` is always the name the person used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("{name}: {shown} is not valid; expected {expected}")]
    Wrong { name: String, shown: String, expected: String },
    #[error("{name} is not a setting; {hint}")]
    Unknown { name: String, hint: String },
    #[error("{name} is missing: {remedy}")]
    Missing { name: String, remedy: String },
    #[error("{one} and {other} are both set; keep one of them")]
    Both { one: String, other: String },
    #[error("{name}: {} {trouble}", path.display())]
    Unreadable { name: String, path: PathBuf, trouble: String },
    #[error("{0}")]
    Other(String),
}

pub(super) fn missing(path: &str) -> Problem {
    let key = keys::at(path).expect("callers name declared keys");
    let name = key.env.clone();
    let ways = match key.kind {
        Kind::Secret(_) => format!(
            "set {name}, or {name}_FILE to the path of a file that holds it, \
             or give a systemd credential named {name}"
        ),
        _ => format!("set {name}, or {path} in the file given with --config"),
    };
    let remedy = format!("{ways}; expected {}", key.kind.expected());
    Problem::Missing { name, remedy }
}

pub(super) fn unreadable(name: String, path: &Path, trouble: impl Into<String>) -> Problem {
    Problem::Unreadable { name, path: path.to_owned(), trouble: trouble.into() }
}
