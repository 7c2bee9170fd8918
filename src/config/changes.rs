//! What differs between two readings of the settings: names of keys, never values.

use super::settings::Settings;

/// Keys that a process reads once, at its start.
const NEED_A_RESTART: &[&str] = &["http.listen", "log.format"];

impl Settings {
    /// The keys in which `newer` differs, as they stand in a settings file: those that a running
    /// process can apply, and those that need a restart.
    pub fn changes(&self, newer: &Self) -> (Vec<&'static str>, Vec<&'static str>) {
        let changed = self.values.differences(&newer.values);
        changed.into_iter().partition(|key| !NEED_A_RESTART.contains(key))
    }
}
