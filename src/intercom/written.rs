//! What this process has made in Intercom beside contacts: tags and companies, by their names.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A process remembers so many; then it begins anew.
const REMEMBERED: usize = 10_000;

/// Intercom's ids, by what we call the thing.
#[derive(Default)]
pub(super) struct Made(Mutex<HashMap<String, String>>);

impl Made {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.lock().get(name).cloned()
    }

    pub(super) fn put(&self, name: &str, id: String) {
        let mut made = self.lock();
        if made.len() >= REMEMBERED {
            made.clear();
        }
        made.insert(name.to_owned(), id);
    }

    pub(super) fn forget(&self, name: &str) {
        self.lock().remove(name);
    }
}
