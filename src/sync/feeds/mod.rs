//! Feeds: the sources of contacts to look at. Each owns its memory and hands out one page at a
//! time.

mod ahead;
mod audit;
mod backfill;
pub(super) mod brake;
pub(super) mod by_id;
mod changed;
mod detour;
mod due;
mod missing;
mod paced;
mod plans;
mod poison;
mod polls;
mod pulse;
pub(super) mod sweep;
mod trail;
pub(super) mod walk;

pub(super) use audit::AuditFeed;
pub(super) use backfill::BackfillFeed;
pub(super) use changed::{ChangedFeed, Polled};
pub(super) use due::DueFeed;
pub use missing::missing;
pub(super) use paced::PacedFeed;
pub(super) use plans::PlanFeed;
pub(super) use sweep::{SweepFeed, Swept};
