//! Settings that have no default and that a command cannot do without.

use secrecy::SecretString;

use super::error::{self, SettingsError};
use super::settings::{Needed, Settings};

impl Settings {
    /// Checks that all of `needed` are set; the error names every one that is missing.
    pub fn require(&self, needed: &[Needed]) -> Result<(), SettingsError> {
        let missing = needed.iter().filter(|item| !self.values.has(item.path()));
        SettingsError::unless_empty(missing.map(|item| error::missing(item.path())).collect())
    }

    /// A secret, or the error that says how to give it.
    pub fn secret(&self, needed: Needed) -> Result<&SecretString, SettingsError> {
        let secret = self.values.secret(needed.path());
        secret.ok_or_else(|| SettingsError::one(error::missing(needed.path())))
    }
}
