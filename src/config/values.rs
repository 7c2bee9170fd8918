//! The checked values of all layers, by their keys. Secrets are kept apart, so that no error of
//! another crate can print one.

use std::collections::BTreeMap;
use std::fmt;

use config::ValueKind;
use secrecy::{ExposeSecret, SecretString};

#[derive(Clone, Default)]
pub struct Values {
    plain: BTreeMap<&'static str, ValueKind>,
    secrets: BTreeMap<&'static str, SecretString>,
}

/// Names of keys only. The fields of the settings show the values that are not secret.
impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.paths()).finish()
    }
}

impl Values {
    pub fn put(&mut self, path: &'static str, value: ValueKind) {
        self.plain.insert(path, value);
    }

    pub fn put_secret(&mut self, path: &'static str, secret: SecretString) {
        self.secrets.insert(path, secret);
    }

    pub fn number(&self, path: &str) -> Option<i64> {
        match self.plain.get(path)? {
            ValueKind::I64(number) => Some(*number),
            _ => None,
        }
    }

    pub fn flag(&self, path: &str) -> Option<bool> {
        match self.plain.get(path)? {
            ValueKind::Boolean(flag) => Some(*flag),
            _ => None,
        }
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        match self.plain.get(path)? {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn texts(&self, path: &str) -> Option<Vec<String>> {
        match self.plain.get(path)? {
            ValueKind::Array(list) => {
                let text = |value: &config::Value| match &value.kind {
                    ValueKind::String(text) => Some(text.trim().to_owned()),
                    _ => None,
                };
                list.iter().map(text).collect()
            }
            _ => None,
        }
    }

    /// A value in words; `None` for a secret.
    pub fn shown(&self, path: &str) -> Option<String> {
        match self.plain.get(path)? {
            ValueKind::Boolean(flag) => Some(flag.to_string()),
            ValueKind::I64(number) => Some(number.to_string()),
            ValueKind::String(text) => Some(text.clone()),
            ValueKind::Array(_) => self.texts(path).map(|texts| texts.join(", ")),
            _ => None,
        }
    }

    pub fn secret(&self, path: &str) -> Option<&SecretString> {
        self.secrets.get(path)
    }

    pub fn has(&self, path: &str) -> bool {
        self.plain.contains_key(path) || self.secrets.contains_key(path)
    }

    pub fn secret_paths(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.secrets.keys().copied()
    }

    fn paths(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.plain.keys().chain(self.secrets.keys()).copied()
    }

    /// The keys whose values differ, secrets included.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let exposed = |values: &Self, path: &str| {
            values.secret(path).map(|secret| secret.expose_secret().to_owned())
        };
        let mut paths: Vec<&'static str> = self
            .paths()
            .chain(other.paths())
            .filter(|path| {
                self.plain.get(path) != other.plain.get(path)
                    || exposed(self, path) != exposed(other, path)
            })
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}
