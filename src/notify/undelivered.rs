//! A message that did not arrive.

use std::time::Duration;

/// A message that did not arrive.
#[derive(Debug)]
pub struct Undelivered {
    /// In words, without a token, a password or an address of mail.
    pub why: String,
    /// How long the target asks to be left alone.
    pub wait: Option<Duration>,
}

impl Undelivered {
    pub(super) fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), wait: None }
    }
}
