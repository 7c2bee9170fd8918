//! Every cell of the table of owners, and random edits on both sides until they are quiet.

use proptest::prelude::*;

use super::*;
use crate::contact::{FieldName, Form};

const BOTH: Direction = Direction { to_keap: true, puts_back: true, tie: TimeDelta::seconds(120) };

fn at(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0)
}

fn rule(owner: Owner) -> FieldRule {
    FieldRule { owner, to_keap: true, ..FieldRule::plain(FieldName::from("plan")) }
}

/// A value that a side shows now, and the one that it showed when the field was settled last.
type Shown<'a> = (&'a str, Option<&'a str>);

/// `later`: how many seconds Intercom's stamp is after Keap's.
fn merged(
    rule: &FieldRule,
    keap: Shown<'_>,
    intercom: Shown<'_>,
    later: i64,
    direction: Direction,
) -> Merged {
    let read = |text: &str| Form::Text.read(Some(text));
    let since = |(now, before): Shown<'_>| match before {
        None => Since::First,
        Some(before) if before == now => Since::Same,
        Some(_) => Since::Changed,
    };
    let had_value = |(_, before): Shown<'_>| before.is_some_and(|before| !before.is_empty());
    let (in_keap, in_intercom) = (read(keap.0), read(intercom.0));
    merge(
        &Sides {
            rule,
            keap: Side {
                shows: &in_keap,
                since: since(keap),
                had_value: had_value(keap),
                at: at(0),
            },
            intercom: Side {
                shows: &in_intercom,
                since: since(intercom),
                had_value: had_value(intercom),
                at: at(later),
            },
            equal: keap.0 == intercom.0,
        },
        direction,
    )
}

fn verdict_of(owner: Owner, keap: Shown<'_>, intercom: Shown<'_>) -> Verdict {
    merged(&rule(owner), keap, intercom, 0, BOTH).verdict
}

#[test]
fn every_cell_of_the_table_of_owners() {
    use Verdict::{Settle, ToIntercom, ToKeap};
    let keap_changed = (("b", Some("a")), ("a", Some("a")));
    let intercom_changed = (("a", Some("a")), ("b", Some("a")));
    let both_changed = (("b", Some("a")), ("c", Some("a")));
    let first = (("b", None), ("c", None));
    for (owner, expected) in [
        (Owner::Keap, [ToIntercom, ToIntercom, ToIntercom, ToIntercom]),
        (Owner::Intercom, [ToKeap, ToKeap, ToKeap, ToKeap]),
        (Owner::Newest, [ToIntercom, ToKeap, ToIntercom, ToIntercom]),
        (Owner::Fill, [Settle, Settle, Settle, Settle]),
        (Owner::Never, [Settle, Settle, Settle, Settle]),
    ] {
        let found = [keap_changed, intercom_changed, both_changed, first]
            .map(|(keap, intercom)| verdict_of(owner, keap, intercom));
        assert_eq!(found, expected, "{owner:?}");
    }
}

#[test]
fn equal_values_and_quiet_sides_are_settled_without_a_call() {
    for owner in [Owner::Keap, Owner::Intercom, Owner::Newest, Owner::Fill, Owner::Never] {
        for before in [None, Some("a"), Some("b")] {
            assert_eq!(verdict_of(owner, ("b", before), ("b", before)), Verdict::Settle);
        }
        // One side cannot hold what the other one has: that was settled as it is.
        assert_eq!(verdict_of(owner, ("abc", Some("abc")), ("ab", Some("ab"))), Verdict::Settle);
    }
}

#[test]
fn a_first_match_never_wipes_and_fills_what_is_empty() {
    use Verdict::{Settle, ToIntercom, ToKeap};
    for (owner, keap_is_empty, intercom_is_empty) in [
        (Owner::Keap, Settle, ToIntercom),
        (Owner::Intercom, ToKeap, Settle),
        (Owner::Newest, ToKeap, ToIntercom),
        (Owner::Fill, ToKeap, ToIntercom),
        (Owner::Never, Settle, Settle),
    ] {
        // The base of one side alone is no settled field.
        for (in_keap, in_intercom) in [(None, None), (Some("x"), None), (None, Some("x"))] {
            let found = verdict_of(owner, ("", in_keap), ("b", in_intercom));
            assert_eq!(found, keap_is_empty, "{owner:?} {in_keap:?} {in_intercom:?}");
            let found = verdict_of(owner, ("b", in_keap), ("", in_intercom));
            assert_eq!(found, intercom_is_empty, "{owner:?} {in_keap:?} {in_intercom:?}");
        }
    }
}

