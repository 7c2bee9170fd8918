//! Changes in Intercom that were stored as due once.
//!
//! Every poll reads back over the same minutes. A contact that is held, or whose write fails, still
//! differs from what was settled. Without this memory each poll would make it due again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::contact::{Bases, KeapId};

/// More contacts than polls find within the minutes that they read twice. After a restart, or when
/// this many are known, each change is looked at once more.
const MOST: usize = 10_000;

/// What a list showed of a contact: its values, as digests, and its time of change in Unix seconds.
type Sight = (Vec<u8>, Option<i64>);

#[derive(Default)]
pub struct Noticed(Mutex<HashMap<KeapId, Sight>>);

impl Noticed {
    /// Whether this sight of the contact has been stored as due. Without a time, nobody knows
    /// whether a value was typed once more.
    pub fn has(&self, keap: KeapId, shown: &Bases, updated_at: Option<i64>) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&keap).is_some_and(|(bytes, at)| {
            at.is_some() && *at == updated_at && bytes == shown.as_bytes()
        })
    }

    /// Takes what the database has stored as due.
    pub fn note(&self, keap: KeapId, shown: &Bases, updated_at: Option<i64>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(keap, (shown.as_bytes().to_vec(), updated_at));
    }
}
