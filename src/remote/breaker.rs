//! The breaker: a remote that fails again and again is left alone, and asked by one harmless call whether it is back.

use std::time::Duration;

use tokio::time::Instant;

/// So many failures in a row are no accident of single contacts.
const FAILURES: u32 = 5;
/// The first pause; it doubles with every probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A probe that was given up is not waited for any longer than this.
const PROBE_TIME: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    pauses: u32,
    probing_since: Option<Instant>,
}

/// What a call may do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    Call,
    /// The pause is over: find out by a harmless call whether the remote is back, then tell the breaker.
    Probe,
    Pause(Duration),
}

impl Breaker {
    pub fn admit(&mut self, now: Instant) -> Admission {
        match (self.open_until, self.probing_since) {
            (None, _) => Admission::Call,
            (Some(until), _) if now < until => Admission::Pause(until - now),
            (Some(_), Some(since)) if now < since + PROBE_TIME => {
                Admission::Pause(Duration::from_millis(250))
            }
            (Some(_), _) => {
                self.probing_since = Some(now);
                Admission::Probe
            }
        }
    }

    /// How long the remote is still left alone; nothing when it is not.
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        self.open_until
            .map(|until| until.saturating_duration_since(now))
    }

    pub fn succeeded(&mut self) {
        // Late answers to calls from before the pause do not end it; its probe does.
        if self.open_until.is_none() {
            self.failures = 0;
        }
    }

    /// Takes in a failed call. Returns how long to stay away when the breaker is open.
    pub fn failed(&mut self, now: Instant) -> Option<Duration> {
        if let Some(until) = self.open_until {
            return Some(
                until
                    .saturating_duration_since(now)
                    .max(Duration::from_millis(250)),
            );
        }
        self.failures += 1;
        (self.failures >= FAILURES).then(|| self.open(now))
    }

    pub fn probed(&mut self, now: Instant, well: bool) -> Option<Duration> {
        self.probing_since = None;
        if well {
            *self = Self::default();
            return None;
        }
        Some(self.open(now))
    }

    /// The remote itself asked to be left alone.
    pub fn pause(&mut self, now: Instant, pause: Duration) {
        self.open_until = Some(
            self.open_until
                .map_or(now + pause, |until| until.max(now + pause)),
        );
    }

    fn open(&mut self, now: Instant) -> Duration {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.pauses.min(10))
            .min(LONGEST_PAUSE)
            .mul_f64(rand::random_range(0.5..1.0));
        self.pauses += 1;
        self.open_until = Some(now + pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_closes_by_a_probe() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(breaker.failed(now), None);
        }
        breaker.succeeded();
        for _ in 1..FAILURES {
            assert_eq!(breaker.failed(now), None);
        }
        let pause = breaker.failed(now).expect("open");
        assert!(matches!(breaker.admit(now), Admission::Pause(_)));
        breaker.succeeded();
        assert!(
            matches!(breaker.admit(now), Admission::Pause(_)),
            "a late answer does not end the pause"
        );
        assert_eq!(breaker.admit(now + pause), Admission::Probe);
        assert!(
            matches!(breaker.admit(now + pause), Admission::Pause(_)),
            "one probe at a time"
        );
        let longer = breaker.probed(now + pause, false).expect("still open");
        assert_eq!(breaker.admit(now + pause + longer), Admission::Probe);
        assert_eq!(breaker.probed(now, true), None);
        assert_eq!(breaker.admit(now), Admission::Call);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_a_lost_probe_is_not_waited_for_for_ever() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.failed(now);
        }
        for _ in 0..20 {
            now += LONGEST_PAUSE;
            assert_eq!(breaker.admit(now), Admission::Probe);
            assert!(breaker.probed(now, false).expect("open") <= LONGEST_PAUSE);
        }
        now += LONGEST_PAUSE;
        assert_eq!(breaker.admit(now), Admission::Probe);
        assert_eq!(breaker.admit(now + PROBE_TIME), Admission::Probe);
    }
}
