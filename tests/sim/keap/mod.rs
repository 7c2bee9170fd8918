//! The Keap stand-in: a server with a memory of people, and the handle that tests use.

mod companies;
pub(crate) mod consent;
mod create;
mod delivery;
pub(crate) mod details;
mod errors;
mod filter;
pub(crate) mod hooks;
pub(crate) mod knobs;
mod limits;
mod list;
mod memory;
pub(crate) mod model;
mod pager;
pub(crate) mod person;
mod render;
mod routes;
mod rows;
mod stamps;
mod tags;
pub(crate) mod users;
mod v1;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Handle;

use super::clock::Clock;
use super::faults::{Fault, Faults};
use super::http::{Door, StandIn};
use super::ledger::{Call, Ledger};
use super::message::{Answer, Compression, Described, Request};
use companies::Companies;
use consent::Consent;
use hooks::Hooks;
use knobs::KeapKnobs;
use limits::Limits;
pub(crate) use memory::Which;
use model::Model;
use person::Person;
use rows::Rows;
use tags::Tags;
use users::Users;

pub(crate) const DEFAULT_TOKEN: &str = "KeapAK-canary-keap-token";

/// A handle; all clones are the same Keap.
#[derive(Clone)]
pub(crate) struct Keap {
    shared: Arc<Shared>,
}

struct Shared {
    door: Door,
    clock: Clock,
    ledger: Ledger,
    faults: Faults,
    /// The runtime of hook deliveries, whichever thread raised the event.
    runtime: Handle,
    state: Mutex<State>,
}

struct State {
    token: String,
    rows: Rows,
    knobs: KeapKnobs,
    limits: Limits,
    hooks: Hooks,
    model: Model,
    consent: Consent,
    tags: Tags,
    users: Users,
    companies: Companies,
    /// Contents of custom fields that writes replaced: the contact, what stood there, and when.
    overwritten: Vec<(i64, Value, Instant)>,
    /// Number of list answers so far.
    lists: u64,
    /// Number of answers with v2 contacts so far.
    answers: u64,
}

impl Keap {
    /// Starts on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Keap {
        Keap::start_on(0).await.expect("loopback has a free port")
    }

    pub(crate) async fn start_on(port: u16) -> io::Result<Keap> {
        let (door, listener) = Door::bind(port).await?;
        let state = State {
            token: DEFAULT_TOKEN.to_owned(),
            rows: Rows::default(),
            knobs: KeapKnobs::default(),
            limits: Limits::default(),
            hooks: Hooks::default(),
            model: Model::default(),
            consent: Consent::default(),
            tags: Tags::default(),
            users: Users::default(),
            companies: Companies::default(),
            overwritten: Vec::new(),
            lists: 0,
            answers: 0,
        };
        let keap = Keap {
            shared: Arc::new(Shared {
                door,
                clock: Clock::default(),
                ledger: Ledger::of(&routes::KINDS),
                faults: Faults::default(),
                runtime: Handle::current(),
                state: Mutex::new(state),
            }),
        };
        keap.shared.door.serve(listener, keap.clone());
        Ok(keap)
    }

    /// `http://127.0.0.1:PORT/crm/rest`
    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/crm/rest", self.shared.door.port())
    }

    /// Closes the listener and all connections. The memory stays.
    pub(crate) async fn stop(&self) {
        self.shared.door.close().await;
    }

    /// Starts again on the same port.
    pub(crate) async fn resume(&self) {
        self.shared.door.reopen(self.clone()).await.expect("the former port is free");
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub(crate) fn token(&self) -> String {
        self.state().token.clone()
    }

    /// Sets the token. The old one is revoked.
    pub(crate) fn set_token(&self, token: &str) {
        self.state().token = token.to_owned();
    }

    pub(crate) fn knobs<T>(&self, turn: impl FnOnce(&mut KeapKnobs) -> T) -> T {
        turn(&mut self.state().knobs)
    }

    // Ledger and faults.

    pub(crate) fn ledger(&self) -> Vec<Call> {
        self.shared.ledger.calls()
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.shared.ledger.count(kind)
    }

    pub(crate) fn calls(&self) -> usize {
        self.shared.ledger.total()
    }

    pub(crate) fn kinds(&self) -> BTreeMap<&'static str, usize> {
        self.shared.ledger.kinds()
    }

    pub(crate) fn statuses(&self) -> BTreeMap<u16, usize> {
        self.shared.ledger.statuses()
    }

    pub(crate) fn clear_ledger(&self) {
        self.shared.ledger.clear(consent::subscribing);
    }

    /// `false` keeps only the counts.
    pub(crate) fn keep_calls(&self, keep: bool) {
        self.shared.ledger.keep_calls(keep);
    }

    pub(crate) fn fault(&self, fault: Fault) {
        if let Some(kind) = fault.kind() {
            self.shared.ledger.expect_kind(kind);
        }
        self.shared.faults.add(fault);
    }

    pub(crate) fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Number of faults with strikes left.
    pub(crate) fn faults_waiting(&self) -> usize {
        self.shared.faults.waiting()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl StandIn for Keap {
    fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.state().knobs.latency_ms)
    }

    fn compression(&self) -> Option<Compression> {
        self.state().knobs.compression
    }

    fn describe(&self, request: &Request) -> Described {
        self.describe_call(request)
    }

    fn answer(&self, request: &Request) -> Answer {
        self.answer_call(request)
    }

    fn answer_with(&self, request: &Request, status: u16, body: &str) -> Answer {
        self.fixed_answer(request, status, body)
    }
}
