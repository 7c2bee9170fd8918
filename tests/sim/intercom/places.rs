//! Where texts are found: a compact many-to-many table from a text's hash to the slots that hold it.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::contact::Slot;

/// Hashes only, lower-cased: who looks something up compares the text itself.
#[derive(Default)]
pub struct Places(BTreeSet<(u64, Slot)>);

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.to_lowercase().hash(&mut hasher);
    hasher.finish()
}

impl Places {
    pub fn add(&mut self, text: Option<&str>, slot: Slot) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.0.insert((hash(text), slot));
        }
    }

    pub fn remove(&mut self, text: Option<&str>, slot: Slot) {
        if let Some(text) = text {
            self.0.remove(&(hash(text), slot));
        }
    }

    /// Slots whose text may be this one, the oldest first.
    pub fn find(&self, text: &str) -> impl Iterator<Item = Slot> + '_ {
        let hash = hash(text);
        self.0
            .range((hash, Slot::MIN)..=(hash, Slot::MAX))
            .map(|(_, slot)| *slot)
    }
}
