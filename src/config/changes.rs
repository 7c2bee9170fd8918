//! What differs between two readings of the settings: names of keys, never values.

use secrecy::{ExposeSecret, SecretString};

use super::Settings;

/// Keys that a process takes once, at its start.
const NEED_A_RESTART: &[&str] = &["http.listen", "log.format"];

impl Settings {
    /// The keys in which `newer` differs, as they stand in a settings file: those that can be applied to a running
    /// process, and those that need a restart.
    pub fn changes(&self, newer: &Self) -> (Vec<&'static str>, Vec<&'static str>) {
        let values = self.values.keys().chain(newer.values.keys());
        let mut changed: Vec<&'static str> = values
            .filter(|key| self.values.get(*key) != newer.values.get(*key))
            .copied()
            .collect();
        let of = |settings: &Self| {
            [
                ("database.url", settings.database_url.clone()),
                ("keap.api_key", settings.keap.api_key.clone()),
                ("keap.webhook_secret", settings.keap.webhook_secret.clone()),
                (
                    "intercom.access_token",
                    settings.intercom.access_token.clone(),
                ),
                ("http.api_token", settings.http.api_token.clone()),
            ]
        };
        let same = |one: &Option<SecretString>, other: &Option<SecretString>| {
            one.as_ref().map(ExposeSecret::expose_secret)
                == other.as_ref().map(ExposeSecret::expose_secret)
        };
        for ((key, one), (_, other)) in of(self).into_iter().zip(of(newer)) {
            if !same(&one, &other) {
                changed.push(key);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
            .into_iter()
            .partition(|key| !NEED_A_RESTART.contains(key))
    }
}
