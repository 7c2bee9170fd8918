//! Keeps Intercom in step with Keap: every contact that Keap shows reaches Intercom, once, and Postgres says so.
//!
//! The modules in reading order; arrows point down only, and `tests/layers.rs` holds them to it:
//!
//! | module | duty | may import |
//! |---|---|---|
//! | [`contact`] | our own words: ids, e-mail, fingerprint, link; no I/O | nothing of ours |
//! | [`bucket`] | how often something may be caused; no I/O | nothing of ours |
//! | [`config`] | settings: typed, checked, secret | nothing of ours |
//! | [`remote`] | what both clients share: send, pacer, breaker, classes of failure | `contact` |
//! | [`keap`], [`intercom`] | the two clients; they never see each other | `remote`, `contact` |
//! | [`store`] | Postgres; the only SQL | `contact` |
//! | [`sync`] | the loop, and one pass on one screen | all above |
//! | [`trigger`], [`schedule`] | why a pass starts | `trigger` |
//! | [`http`] | the HTTP surface | `trigger`, `store`, `bucket`, `contact` |
//! | [`logs`], [`app`], [`commands`] | where the parts meet | everything |
//!
//! One contact's life: a feed (`sync/feeds`) takes a page from Keap; `sync/plan` gathers what is known of its contacts
//! and `sync/decide` says, without any I/O, what is to be done; `sync/write` does it at Intercom, paced and concurrent;
//! `sync/record` puts the outcomes into one transaction, with the cursor when the page is whole. Killed anywhere, the
//! page is taken again: an update repeats its content, a create is answered 409 and becomes a link.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod app;
pub mod bucket;
pub mod commands;
pub mod config;
pub mod contact;
pub mod http;
pub mod intercom;
pub mod keap;
pub mod logs;
pub mod remote;
pub mod schedule;
pub mod store;
pub mod sync;
pub mod trigger;
