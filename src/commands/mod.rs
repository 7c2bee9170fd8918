//! The commands, one file each, and the exit statuses that they share.

#[macro_use]
pub mod out;

mod ask;
pub mod check;
mod check_fields;
pub mod completions;
pub mod config;
mod confirm;
pub mod cursor;
mod database;
pub mod decide;
pub mod erase;
pub mod explain;
pub mod fields;
mod fields_create;
pub mod health;
pub mod held;
pub mod hooks;
pub mod init;
mod leased;
pub mod log;
mod look;
pub mod migrate;
mod missing_tags;
pub mod notify;
pub mod open;
pub mod pause;
pub mod plan;
pub mod run;
pub mod runs;
mod since;
mod stamped;
pub mod status;
pub mod sync;
mod wrap;

use std::process::ExitCode;

/// All is well.
pub const WELL: u8 = 0;
/// Some contacts or checks failed.
pub const SOME_FAILED: u8 = 1;
/// Nothing could be done.
pub const NOTHING_DONE: u8 = 2;

/// How a command ends: an exit status, or an error that says why nothing could be done.
pub type Ended = anyhow::Result<ExitCode>;

/// The rule of exit statuses, for the help of every command.
pub const EXIT_STATUSES: &str = "Exit status: 0 all well; 1 some contacts or checks failed; 2 nothing could be done; 78 a setting is wrong.";

pub fn exit(status: u8) -> Ended {
    Ok(ExitCode::from(status))
}
