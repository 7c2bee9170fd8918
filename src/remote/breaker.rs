//! The breaker: pauses the calls to a remote that keeps failing, and probes it with one harmless
//! call before the others follow.
//!
//! A probe does not show everything: writes may fail for every contact while reads succeed. So each
//! kind of call has its own count. A harmless call of the same kind shows whether the kind works
//! (`harmless.rs`). Where none is known, a kind that failed for many contacts needs a trial: one
//! real call of that kind that succeeds.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

/// After this many failures in a row the breaker opens.
const FAILURES_TO_OPEN: u32 = 5;
/// A kind of call is suspect if it failed for this many contacts and succeeded for none meanwhile:
/// then the contacts are not to blame.
const CONTACTS_TO_SUSPECT: usize = 5;
/// The same where harmless calls of the kind are taken. They do not show everything either: all
/// real calls may have a fault in common.
const CONTACTS_TO_OUTWEIGH: usize = 50;
/// Doubles after a failed probe, quadruples after a failed trial: a remote that answers the probe
/// but not real calls has a lasting fault, and each trial costs one contact a failure and one page
/// of Keap.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After this time another call may probe, even if the former probe or trial never ended.
const PROBE_TIME: Duration = Duration::from_secs(60);
/// The pause of a call that has to come back and has no other pause to keep.
const SHORT_PAUSE: Duration = Duration::from_millis(250);

/// What a call is for. The success of one kind says nothing about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    Search,
    Create,
    /// Every other write.
    Write,
}

/// How many kinds there are.
pub(super) const KINDS: usize = Kind::ALL.len();

impl Kind {
    const ALL: [Self; 4] = [Self::Read, Self::Search, Self::Create, Self::Write];
}

/// What is known about a failed call beside its failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    Nothing,
    /// The call was on trial for its kind.
    Trial,
    /// A harmless call of the same kind was taken just now.
    Works,
}

/// The failures of one kind of call since its last success.
#[derive(Debug, Default)]
struct Streak {
    failures: u32,
    /// The first contacts that failed. Many of them mean an outage; one of them may itself be the
    /// cause.
    contacts: HashSet<i64>,
    /// Harmless calls of this kind were taken meanwhile.
    works: bool,
    /// A harmless call of this kind failed: no contact is to blame.
    is_down: bool,
    /// How often nobody knew who was to blame.
    doubts: u32,
}

impl Streak {
    fn most_contacts(&self) -> usize {
        if self.works { CONTACTS_TO_OUTWEIGH } else { CONTACTS_TO_SUSPECT }
    }

    fn is_suspect(&self) -> bool {
        self.is_down || self.contacts.len() >= self.most_contacts()
    }

    /// Whether the remote is to blame for the latest failure.
    fn opens(&self) -> bool {
        if self.works { self.is_suspect() } else { self.failures >= FAILURES_TO_OPEN }
    }
}

#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// By kind.
    streaks: [Streak; KINDS],
    open_until: Option<Instant>,
    pauses: u32,
    probing_since: Option<Instant>,
    /// The probe succeeded; suspect kinds still need a trial.
    half_open: bool,
    trial_since: Option<Instant>,
}

/// What a call may do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Call,
    /// The pause is over: make the harmless call, then report to [`Breaker::probed`].
    Probe,
    /// This call decides for all of its kind. Report its end to [`Breaker::tried`].
    Trial,
    /// Another call of this kind is on trial: wait for its end, but no longer than this.
    Wait(Duration),
    Pause(Duration),
}

/// What caused a failed call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Perhaps the contact.
    Contact,
    /// The remote. No call is made for this long.
    Remote(Duration),
    /// The remote, as the trial has just shown. The next trial should use another contact, because
    /// this one may be a special case.
    Trial(Duration),
}