#[test]
fn a_clearing_travels_once_the_side_had_a_value() {
    use Verdict::{Settle, ToIntercom, ToKeap};
    let cleared_in_keap = (("", Some("a")), ("a", Some("a")));
    let cleared_in_intercom = (("a", Some("a")), ("", Some("a")));
    for (owner, in_keap, in_intercom) in [
        (Owner::Keap, ToIntercom, ToIntercom),
        (Owner::Intercom, ToKeap, ToKeap),
        (Owner::Newest, ToIntercom, ToKeap),
        (Owner::Fill, Settle, Settle),
        (Owner::Never, Settle, Settle),
    ] {
        let rule = rule(owner);
        for (clears, in_keap, in_intercom) in [
            (OnEmpty::AfterFirst, in_keap, in_intercom),
            (OnEmpty::Always, in_keap, in_intercom),
            (
                OnEmpty::Never,
                if owner == Owner::Intercom { in_keap } else { Settle },
                if owner == Owner::Keap { in_intercom } else { Settle },
            ),
        ] {
            let rule = FieldRule { clears, ..rule.clone() };
            let found = |(keap, intercom)| merged(&rule, keap, intercom, 0, BOTH).verdict;
            assert_eq!(found(cleared_in_keap), in_keap, "{owner:?} {clears:?}");
            assert_eq!(found(cleared_in_intercom), in_intercom, "{owner:?} {clears:?}");
        }
    }
}

#[test]
fn an_owner_that_has_always_been_empty_puts_nothing_back() {
    let typed_in_intercom = (("", Some("")), ("b", Some("")));
    let found = |clears| {
        let rule = FieldRule { clears, ..rule(Owner::Keap) };
        merged(&rule, typed_in_intercom.0, typed_in_intercom.1, 0, BOTH).verdict
    };
    assert_eq!(found(OnEmpty::AfterFirst), Verdict::Settle);
    assert_eq!(found(OnEmpty::Never), Verdict::Settle);
    assert_eq!(found(OnEmpty::Always), Verdict::ToIntercom);
}

#[test]
fn a_value_is_put_back_only_if_the_settings_say_so() {
    let edited = (("a", Some("a")), ("b", Some("a")));
    let found = |direction| merged(&rule(Owner::Keap), edited.0, edited.1, 0, direction);
    assert_eq!(
        found(BOTH),
        Merged { verdict: Verdict::ToIntercom, conflict: false, restores: true }
    );
    assert_eq!(found(Direction { puts_back: false, ..BOTH }), Verdict::Settle.into());
    assert_eq!(found(Direction::ONE_WAY), Verdict::Settle.into());
}

#[test]
fn a_conflict_is_won_by_the_later_stamp_and_else_by_keap() {
    let edited = (("b", Some("a")), ("c", Some("a")));
    let found = |later| merged(&rule(Owner::Newest), edited.0, edited.1, later, BOTH);
    let won = |verdict| Merged { verdict, conflict: true, restores: false };
    assert_eq!(found(121), won(Verdict::ToKeap));
    assert_eq!(found(120), won(Verdict::ToIntercom));
    assert_eq!(found(-900), won(Verdict::ToIntercom));
    let one_way = merged(&rule(Owner::Newest), edited.0, edited.1, 121, Direction::ONE_WAY);
    assert_eq!(one_way, won(Verdict::Settle), "Intercom's later edit stays");

    let value = Form::Text.read(Some("b"));
    let other = Form::Text.read(Some("c"));
    for (keap_at, intercom_at) in [(None, at(900)), (at(0), None), (None, None)] {
        let side = |shows, at| Side { shows, since: Since::Changed, had_value: true, at };
        let sides = Sides {
            rule: &rule(Owner::Newest),
            keap: side(&value, keap_at),
            intercom: side(&other, intercom_at),
            equal: false,
        };
        assert_eq!(merge(&sides, BOTH).verdict, Verdict::ToIntercom);
    }
}

#[test]
fn a_value_that_the_other_side_cannot_take_is_held() {
    let value = Form::Text.read(Some("b"));
    let invalid = Reading::Invalid;
    let verdict = |owner, keap, intercom, changed: [bool; 2]| {
        let since = |changed| if changed { Since::Changed } else { Since::Same };
        let side =
            |shows, changed| Side { shows, since: since(changed), had_value: true, at: None };
        let sides = Sides {
            rule: &rule(owner),
            keap: side(keap, changed[0]),
            intercom: side(intercom, changed[1]),
            equal: false,
        };
        merge(&sides, BOTH).verdict
    };
    for owner in [Owner::Keap, Owner::Newest] {
        assert_eq!(verdict(owner, &invalid, &value, [true, false]), Verdict::Hold);
    }
    for owner in [Owner::Intercom, Owner::Newest] {
        assert_eq!(verdict(owner, &value, &invalid, [false, true]), Verdict::Hold);
        // An entry of a list that cannot be read would be lost.
        assert_eq!(verdict(owner, &invalid, &value, [false, true]), Verdict::Hold);
    }
    assert_eq!(verdict(Owner::Keap, &value, &invalid, [true, true]), Verdict::ToIntercom);
}

