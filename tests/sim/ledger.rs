//! The ledger of a stand-in: every call in order, with its result.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::Value;

/// One call as the stand-in received it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The number of the call, from 1. Clearing the ledger does not reset it.
    pub n: u64,
    pub at: Instant,
    /// The kind of the call: `list`, `create`, …
    pub kind: &'static str,
    pub method: String,
    pub path: String,
    /// The raw query, still percent-encoded.
    pub query: String,
    /// The id in the path, else the external id or e-mail in the body.
    pub key: Option<String>,
    /// Intercom only: the external id in the body, else that of the contact in the path.
    pub external_id: Option<String>,
    pub body: Option<Value>,
    /// 0 until the call is answered; it stays 0 if it never is.
    pub status: u16,
    /// Whether the call changed the stand-in's memory; a read never does.
    pub applied: bool,
    pub authorization_ok: bool,
}

pub(crate) struct Ledger {
    /// All kinds of calls. A test that asks for another one would always find none.
    known: &'static [&'static str],
    inner: Mutex<Inner>,
}

struct Inner {
    next: u64,
    keep_calls: bool,
    calls: Vec<Call>,
    kinds: BTreeMap<&'static str, usize>,
    statuses: BTreeMap<u16, usize>,
    /// What [`Ledger::clear`] found in the calls that it cleared.
    suspects: Vec<String>,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            next: 0,
            keep_calls: true,
            calls: Vec::new(),
            kinds: BTreeMap::new(),
            statuses: BTreeMap::new(),
            suspects: Vec::new(),
        }
    }
}

impl Ledger {
    /// The ledger of a stand-in that takes calls of these kinds.
    pub(crate) fn of(known: &'static [&'static str]) -> Self {
        Self { known, inner: Mutex::default() }
    }

    /// Fails if no call can have this kind.
    pub(crate) fn expect_kind(&self, kind: &str) {
        assert!(self.known.contains(&kind), "no call has the kind {kind:?}: {:?}", self.known);
    }

    fn with<T>(&self, run: impl FnOnce(&mut Inner) -> T) -> T {
        run(&mut self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Notes a call that arrives, and numbers it.
    pub(crate) fn open(&self, mut call: Call) -> Call {
        self.expect_kind(call.kind);
        self.with(|inner| {
            inner.next += 1;
            call.n = inner.next;
            *inner.kinds.entry(call.kind).or_default() += 1;
            if inner.keep_calls {
                inner.calls.push(call.clone());
            }
        });
        call
    }

    /// Notes the result of a call. A call without an answer keeps status 0.
    pub(crate) fn close(&self, n: u64, status: u16, applied: bool) {
        self.with(|inner| {
            if status != 0 {
                *inner.statuses.entry(status).or_default() += 1;
            }
            // Few calls run at once, so this call is near the end.
            if let Some(call) = inner.calls.iter_mut().rev().find(|call| call.n == n) {
                call.status = status;
                call.applied = applied;
            }
        });
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.with(|inner| inner.calls.clone())
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.expect_kind(kind);
        self.with(|inner| inner.kinds.get(kind).copied().unwrap_or(0))
    }

    pub(crate) fn total(&self) -> usize {
        self.with(|inner| inner.kinds.values().sum())
    }

    pub(crate) fn kinds(&self) -> BTreeMap<&'static str, usize> {
        self.with(|inner| inner.kinds.clone())
    }

    pub(crate) fn statuses(&self) -> BTreeMap<u16, usize> {
        self.with(|inner| inner.statuses.clone())
    }

    /// What is suspicious in any call so far, also in those that were cleared.
    pub(crate) fn suspects(&self, suspicion: fn(&Call) -> Option<String>) -> Vec<String> {
        self.with(|inner| {
            let now = inner.calls.iter().filter_map(suspicion);
            inner.suspects.iter().cloned().chain(now).collect()
        })
    }

    /// Clears the calls. What is suspicious in them stays.
    pub(crate) fn clear(&self, suspicion: fn(&Call) -> Option<String>) {
        self.with(|inner| {
            inner.suspects.extend(inner.calls.iter().filter_map(suspicion));
            inner.calls.clear();
            inner.kinds.clear();
            inner.statuses.clear();
        });
    }

    /// `false` keeps only the counts, which suits runs of a million calls.
    pub(crate) fn keep_calls(&self, keep: bool) {
        self.with(|inner| inner.keep_calls = keep);
    }

    pub(crate) fn keeps_calls(&self) -> bool {
        self.with(|inner| inner.keep_calls)
    }
}
