//! One newcomer that is looked at, and how a look may end early.

use crate::feed::Lane;
use crate::outcome::HoldReason;
use crate::remote::Failure;
use crate::store::{Newcomer, Settlement, StoreError};
use crate::sync::context::Context;
use crate::sync::result::Halt;

/// How a look ends before its settlement.
pub(super) enum End {
    Settle(Settlement),
    /// The brake stops creates: nobody else is looked at.
    Braked,
    Halt(Halt),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Again { why, delay } => {
                let after = delay.unwrap_or_default();
                Self::Settle(Settlement::Later { after, why: Some(why) })
            }
            Failure::Never { why } => {
                Self::Settle(Settlement::Held(HoldReason::CreateRefused(why)))
            }
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

/// One newcomer at which one lane looks.
pub(super) struct Look<'a> {
    pub context: &'a Context,
    pub lane: Lane,
    pub newcomer: &'a Newcomer,
}

impl Look<'_> {
    /// The settlement, unless the newcomer has failed too often.
    pub(super) fn within_attempts(&self, settlement: Settlement) -> Settlement {
        let Settlement::Later { after, why: Some(why) } = settlement else {
            return settlement;
        };
        let sync = &self.context.policy.sync;
        let attempts = u32::try_from(self.newcomer.attempts).unwrap_or_default();
        if attempts + 1 >= sync.max_attempts {
            let is_open = self.newcomer.create.is_some();
            return Settlement::Held(if is_open {
                HoldReason::CreateUnsure
            } else {
                HoldReason::LastTry(why)
            });
        }
        let step = sync.retry_base.saturating_mul(1 << attempts.min(20)).min(sync.retry_cap);
        let after = if after.is_zero() { step } else { after };
        Settlement::Later { after, why: Some(why) }
    }
}