impl Breaker {
    pub(super) fn admit(&mut self, now: Instant, kind: Kind) -> Admission {
        match self.open_until {
            Some(until) if now < until => Admission::Pause(until - now),
            Some(_) if self.probing_since.is_some_and(|at| now < at + PROBE_TIME) => {
                Admission::Pause(SHORT_PAUSE)
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

    /// How long the pause still lasts. `None`: there is none. Zero: a trial must still show that
    /// the remote is back.
    pub(super) fn open_for(&self, now: Instant) -> Option<Duration> {
        match self.open_until {
            Some(until) => Some(until.saturating_duration_since(now)),
            None => self.half_open.then_some(Duration::ZERO),
        }
    }

    pub(super) fn succeeded(&mut self, kind: Kind, trial: bool) {
        // Only the probe and the trial end a pause. A late answer to an earlier call does not.
        if self.open_until.is_some() || (self.on_trial(kind) && !trial) {
            return;
        }
        self.streaks[kind as usize] = Streak::default();
        if !self.streaks.iter().any(Streak::is_suspect) {
            self.half_open = false;
            self.pauses = 0;
        }
    }

    /// Records a failed call and the contacts that it was about.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        kind: Kind,
        about: &[i64],
        evidence: Evidence,
    ) -> Fault {
        let late = self.on_trial(kind);
        let streak = &mut self.streaks[kind as usize];
        streak.failures += 1;
        streak.works |= evidence == Evidence::Works;
        let room = streak.most_contacts().saturating_sub(streak.contacts.len());
        streak.contacts.extend(about.iter().take(room));
        let opens = streak.opens();
        if evidence == Evidence::Trial {
            self.pauses += 1;
            // At least the whole step: each trial reads a page from Keap, and polls are a minute
            // apart.
            return Fault::Trial(self.open(now, 1.0..1.25));
        }
        if let Some(until) = self.open_until {
            return Fault::Remote(until.saturating_duration_since(now).max(SHORT_PAUSE));
        }
        if late {
            return Fault::Remote(SHORT_PAUSE);
        }
        if !opens {
            return Fault::Contact;
        }
        Fault::Remote(self.open(now, 0.5..1.0))
    }

    /// A harmless call of this kind failed. Returns the pause.
    pub(super) fn went_down(&mut self, now: Instant, kind: Kind) -> Duration {
        self.streaks[kind as usize].is_down = true;
        self.open(now, 0.5..1.0)
    }

    /// The kinds whose harmless calls failed. They must be taken before real calls follow.
    pub(super) fn down(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| self.streaks[*kind as usize].is_down).collect()
    }

    /// A harmless call of a kind that was down is taken again.
    pub(super) fn works_again(&mut self, kind: Kind) {
        self.streaks[kind as usize] = Streak::default();
    }

    /// A call failed, and no harmless call could show who is to blame. Returns how long its contact
    /// waits.
    pub(super) fn doubt(&mut self, kind: Kind) -> Duration {
        let streak = &mut self.streaks[kind as usize];
        let pause = FIRST_PAUSE.saturating_mul(1 << streak.doubts.min(10)).min(LONGEST_PAUSE);
        streak.doubts += 1;
        pause.mul_f64(rand::random_range(0.5..1.0))
    }

    /// A trial has ended, or was abandoned.
    pub(super) fn tried(&mut self) {
        self.trial_since = None;
    }

    pub(super) fn probed(&mut self, now: Instant, well: bool) -> Option<Duration> {
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

    /// The remote itself asked for a pause.
    pub(super) fn pause(&mut self, now: Instant, pause: Duration) {
        self.open_until = Some(self.open_until.map_or(now + pause, |until| until.max(now + pause)));
    }

    /// `part`: the share of the step that the pause lasts, drawn at random.
    fn open(&mut self, now: Instant, part: Range<f64>) -> Duration {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.pauses.min(10))
            .min(LONGEST_PAUSE)
            .mul_f64(rand::random_range(part));
        self.pauses += 1;
        self.half_open = false;
        let longer = self.open_until.filter(|until| *until > now + pause);
        let until = longer.unwrap_or(now + pause);
        self.open_until = Some(until);
        until - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call about a contact that failed.
    fn fail(breaker: &mut Breaker, now: Instant, kind: Kind, contact: i64) -> Fault {
        breaker.failed(now, kind, &[contact], Evidence::Nothing)
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_by_a_probe() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            assert_eq!(fail(&mut breaker, now, Kind::Write, 1), Fault::Contact);
        }
        breaker.succeeded(Kind::Write, false);
        for _ in 1..FAILURES_TO_OPEN {
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
        assert!(is_paused(&mut breaker, now), "a late answer does not end the pause");
        assert_eq!(breaker.admit(now + pause, Kind::Read), Admission::Probe);
        assert!(is_paused(&mut breaker, now + pause), "one probe at a time");
        let longer = breaker.probed(now + pause, false).expect("still open");
        assert_eq!(breaker.admit(now + pause + longer, Kind::Write), Admission::Probe);
        assert_eq!(breaker.probed(now, true), None);
        assert_eq!(
            breaker.admit(now, Kind::Write),
            Admission::Call,
            "one contact that keeps failing is no outage"
        );
        assert_eq!(breaker.open_for(now), None);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_a_lost_probe_gives_way_to_another() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_TO_OPEN {
            breaker.failed(now, Kind::Read, &[], Evidence::Nothing);
        }
        for _ in 0..20 {
            now += LONGEST_PAUSE;
            assert_eq!(breaker.admit(now, Kind::Read), Admission::Probe);
            assert!(breaker.probed(now, false).expect("open") <= LONGEST_PAUSE);
        }
        now += LONGEST_PAUSE;
        assert_eq!(breaker.admit(now, Kind::Read), Admission::Probe);
        assert_eq!(breaker.admit(now + PROBE_TIME, Kind::Read), Admission::Probe);
    }

    #[test]
    fn writes_that_fail_for_every_contact_are_tried_one_at_a_time_and_less_and_less_often() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for contact in 0..64 {
            // A read that succeeds between two writes says nothing about the writes.
            breaker.succeeded(Kind::Read, false);
            fail(&mut breaker, now, Kind::Write, contact);
        }
        let mut last = Duration::ZERO;
        for contact in 0..6 {
            now += breaker.open_for(now).expect("open");
            assert_eq!(breaker.admit(now, Kind::Read), Admission::Probe);
            assert_eq!(breaker.probed(now, true), None);
            assert_eq!(breaker.open_for(now), Some(Duration::ZERO), "it is not back yet");
            assert_eq!(breaker.admit(now, Kind::Write), Admission::Trial);
            assert!(matches!(breaker.admit(now, Kind::Write), Admission::Wait(_)));
            assert_eq!(breaker.admit(now, Kind::Search), Admission::Call);
            breaker.succeeded(Kind::Search, false);
            breaker.succeeded(Kind::Write, false);
            assert!(
                matches!(breaker.admit(now, Kind::Write), Admission::Wait(_)),
                "neither another kind nor a late answer decides the trial"
            );
            let Fault::Trial(pause) = breaker.failed(now, Kind::Write, &[contact], Evidence::Trial)
            else {
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
        // The trial was abandoned.
        breaker.tried();
        assert_eq!(breaker.admit(now, Kind::Write), Admission::Trial);
        breaker.succeeded(Kind::Write, true);
        breaker.tried();
        assert_eq!(breaker.admit(now, Kind::Write), Admission::Call);
        assert_eq!(breaker.open_for(now), None);
        assert_eq!(fail(&mut breaker, now, Kind::Write, 1), Fault::Contact);
    }

    #[test]
    fn while_harmless_calls_are_taken_contacts_are_to_blame_unless_very_many_fail() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let blame = |breaker: &mut Breaker, contact| {
            breaker.failed(now, Kind::Write, &[contact], Evidence::Works)
        };
        // A dozen bad contacts, again and again, are still a dozen bad contacts.
        for contact in (0..12).cycle().take(300) {
            assert_eq!(blame(&mut breaker, contact), Fault::Contact);
        }
        let more = (12..).take(CONTACTS_TO_OUTWEIGH - 12);
        let last = more.map(|contact| blame(&mut breaker, contact)).last();
        assert!(matches!(last, Some(Fault::Remote(_))), "{last:?}");
    }

    #[test]
    fn a_kind_whose_harmless_call_failed_stays_down_until_one_is_taken() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        now += breaker.went_down(now, Kind::Create);
        assert_eq!(breaker.down(), [Kind::Create]);
        assert_eq!(breaker.admit(now, Kind::Read), Admission::Probe);
        now += breaker.probed(now, false).expect("still down");
        assert_eq!(breaker.admit(now, Kind::Read), Admission::Probe);
        breaker.works_again(Kind::Create);
        assert_eq!(breaker.probed(now, true), None);
        assert_eq!(breaker.admit(now, Kind::Create), Admission::Call);
        assert_eq!(fail(&mut breaker, now, Kind::Create, 1), Fault::Contact);

        // No harmless call is known any more: a real one goes first.
        now += breaker.went_down(now, Kind::Create);
        assert_eq!(breaker.admit(now, Kind::Create), Admission::Probe);
        breaker.probed(now, true);
        assert_eq!(breaker.admit(now, Kind::Create), Admission::Trial);
        assert_eq!(breaker.admit(now, Kind::Write), Admission::Call);
    }

    #[test]
    fn the_waits_of_doubt_grow_to_a_bound_and_end_with_a_success() {
        let mut breaker = Breaker::default();
        let waits: Vec<Duration> = (0..12).map(|_| breaker.doubt(Kind::Create)).collect();
        assert!(waits[0] <= FIRST_PAUSE && waits[11] >= LONGEST_PAUSE / 2, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST_PAUSE), "{waits:?}");
        breaker.succeeded(Kind::Create, false);
        assert!(breaker.doubt(Kind::Create) <= FIRST_PAUSE);
    }
}
