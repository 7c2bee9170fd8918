//! The breaker: a remote that fails again and again is left alone, and asked by one harmless call whether it is back.
//!
//! The harmless call does not tell everything: writes may fail for everybody while reads go well. So each kind of call is
//! counted by itself, and a kind that failed for many contacts is tried by one real call before the others follow.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

/// So many failures in a row are no accident of single contacts.
const FAILURES: u32 = 5;
/// A kind of call that failed for so many contacts, and went well for none meanwhile, is not their fault.
const CONTACTS: usize = 5;
/// The first pause; it doubles with every probe that fails, and grows fourfold with every trial: who answers the probe and
/// fails the trial has a fault that lasts, and each trial costs its contact a failure and Keap a page.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The last step.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A probe or trial that was given up is not waited for any longer than this.
const PROBE_TIME: Duration = Duration::from_secs(60);
/// Who must come back, and has no pause of its own to keep.
const SOON: Duration = Duration::from_millis(250);

/// What a call is for. The success of one kind says nothing of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    Search,
    Write,
}

/// The failures of one kind of call since its last success.
#[derive(Debug, Default)]
struct Streak {
    failures: u32,
    /// The first contacts that they were about; this many tell an outage from a contact that fails by itself.
    contacts: HashSet<i64>,
}

impl Streak {
    fn is_suspect(&self) -> bool {
        self.contacts.len() >= CONTACTS
    }
}

#[derive(Debug, Default)]
pub struct Breaker {
    /// By kind.
    streaks: [Streak; 3],
    open_until: Option<Instant>,
    pauses: u32,
    probing_since: Option<Instant>,
    /// The probe went well; suspect kinds are still to be tried.
    half_open: bool,
    trial_since: Option<Instant>,
}

/// What a call may do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    Call,
    /// The pause is over: find out by a harmless call whether the remote is back, then tell the breaker.
    Probe,
    /// This call decides for all of its kind; tell the breaker when it is over.
    Trial,
    /// Another call of this kind is on trial: wait for its end, or for this long.
    Wait(Duration),
    Pause(Duration),
}

/// Whose fault a failed call is.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It may be the contact's own.
    Contact,
    /// The remote's; it is left alone for so long.
    Remote(Duration),
    /// As above, as this very call has shown. Another contact should be on trial next: this one may be a bad example.
    Trial(Duration),
}

impl Breaker {
    pub fn admit(&mut self, now: Instant, kind: Kind) -> Admission {
        match self.open_until {
            Some(until) if now < until => Admission::Pause(until - now),
            Some(_) if self.probing_since.is_some_and(|at| now < at + PROBE_TIME) => {
                Admission::Pause(SOON)
            }
            Some(_) => {
                self.probing_since = Some(now);
                Admission::Probe
            }
            None if self.on_trial(kind) => match self.trial_since {
                Some(since) if now < since + PROBE_TIME => {
                    Admission::Wait(since + PROBE_TIME - now)
                }
                _ => {
                    self.trial_since = Some(now);
                    Admission::Trial
                }
            },
            None => Admission::Call,
        }
    }

    fn on_trial(&self, kind: Kind) -> bool {
        self.half_open && self.streaks[kind as usize].is_suspect()
    }