#[test]
fn only_what_keap_takes_travels_to_keap() {
    let edited = (("a", Some("a")), ("b", Some("a")));
    let rule = FieldRule { to_keap: false, ..rule(Owner::Newest) };
    assert_eq!(merged(&rule, edited.0, edited.1, 0, BOTH).verdict, Verdict::Settle);
}

/// A field of two sides that people edit, and a daemon that looks from time to time.
#[derive(Debug)]
struct World {
    rule: FieldRule,
    shows: [String; 2],
    settled: [Option<String>; 2],
    stamps: [i64; 2],
    now: i64,
    writes: usize,
}

/// What a side makes of a value that is written to it.
#[derive(Debug, Clone, Copy)]
enum Rewrites {
    Nothing,
    Cuts,
    Folds,
}

impl Rewrites {
    fn of(self, text: &str) -> String {
        match self {
            Self::Nothing => text.to_owned(),
            Self::Cuts => text.chars().take(2).collect(),
            Self::Folds => text.to_uppercase(),
        }
    }
}

impl World {
    /// The daemon looks at both sides, writes, and records what both show afterwards.
    fn look(&mut self, rewrites: [Rewrites; 2]) -> Merged {
        self.now += 1;
        let found = merged(
            &self.rule,
            (&self.shows[0], self.settled[0].as_deref()),
            (&self.shows[1], self.settled[1].as_deref()),
            self.stamps[1] - self.stamps[0],
            BOTH,
        );
        let into = match found.verdict {
            Verdict::ToIntercom => Some(1),
            Verdict::ToKeap => Some(0),
            Verdict::Settle | Verdict::Hold => None,
        };
        if let Some(into) = into {
            self.shows[into] = rewrites[into].of(&self.shows[1 - into]);
            self.stamps[into] = self.now;
            self.writes += 1;
        }
        self.settled = self.shows.clone().map(Some);
        found
    }
}

fn owners() -> impl Strategy<Value = Owner> {
    prop_oneof![
        Just(Owner::Keap),
        Just(Owner::Intercom),
        Just(Owner::Newest),
        Just(Owner::Fill),
        Just(Owner::Never)
    ]
}

fn clears() -> impl Strategy<Value = OnEmpty> {
    prop_oneof![Just(OnEmpty::AfterFirst), Just(OnEmpty::Always), Just(OnEmpty::Never)]
}

fn rewrites() -> impl Strategy<Value = Rewrites> {
    prop_oneof![3 => Just(Rewrites::Nothing), 1 => Just(Rewrites::Cuts), 1 => Just(Rewrites::Folds)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("MERGE_WORLDS").ok().and_then(|worlds| worlds.parse().ok()).unwrap_or(2_000)
    ))]

    #[test]
    fn random_worlds_end_quiet_and_keep_what_the_owner_typed(
        owner in owners(),
        clears in clears(),
        first in ["[abc]{0,3}", "[abc]{0,3}"],
        edits in prop::collection::vec((0..2_usize, "[abc]{0,3}", 1..400_i64, any::<bool>()), 0..12),
        rewrites in [rewrites(), rewrites()],
    ) {
        let mut world = World {
            rule: FieldRule { clears, ..rule(owner) },
            shows: first,
            settled: [None, None],
            stamps: [0, 0],
            now: 0,
            writes: 0,
        };
        let mut looks = 1;
        world.look(rewrites);
        for (side, text, later, looked) in edits {
            world.now += later;
            world.shows[side] = text;
            world.stamps[side] = world.now;
            if looked {
                world.look(rewrites);
                looks += 1;
            }
        }
        let before = world.shows.clone();
        let edited = [0, 1].map(|side| world.settled[side].as_ref() != Some(&before[side]));
        let last = world.look(rewrites);
        looks += 1;
        prop_assert!(world.writes <= looks, "one write a look at most");

        // The value that the owner typed last is still there.
        let owns = match owner { Owner::Keap => Some(0), Owner::Intercom => Some(1), _ => None };
        if let Some(side) = owns {
            prop_assert_eq!(&world.shows[side], &before[side], "{:?}", last);
        }
        if owner == Owner::Newest && edited[0] != edited[1] {
            let side = usize::from(edited[1]);
            prop_assert_eq!(&world.shows[side], &before[side], "the only edit was lost: {:?}", last);
        }
        // An empty value has not wiped one where the rule forbids it.
        if clears == OnEmpty::Never || owner == Owner::Fill {
            for side in [0, 1] {
                prop_assert!(before[side].is_empty() || !world.shows[side].is_empty());
            }
        }
        // Nobody edits any more: nothing is written again.
        let writes = world.writes;
        for _ in 0..3 {
            world.look(rewrites);
        }
        prop_assert_eq!(world.writes, writes, "it does not end");
    }
}
