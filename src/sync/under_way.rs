//! The intents under way: what the pages of this process are writing now.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// The intents that a page under way owns. Every other intent that is stored says that a write has
/// an unknown outcome.
#[derive(Clone, Default)]
pub struct UnderWay(Arc<Mutex<HashSet<Uuid>>>);

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        // A set of ids is whole between two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, intents: &[Uuid]) {
        self.lock().extend(intents);
    }

    pub(super) fn remove(&self, intents: &[Uuid]) {
        let mut under_way = self.lock();
        for intent in intents {
            under_way.remove(intent);
        }
    }

    /// Whether a page under way owns the intent.
    pub(super) fn contains(&self, intent: Uuid) -> bool {
        self.lock().contains(&intent)
    }
}
