//! Intercom's limits: a number of calls in a fixed window of ten seconds, which its headers state
//! (`docs/api/intercom.md`, "Limits").

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::DATE;
use tokio::time::Instant;

use crate::remote::{
    Admission, Answered, Headroom, LARGEST_LIMIT, Lane, Limits, RemoteClock, number, retry_after,
};

/// The length of a window.
const WINDOW: Duration = Duration::from_secs(10);
/// The stated end and the clock behind it are both in whole seconds; together they add no more
/// error than this.
const ROUNDING: Duration = Duration::from_secs(2);
/// Seconds. A window that ends later than this is implausible, so its headers are ignored.
const LATEST_END_SECONDS: f64 = 70.0;
/// The other calls wait this long for the call that opens a window; then another one may try.
const PROBE_TIME: Duration = Duration::from_secs(2);
/// If windows turn out to end later than stated, each is taken to be longer by one more step.
const LATENESS_STEP: Duration = Duration::from_millis(250);
const LARGEST_LATENESS: Duration = Duration::from_millis(1500);
/// A call waits up to this long; a longer wait counts as a side that is down.
const LONGEST_WAIT: Duration = Duration::from_secs(90);

/// A window of Intercom's.
#[derive(Debug)]
struct Window {
    limit: i64,
    /// The smallest number that an answer stated. If answers state none: the limit less the calls
    /// that have started.
    remaining: i64,
    /// Its end in unix seconds as Intercom stated it; `None` if Intercom states nothing.
    reset: Option<i64>,
    ends: Instant,
}

pub(super) struct IntercomLimits {
    /// The limit until headers state one.
    default_limit: i64,
    urgent_share_percent: u32,
    clock: RemoteClock,
    window: Option<Window>,
    in_flight: i64,
    next_ticket: u64,
    /// Calls that were sent to open a new window.
    probes: HashSet<u64>,
    last_probe: Option<Instant>,
    /// How much later than stated windows have turned out to end.
    lateness: Duration,
    refused_until: Option<Instant>,
}

impl IntercomLimits {
    pub(super) fn new(default_limit: u32, urgent_share_percent: u32) -> Self {
        Self {
            default_limit: i64::from(default_limit),
            urgent_share_percent,
            clock: RemoteClock::new(Instant::now()),
            window: None,
            in_flight: 0,
            next_ticket: 0,
            probes: HashSet::new(),
            last_probe: None,
            lateness: Duration::ZERO,
            refused_until: None,
        }
    }

    fn window_at(&self, now: Instant) -> Option<&Window> {
        self.window.as_ref().filter(|window| now < window.ends)
    }

    /// When the stated window ends by our clock; `None` if the statement is implausible.
    fn end_of(&self, reset: i64, now: Instant) -> Option<Instant> {
        #[expect(clippy::cast_precision_loss)]
        let left = reset as f64 - self.clock.now(now);
        let plausible = (-2.0..=LATEST_END_SECONDS).contains(&left);
        let left = Duration::try_from_secs_f64(left.max(0.0)).unwrap_or_default();
        // The stated end is rounded up, but a window that has begun ends within its length from
        // now. If windows begin with a call, waiting for the rounded end would waste one second of
        // every eleven.
        let left = if left < WINDOW + ROUNDING { left.min(WINDOW) } else { left };
        plausible.then(|| now + left + self.lateness)
    }

