//! The contacts that this process wrote last: Intercom has them, and takes writes to them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::seq::IndexedRandom;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::contact::{IntercomId, KeapId};

/// How many contacts are remembered.
const REMEMBERED: usize = 16;

/// A contact that Intercom has, under its id on both sides.
pub type Bystander = (KeapId, IntercomId);

/// The contacts that were written last.
#[derive(Default)]
pub(super) struct Recent {
    written: Mutex<VecDeque<Bystander>>,
    added: Notify,
}

impl Recent {
    pub(super) fn add(&self, keap: KeapId, intercom: IntercomId) {
        let mut written = self.lock();
        if written.len() == REMEMBERED {
            written.pop_front();
        }
        written.push_back((keap, intercom));
        drop(written);
        self.added.notify_waiters();
    }

    /// Ends when the next contact is written.
    pub(super) fn next(&self) -> Notified<'_> {
        self.added.notified()
    }

    pub(super) fn any_but(&self, about: &[KeapId]) -> Option<Bystander> {
        let others: Vec<Bystander> =
            self.lock().iter().filter(|(keap, _)| !about.contains(keap)).cloned().collect();
        others.choose(&mut rand::rng()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Bystander>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
