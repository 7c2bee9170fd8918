//! The commands: one file each, and what they share.

mod ask;
pub mod check;
pub mod explain;
pub mod health;
pub mod held;
pub mod hooks;
pub mod migrate;
pub mod run;
pub mod status;
pub mod sync;

use std::process::ExitCode;

/// Everything is well.
pub const WELL: u8 = 0;
/// Some contacts failed, or a check did.
pub const SOME_FAILED: u8 = 1;
/// Nothing could be done.
pub const NOTHING_DONE: u8 = 2;

/// How a command ends: an exit status, or an error that says why nothing could be done.
pub type Ended = anyhow::Result<ExitCode>;

pub fn exit(status: u8) -> Ended {
    Ok(ExitCode::from(status))
}
