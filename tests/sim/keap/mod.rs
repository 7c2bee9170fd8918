//! The Keap stand-in: people with a memory, and the handle by which tests reach it.

mod delivery;
mod errors;
mod filter;
pub mod hooks;
pub mod knobs;
mod limits;
mod list;
mod memory;
pub mod person;
mod render;
mod routes;
mod rows;
mod stamps;
mod v1;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;

use super::clock::Clock;
use super::faults::{Fault, Faults};
use super::http::{Door, StandIn};
use super::ledger::{Call, Ledger};
use super::message::{Answer, Described, Request};
use hooks::Hooks;
use knobs::KeapKnobs;
use limits::Limits;
pub use memory::Which;
use person::Person;
use rows::Rows;

pub const DEFAULT_TOKEN: &str = "KeapAK-canary-keap-token";

/// A handle; all clones are the same Keap.
#[derive(Clone)]
pub struct Keap {
    shared: Arc<Shared>,
}

struct Shared {
    door: Door,
    clock: Clock,
    ledger: Ledger,
    faults: Faults,
    /// Deliveries of hooks run here, whoever raised them.
    runtime: Handle,
    state: Mutex<State>,
}

struct State {
    token: String,
    rows: Rows,
    knobs: KeapKnobs,
    limits: Limits,
    hooks: Hooks,
    /// List answers so far.
    lists: u64,
    /// Answers with v2 contacts so far.
    answers: u64,
}

impl Keap {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Keap {
        Keap::start_on(0).await.expect("a free port on loopback")
    }

    pub async fn start_on(port: u16) -> io::Result<Keap> {
        let (door, listener) = Door::bind(port).await?;
        let state = State {
            token: DEFAULT_TOKEN.to_owned(),
            rows: Rows::default(),
            knobs: KeapKnobs::default(),
            limits: Limits::default(),
            hooks: Hooks::default(),
            lists: 0,
            answers: 0,
        };
        let keap = Keap {
            shared: Arc::new(Shared {
                door,
                clock: Clock::default(),
                ledger: Ledger::default(),
                faults: Faults::default(),
                runtime: Handle::current(),
                state: Mutex::new(state),
            }),
        };
        keap.shared.door.serve(listener, keap.clone());
        Ok(keap)
    }

    /// `http://127.0.0.1:PORT/crm/rest`
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/crm/rest", self.shared.door.port())
    }

    /// Closes the listener and all connections. The memory is kept.
    pub async fn stop(&self) {
        self.shared.door.shut().await;
    }

    /// Comes back on the same port.
    pub async fn resume(&self) {
        self.shared
            .door
            .reopen(self.clone())
            .await
            .expect("the port of before");
    }

    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub fn token(&self) -> String {
        self.state().token.clone()
    }

    /// Revokes the old token.
    pub fn set_token(&self, token: &str) {
        self.state().token = token.to_owned();
    }

    pub fn knobs<T>(&self, turn: impl FnOnce(&mut KeapKnobs) -> T) -> T {
        turn(&mut self.state().knobs)
    }

    // The ledger and the faults.

    pub fn ledger(&self) -> Vec<Call> {
        self.shared.ledger.calls()
    }

    pub fn count(&self, kind: &str) -> usize {
        self.shared.ledger.count(kind)
    }

    pub fn calls(&self) -> usize {
        self.shared.ledger.total()
    }

    pub fn kinds(&self) -> BTreeMap<&'static str, usize> {
        self.shared.ledger.kinds()
    }

    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        self.shared.ledger.statuses()
    }

    pub fn clear_ledger(&self) {
        self.shared.ledger.clear();
    }

    /// `false` keeps only the counts.
    pub fn keep_calls(&self, keep: bool) {
        self.shared.ledger.keep_calls(keep);
    }

    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Faults that have not struck, or not often enough.
    pub fn faults_waiting(&self) -> usize {
        self.shared.faults.waiting()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
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

    fn describe(&self, request: &Request) -> Described {
        self.describe_call(request)
    }

    fn answer(&self, request: &Request) -> Answer {
        self.answer_call(request)
    }

    fn dictate(&self, request: &Request, status: u16, body: &str) -> Answer {
        self.dictate_answer(request, status, body)
    }
}
