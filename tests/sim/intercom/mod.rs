//! The Intercom stand-in: a server with a memory of contacts, and the handle that tests use.

pub(crate) mod attributes;
mod companies;
pub(crate) mod contact;
mod draft;
mod drift;
mod errors;
mod index;
pub(crate) mod knobs;
mod limits;
mod memory;
mod places;
mod query;
mod render;
mod routes;
mod search;
mod store;
mod subscribing;
mod tags;
mod values;
mod workspace;
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
use super::message::{Answer, Compression, Described, Request};
use knobs::IntercomKnobs;
use limits::Limits;
use store::Store;
use workspace::Workspace;
use write::Moment;

pub(crate) const DEFAULT_TOKEN: &str = "canary-intercom-token";

/// A handle; all clones are the same Intercom.
#[derive(Clone)]
pub(crate) struct Intercom {
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
    workspace: Workspace,
    knobs: IntercomKnobs,
    limits: Limits,
    requests: u64,
}

impl Intercom {
    /// Starts on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Intercom {
        Intercom::start_on(0).await.expect("loopback has a free port")
    }

    pub(crate) async fn start_on(port: u16) -> io::Result<Intercom> {
        let (door, listener) = Door::bind(port).await?;
        let state = State {
            token: DEFAULT_TOKEN.to_owned(),
            store: Store::default(),
            workspace: Workspace::default(),
            knobs: IntercomKnobs::default(),
            limits: Limits::default(),
            requests: 0,
        };
        let intercom = Intercom {
            shared: Arc::new(Shared {
                door,
                clock: Clock::default(),
                ledger: Ledger::of(&routes::KINDS),
                faults: Faults::default(),
                state: Mutex::new(state),
            }),
        };
        intercom.shared.door.serve(listener, intercom.clone());
        Ok(intercom)
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.shared.door.port())
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

    pub(crate) fn knobs<T>(&self, turn: impl FnOnce(&mut IntercomKnobs) -> T) -> T {
        turn(&mut self.state().knobs)
    }

    // Ledger, windows and faults.

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

    /// Clears the ledger and forgets the past windows.
    pub(crate) fn clear_ledger(&self) {
        self.shared.ledger.clear(subscribing::subscribing);
        self.state().limits.clear();
    }

    /// `false` keeps only the counts.
    pub(crate) fn keep_calls(&self, keep: bool) {
        self.shared.ledger.keep_calls(keep);
    }

    /// Start, allowed calls and limit of each window.
    pub(crate) fn windows(&self) -> Vec<(i64, u32, u32)> {
        self.state().limits.windows()
    }

    /// Number of 429s because a window was full.
    pub(crate) fn refused_by_limit(&self) -> usize {
        self.state().limits.refused()
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

    fn moment(&self) -> Moment {
        let now_ms = self.shared.clock.now_ms();
        Moment { now_ms, due_ms: now_ms + self.state().knobs.search_lag_ms }
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
