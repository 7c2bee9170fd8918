//! The merge: which side's value of a field counts, by the owner that the mapping gives it. No
//! clock, no network, no database.

use chrono::{DateTime, TimeDelta, Utc};

use crate::contact::{FieldRule, OnEmpty, Owner, Reading};

/// What the settings say of the second direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// Intercom's values travel to Keap.
    pub to_keap: bool,
    /// The owner's value is written again where the other side was edited.
    pub puts_back: bool,
    /// Edits on both sides that are no further apart count as made at the same time: the stamps
    /// belong to the contacts, and not to the field.
    pub tie: TimeDelta,
}

impl Direction {
    /// Only from Keap to Intercom.
    pub const ONE_WAY: Self =
        Self { to_keap: false, puts_back: false, tie: TimeDelta::seconds(120) };
}

/// What a side shows of a field, compared with what it showed when the field was settled last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// The field was never settled: this is the first match.
    First,
    Same,
    Changed,
}

/// One side of a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side<'a> {
    pub shows: &'a Reading,
    pub since: Since,
    /// It had a value when the field was settled last.
    pub had_value: bool,
    /// When the contact last changed, as far as its side says.
    pub at: Option<DateTime<Utc>>,
}

/// Both sides of one field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides<'a> {
    pub rule: &'a FieldRule,
    pub keap: Side<'a>,
    pub intercom: Side<'a>,
    /// Both show the same.
    pub equal: bool,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is written. What the sides show now is remembered.
    Settle,
    /// Keap's value is written to Intercom.
    ToIntercom,
    /// Intercom's value is written to Keap.
    ToKeap,
    /// The winning value cannot be written to the other side.
    Hold,
}

/// A verdict, and how it came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merged {
    pub verdict: Verdict,
    /// Both sides were edited, differently.
    pub conflict: bool,
    /// Only the side that does not own the field was edited, and gets the owner's value back.
    pub restores: bool,
}

impl From<Verdict> for Merged {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, conflict: false, restores: false }
    }
}

/// The side whose value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Winner {
    Keap,
    Intercom,
}

/// Decides one field.
pub(super) fn merge(sides: &Sides<'_>, direction: Direction) -> Merged {
    if sides.equal {
        return Verdict::Settle.into();
    }
    let is_first = [sides.keap.since, sides.intercom.since].contains(&Since::First);
    let conflict = !is_first
        && sides.keap.since == Since::Changed
        && sides.intercom.since == Since::Changed
        && sides.rule.owner == Owner::Newest;
    let Some((winner, restores)) = winner(sides, is_first, direction) else {
        return Verdict::Settle.into();
    };
    Merged { verdict: verdict(sides, winner, is_first, direction), conflict, restores }
}

/// The side whose value counts, and whether it is put back. `None`: both stay as they are.
fn winner(sides: &Sides<'_>, is_first: bool, direction: Direction) -> Option<(Winner, bool)> {
    let Sides { rule, keap, intercom, .. } = sides;
    let (in_keap, in_intercom) = (keap.since == Since::Changed, intercom.since == Since::Changed);
    match rule.owner {
        Owner::Never => None,
        Owner::Keap if is_first || in_keap => Some((Winner::Keap, false)),
        Owner::Keap => (in_intercom && direction.puts_back).then_some((Winner::Keap, true)),
        Owner::Intercom if is_first || in_intercom => Some((Winner::Intercom, false)),
        Owner::Intercom => (in_keap && direction.puts_back).then_some((Winner::Intercom, true)),
        Owner::Newest if is_first => match keap.shows {
            Reading::Empty if rule.clears != OnEmpty::Always => Some((Winner::Intercom, false)),
            _ => Some((Winner::Keap, false)),
        },
        Owner::Newest => match (in_keap, in_intercom) {
            (true, true) if is_later(intercom.at, keap.at, direction.tie) => {
                Some((Winner::Intercom, false))
            }
            (true, _) => Some((Winner::Keap, false)),
            (false, true) => Some((Winner::Intercom, false)),
            (false, false) => None,
        },
        Owner::Either => {
            let brings = |from: &Side<'_>, into: &Side<'_>| {
                let has_value = matches!(from.shows, Reading::Is(_));
                let is_news = is_first || from.since == Since::Changed;
                has_value && is_news && *into.shows == Reading::Empty
            };
            if brings(keap, intercom) {
                Some((Winner::Keap, false))
            } else {
                brings(intercom, keap).then_some((Winner::Intercom, false))
            }
        }
        Owner::Fill => {
            let fills = |from: &Side<'_>, into: &Side<'_>| {
                let is_news = is_first || from.since == Since::Changed;
                // With one direction, nobody has seen a person clear it.
                let was_cleared = direction.to_keap && !is_first && into.since == Since::Changed;
                *into.shows == Reading::Empty && is_news && !was_cleared
            };
            if fills(keap, intercom) {
                Some((Winner::Keap, false))
            } else {
                fills(intercom, keap).then_some((Winner::Intercom, false))
            }
        }
    }
}

/// Whether the winner's value may be written to the other side.
fn verdict(sides: &Sides<'_>, winner: Winner, is_first: bool, direction: Direction) -> Verdict {
    let rule = sides.rule;
    let (from, into) = match winner {
        Winner::Keap => (&sides.keap, &sides.intercom),
        Winner::Intercom => (&sides.intercom, &sides.keap),
    };
    let travels = match winner {
        Winner::Keap => rule.to_intercom,
        Winner::Intercom => direction.to_keap && rule.to_keap,
    };
    if !travels {
        return Verdict::Settle;
    }
    let may_clear = match rule.clears {
        _ if rule.never_clears() => false,
        OnEmpty::Always => true,
        // An empty value never wipes at the first match.
        _ => !is_first && from.had_value,
    };
    match (from.shows, winner) {
        (Reading::Invalid, _) => Verdict::Hold,
        (Reading::Empty, _) if !may_clear => Verdict::Settle,
        (_, Winner::Keap) => Verdict::ToIntercom,
        // Keap takes whole lists, and one of its entries cannot be read.
        (_, Winner::Intercom) if *into.shows == Reading::Invalid => Verdict::Hold,
        (_, Winner::Intercom) => Verdict::ToKeap,
    }
}

/// Whether the edit in Intercom is surely the later one.
fn is_later(intercom: Option<DateTime<Utc>>, keap: Option<DateTime<Utc>>, tie: TimeDelta) -> bool {
    intercom.zip(keap).is_some_and(|(intercom, keap)| intercom - keap > tie)
}

#[cfg(test)]
mod tests;
