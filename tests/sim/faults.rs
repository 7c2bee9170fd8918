//! Faults on purpose. Each stand-in has a queue of rules such as "drop the answer of the third
//! create".

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ledger::Call;

/// What a fault does to the call that it hits. To perform a call is to read or change the
/// stand-in's memory as the call asks.
#[derive(Clone)]
pub(crate) enum What {
    /// Answer with this status and body and change nothing. A body that starts like JSON is sent as
    /// JSON. The call counts against the limits.
    Status(u16, String),
    /// Answer with a page of HTML, as a gateway does. Nothing is changed, and no limit is used.
    Html(u16),
    /// Answer 302 to this address. Nothing is changed, and no limit is used.
    Redirect(String),
    /// Close the connection without performing the call.
    Refuse,
    /// Never perform the call and never answer. The connection stays open.
    Hang,
    /// Wait, then perform the call and answer. It is performed even if the caller has left by then.
    Delay(Duration),
    /// Perform the call at once and answer late.
    ApplyThenDelay(Duration),
    /// Perform the call, then close the connection without an answer.
    ApplyThenDrop,
    /// Perform the call, then never answer. The connection stays open.
    ApplyThenHang,
    /// Perform the call, then answer 200 with this body instead of the real one.
    ApplyThenSay(&'static str),
    /// Perform the call, announce the full length, send this many bytes of the body and close.
    CutBody(usize),
    /// Perform the call, then send this many blanks instead of the body, without a length.
    Flood(usize),
    /// Perform the call, then send the body byte by byte with this pause before each.
    Drip(Duration),
    /// Run this action, then perform the call and answer. A test uses it to kill or edit at an
    /// exact moment.
    Run(Action),
    /// Perform the call, run this action, then answer.
    ApplyThenRun(Action),
    /// Run this action, then apply the other fault.
    RunThen(Action, Box<What>),
}

pub(crate) type Action = Arc<dyn Fn(&Call) + Send + Sync>;

impl What {
    pub(crate) fn run(action: impl Fn(&Call) + Send + Sync + 'static) -> What {
        What::Run(Arc::new(action))
    }

    pub(crate) fn apply_then_run(action: impl Fn(&Call) + Send + Sync + 'static) -> What {
        What::ApplyThenRun(Arc::new(action))
    }

    pub(crate) fn run_then(action: impl Fn(&Call) + Send + Sync + 'static, what: What) -> What {
        What::RunThen(Arc::new(action), Box::new(what))
    }

    /// A status with an empty body.
    pub(crate) fn status(status: u16) -> What {
        What::Status(status, String::new())
    }
}

/// When and how often a fault strikes. It strikes once, unless [`Fault::times`] or
/// [`Fault::always`] says otherwise.
#[derive(Clone)]
pub(crate) struct Fault {
    kind: &'static str,
    key: Option<String>,
    text: Option<String>,
    skip: usize,
    left: Option<usize>,
    what: What,
}

impl Fault {
    /// A fault for calls of this kind; `any` means every kind.
    pub(crate) fn on(kind: &'static str) -> Fault {
        Fault { kind, key: None, text: None, skip: 0, left: Some(1), what: What::Refuse }
    }

    /// The kind of calls; `None`: every kind.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        (self.kind != "any").then_some(self.kind)
    }

    /// Limits the fault to calls with this key or external id.
    pub(crate) fn key(mut self, key: impl Into<String>) -> Fault {
        self.key = Some(key.into());
        self
    }

    /// Limits the fault to calls whose body contains this text. The ledger must keep its calls.
    pub(crate) fn containing(mut self, text: impl Into<String>) -> Fault {
        self.text = Some(text.into());
        self
    }

    /// Lets the first `calls` matching calls through.
    pub(crate) fn skip(mut self, calls: usize) -> Fault {
        self.skip = calls;
        self
    }

    /// Strikes at the n-th matching call; the first is 1.
    pub(crate) fn nth(self, n: usize) -> Fault {
        self.skip(n.saturating_sub(1))
    }

    pub(crate) fn times(mut self, times: usize) -> Fault {
        self.left = Some(times);
        self
    }

    pub(crate) fn always(mut self) -> Fault {
        self.left = None;
        self
    }

    pub(crate) fn what(mut self, what: What) -> Fault {
        self.what = what;
        self
    }

    fn matches(&self, call: &Call) -> bool {
        let key_fits = self.key.as_ref().is_none_or(|key| {
            call.key.as_ref() == Some(key) || call.external_id.as_ref() == Some(key)
        });
        let text_fits = self.text.as_ref().is_none_or(|text| {
            call.body.as_ref().is_some_and(|body| body.to_string().contains(text))
        });
        let kind_fits = self.kind == "any" || self.kind == call.kind;
        kind_fits && key_fits && text_fits && self.left != Some(0)
    }
}

#[derive(Default)]
pub(crate) struct Faults {
    queue: Mutex<Vec<Fault>>,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.lock().push(fault);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// How many faults have strikes left.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().len()
    }

    /// The fault for this call, if one strikes. The first fault that is ready strikes. The others
    /// count the call as let through, so "the third create" is the third even if faults hit the
    /// first two.
    pub(crate) fn strike(&self, call: &Call) -> Option<What> {
        let mut queue = self.lock();
        let mut struck = None;
        queue.retain_mut(|fault| {
            if !fault.matches(call) {
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
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
