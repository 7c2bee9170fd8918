//! Doubt: a field has shown, between two looks at the accounts, that it no longer fits.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::contact::FieldName;

/// What makes the mapping doubtful. Whoever looks at the accounts waits for it.
#[derive(Debug, Default)]
pub struct Doubt {
    raised: Notify,
    gone: Mutex<Vec<FieldName>>,
}

impl Doubt {
    /// Asks for a look at the accounts.
    pub fn raise(&self) {
        self.raised.notify_one();
    }

    /// Notes that one side no longer has the place of this field. False if that was known.
    pub fn add_gone(&self, field: &FieldName) -> bool {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !gone.contains(field);
        if is_new {
            gone.push(field.clone());
            self.raise();
        }
        is_new
    }

    /// The fields whose place is gone. Nothing of them is written any more.
    pub fn gone(&self) -> Vec<FieldName> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a look is asked for.
    pub async fn raised(&self) {
        self.raised.notified().await;
    }
}
