//! What a pass does: feeds hand out pages, a pass carries one through plan → write → record, and
//! two lanes run passes.

mod claims;
pub mod context;
mod decide;
mod doubt;
pub mod dry_run;
pub mod dry_sweep;
mod dry_users;
mod erasing;
mod feeds;
mod heartbeat;
mod intents;
pub mod lanes;
mod leaving;
pub mod mapping_change;
mod matching;
mod merge;
mod newcomers;
mod notice;
mod noticed;
mod opt_outs;
mod owners;
mod pace;
mod page;
mod pass;
mod plan;
pub mod preview;
mod recorder;
mod recording;
mod result;
mod search_lag;
mod under_way;
pub mod users;
mod vanished;
mod write;

pub use context::{Board, Context, Policy};
pub use doubt::Doubt;
pub use erasing::step as erase_next;
pub use lanes::{Bulk, Urgent, Work};
pub use merge::Direction;
pub use newcomers::{Creating, braked};
pub use notice::LOG_AGAIN_AFTER;
pub use pace::Pace;
pub use result::Halt;
