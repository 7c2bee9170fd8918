//! The ledger: every call a stand-in got, in order, with what became of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::Value;

/// One call as the stand-in saw it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Counts all calls of this stand-in from 1, whatever was cleared since.
    pub n: u64,
    pub at: Instant,
    /// What the call asks for: `list`, `create`, …
    pub kind: &'static str,
    pub method: String,
    pub path: String,
    /// The raw query, still percent-encoded.
    pub query: String,
    /// The id in the path, else the identity that the body names.
    pub key: Option<String>,
    /// Intercom only: the external id that the body names or the contact in the path holds.
    pub external_id: Option<String>,
    pub body: Option<Value>,
    /// 0 while no answer was given, and for good if none was.
    pub status: u16,
    /// Whether the stand-in's memory was changed by it (reads never apply).
    pub applied: bool,
    pub authorization_ok: bool,
}

#[derive(Default)]
pub struct Ledger {
    inner: Mutex<Inner>,
}

struct Inner {
    next: u64,
    keep_calls: bool,
    calls: Vec<Call>,
    kinds: BTreeMap<&'static str, usize>,
    statuses: BTreeMap<u16, usize>,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            next: 0,
            keep_calls: true,
            calls: Vec::new(),
            kinds: BTreeMap::new(),
            statuses: BTreeMap::new(),
        }
    }
}

impl Ledger {
    fn with<T>(&self, run: impl FnOnce(&mut Inner) -> T) -> T {
        run(&mut self
            .inner
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Notes an arriving call and gives it its number.
    pub fn open(&self, mut call: Call) -> Call {
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

    /// Notes what became of a call; a call without an answer keeps status 0.
    pub fn close(&self, n: u64, status: u16, applied: bool) {
        self.with(|inner| {
            if status != 0 {
                *inner.statuses.entry(status).or_default() += 1;
            }
            // Only a few calls run at once, so the one looked for is near the end.
            if let Some(call) = inner.calls.iter_mut().rev().find(|call| call.n == n) {
                call.status = status;
                call.applied = applied;
            }
        });
    }

    pub fn calls(&self) -> Vec<Call> {
        self.with(|inner| inner.calls.clone())
    }

    pub fn count(&self, kind: &str) -> usize {
        self.with(|inner| inner.kinds.get(kind).copied().unwrap_or(0))
    }

    pub fn total(&self) -> usize {
        self.with(|inner| inner.kinds.values().sum())
    }

    pub fn kinds(&self) -> BTreeMap<&'static str, usize> {
        self.with(|inner| inner.kinds.clone())
    }

    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        self.with(|inner| inner.statuses.clone())
    }

    pub fn clear(&self) {
        self.with(|inner| {
            inner.calls.clear();
            inner.kinds.clear();
            inner.statuses.clear();
        });
    }

    /// `false` keeps only the counts, for runs of a million calls.
    pub fn keep_calls(&self, keep: bool) {
        self.with(|inner| inner.keep_calls = keep);
    }

    pub fn keeps_calls(&self) -> bool {
        self.with(|inner| inner.keep_calls)
    }
}
