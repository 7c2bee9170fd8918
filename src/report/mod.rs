//! What people read: how the installation stands, what came of a run, and the story of a contact.
//! The commands print it and the pages show it, so each sentence stands once.

mod contact;
mod lines;
pub mod pages;
mod run;
mod status;
mod troubles;
pub mod words;

pub use contact::{Fact, Story};
pub use run::{came_of, outcomes_of, scope_of};
pub use status::{PartStates, Status, is_counted, lag_seconds};
pub use troubles::Trouble;
