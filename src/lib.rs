//! Keeps Intercom in step with Keap: every contact that Keap shows reaches Intercom, once, and
//! Postgres says so.
//!
//! The rooms in reading order. Arrows point down only, and `tests/layers` reads this table:
//!
//! | room | duty | may import |
//! |---|---|---|
//! | [`contact`] | our own words: ids, e-mail, fingerprint, link; no I/O | nothing of ours |
//! | [`mapping`] | which fields are synced, and where each side has them | `contact` |
//! | [`outcome`] | actions, reasons and run failures, each with code and remedy | `contact` |
//! | [`feed`] | the sources of contacts: cursor, walk, counts, lane | `contact`, `outcome` |
//! | [`pause`] | what a person has stopped for a while; no I/O | `feed` |
//! | [`bucket`] | how often something may happen; no I/O | nothing of ours |
//! | [`trigger`] | the wake-up of a lane | nothing of ours |
//! | [`memory`] | gives free memory back to the system | nothing of ours |
//! | [`config`] | settings: typed, checked, secret | nothing of ours |
//! | [`remote`] | what both clients share: send, pacer, breaker, classes of failure | `feed` |
//! | [`keap`], [`intercom`] | the two clients; they never see each other | `config`, `remote`, `feed`, `contact`, `mapping` |
//! | [`store`] | Postgres: the only SQL | `contact`, `feed`, `outcome`, `pause` |
//! | [`sync`] | feeds, one pass on one screen, two lanes | `config`, `contact`, `outcome`, `feed`, `pause`, `bucket`, `trigger`, `memory`, `remote`, `keap`, `intercom`, `store` |
//! | [`tasks`] | background work beside the passes | `contact`, `feed`, `pause`, `trigger`, `remote`, `keap`, `store`, `sync` |
//! | [`report`] | what people read: the status, runs and the story of a contact, in words | `contact`, `feed`, `outcome`, `pause`, `store`, `tasks` |
//! | [`notify`] | alarms: who is told of what is wrong, by webhook and by mail | `config`, `remote`, `report`, `store` |
//! | [`schedule`] | cron lines that fire triggers | `trigger` |
//! | [`http`] | the HTTP surface | `contact`, `outcome`, `feed`, `pause`, `bucket`, `trigger`, `config`, `store`, `report`, `notify` |
//! | [`systemd`] | ready, alive, reloading, stopping | `feed`, `remote`, `store`, `sync` |
//! | [`logs`] | log lines | `config` |
//! | [`app`], [`daemon`], [`commands`] | where the parts meet | everything |
//!
//! One contact's life: a feed (`sync/feeds`) takes a page from Keap. `sync/plan` gathers what is
//! known of its contacts, and `sync/decide` says what is to be done, without any I/O. `sync/write`
//! does it at Intercom, paced and concurrent. `sync/recorder` stores the outcomes in short
//! transactions, with the cursor when the page is whole. After a kill anywhere, the page is taken
//! again: an update repeats its content, and a create is answered 409 and becomes a link.
// `println!` panics when its reader has gone away: `commands/out.rs` writes instead.
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::pedantic))]

pub mod app;
pub mod bucket;
pub mod commands;
pub mod config;
pub mod contact;
pub mod daemon;
pub mod feed;
pub mod http;
pub mod intercom;
pub mod keap;
pub mod logs;
pub mod mapping;
pub mod memory;
pub mod notify;
pub mod outcome;
pub mod pause;
pub mod remote;
pub mod report;
pub mod schedule;
pub mod store;
pub mod sync;
pub mod systemd;
pub mod tasks;
pub mod trigger;
