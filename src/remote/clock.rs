//! A remote's clock, learnt from its `Date` headers: the remote states its limits in its own time,
//! and neither clock is trusted to be right.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// Maps a remote's time to our monotonic clock. A step of the host's clock has no effect.
#[derive(Debug)]
pub struct RemoteClock {
    base: Instant,
    /// The host's time at `base`, for a remote that sends no `Date`.
    host_at_base: f64,
    /// The smallest possible value of the remote's time minus ours, in seconds. `Date` is cut to
    /// the second, so the largest of these bounds is the best one.
    least_offset: Option<f64>,
}

impl RemoteClock {
    pub fn new(now: Instant) -> Self {
        Self { base: now, host_at_base: seconds(Utc::now()), least_offset: None }
    }

    /// Learns from the `Date` of an answer whose call was sent and answered at these times.
    pub fn observe(&mut self, date: DateTime<Utc>, sent: Instant, received: Instant) {
        let at_least = seconds(date) - self.local(received);
        let at_most = seconds(date) + 1.0 - self.local(sent);
        self.least_offset = Some(match self.least_offset {
            // The new answer contradicts the known bound: the remote's clock has stepped since.
            Some(known) if known <= at_most => known.max(at_least),
            _ => at_least,
        });
    }

    /// The remote's time now in unix seconds; never ahead of the truth.
    pub fn now(&self, now: Instant) -> f64 {
        self.local(now) + self.least_offset.unwrap_or(self.host_at_base)
    }

    fn local(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.base).as_secs_f64()
    }
}

fn seconds(at: DateTime<Utc>) -> f64 {
    // Microseconds of this century fit into a double.
    #[expect(clippy::cast_precision_loss)]
    let micros = at.timestamp_micros() as f64;
    micros / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn date(unix: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(unix, 0).unwrap()
    }

    #[test]
    fn many_dates_give_the_time_to_a_fraction_of_a_second() {
        let start = Instant::now();
        let mut clock = RemoteClock::new(start);
        // The remote is 1,000,000.37 s ahead of our count, and each answer takes 10 ms.
        for step in 0..40_u32 {
            let sent = start + Duration::from_millis(100) * step;
            let received = sent + Duration::from_millis(10);
            let truth = 1_000_000.37 + (received - start).as_secs_f64() - 0.005;
            clock.observe(date(truth as i64), sent, received);
        }
        let later = start + Duration::from_secs(10);
        let error = 1_000_010.37 - clock.now(later);
        assert!((0.0..0.12).contains(&error), "{error}");
    }

    #[test]
    fn the_clock_follows_when_the_remote_steps_back() {
        let start = Instant::now();
        let mut clock = RemoteClock::new(start);
        clock.observe(date(5_000), start, start);
        clock.observe(date(1_000), start, start);
        assert!((clock.now(start) - 1_000.0).abs() < 0.001);
    }
}
