//! Faults on purpose: a queue of "at the n-th call of this kind, do that", kept inside a stand-in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ledger::Call;

/// What a fault does to the call that it meets.
#[derive(Clone)]
pub enum What {
    /// Answer with this status and body (JSON by its first letter) and change nothing. Counts against the limits.
    Status(u16, String),
    /// Answer with a page of HTML, as a gateway in front would; nothing is changed or counted.
    Html(u16),
    /// Answer 302 to another place; nothing is changed or counted.
    Redirect(String),
    /// Close the connection before anything is done.
    Refuse,
    /// Never answer and never do it; the connection stays open.
    Hang,
    /// Wait first, then do it and answer. Done even if the caller has left meanwhile.
    Delay(Duration),
    /// Do it at once, answer late.
    ApplyThenDelay(Duration),
    /// Do it, then close the connection without an answer.
    ApplyThenDrop,
    /// Do it, then never answer; the connection stays open.
    ApplyThenHang,
    /// Do it, then answer 200 with this body instead of its own.
    ApplyThenSay(&'static str),
    /// Do it, announce the full length, send only so many bytes of the body, close.
    CutBody(usize),
    /// Do it, then send so many bytes of blanks instead of the body, without an announced length.
    Flood(usize),
    /// Do it, send the body byte by byte with this pause between two bytes.
    Drip(Duration),
    /// Run this before the call is done, then go on normally: to kill or edit at an exact moment.
    Run(Action),
    /// Do it, run this, then answer.
    ApplyThenRun(Action),
    /// Run this before the call is done, then the other.
    RunThen(Action, Box<What>),
}

pub type Action = Arc<dyn Fn(&Call) + Send + Sync>;

impl What {
    pub fn run(action: impl Fn(&Call) + Send + Sync + 'static) -> What {
        What::Run(Arc::new(action))
    }

    pub fn apply_then_run(action: impl Fn(&Call) + Send + Sync + 'static) -> What {
        What::ApplyThenRun(Arc::new(action))
    }

    pub fn run_then(action: impl Fn(&Call) + Send + Sync + 'static, what: What) -> What {
        What::RunThen(Arc::new(action), Box::new(what))
    }

    /// A status with a short body of no particular form.
    pub fn status(status: u16) -> What {
        What::Status(status, String::new())
    }
}

/// When and how often a fault strikes. Without [`Fault::times`] or [`Fault::always`]: once.
#[derive(Clone)]
pub struct Fault {
    kind: &'static str,
    key: Option<String>,
    skip: usize,
    left: Option<usize>,
    what: What,
}

impl Fault {
    /// For calls of this kind; `any` means every kind.
    pub fn on(kind: &'static str) -> Fault {
        Fault {
            kind,
            key: None,
            skip: 0,
            left: Some(1),
            what: What::Refuse,
        }
    }

    /// Only for calls with this key or external id.
    pub fn key(mut self, key: impl Into<String>) -> Fault {
        self.key = Some(key.into());
        self
    }

    /// Lets the first `calls` matching calls pass.
    pub fn skip(mut self, calls: usize) -> Fault {
        self.skip = calls;
        self
    }

    /// Strikes at the n-th matching call, counted from 1.
    pub fn nth(self, n: usize) -> Fault {
        self.skip(n.saturating_sub(1))
    }

    pub fn times(mut self, times: usize) -> Fault {
        self.left = Some(times);
        self
    }

    pub fn always(mut self) -> Fault {
        self.left = None;
        self
    }

    pub fn what(mut self, what: What) -> Fault {
        self.what = what;
        self
    }

    fn meets(&self, call: &Call) -> bool {
        let key_fits = self.key.as_ref().is_none_or(|key| {
            call.key.as_ref() == Some(key) || call.external_id.as_ref() == Some(key)
        });
        (self.kind == "any" || self.kind == call.kind) && key_fits && self.left != Some(0)
    }
}

#[derive(Default)]
pub struct Faults {
    queue: Mutex<Vec<Fault>>,
}

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.lock().push(fault);
    }

    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many faults still wait to strike.
    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    /// What is to happen to this call. The first fault that is ready wins; the others count the call as passed by,
    /// so that "the third create" means the third whatever befell the first two.
    pub fn strike(&self, call: &Call) -> Option<What> {
        let mut queue = self.lock();
        let mut struck = None;
        queue.retain_mut(|fault| {
            if !fault.meets(call) {
                return true;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return true;
            }
            if struck.is_some() {
                return true;
            }
            struck = Some(fault.what.clone());
            fault.left = fault.left.map(|left| left - 1);
            fault.left != Some(0)
        });
        struck
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.queue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
