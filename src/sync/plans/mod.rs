//! Plans: a look like that of a dry run, stored for a person, and carried out once it is approved.
//! `feeds/plans.rs` carries it out.

pub(super) mod brakes;
pub(super) mod compare;
pub mod look;
pub(super) mod mark;
pub(super) mod row;
