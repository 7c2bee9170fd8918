//! The tags of the workspace: a contact shows ids of tags, and the mapping has their names.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Default)]
struct Known {
    /// The name of each tag by its id, in lower case: names have no case in Intercom.
    names: HashMap<String, String>,
    /// When all of them were learnt.
    at: Option<Instant>,
}

#[derive(Default)]
pub(super) struct KnownTags(RwLock<Known>);

impl KnownTags {
    /// All tags of the workspace.
    pub(super) fn learn(&self, tags: impl IntoIterator<Item = (String, String)>) {
        let names = tags.into_iter().map(|(id, name)| (id, name.to_lowercase())).collect();
        let known = Known { names, at: Some(Instant::now()) };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Some of them, as they are now.
    pub(super) fn learn_more(&self, tags: impl IntoIterator<Item = (String, String)>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.names.extend(tags.into_iter().map(|(id, name)| (id, name.to_lowercase())));
    }

    /// The name of a tag, in lower case.
    pub(super) fn name(&self, id: &str) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).names.get(id).cloned()
    }

    /// Whether the workspace has a tag of this name, in any case of letters.
    pub(super) fn has(&self, name: &str) -> bool {
        self.id_of(name).is_some()
    }

    /// The tag of this name, in any case of letters.
    pub(super) fn id_of(&self, name: &str) -> Option<String> {
        let name = name.trim().to_lowercase();
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut tags = known.names.iter();
        tags.find(|(_, known)| **known == name).map(|(id, _)| id.clone())
    }

    /// Whether all of them were learnt within this time.
    pub(super) fn are_younger_than(&self, age: Duration) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.at.is_some_and(|at| at.elapsed() < age)
    }
}
