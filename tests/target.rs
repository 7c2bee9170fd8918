//! A process that anybody may signal.
#![allow(dead_code)] // Each test, example or bench uses only a part.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::sim::What;

/// Signals a process from anywhere, also from a stand-in in the middle of a call.
#[derive(Clone, Default)]
pub(crate) struct Target(Arc<Mutex<Option<Pid>>>);

impl Target {
    /// Signals go to this process from now on.
    pub(crate) fn aim_at(&self, child: &Child) {
        *self.pid() = Some(Pid::from_child(child));
    }

    /// The status of the process if it has ended. No signal is sent after that.
    pub(crate) fn reap(&self, child: &mut Child) -> io::Result<Option<ExitStatus>> {
        // Under the lock, so that nobody signals a process that has been reaped.
        let mut pid = self.pid();
        let status = child.try_wait()?;
        if status.is_some() {
            *pid = None;
        }
        Ok(status)
    }

    fn pid(&self) -> MutexGuard<'_, Option<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does nothing after the process was reaped, because its id may belong to another one then.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.pid();
        if let Some(pid) = *pid {
            // The process may have ended by itself.
            let _ = kill_process(pid, signal);
            let ended = match signal {
                Signal::KILL => WaitIdOptions::EXITED,
                Signal::STOP => WaitIdOptions::STOPPED,
                _ => return,
            };
            // Returns when no thread of the process runs any more. NOWAIT leaves it to be reaped.
            let _ = waitid(WaitId::Pid(pid), ended | WaitIdOptions::NOWAIT);
        }
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// A call arrives; the process dies before the stand-in carries it out.
    pub(crate) fn dies_before(&self) -> What {
        let target = self.clone();
        What::run_then(move |_| target.kill(), What::Refuse)
    }

    /// A call is carried out; the process dies before the answer.
    pub(crate) fn dies_after(&self) -> What {
        let target = self.clone();
        What::apply_then_run(move |_| target.kill())
    }
}
