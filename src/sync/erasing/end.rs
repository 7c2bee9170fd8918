//! One erasure that is carried out, and how it may end without a proof.

use std::time::Duration;

use crate::config::EraseMode;
use crate::contact::{Digest, Email, KeapId};
use crate::remote::Failure;
use crate::store::{OpenErasure, StoreError};
use crate::sync::context::Context;
use crate::sync::result::Halt;

/// How an erasure ends for now, without a proof.
pub(super) enum End {
    /// Tried again at once, or after a time. Without a reason, no attempt is used up.
    Later {
        after: Option<Duration>,
        why: Option<String>,
    },
    /// A person must act first.
    Waits(String),
    Halt(Halt),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Again { why, delay } => Self::Later { after: delay, why: Some(why) },
            // A pause that has begun meanwhile: the next look waits for its end.
            Failure::Paused { .. } => Self::Later { after: None, why: None },
            Failure::Never { why } => Self::Later { after: None, why: Some(why) },
            failure => Self::Halt(Halt::of_reading(failure)),
        }
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Halt(error.into())
    }
}

impl From<Halt> for End {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// One erasure that is carried out.
pub(super) struct Erasing<'a> {
    pub context: &'a Context,
    pub open: &'a OpenErasure,
}

impl Erasing<'_> {
    pub(super) fn id(&self) -> KeapId {
        self.open.id
    }

    /// What happens to an Intercom contact, and its stored word.
    pub(super) fn mode(&self) -> (EraseMode, &'static str) {
        match self.context.policy.erase.mode {
            EraseMode::Delete => (EraseMode::Delete, "delete"),
            EraseMode::Archive => (EraseMode::Archive, "archive"),
        }
    }

    /// Adds an address that a side shows, so that nobody with it is brought back. It is stored
    /// before anything is deleted.
    pub(super) async fn add_address(
        &self,
        known: &mut Vec<Digest>,
        shown: Option<Email>,
    ) -> Result<(), End> {
        let Some(email) = shown.map(|email| self.context.key.email(&email)) else {
            return Ok(());
        };
        if !known.contains(&email) {
            known.push(email);
            let fence = self.context.fence()?;
            self.context.store.add_erased_addresses(&fence, self.id(), &[email]).await?;
        }
        Ok(())
    }
}
