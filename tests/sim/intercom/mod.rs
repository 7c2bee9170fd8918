//! The Intercom stand-in: contacts with a memory, and the handle by which tests reach it.

pub mod contact;
mod draft;
mod errors;
mod index;
pub mod knobs;
mod limits;
mod memory;
mod places;
mod query;
mod render;
mod routes;
mod search;
mod store;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::clock::Clock;
use super::faults::{Fault, Faults};
use super::http::{Door, StandIn};
use super::ledger::{Call, Ledger};
use super::message::{Answer, Described, Request};
use knobs::IntercomKnobs;
use limits::Limits;
use store::Store;
use write::Moment;

pub const DEFAULT_TOKEN: &str = "canary-intercom-token";

/// A handle; all clones are the same Intercom.
#[derive(Clone)]
pub struct Intercom {
    shared: Arc<Shared>,
}

struct Shared {
    door: Door,
    clock: Clock,
    ledger: Ledger,
    faults: Faults,
    state: Mutex<State>,
}

struct State {
    token: String,
    store: Store,
    knobs: IntercomKnobs,
    limits: Limits,
    requests: u64,
}

impl Intercom {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Intercom {
        Intercom::start_on(0)
            .await
            .expect("a free port on loopback")
    }

    pub async fn start_on(port: u16) -> io::Result<Intercom> {
        let (door, listener) = Door::bind(port).await?;
        let state = State {
            token: DEFAULT_TOKEN.to_owned(),
            store: Store::default(),
            knobs: IntercomKnobs::default(),
            limits: Limits::default(),
            requests: 0,
        };
        let intercom = Intercom {
            shared: Arc::new(Shared {
                door,
                clock: Clock::default(),
                ledger: Ledger::default(),
                faults: Faults::default(),
                state: Mutex::new(state),
            }),
        };
        intercom.shared.door.serve(listener, intercom.clone());
        Ok(intercom)
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.shared.door.port())
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

    pub fn knobs<T>(&self, turn: impl FnOnce(&mut IntercomKnobs) -> T) -> T {
        turn(&mut self.state().knobs)
    }

    // The ledger, the windows and the faults.

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

    /// Also forgets the past windows.
    pub fn clear_ledger(&self) {
        self.shared.ledger.clear();
        self.state().limits.clear();
    }

    /// `false` keeps only the counts.
    pub fn keep_calls(&self, keep: bool) {
        self.shared.ledger.keep_calls(keep);
    }

    /// Start, calls let through and limit of each window.
    pub fn windows(&self) -> Vec<(i64, u32, u32)> {
        self.state().limits.windows()
    }

    /// Number of 429s for a full window.
    pub fn refused_by_limit(&self) -> usize {
        self.state().limits.refused()
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

    fn moment(&self) -> Moment {
        let now_ms = self.shared.clock.now_ms();
        Moment {
            now_ms,
            due_ms: now_ms + self.state().knobs.search_lag_ms,
        }
    }
}

impl StandIn for Intercom {
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
