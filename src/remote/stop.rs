//! The stops of a side that refuses us: why, until when, and how it is looked at again.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;

/// A side that has just stopped is looked at again after this time, and then after ever longer
/// ones: a fail-over of the remote may refuse every credential for a moment.
const FIRST_RECHECK: Duration = Duration::from_secs(30);

/// Whether the side is stopped, and how often it was.
#[derive(Default)]
pub(super) struct Stops {
    now: Option<Stopped>,
    /// How many there were since the last call that succeeded.
    in_a_row: u32,
}

struct Stopped {
    why: String,
    until: Instant,
    /// The credential is refused. So the harmless call shows alone whether that is over.
    for_credential: bool,
}

impl Stops {
    pub(super) fn is_stopped(&self) -> bool {
        self.now.is_some()
    }

    /// How long the stop still lasts.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let until = self.now.as_ref().map(|stopped| stopped.until);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Whether the harmless call must show that the stop is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.now.as_ref().is_some_and(|stopped| stopped.until <= now)
    }

    /// Stops the side, for `longest` at most. Returns the failure of the call that found it.
    pub(super) fn stop(&mut self, why: &str, status: u16, longest: Duration) -> Failure {
        let doublings = self.in_a_row.min(10);
        let retry_in = FIRST_RECHECK.saturating_mul(1 << doublings).min(longest);
        let until = Instant::now() + retry_in;
        self.now = Some(Stopped { why: why.to_owned(), until, for_credential: status == 401 });
        self.in_a_row += 1;
        Failure::Stop { why: why.to_owned(), retry_in }
    }

    /// Fails while the stop lasts. Afterwards a real call may show whether its cause is gone,
    /// unless the harmless one shows it.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), Failure> {
        match &self.now {
            Some(Stopped { why, until, .. }) if now < *until => {
                Err(Failure::Stop { why: why.clone(), retry_in: *until - now })
            }
            Some(stopped) if stopped.for_credential => Ok(()),
            _ => {
                self.now = None;
                Ok(())
            }
        }
    }

    /// The harmless call has shown that the stop is over.
    pub(super) fn end(&mut self) {
        self.now = None;
    }

    /// A call succeeded.
    pub(super) fn forget(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_in(failure: Failure) -> Duration {
        match failure {
            Failure::Stop { retry_in, .. } => retry_in,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stopped_side_is_looked_at_soon_and_then_ever_less_often() {
        let (mut stops, longest) = (Stops::default(), Duration::from_secs(300));
        let mut stop = || retry_in(stops.stop("refused", 401, longest)).as_secs();
        assert_eq!([stop(), stop(), stop(), stop(), stop(), stop()], [30, 60, 120, 240, 300, 300]);
        stops.forget();
        assert_eq!(retry_in(stops.stop("refused", 401, longest)).as_secs(), 30);
        assert_eq!(retry_in(stops.stop("refused", 401, Duration::from_secs(1))).as_secs(), 1);
    }

    #[test]
    fn a_refused_credential_stays_refused_until_the_harmless_call_is_answered() {
        let (mut stops, longest) = (Stops::default(), Duration::from_secs(300));
        stops.stop("refused", 401, longest);
        let now = Instant::now();
        assert!(stops.check(now).is_err() && !stops.is_over(now));
        let later = now + Duration::from_secs(31);
        assert!(stops.check(later).is_ok() && stops.is_over(later) && stops.is_stopped());
        stops.end();
        assert!(!stops.is_stopped() && !stops.is_over(later));

        stops.stop("another refusal", 403, longest);
        assert!(stops.check(now + longest).is_ok() && !stops.is_stopped(), "a real call shows it");
    }
}
