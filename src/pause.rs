//! Pauses: what a person has stopped for a while, since when, and who did it. No I/O.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::feed::Feed;

/// Where values travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Intercom is written.
    KeapToIntercom,
    /// Keap is written.
    IntercomToKeap,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::KeapToIntercom, Self::IntercomToKeap];

    /// The name in tables, settings and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeapToIntercom => "keap_to_intercom",
            Self::IntercomToKeap => "intercom_to_keap",
        }
    }

    /// The direction that a feed serves. `None`: it brings contacts for both.
    fn of(feed: Feed) -> Option<Self> {
        match feed {
            Feed::Changed | Feed::Backfill | Feed::Sweep => Some(Self::KeapToIntercom),
            Feed::Audit => Some(Self::IntercomToKeap),
            Feed::Due | Feed::Plan => None,
        }
    }
}

/// What a pause stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseScope {
    All,
    Feed(Feed),
    Direction(Direction),
}

impl serde::Serialize for PauseScope {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl PauseScope {
    /// The stored word. The names of feeds and of directions differ.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Feed(feed) => feed.as_str(),
            Self::Direction(direction) => direction.as_str(),
        }
    }

    /// The scope in words, as the subject of a sentence.
    pub fn in_words(self) -> String {
        match self {
            Self::All => "everything".to_owned(),
            Self::Feed(feed) => format!("the feed {feed}"),
            Self::Direction(Direction::KeapToIntercom) => {
                "the direction from Keap to Intercom".to_owned()
            }
            Self::Direction(Direction::IntercomToKeap) => {
                "the direction from Intercom to Keap".to_owned()
            }
        }
    }
}

/// A scope that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownScope;

impl fmt::Display for UnknownScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected all, changed, backfill, sweep, audit, due, keap_to_intercom or intercom_to_keap")
    }
}

impl std::error::Error for UnknownScope {}

impl FromStr for PauseScope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let direction = Direction::ALL.into_iter().find(|one| one.as_str() == text);
        let feed = Feed::parse(text);
        match (text, direction, feed) {
            ("all", ..) => Ok(Self::All),
            (_, Some(direction), _) => Ok(Self::Direction(direction)),
            (_, None, Some(feed)) => Ok(Self::Feed(feed)),
            (_, None, None) => Err(UnknownScope),
        }
    }
}

/// Who pauses or resumes: a name of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By(String);

impl By {
    /// The longest name.
    pub const MAX_CHARS: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnusableName;

impl fmt::Display for UnusableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a name of 1 to {} characters in one line", By::MAX_CHARS)
    }
}

impl std::error::Error for UnusableName {}

impl FromStr for By {
    type Err = UnusableName;

    fn from_str(text: &str) -> Result<Self, UnusableName> {
        let name = text.trim();
        let fits = !name.is_empty() && name.chars().count() <= Self::MAX_CHARS;
        if fits && !name.chars().any(char::is_control) {
            Ok(Self(name.to_owned()))
        } else {
            Err(UnusableName)
        }
    }
}

/// Something that is paused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    pub scope: PauseScope,
    /// Requests of a person or a script are let through.
    pub lets_requests: bool,
    pub since: DateTime<Utc>,
    pub by: String,
}

impl Pause {
    /// What is paused, since when, and by whom.
    pub fn in_words(&self) -> String {
        let since = self.since.format("%Y-%m-%d %H:%M UTC");
        let but = if self.lets_requests { ", except requests" } else { "" };
        format!("{} is paused since {since} by {}{but}", self.scope.in_words(), self.by)
    }

    /// Whether contacts wait that change on a side. `of_both`: both directions are on.
    pub fn stops_changes(&self, of_both: bool) -> bool {
        let of_intercom = PauseScope::Direction(Direction::IntercomToKeap);
        self.stops(Feed::Changed) || (of_both && self.scope == of_intercom)
    }

    fn stops(&self, feed: Feed) -> bool {
        match self.scope {
            PauseScope::All => true,
            PauseScope::Feed(paused) => paused == feed,
            PauseScope::Direction(direction) => Direction::of(feed) == Some(direction),
        }
    }
}

/// Everything that is paused. Empty: everything runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses(pub Vec<Pause>);

