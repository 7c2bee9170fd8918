//! Keeps Intercom in step with Keap.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod contact;
pub mod store;
