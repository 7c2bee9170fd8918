//! All tests of the whole, in one binary; each file speaks of one side of it.
#![allow(clippy::unwrap_used)]

mod accounts;
mod cli;
mod contracts;
mod http;
mod layers;
mod lease;
mod matching;
mod on_call;
mod outcomes;
mod passes;
mod process;
mod recovery;
mod sim;
mod store;
mod sweep;
mod systemd;
mod unknowns;
mod world;
