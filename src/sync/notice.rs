//! Notices: a lasting fault is logged at once, then seldom, so that a dead remote does not fill the
//! log.

use std::time::Duration;

use tokio::time::Instant;

use super::result::Halt;
use crate::feed::Lane;

/// Log a lasting fault at once, then at most this often.
pub const LOG_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// The last fault of a lane that was logged.
#[derive(Default)]
pub(super) struct Notice(Option<(String, Instant)>);

impl Notice {
    /// Logs why a lane stops, unless the same was logged a short time ago.
    pub(super) fn log(&mut self, lane: Lane, halt: &Halt) {
        let text = halt.to_string();
        let was_logged =
            |(last, at): &(String, Instant)| *last == text && at.elapsed() < LOG_AGAIN_AFTER;
        if self.0.as_ref().is_some_and(was_logged) {
            return;
        }
        let lane = lane.as_str();
        let retry_in_ms = u64::try_from(halt.retry_in().as_millis()).unwrap_or(u64::MAX);
        let error = halt as &dyn std::error::Error;
        match halt {
            Halt::Cancelled | Halt::LeaseLost | Halt::Paused(_) => {
                tracing::debug!(lane, error, "The lane stopped.");
            }
            Halt::Remote { needs_person: false, .. } | Halt::Store(_) => {
                tracing::warn!(lane, retry_in_ms, error, "The lane waits and goes on by itself.");
            }
            Halt::Remote { .. } | Halt::Feed(_) | Halt::Panicked => tracing::error!(
                lane,
                retry_in_ms,
                error,
                "The lane has stopped and needs a person. Nothing is lost."
            ),
        }
        self.0 = Some((text, Instant::now()));
    }

    /// Logs that a lane works again, if a fault was logged before.
    pub(super) fn clear(&mut self, lane: Lane) {
        if self.0.take().is_some() {
            tracing::info!(lane = lane.as_str(), "The lane works again.");
        }
    }
}
