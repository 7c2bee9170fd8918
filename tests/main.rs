//! All tests of the whole, in one binary; each file speaks of one side of it.
#![allow(clippy::unwrap_used)]

mod contracts;
mod http;
mod matching;
mod passes;
mod sim;
mod world;
