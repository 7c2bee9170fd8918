//! The merge: which side's value of a field counts, by the owner that the mapping gives it. No clock,
//! no network, no database.

use chrono::{DateTime, TimeDelta, Utc};

use crate::contact::{FieldRule, Reading};

/// Edits on both sides that are no further apart count as made at the same time: the stamps belong
/// to the contacts, and not to the field.
const TIE: TimeDelta = TimeDelta::seconds(120);

/// What both sides show of one field whose value in Keap differs from the one that was settled last.
#[derive(Debug)]
pub(super) struct Sides<'a> {
    pub rule: &'a FieldRule,
    pub keap: &'a Reading,
    pub intercom: &'a Reading,
    /// Both show the same.
    pub equal: bool,
    /// Intercom shows what was settled last. `None`: nothing was, this is the first match.
    pub intercom_as_settled: Option<bool>,
    /// When each contact last changed, as far as its side says.
    pub keap_at: Option<DateTime<Utc>>,
    pub intercom_at: Option<DateTime<Utc>>,
}

/// What becomes of Intercom's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Keap's value is written.
    Write,
    /// It stays.
    Keep,
    /// It stays, although Keap's value was edited too: Intercom's edit is the later one.
    Conflict,
}

/// Decides for a field of the owner `newest` or `fill`. A field that Keap owns needs no decision.
pub(super) fn toward_intercom(sides: &Sides<'_>) -> Verdict {
    if sides.equal || *sides.keap == Reading::Invalid {
        return Verdict::Keep;
    }
    if sides.rule.fills_only {
        return match sides.intercom {
            Reading::Empty => Verdict::Write,
            Reading::Is(_) | Reading::Invalid => Verdict::Keep,
        };
    }
    match (sides.intercom_as_settled, sides.keap) {
        // An empty value never wipes at the first match.
        (None, Reading::Empty) if !sides.rule.clears_always => Verdict::Keep,
        (None | Some(true), _) => Verdict::Write,
        (Some(false), _) if is_later(sides.intercom_at, sides.keap_at) => Verdict::Conflict,
        (Some(false), _) => Verdict::Write,
    }
}

/// Whether the edit in Intercom is surely the later one.
fn is_later(intercom: Option<DateTime<Utc>>, keap: Option<DateTime<Utc>>) -> bool {
    intercom.zip(keap).is_some_and(|(intercom, keap)| intercom - keap > TIE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{FieldName, Form};

    fn at(seconds: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0)
    }

    fn rule(fills_only: bool) -> FieldRule {
        FieldRule { looks_first: true, fills_only, ..FieldRule::plain(FieldName::from("plan")) }
    }

    fn verdict(
        rule: &FieldRule,
        keap: &str,
        intercom: &str,
        settled: Option<&str>,
        later: i64,
    ) -> Verdict {
        let read = |text: &str| Form::Text.read(Some(text));
        toward_intercom(&Sides {
            rule,
            keap: &read(keap),
            intercom: &read(intercom),
            equal: keap == intercom,
            intercom_as_settled: settled.map(|settled| settled == intercom),
            keap_at: at(0),
            intercom_at: at(later),
        })
    }

    #[test]
    fn every_cell_of_newest() {
        use Verdict::{Conflict, Keep, Write};
        for (keap, intercom, settled, later, expected) in [
            // First match.
            ("a", "b", None, 900, Write),
            ("a", "", None, 900, Write),
            ("", "b", None, -900, Keep),
            ("a", "a", None, 0, Keep),
            // Only Keap changed.
            ("a", "b", Some("b"), 900, Write),
            ("", "b", Some("b"), 900, Write),
            ("a", "", Some(""), 900, Write),
            // Both changed.
            ("a", "c", Some("b"), 121, Conflict),
            ("a", "c", Some("b"), 120, Write),
            ("a", "c", Some("b"), -900, Write),
            ("", "c", Some("b"), 121, Conflict),
            ("a", "", Some("b"), 121, Conflict),
            ("a", "", Some("b"), 0, Write),
            ("a", "a", Some("b"), 900, Keep),
        ] {
            let found = verdict(&rule(false), keap, intercom, settled, later);
            assert_eq!(found, expected, "{keap:?} {intercom:?} {settled:?} {later}");
        }
    }

    #[test]
    fn every_cell_of_fill() {
        use Verdict::{Keep, Write};
        for settled in [None, Some(""), Some("b"), Some("c")] {
            for later in [-900, 0, 900] {
                for (keap, intercom, expected) in
                    [("a", "", Write), ("a", "c", Keep), ("", "c", Keep), ("a", "a", Keep)]
                {
                    let found = verdict(&rule(true), keap, intercom, settled, later);
                    assert_eq!(found, expected, "{keap:?} {intercom:?} {settled:?} {later}");
                }
            }
        }
    }

    #[test]
    fn without_a_stamp_keap_wins_and_rubbish_never_does() {
        let rule = rule(false);
        let value = Form::Text.read(Some("a"));
        let other = Form::Text.read(Some("c"));
        let sides = |keap_at, intercom_at, keap| Sides {
            rule: &rule,
            keap,
            intercom: &other,
            equal: false,
            intercom_as_settled: Some(false),
            keap_at,
            intercom_at,
        };
        assert_eq!(toward_intercom(&sides(None, at(900), &value)), Verdict::Write);
        assert_eq!(toward_intercom(&sides(at(0), None, &value)), Verdict::Write);
        assert_eq!(toward_intercom(&sides(None, None, &Reading::Invalid)), Verdict::Keep);
    }
}
