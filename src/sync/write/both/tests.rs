//! What an intent that is found says of a field: each row of the table, for either side.

use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::contact::{DigestKey, FieldOrder, Fields, Form, KeapId};
use crate::store::IntentSide;
use Since::{Changed, First, Same};

const FIELD: &str = "plan";

fn order() -> FieldOrder {
    let names: Vec<FieldName> = vec![FIELD.into(), "job".into()];
    let rules = names.iter().cloned().map(FieldRule::plain).collect();
    FieldOrder::new(rules, names, [0; 32])
}

fn bases(field: &str, text: Option<&str>) -> Bases {
    let shown = Fields::from_iter([(field, Form::Text.read(text))]);
    let contact = Contact::showing(KeapId::new(7).unwrap(), shown);
    DigestKey::new(&[7; 32]).bases_now(&order(), &contact)
}

fn deadline() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn intent(sent: Bases) -> FoundIntent {
    FoundIntent {
        id: Uuid::nil(),
        side: IntentSide::Keap,
        intercom: None,
        sent,
        borrowed: None,
        deadline: deadline(),
        rechecked: false,
        has_made: false,
    }
}

/// What was sent is `silver`, and what had been settled is `gold`. The written side shows `shows`,
/// stamped so many seconds behind the end of the call; since then, `before` has happened to it and
/// to the origin. Returns what counts as having happened to the two.
fn judged(
    shows: Option<&str>,
    stamped: Option<i64>,
    (mut written, mut origin): (Since, Since),
) -> (Since, Since) {
    let stamped = stamped.map(|seconds| deadline() + TimeDelta::seconds(seconds));
    let intent = intent(bases(FIELD, Some("silver")));
    judge(&intent, FIELD, &bases(FIELD, shows), stamped, (&mut written, &mut origin));
    (written, origin)
}

#[test]
fn what_was_sent_is_our_own_write_whenever_it_is_stamped_and_the_origin_counts_once_more() {
    for stamped in [Some(-60), Some(0), Some(60), None] {
        for written in [Same, Changed] {
            for origin in [Same, Changed] {
                let judged = judged(Some("silver"), stamped, (written, origin));
                assert_eq!(judged, (Same, Changed), "{stamped:?} {written:?} {origin:?}");
            }
        }
    }
}

#[test]
fn a_side_that_shows_its_base_was_never_written_and_the_field_is_decided_afresh() {
    for stamped in [Some(-60), Some(0), Some(60), None] {
        for origin in [Same, Changed] {
            let judged = judged(Some("gold"), stamped, (Same, origin));
            assert_eq!(judged, (Same, origin), "{stamped:?}");
        }
    }
}

#[test]
fn another_value_that_is_stamped_within_the_call_is_our_write_spelt_anew() {
    for shows in [Some("Silver!"), None] {
        for stamped in [Some(-60), Some(0), None] {
            for origin in [Same, Changed] {
                let judged = judged(shows, stamped, (Changed, origin));
                assert_eq!(judged, (Same, Changed), "{shows:?} {stamped:?} {origin:?}");
            }
        }
    }
}

#[test]
fn another_value_that_is_stamped_after_the_call_is_a_persons_edit() {
    for shows in [Some("bronze"), None] {
        for stamped in [1, 60] {
            for origin in [Same, Changed] {
                let judged = judged(shows, Some(stamped), (Changed, origin));
                assert_eq!(judged, (Changed, origin), "{shows:?} {stamped}");
            }
        }
    }
}

#[test]
fn a_first_match_and_a_field_that_was_not_sent_are_decided_as_if_there_were_no_intent() {
    for origin in [First, Same, Changed] {
        assert_eq!(judged(Some("silver"), Some(-60), (First, origin)), (First, origin));
    }
    for written in [Same, Changed] {
        let (mut before, mut origin) = (written, Same);
        let of_another = intent(bases("job", Some("Buyer")));
        let shows = bases(FIELD, Some("silver"));
        judge(&of_another, FIELD, &shows, Some(deadline()), (&mut before, &mut origin));
        assert_eq!((before, origin), (written, Same));
    }
}

#[test]
fn a_clearing_that_was_sent_is_known_again() {
    let (mut written, mut origin) = (Changed, Same);
    let cleared = bases(FIELD, None);
    let intent = intent(cleared.clone());
    judge(&intent, FIELD, &cleared, Some(deadline()), (&mut written, &mut origin));
    assert_eq!((written, origin), (Same, Changed));
}
