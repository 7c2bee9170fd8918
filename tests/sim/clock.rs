//! A stand-in's own clock: real time plus an offset that a test may move back and forth.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// Cheap to clone; all clones share the offset.
#[derive(Clone, Default)]
pub(crate) struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn now_ms(&self) -> i64 {
        Utc::now().timestamp_millis() + self.offset_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Moves the clock without waiting.
    pub(crate) fn advance_ms(&self, step_ms: i64) {
        self.offset_ms.fetch_add(step_ms, Ordering::Relaxed);
    }

    /// The value of a `Date` header at this moment.
    pub(crate) fn http_date(&self) -> String {
        let now = DateTime::from_timestamp_millis(self.now_ms()).unwrap_or_default();
        now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}
