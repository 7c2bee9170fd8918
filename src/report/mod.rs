//! What people read: how the installation stands, what came of a run, and the story of a contact.
//! The commands print it and the pages show it, so each sentence stands once.

mod alarms;
mod contact;
pub mod csv;
mod decision;
mod erasure;
mod fields;
mod keap_queue;
mod lines;
pub mod pages;
mod pauses;
mod people;
mod plan;
mod progress;
mod run;
mod side_by_side;
mod status;
mod to_keap;
mod troubles;
pub mod words;

pub use alarms::{AlarmRules, DatabaseTrouble};
pub use contact::{Fact, Story};
pub use decision::decision_in_words;
pub use erasure::{erasure_lines, erasure_next, erasure_verdict};
pub use fields::{MappedField, MappedFields};
pub use keap_queue::{
    CALLS_OF_A_CREATE, DayQuota, KeapQueue, Rates, SecondDirection, calls_of, time_for,
    time_to_create,
};
pub use lines::{lease_line, schema_line, standby_line};
pub use pauses::{END_OF_PAUSE, capital, paused, resumed};
pub use people::{People, Shown};
pub use plan::{
    action_word, plan_actions, plan_changed, plan_facts, plan_line, plan_refusal, plan_scope,
    plan_standing,
};
pub use progress::Progress;
pub use run::{came_of, outcomes_of, scope_of};
pub use side_by_side::{ComparedField, SideBySide, SideShown};
pub use status::{PartStates, Status, is_counted, lag_seconds};
pub use to_keap::misses_notifications;
pub use troubles::Trouble;