    /// How long the remote is still left alone; nothing when it is not, zero when it has yet to show that it is back.
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        match self.open_until {
            Some(until) => Some(until.saturating_duration_since(now)),
            None => self.half_open.then_some(Duration::ZERO),
        }
    }

    pub fn succeeded(&mut self, kind: Kind, trial: bool) {
        // Late answers to calls from before the pause do not end it; its probe and its trial do.
        if self.open_until.is_some() || (self.on_trial(kind) && !trial) {
            return;
        }
        self.streaks[kind as usize] = Streak::default();
        if !self.streaks.iter().any(Streak::is_suspect) {
            self.half_open = false;
            self.pauses = 0;
        }
    }

    /// Takes in a failed call, and the contacts that it was about.
    pub fn failed(&mut self, now: Instant, kind: Kind, about: &[i64], trial: bool) -> Fault {
        let late = self.on_trial(kind);
        let streak = &mut self.streaks[kind as usize];
        streak.failures += 1;
        let room = CONTACTS.saturating_sub(streak.contacts.len());
        streak.contacts.extend(about.iter().take(room));
        let failures = streak.failures;
        if trial {
            self.pauses += 1;
            // Not less than the step: a page of Keap's is read for each trial, and polls are a minute apart.
            return Fault::Trial(self.open(now, 1.0..1.25));
        }
        if let Some(until) = self.open_until {
            return Fault::Remote(until.saturating_duration_since(now).max(SOON));
        }
        if late {
            return Fault::Remote(SOON);
        }
        if failures < FAILURES {
            return Fault::Contact;
        }
        Fault::Remote(self.open(now, 0.5..1.0))
    }

    /// A trial is over, or was given up.
    pub fn tried(&mut self) {
        self.trial_since = None;
    }

    pub fn probed(&mut self, now: Instant, well: bool) -> Option<Duration> {
        self.probing_since = None;
        if !well {
            return Some(self.open(now, 0.5..1.0));
        }
        self.open_until = None;
        for streak in &mut self.streaks {
            streak.failures = 0;
        }
        self.half_open = self.streaks.iter().any(Streak::is_suspect);
        if !self.half_open {
            self.pauses = 0;
        }
        None
    }

    /// The remote itself asked to be left alone.
    pub fn pause(&mut self, now: Instant, pause: Duration) {
        self.open_until = Some(
            self.open_until
                .map_or(now + pause, |until| until.max(now + pause)),
        );
    }

    /// `part`: how much of the step is waited.
    fn open(&mut self, now: Instant, part: Range<f64>) -> Duration {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.pauses.min(10))
            .min(LONGEST_PAUSE)
            .mul_f64(rand::random_range(part));
        self.pauses += 1;
        self.half_open = false;
        let asked = self.open_until.filter(|until| *until > now + pause);
        let until = asked.unwrap_or(now + pause);
        self.open_until = Some(until);
        until - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call about a contact that failed.
    fn fail(breaker: &mut Breaker, now: Instant, kind: Kind, contact: i64) -> Fault {
        breaker.failed(now, kind, &[contact], false)
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_by_a_probe() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            assert_eq!(fail(&mut breaker, now, Kind::Write, 1), Fault::Contact);
        }
        breaker.succeeded(Kind::Write, false);
        for _ in 1..FAILURES {
            assert_eq!(fail(&mut breaker, now, Kind::Write, 1), Fault::Contact);
        }
        let Fault::Remote(pause) = fail(&mut breaker, now, Kind::Write, 1) else {
            panic!("open");
        };
        let is_paused = |breaker: &mut Breaker, at| {
            matches!(breaker.admit(at, Kind::Read), Admission::Pause(_))
        };
        assert!(is_paused(&mut breaker, now));
        breaker.succeeded(Kind::Write, false);
        assert!(
            is_paused(&mut breaker, now),
            "a late answer does not end the pause"
        );
        assert_eq!(breaker.admit(now + pause, Kind::Read), Admission::Probe);
        assert!(is_paused(&mut breaker, now + pause), "one probe at a time");
        let longer = breaker.probed(now + pause, false).expect("still open");
        assert_eq!(
            breaker.admit(now + pause + longer, Kind::Write),
            Admission::Probe
        );
        assert_eq!(breaker.probed(now, true), None);
        assert_eq!(
            breaker.admit(now, Kind::Write),
            Admission::Call,
            "one contact that fails by itself is no outage"
        );
        assert_eq!(breaker.open_for(now), None);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_a_lost_probe_is_not_waited_for_for_ever() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            breaker.failed(now, Kind::Read, &[], false);
        }
        for _ in 0..20 {
            now += LONGEST_PAUSE;
            assert_eq!(breaker.admit(now, Kind::Read), Admission::Probe);
            assert!(breaker.probed(now, false).expect("open") <= LONGEST_PAUSE);
        }
        now += LONGEST_PAUSE;
        assert_eq!(breaker.admit(now, Kind::Read), Admission::Probe);
        assert_eq!(
            breaker.admit(now + PROBE_TIME, Kind::Read),
            Admission::Probe
        );
    }

    #[test]
    fn writes_that_fail_for_everybody_are_tried_one_at_a_time_and_ever_more_rarely() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for contact in 0..64 {
            // What is read between two writes says nothing of the writes.
            breaker.succeeded(Kind::Read, false);
            fail(&mut breaker, now, Kind::Write, contact);
        }
        let mut last = Duration::ZERO;
        for contact in 0..6 {
            now += breaker.open_for(now).expect("open");
            assert_eq!(breaker.admit(now, Kind::Read), Admission::Probe);
            assert_eq!(breaker.probed(now, true), None);
            assert_eq!(
                breaker.open_for(now),
                Some(Duration::ZERO),
                "it is not back yet"
            );
            assert_eq!(breaker.admit(now, Kind::Write), Admission::Trial);
            assert!(matches!(
                breaker.admit(now, Kind::Write),
                Admission::Wait(_)
            ));
            assert_eq!(breaker.admit(now, Kind::Search), Admission::Call);
            breaker.succeeded(Kind::Search, false);
            breaker.succeeded(Kind::Write, false);
            assert!(
                matches!(breaker.admit(now, Kind::Write), Admission::Wait(_)),
                "neither another kind nor a late answer decides the trial"
            );
            let Fault::Trial(pause) = breaker.failed(now, Kind::Write, &[contact], true) else {
                panic!("the trial failed");
            };
            breaker.tried();
            assert!(pause > last || pause >= LONGEST_PAUSE, "{pause:?}");
            last = pause;
        }
        now += last;
        assert_eq!(breaker.admit(now, Kind::Write), Admission::Probe);
        breaker.probed(now, true);
        assert_eq!(breaker.admit(now, Kind::Write), Admission::Trial);
        // Whoever was on trial went away.
        breaker.tried();
        assert_eq!(breaker.admit(now, Kind::Write), Admission::Trial);
        breaker.succeeded(Kind::Write, true);
        breaker.tried();
        assert_eq!(breaker.admit(now, Kind::Write), Admission::Call);
        assert_eq!(breaker.open_for(now), None);
        assert_eq!(fail(&mut breaker, now, Kind::Write, 1), Fault::Contact);
    }
}
