//! x
#![allow(dead_code)]
pub mod client;
pub mod clock;
pub mod faults;
pub mod http;
pub mod keap;
pub mod ledger;
pub mod opaque;