    fn read(&mut self, answered: &Answered<'_>, was_probe: bool) {
        let now = answered.received;
        let stated = (|| {
            let limit = number(answered.headers, "x-ratelimit-limit")
                .filter(|limit| (1..=LARGEST_LIMIT).contains(limit))?;
            let remaining = number(answered.headers, "x-ratelimit-remaining")
                .filter(|remaining| (0..=limit).contains(remaining))?;
            let reset = number(answered.headers, "x-ratelimit-reset")?;
            // Milliseconds in place of seconds.
            let reset = if reset > 100_000_000_000 { reset / 1000 } else { reset };
            Some((limit, remaining, reset, self.end_of(reset, now)?))
        })();
        let Some((limit, remaining, reset, ends)) = stated else {
            return self.without_headers(now);
        };
        // The header may leave out the call that it answers. Only the first answer of a window can
        // show that, and another process may have had it. So one call of a window stays unused.
        let remaining = if answered.refused { 0 } else { (remaining - 1).max(0) };
        match &mut self.window {
            Some(known) if known.reset == Some(reset) => {
                known.limit = limit;
                known.remaining = known.remaining.min(remaining);
                if was_probe {
                    // The window was taken to be over and is not.
                    self.lateness = (self.lateness + LATENESS_STEP).min(LARGEST_LATENESS);
                    known.ends = known.ends.max(now + LATENESS_STEP);
                }
            }
            // A late answer from an earlier window.
            Some(known) if known.reset.is_some_and(|known| known > reset) && now < known.ends => {}
            _ => self.window = Some(Window { limit, remaining, reset: Some(reset), ends }),
        }
    }

    /// An answer without usable headers: a window of our own begins, with our own count.
    fn without_headers(&mut self, now: Instant) {
        if self.window_at(now).is_none() {
            let remaining = (self.default_limit - 1).max(0);
            self.window = Some(Window {
                limit: self.default_limit,
                remaining,
                reset: None,
                ends: now + WINDOW,
            });
        }
    }
}

impl Limits for IntercomLimits {
    fn admit(&self, now: Instant, lane: Lane) -> Admission {
        if let Some(until) = self.refused_until.filter(|until| *until > now) {
            let wait = until - now;
            if wait > LONGEST_WAIT {
                return Admission::TooLong {
                    why: "asks to be left alone (429)".into(),
                    retry_in: wait,
                };
            }
            return Admission::Wait(wait);
        }
        let Some(window) = self.window_at(now) else {
            // One call opens a window and its answer brings the numbers; the others wait for it.
            let waiting_for = self
                .last_probe
                .filter(|_| !self.probes.is_empty())
                .map(|sent| sent + PROBE_TIME)
                .filter(|until| *until > now);
            return waiting_for.map_or(Admission::Now, |until| Admission::Wait(until - now));
        };
        let kept = match lane {
            Lane::Urgent => 0,
            Lane::Bulk => window.limit * i64::from(self.urgent_share_percent) / 100,
        };
        // The header may leave out calls in flight; assume it does, so the limit is never exceeded.
        let in_flight = if window.reset.is_some() { self.in_flight } else { 0 };
        if window.remaining - in_flight - kept > 0 {
            Admission::Now
        } else {
            Admission::Wait(window.ends - now)
        }
    }