impl Pauses {
    /// Whether contacts wait that change on a side. `of_both`: both directions are on.
    pub fn stop_changes(&self, of_both: bool) -> bool {
        self.0.iter().any(|pause| pause.stops_changes(of_both))
    }

    /// The pause that stops a feed. `is_request`: the contact was asked for by a person or a
    /// script.
    pub fn of_feed(&self, feed: Feed, is_request: bool) -> Option<&Pause> {
        self.0.iter().find(|pause| pause.stops(feed) && !(is_request && pause.lets_requests))
    }

    /// The pause that stops what is due and only written to Keap: contacts that have a pace, and
    /// users who are brought there.
    pub fn of_due_to_keap(&self, is_request: bool) -> Option<&Pause> {
        let of_direction = || self.of_direction(Direction::IntercomToKeap, is_request);
        self.of_feed(Feed::Due, is_request).or_else(of_direction)
    }

    /// The pause that stops writes in a direction.
    pub fn of_direction(&self, direction: Direction, is_request: bool) -> Option<&Pause> {
        let stops = |pause: &&Pause| {
            let scope = pause.scope;
            scope == PauseScope::All || scope == PauseScope::Direction(direction)
        };
        self.0.iter().filter(stops).find(|pause| !(is_request && pause.lets_requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(scope: &str, lets_requests: bool) -> Pauses {
        let scope = scope.parse().unwrap();
        let since = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Pauses(vec![Pause { scope, lets_requests, since, by: "Ann".into() }])
    }

    #[test]
    fn every_scope_is_read_back_and_stops_what_it_names() {
        let directions = Direction::ALL.map(PauseScope::Direction);
        let feeds = Feed::ALL.map(PauseScope::Feed);
        for scope in [PauseScope::All].into_iter().chain(feeds).chain(directions) {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert_eq!("Changed".parse::<PauseScope>(), Err(UnknownScope));
        for (scope, stopped) in [
            ("all", Feed::ALL.to_vec()),
            ("sweep", vec![Feed::Sweep]),
            ("due", vec![Feed::Due]),
            ("keap_to_intercom", vec![Feed::Changed, Feed::Backfill, Feed::Sweep]),
            ("intercom_to_keap", vec![Feed::Audit]),
        ] {
            let pauses = pause(scope, false);
            let stops = |feed: &Feed| pauses.of_feed(*feed, false).is_some();
            assert_eq!(Feed::ALL.into_iter().filter(stops).collect::<Vec<_>>(), stopped, "{scope}");
        }
    }

    #[test]
    fn a_pause_stops_writes_in_its_direction_and_may_let_requests_through() {
        let [to_intercom, to_keap] = Direction::ALL;
        for (scope, expected) in [
            ("all", (true, true)),
            ("keap_to_intercom", (true, false)),
            ("intercom_to_keap", (false, true)),
            ("changed", (false, false)),
        ] {
            let (strict, lenient) = (pause(scope, false), pause(scope, true));
            let stops = |pauses: &Pauses, is_request| {
                let of = |direction| pauses.of_direction(direction, is_request).is_some();
                (of(to_intercom), of(to_keap))
            };
            assert_eq!(stops(&strict, false), expected, "{scope}");
            assert_eq!(stops(&strict, true), expected, "{scope}");
            assert_eq!(stops(&lenient, false), expected, "{scope}");
            assert_eq!(stops(&lenient, true), (false, false), "{scope}");
        }
        for (scope, expected) in [
            ("all", [true, true]),
            ("changed", [true, true]),
            ("keap_to_intercom", [true, true]),
            ("intercom_to_keap", [false, true]),
            ("audit", [false, false]),
        ] {
            assert_eq!([false, true].map(|both| pause(scope, false).stop_changes(both)), expected);
        }
        assert_eq!(pause("all", true).of_feed(Feed::Due, true), None);
        assert!(pause("all", true).of_feed(Feed::Due, false).is_some());
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(" Ann Lee ".parse::<By>().unwrap().as_str(), "Ann Lee");
        for wrong in ["", "  ", "a\nb", &"a".repeat(65)] {
            assert_eq!(wrong.parse::<By>(), Err(UnusableName), "{wrong:?}");
        }
    }
}
