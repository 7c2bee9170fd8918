//! The mapping: which fields the daemon keeps equal, and where each side has them.

mod filter;
mod fitted;
mod holds;
mod rule;
mod rules;
#[cfg(test)]
mod tests;
mod words;

pub use filter::Filter;
pub use fitted::{Field, Fitted};
pub use holds::{Holds, Unfit, nearest};
pub use rule::{ARCHIVED, COMPANY, Rule, TAG};
pub use rules::Mapping;
