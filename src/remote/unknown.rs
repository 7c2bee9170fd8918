//! Writes whose outcome is unknown: begun, and not answered for certain.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::breaker::Kind;
use super::call::Call;

/// The contacts with such writes, each with their number.
///
/// A write counts from the moment before it is sent. It ends with an answer from which it is clear
/// whether the write was made. One that is cut, late or given up stays.
#[derive(Default)]
pub struct UnknownWrites(Mutex<HashMap<i64, u32>>);

impl UnknownWrites {
    fn lock(&self) -> MutexGuard<'_, HashMap<i64, u32>> {
        // Plain counts: no state between two of them is half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is about to be sent.
    pub(super) fn begin(&self, call: &Call<'_>) {
        if !is_write(call) {
            return;
        }
        let mut unknown = self.lock();
        for contact in &call.about {
            *unknown.entry(*contact).or_default() += 1;
        }
    }

    /// It is clear from the answer whether the call was carried out.
    pub(super) fn answered(&self, call: &Call<'_>) {
        if !is_write(call) {
            return;
        }
        let mut unknown = self.lock();
        for contact in &call.about {
            if let Some(count) = unknown.get_mut(contact) {
                *count -= 1;
                if *count == 0 {
                    unknown.remove(contact);
                }
            }
        }
    }

    /// Forgets the writes of a contact: what was unknown of it is stored, or a new look begins.
    pub fn forget(&self, contact: i64) {
        self.lock().remove(&contact);
    }

    /// Whether a write of this contact is under way, or its outcome is unknown.
    pub fn contains(&self, contact: i64) -> bool {
        self.lock().contains_key(&contact)
    }
}

fn is_write(call: &Call<'_>) -> bool {
    matches!(call.kind, Kind::Create | Kind::Write)
}

/// Whether the status alone says that nothing was written. A server that fails may have written.
pub(super) fn is_refusal(status: u16) -> bool {
    (300..=499).contains(&status) && status != 408
}
