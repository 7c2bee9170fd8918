//! Newcomers: users of Intercom without a link. By the settings, those whom Keap does not know get
//! a contact there; the others are only found.

mod create;
mod creating;
mod end;
mod expected;
mod look;
mod made;
mod whom;

pub(super) use expected::Expected;
pub(super) use look::step;
pub(super) use made::{Wanted, users_of};
pub(super) use whom::{among, hint};

pub use creating::Creating;
pub use whom::braked;
