//! All integration tests in one binary. Each module covers one side of the daemon.
// The rules of `pedantic` are for the daemon. In a test, the shortest code reads best.
#![allow(clippy::unwrap_used, clippy::pedantic)]

mod accounts;
mod canary;
mod catalogue;
mod checker;
mod cli;
mod contracts;
mod decisions;
mod erasure;
mod fields;
mod first_walk;
mod holds;
mod http;
mod intents;
mod layers;
mod lease;
mod loopback_proxy;
mod mapping;
mod matching;
mod on_call;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod our_clock;
mod outcomes;
mod passes;
mod pauses;
mod people;
mod pooler;
mod postgres_proxy;
mod postgres_wire;
mod process;
mod reading;
mod recovery;
mod reload;
mod requests;
mod runs;
mod sim;
mod store;
mod sweep;
mod systemd;
mod tags;
mod target;
mod two_way;
mod ui;
mod unknowns;
mod world;
