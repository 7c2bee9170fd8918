//! Where a value came from.

use std::path::PathBuf;

use super::kinds::Key;

/// Where a value came from. It decides which name the error text uses.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Defaults,
    File(PathBuf),
    Credential(PathBuf),
    Environment,
    /// The file that the environment's `NAME_FILE` points to.
    SecretFile(PathBuf),
}

impl Origin {
    /// The name of `key` that the person who set it has used.
    pub(super) fn name(&self, key: &Key) -> String {
        match self {
            Self::Defaults | Self::File(_) => self.path_name(&key.path),
            Self::Credential(path) => format!("{} in credential {}", key.env, path.display()),
            Self::Environment => key.env.clone(),
            Self::SecretFile(path) => format!("{}_FILE in {}", key.env, path.display()),
        }
    }

    /// The name of something in a settings file; it may not be a key.
    pub(super) fn path_name(&self, path: &str) -> String {
        match self {
            Self::File(file) => format!("{path} in {}", file.display()),
            _ => format!("{path} in the built-in defaults"),
        }
    }

    /// Whether every value is a text, so that numbers must be parsed.
    pub(super) fn is_text(&self) -> bool {
        !matches!(self, Self::Defaults | Self::File(_))
    }
}