    fn start(&mut self, now: Instant) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.in_flight += 1;
        if self.window_at(now).is_none() {
            self.probes.insert(ticket);
            self.last_probe = Some(now);
        } else if let Some(window) = self.window.as_mut().filter(|window| window.reset.is_none()) {
            window.remaining -= 1;
        }
        ticket
    }

    fn answered(&mut self, answered: &Answered<'_>) {
        self.in_flight -= 1;
        let now = answered.received;
        let was_probe = self.probes.remove(&answered.ticket);
        let date = answered
            .headers
            .get(DATE)
            .and_then(|date| date.to_str().ok())
            .and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        if let Some(date) = date {
            self.clock.observe(date.with_timezone(&Utc), answered.sent, now);
        }
        self.read(answered, was_probe);
        if answered.refused {
            let asked = retry_after(answered.headers).filter(|pause| !pause.is_zero());
            // The window's end if it is stated, and a random moment more, so that not all calls
            // come back at the same instant.
            let by_window = self
                .window
                .as_ref()
                .filter(|window| window.reset.is_some() && window.ends > now)
                .map(|window| window.ends);
            let until = asked.map(|pause| now + pause).or(by_window).unwrap_or(now + WINDOW / 2);
            let until = until + Duration::from_millis(rand::random_range(10..200));
            self.refused_until = Some(self.refused_until.map_or(until, |known| known.max(until)));
        }
    }

    fn lost(&mut self, _now: Instant, ticket: u64) {
        self.in_flight -= 1;
        self.probes.remove(&ticket);
        // Intercom may have counted it.
        if let Some(window) = &mut self.window {
            window.remaining -= 1;
        }
    }

    fn headroom(&self, now: Instant) -> Vec<Headroom> {
        self.window
            .iter()
            .filter(|window| window.reset.is_some())
            .map(|window| Headroom {
                name: "per 10 seconds".into(),
                limit: window.limit,
                available: if now < window.ends {
                    window.remaining.max(0)
                } else {
                    // The next call begins a new window.
                    window.limit
                },
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    /// Numbers and texts that no limit can be.
    fn hostile_number() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        let edges =
            [i64::MIN, -1, 0, 1, 60, 1_800_000_000, 1_800_000_000_000, i64::MAX - 1, i64::MAX];
        prop_oneof![
            proptest::sample::select(edges.as_slice().to_vec())
                .prop_map(|number| number.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            "[ -~]{0,12}",
        ]
    }

    /// Intercom's side: fixed windows, answers after `latency`, times on its own clock.
    struct Server {
        start: Instant,
        /// Unix time at `start`.
        clock: f64,
        limit: i64,
        window: i64,
        used: i64,
        refused: u32,
        full_windows: Vec<i64>,
        leaves_itself_out: bool,
        round_down: bool,
        offset: f64,
        /// A window begins with the first call after the last one ended, not on a grid; when it
        /// did.
        follows_calls: bool,
        begun: f64,
    }

    impl Server {
        fn new(limit: i64) -> Self {
            Self {
                start: Instant::now(),
                clock: 1_800_000_003.4,
                limit,
                window: 0,
                used: 0,
                refused: 0,
                full_windows: Vec::new(),
                leaves_itself_out: true,
                round_down: false,
                offset: 0.0,
                follows_calls: false,
                begun: 0.0,
            }
        }

        fn call(&mut self, at: Instant) -> (HeaderMap, bool) {
            let now = self.clock + (at - self.start).as_secs_f64();
            let window = if self.follows_calls {
                if now >= self.begun + 10.0 {
                    self.begun = now;
                }
                self.begun as i64
            } else {
                ((now - self.offset) / 10.0).floor() as i64
            };
            if window != self.window {
                self.full_windows.push(self.used);
                (self.window, self.used) = (window, 0);
            }
            let refused = self.used >= self.limit;
            if !self.leaves_itself_out && !refused {
                self.used += 1;
            }
            let remaining = self.limit - self.used;
            if self.leaves_itself_out && !refused {
                self.used += 1;
            }
            self.refused += u32::from(refused);
            let end = if self.follows_calls {
                self.begun + 10.0
            } else {
                (window + 1) as f64 * 10.0 + self.offset
            };
            let reset = if self.round_down { end.floor() } else { end.ceil() } as i64;
            let date = DateTime::from_timestamp(now as i64, 0)
                .unwrap()
                .format("%a, %d %b %Y %H:%M:%S GMT")
                .to_string();
            let pairs = [
                ("date", date),
                ("x-ratelimit-limit", self.limit.to_string()),
                ("x-ratelimit-remaining", remaining.to_string()),
                ("x-ratelimit-reset", reset.to_string()),
            ];
            let headers = pairs
                .into_iter()
                .map(|(name, value)| {
                    (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
                })
                .collect();
            (headers, refused)
        }
    }

    /// `concurrency` callers that always have work, for a span of virtual time.
    fn run(
        limits: &mut IntercomLimits,
        server: &mut Server,
        concurrency: usize,
        span: Duration,
        latency: Duration,
    ) {
        let from = server.start;
        let mut now = from;
        let mut out: Vec<(Instant, Instant, u64, HeaderMap, bool)> = Vec::new();
        while now < from + span {
            out.sort_by_key(|call| call.0);
            if let Some(first) = out.first().filter(|call| call.0 <= now) {
                let (received, sent, ticket, headers, refused) =
                    (first.0, first.1, first.2, first.3.clone(), first.4);
                out.remove(0);
                limits.answered(&Answered { sent, received, headers: &headers, refused, ticket });
                continue;
            }
            let wait = if out.len() < concurrency {
                limits.admit(now, Lane::Bulk)
            } else {
                Admission::Wait(Duration::from_secs(1))
            };
            match wait {
                Admission::Now => {
                    let ticket = limits.start(now);
                    let (headers, refused) = server.call(now + latency / 2);
                    out.push((now + latency, now, ticket, headers, refused));
                    now += Duration::from_micros(200);
                }
                Admission::Wait(wait) => {
                    now = out
                        .first()
                        .map_or(now + wait, |call| call.0.min(now + wait))
                        .max(now + Duration::from_micros(50))
                }
                Admission::TooLong { why, .. } => panic!("{why}"),
            }
        }
    }

    #[test]
    fn windows_are_used_to_the_full_without_a_refusal() {
        for (limit, latency_ms, leaves_itself_out) in
            [(1667, 3, true), (1667, 100, false), (167, 200, true), (83, 20, false)]
        {
            let mut server = Server { leaves_itself_out, ..Server::new(limit) };
            let mut limits = IntercomLimits::new(1667, 1);
            run(
                &mut limits,
                &mut server,
                64,
                Duration::from_secs(120),
                Duration::from_millis(latency_ms),
            );
            assert_eq!(server.refused, 0, "limit {limit}");
            // The first windows are entered in their middle.
            let full = &server.full_windows[2..];
            let used: i64 = full.iter().sum();
            let share = used as f64 / (limit * full.len() as i64) as f64;
            assert!(share >= 0.97, "limit {limit}: {share} of {full:?}");
        }
    }

    #[test]
    fn a_window_that_another_process_began_is_not_exceeded() {
        for leaves_itself_out in [true, false] {
            let mut server = Server { leaves_itself_out, ..Server::new(1667) };
            server.call(server.start);
            let (span, latency) = (Duration::from_secs(5), Duration::from_millis(20));
            run(&mut IntercomLimits::new(1667, 0), &mut server, 64, span, latency);
            assert_eq!(server.refused, 0);
            assert!(server.used >= 1666, "{}", server.used);
        }
    }

    #[test]
    fn windows_that_begin_with_a_call_follow_one_another_without_a_pause() {
        for (limit, latency_ms) in [(1667, 50), (167, 50), (83, 100)] {
            let mut server = Server { follows_calls: true, ..Server::new(limit) };
            let mut limits = IntercomLimits::new(1667, 1);
            run(
                &mut limits,
                &mut server,
                64,
                // Twelve windows and a moment for the answers that open them; with a second lost to
                // each, eleven end.
                Duration::from_secs(123),
                Duration::from_millis(latency_ms),
            );
            assert_eq!(server.refused, 0, "limit {limit}");
            let used: i64 = server.full_windows.iter().sum();
            let share = used as f64 / (limit * 12) as f64;
            assert!(share >= 0.97, "limit {limit}: {share}");
        }
    }

    #[test]
    fn windows_that_end_later_than_stated_are_learnt() {
        let mut server = Server { round_down: true, offset: 0.7, ..Server::new(167) };
        let mut limits = IntercomLimits::new(1667, 1);
        run(&mut limits, &mut server, 64, Duration::from_secs(60), Duration::from_millis(20));
        let early = server.refused;
        assert!(early <= 4, "{early} refusals");
        let mut later = Server { start: server.start, ..server };
        later.refused = 0;
        later.clock += 60.0;
        run(&mut limits, &mut later, 64, Duration::from_secs(120), Duration::from_millis(20));
        assert!(later.refused <= 1, "{} refusals in steady state", later.refused);
    }

    #[test]
    fn a_limit_that_is_lowered_or_used_by_others_is_followed() {
        let mut server = Server::new(1000);
        let mut limits = IntercomLimits::new(1667, 1);
        run(&mut limits, &mut server, 16, Duration::from_secs(25), Duration::from_millis(5));
        server.limit = 100;
        server.start = Instant::now();
        server.clock += 25.0;
        run(&mut limits, &mut server, 16, Duration::from_secs(60), Duration::from_millis(5));
        assert!(server.refused <= 16, "{}", server.refused);
    }

    #[test]
    fn without_headers_the_setting_holds_and_nonsense_is_no_header() {
        let start = Instant::now();
        for pairs in [
            vec![],
            vec![("x-ratelimit-limit", "-1")],
            vec![
                ("x-ratelimit-limit", "10"),
                ("x-ratelimit-remaining", "9"),
                ("x-ratelimit-reset", "99999999999"),
            ],
        ] {
            let headers: HeaderMap = pairs
                .into_iter()
                .map(|(name, value)| {
                    (HeaderName::from_static(name), HeaderValue::from_static(value))
                })
                .collect();
            let mut limits = IntercomLimits::new(20, 0);
            let (mut now, mut calls) = (start, 0);
            while now < start + Duration::from_millis(9_900) {
                match limits.admit(now, Lane::Bulk) {
                    Admission::Now => {
                        let ticket = limits.start(now);
                        limits.answered(&Answered {
                            sent: now,
                            received: now,
                            headers: &headers,
                            refused: false,
                            ticket,
                        });
                        calls += 1;
                    }
                    Admission::Wait(wait) => now += wait,
                    Admission::TooLong { why, .. } => panic!("{why}"),
                }
            }
            assert_eq!(calls, 20);
        }
    }

    #[test]
    fn a_window_that_is_over_leaves_everything() {
        let mut server = Server::new(100);
        let mut limits = IntercomLimits::new(100, 10);
        let now = server.start;
        for _ in 0..100 {
            let ticket = limits.start(now);
            let (headers, refused) = server.call(now);
            limits.answered(&Answered {
                sent: now,
                received: now,
                headers: &headers,
                refused,
                ticket,
            });
        }
        let left = |after| limits.headroom(now + Duration::from_secs(after))[0].available;
        assert_eq!((left(0), left(30)), (0, 100));
    }

    #[test]
    fn a_share_is_kept_for_the_urgent_lane() {
        let mut server = Server::new(100);
        let mut limits = IntercomLimits::new(100, 10);
        let now = server.start;
        let ticket = limits.start(now);
        let (headers, refused) = server.call(now);
        limits.answered(&Answered { sent: now, received: now, headers: &headers, refused, ticket });
        let mut bulk = 0;
        while limits.admit(now, Lane::Bulk) == Admission::Now {
            let ticket = limits.start(now);
            let (headers, refused) = server.call(now);
            limits.answered(&Answered {
                sent: now,
                received: now,
                headers: &headers,
                refused,
                ticket,
            });
            bulk += 1;
        }
        assert!((85..=90).contains(&bulk), "{bulk}");
        assert_eq!(limits.admit(now, Lane::Urgent), Admission::Now);
    }

    proptest::proptest! {
        // F35
        #[test]
        fn no_header_is_a_panic_or_an_endless_sleep(
            texts in proptest::collection::vec(hostile_number(), 4), refused in proptest::bool::ANY,
        ) {
            let names = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"];
            let headers: HeaderMap = names
                .iter()
                .zip(&texts)
                .filter_map(|(name, text)| Some((HeaderName::from_static(name), HeaderValue::try_from(text).ok()?)))
                .collect();
            let mut limits = IntercomLimits::new(100, 50);
            let now = Instant::now();
            for _ in 0..3 {
                let ticket = limits.start(now);
                limits.answered(&Answered { sent: now, received: now, headers: &headers, refused, ticket });
            }
            let longest = Duration::from_secs(3601);
            for lane in [Lane::Bulk, Lane::Urgent] {
                match limits.admit(now, lane) {
                    Admission::Now => {}
                    Admission::Wait(wait) | Admission::TooLong { retry_in: wait, .. } => {
                        proptest::prop_assert!(wait <= longest, "{wait:?}");
                    }
                }
            }
            limits.headroom(now);
        }
    }

    // F31
    #[test]
    fn after_a_refusal_nothing_is_called_for_seconds_whatever_the_window_says() {
        let now = Instant::now();
        let mut limits = IntercomLimits::new(1000, 0);
        let ticket = limits.start(now);
        let headers = &HeaderMap::new();
        limits.answered(&Answered { sent: now, received: now, headers, refused: true, ticket });

        for lane in [Lane::Urgent, Lane::Bulk] {
            let admission = limits.admit(now + WINDOW / 2, lane);
            assert!(matches!(admission, Admission::Wait(_)), "{admission:?}");
            assert_eq!(limits.admit(now + WINDOW, lane), Admission::Now);
        }
    }
}
