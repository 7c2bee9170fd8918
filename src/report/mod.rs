//! What people read: how the installation stands, what came of a run, and the story of a contact.
//! The commands print it and the pages show it, so each sentence stands once.

mod contact;
mod erasure;
mod keap_queue;
mod lines;
pub mod pages;
mod run;
mod status;
mod to_keap;
mod troubles;
pub mod words;

pub use contact::{Fact, Story};
pub use erasure::{erasure_lines, erasure_next, erasure_verdict};
pub use keap_queue::{DayQuota, KeapQueue, Rates, SecondDirection, calls_of, time_for};
pub use run::{came_of, outcomes_of, scope_of};
pub use status::{PartStates, Status, is_counted, lag_seconds};
pub use to_keap::misses_notifications;
pub use troubles::Trouble;
