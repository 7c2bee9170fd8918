//! The trigger: a wake-up without content. While one waits, a second one is dropped.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use tokio::sync::Notify;

/// Wakes a lane. The work is in the database, never in the wake-up.
#[derive(Debug, Default)]
pub struct Trigger(Notify);

impl Trigger {
    /// Wakes the lane; `reason` is only logged.
    pub fn fire(&self, reason: &'static str) {
        tracing::debug!(reason, "The trigger was fired.");
        self.0.notify_one();
    }

    /// Takes the waiting wake-up, if there is one.
    pub fn take(&self) -> bool {
        self.fired().now_or_never().is_some()
    }

    /// Waits for the next wake-up, or takes the waiting one. Nothing is lost if the wait is
    /// cancelled.
    pub async fn fired(&self) {
        self.0.notified().await;
    }
}

/// What wakes idle lanes for work that other processes store.
#[derive(Debug, Default)]
pub struct Requests {
    /// Contacts are due.
    pub due: Trigger,
    /// Walks are requested.
    pub runs: Trigger,
    /// Something was paused or resumed.
    pub pauses: Trigger,
    /// Plans are asked for.
    pub plans: Trigger,
    listening: AtomicBool,
}

impl Requests {
    /// Whether requests are announced to this process. If not, the lanes must look for them.
    pub fn are_heard(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    /// From now on requests fire the triggers. All fire once for what was stored before.
    pub fn start_listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
        self.wake_all();
    }

    /// From now on the lanes must look by themselves, beginning now.
    pub fn stop_listening(&self) {
        self.listening.store(false, Ordering::Relaxed);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.due.fire("listening");
        self.runs.fire("listening");
        self.pauses.fire("listening");
        self.plans.fire("listening");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_fires_are_one_wake_up() {
        let trigger = Trigger::default();
        for _ in 0..3 {
            trigger.fire("test");
        }
        assert!(trigger.take());
        assert!(!trigger.take());
    }
}
