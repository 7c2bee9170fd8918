//! Intercom's limit: a number of calls in a fixed window, shown in three headers
//! (`docs/api/intercom.md`, "Limits").

use super::knobs::{IntercomKnobs, RateHeaders, ResetRounding, WindowStart};

#[derive(Default)]
pub(super) struct Limits {
    window: Option<Window>,
    past: Vec<Window>,
    refused: usize,
}

#[derive(Clone, Copy)]
struct Window {
    start_ms: i64,
    /// Calls that were allowed.
    used: u32,
    limit: u32,
}

/// Whether a call is allowed, and the headers of its answer.
pub(super) struct Verdict {
    pub allowed: bool,
    pub headers: Vec<(&'static str, String)>,
}

impl Limits {
    /// Counts a call or refuses it.
    pub(super) fn take(&mut self, knobs: &IntercomKnobs, now_ms: i64) -> Verdict {
        let Some(limit) = knobs.limit else {
            return Verdict { allowed: true, headers: Vec::new() };
        };
        let length_ms = knobs.window_secs.max(1) * 1000;
        let mut window = self.window_at(knobs, now_ms, length_ms, limit);
        // A new limit applies at once, even within a window.
        window.limit = limit;
        let passed_ms = (now_ms - window.start_ms).clamp(0, length_ms);
        let foreign = (i64::from(knobs.foreign_calls_per_window) * passed_ms / length_ms) as u32;
        let before = window.used + foreign;
        let allowed = before < limit;
        if allowed {
            window.used += 1;
        } else {
            self.refused += 1;
        }
        self.window = Some(window);

        let this = u32::from(allowed && knobs.remaining_counts_this_call);
        let remaining = limit.saturating_sub(before + this);
        Verdict { allowed, headers: headers(knobs, limit, remaining, window.start_ms + length_ms) }
    }

    fn window_at(
        &mut self,
        knobs: &IntercomKnobs,
        now_ms: i64,
        length_ms: i64,
        limit: u32,
    ) -> Window {
        let start_ms = match knobs.window_start {
            WindowStart::Grid { offset_ms } => now_ms - (now_ms - offset_ms).rem_euclid(length_ms),
            WindowStart::FirstCall => match self.window {
                Some(window)
                    if (window.start_ms..window.start_ms + length_ms).contains(&now_ms) =>
                {
                    window.start_ms
                }
                _ => now_ms,
            },
        };
        match self.window {
            Some(window) if window.start_ms == start_ms => window,
            old => {
                self.past.extend(old);
                Window { start_ms, used: 0, limit }
            }
        }
    }

    /// Start, allowed calls and limit of every window that had a call.
    pub(super) fn windows(&self) -> Vec<(i64, u32, u32)> {
        self.past
            .iter()
            .chain(&self.window)
            .map(|window| (window.start_ms, window.used, window.limit))
            .collect()
    }

    /// Number of 429s.
    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// Forgets the past windows. The current one continues.
    pub(super) fn clear(&mut self) {
        self.past.clear();
        self.refused = 0;
    }
}

fn headers(
    knobs: &IntercomKnobs,
    limit: u32,
    remaining: u32,
    end_ms: i64,
) -> Vec<(&'static str, String)> {
    let seconds = match knobs.reset_rounding {
        ResetRounding::Ceil => (end_ms + 999).div_euclid(1000),
        ResetRounding::Floor => end_ms.div_euclid(1000),
    };
    let [limit, remaining, reset] = match &knobs.rate_headers {
        RateHeaders::Missing => return Vec::new(),
        RateHeaders::Garbage(text) => [text.clone(), text.clone(), text.clone()],
        RateHeaders::Normal => [limit.to_string(), remaining.to_string(), seconds.to_string()],
        RateHeaders::Millis => [limit.to_string(), remaining.to_string(), end_ms.to_string()],
    };
    vec![
        ("x-ratelimit-limit", limit),
        ("x-ratelimit-remaining", remaining),
        ("x-ratelimit-reset", reset),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(limit: u32) -> IntercomKnobs {
        IntercomKnobs { limit: Some(limit), ..IntercomKnobs::default() }
    }

    fn header(verdict: &Verdict, place: usize) -> i64 {
        verdict.headers[place].1.parse().unwrap()
    }

    #[test]
    fn a_window_starts_with_its_first_call_whose_answer_shows_the_whole_limit() {
        let (knobs, mut limits) = (knobs(2), Limits::default());
        let first = limits.take(&knobs, 1_003_400);
        assert_eq!((header(&first, 1), header(&first, 2)), (2, 1014));
        assert_eq!(header(&limits.take(&knobs, 1_003_500), 1), 1);
        assert!(!limits.take(&knobs, 1_013_399).allowed);
        assert!(limits.take(&knobs, 1_013_400).allowed);
        assert_eq!(limits.windows(), [(1_003_400, 2, 2), (1_013_400, 1, 2)]);
        assert_eq!(limits.refused(), 1);
    }

    #[test]
    fn windows_on_a_grid_do_not_wait_for_a_call() {
        let (mut knobs, mut limits) = (knobs(9), Limits::default());
        knobs.window_start = WindowStart::Grid { offset_ms: 3_000 };
        knobs.foreign_calls_per_window = 10;
        assert_eq!(header(&limits.take(&knobs, 1_008_000), 2), 1013);
        assert_eq!(header(&limits.take(&knobs, 1_012_999), 1), 9 - 9);
        assert!(limits.take(&knobs, 1_013_000).allowed);
    }

    #[test]
    fn headers_can_be_missing_or_nonsense() {
        let mut knobs = knobs(9);
        knobs.rate_headers = RateHeaders::Missing;
        assert!(Limits::default().take(&knobs, 0).headers.is_empty());
        knobs.rate_headers = RateHeaders::Garbage("soon".to_owned());
        assert_eq!(Limits::default().take(&knobs, 0).headers[2].1, "soon");
        knobs.rate_headers = RateHeaders::Millis;
        assert_eq!(header(&Limits::default().take(&knobs, 5), 2), 10_005);
    }
}
