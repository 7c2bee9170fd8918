//! Finds contacts by a text: a compact table from the hash of a text to the slots that have it.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::contact::Slot;

/// Holds only hashes of lower-case texts, so a caller must compare the text of what it finds.
#[derive(Default)]
pub(super) struct Places(BTreeSet<(u64, Slot)>);

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.to_lowercase().hash(&mut hasher);
    hasher.finish()
}

impl Places {
    pub(super) fn add(&mut self, text: Option<&str>, slot: Slot) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.0.insert((hash(text), slot));
        }
    }

    pub(super) fn remove(&mut self, text: Option<&str>, slot: Slot) {
        if let Some(text) = text {
            self.0.remove(&(hash(text), slot));
        }
    }

    /// The slots that may have this text, the oldest first.
    pub(super) fn find(&self, text: &str) -> impl Iterator<Item = Slot> + '_ {
        let hash = hash(text);
        self.0.range((hash, Slot::MIN)..=(hash, Slot::MAX)).map(|(_, slot)| *slot)
    }
}
