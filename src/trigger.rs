//! The trigger: a wake-up with room for one and nothing in it; a second one while one waits is dropped.

use futures_util::FutureExt;
use tokio::sync::Notify;

/// Wakes a lane. What is to be done is in the database, never in the wake-up.
#[derive(Debug, Default)]
pub struct Trigger(Notify);

impl Trigger {
    /// Wakes the lane; `reason` is for the log alone.
    pub fn fire(&self, reason: &'static str) {
        tracing::debug!(reason, "The trigger was fired.");
        self.0.notify_one();
    }

    /// Takes the wake-up that waits, if one does.
    pub fn take(&self) -> bool {
        self.fired().now_or_never().is_some()
    }

    /// Waits for the next wake-up, or takes the one that waits. Nothing is lost when the wait is given up.
    pub async fn fired(&self) {
        self.0.notified().await;
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
