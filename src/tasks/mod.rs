//! Background work beside the passes: one file each.

pub mod hooks;
pub mod lease;
pub mod mapping;
pub mod pauses;
pub mod plans;
pub mod requests;
pub mod retention;
pub mod tags;
pub mod users;
pub mod walk_schedule;
