//! Erasing: deletes a contact in Intercom, proves it by a read, and removes every row of it.
//!
//! From the request on, the contact counts as erased, so no pass writes it. The urgent lane carries
//! the erasure out under a claim, and repeats it until it is proved.

mod end;
mod intercom;
mod step;

pub use step::step;
