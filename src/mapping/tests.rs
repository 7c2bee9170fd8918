//! What a mapping refuses, and how it fits two accounts.

use super::*;
use crate::contact::{FieldPlace, Form, OnEmpty, Owner, TooLong};

fn fitted(rules: Vec<Rule>, intercom: impl Fn(&Rule) -> Result<Holds, Unfit>) -> Fitted {
    let keap = |rule: &Rule| Ok(Holds::of(format!("k:{}", rule.keap), "TEXT", &[Form::Text]));
    Fitted::of(&Mapping::new(rules).unwrap(), keap, intercom)
}

#[test]
fn each_client_gets_its_own_half_of_every_rule() {
    let plan = Rule { too_long: TooLong::Cut, ..Rule::new("plan", "job_title", "attribute:plan") };
    let kept = Rule { owner: Owner::Intercom, ..Rule::new("kept", "website", "attribute:web") };
    let fitted = fitted(vec![plan, kept], |rule| {
        Ok(Holds {
            limit: Some(255),
            ..Holds::of(format!("i:{}", rule.intercom), "string", &[Form::Phone, Form::Text])
        })
    });

    assert_eq!(
        fitted.keap(),
        [FieldPlace {
            limit: Some(255),
            too_long: TooLong::Cut,
            is_written: false,
            ..FieldPlace::new("plan", "k:job_title", Form::Text)
        }]
    );
    assert_eq!(fitted.intercom(), [FieldPlace::new("plan", "i:attribute:plan", Form::Text)]);
}

#[test]
fn each_side_takes_only_what_its_owner_and_its_place_allow() {
    let rule = |name: &str, owner| Rule { owner, both_ways: true, ..Rule::new(name, name, name) };
    let rules = vec![
        rule("keap", Owner::Keap),
        rule("intercom", Owner::Intercom),
        rule("newest", Owner::Newest),
        rule("fill", Owner::Fill),
        rule("read_only", Owner::Newest),
        rule("never", Owner::Never),
    ];
    let text = |rule: &Rule| Holds::of(rule.name.as_str(), "string", &[Form::Text]);
    let fitted = Fitted::of(
        &Mapping::new(rules).unwrap(),
        |rule| {
            let is_read_only = rule.name.as_str() == "read_only";
            Ok(Holds { is_read_only, limit: Some(40), ..text(rule) })
        },
        |rule| Ok(Holds { limit: Some(255), ..text(rule) }),
    );
    let half = |places: Vec<FieldPlace>| -> Vec<(String, bool, Option<usize>)> {
        let each = places.into_iter();
        each.map(|place| (place.field.to_string(), place.is_written, place.limit)).collect()
    };
    let place = |name: &str, is_written, limit| (name.to_owned(), is_written, limit);
    assert_eq!(
        half(fitted.keap()),
        [
            place("keap", false, Some(255)),
            place("intercom", true, Some(255)),
            place("newest", true, Some(255)),
            place("fill", true, Some(255)),
            place("read_only", false, Some(255)),
        ]
    );
    assert_eq!(
        half(fitted.intercom()),
        [
            place("keap", true, None),
            place("intercom", false, Some(40)),
            place("newest", true, Some(40)),
            place("fill", true, Some(40)),
            place("read_only", true, None),
        ]
    );
}

#[test]
fn a_field_that_does_not_fit_leaves_the_others_alone() {
    let rules = ["a", "b", "c"].map(|name| Rule::new(name, name, name)).to_vec();
    let fitted = fitted(rules, |rule| match rule.name.as_str() {
        "a" => Ok(Holds::of("a", "integer", &[Form::Whole])),
        "b" => Err(Unfit::now("gone")),
        _ => Ok(Holds::of("c", "string", &[Form::Text])),
    });
    let names = |field: &Field| field.rule.name.to_string();
    assert_eq!(fitted.usable().map(names).collect::<Vec<_>>(), ["c"]);
    let unfit: Vec<_> =
        fitted.unfit().map(|(rule, unfit)| format!("{}: {}", rule.name, unfit.why)).collect();
    assert_eq!(
        unfit,
        [
            "a: a is TEXT in Keap and a is integer in Intercom: there is no form for this pair (docs/fields.md has the table)",
            "b: gone"
        ]
    );
}

#[test]
fn options_of_intercom_are_the_only_values_that_are_written() {
    let fitted = fitted(vec![Rule::new("plan", "plan", "attribute:plan")], |_| {
        Ok(Holds { options: Some(vec!["Gold".into()]), ..Holds::of("i", "string", &[Form::Text]) })
    });
    let place = &fitted.keap()[0];
    assert!(
        place.read(Some("gold"))
            == crate::contact::Reading::Is(crate::contact::Value::Text("Gold".into()))
    );
    assert!(place.read(Some("silver")) == crate::contact::Reading::Invalid);
}

#[test]
fn two_fields_never_have_one_name_or_one_place() {
    let rules = [("a", "attribute:x"), ("a", "attribute:y"), ("b", "attribute:x")];
    let wrong = Mapping::new(rules.map(|(name, place)| Rule::new(name, "website", place)).to_vec());
    assert_eq!(
        wrong.unwrap_err(),
        [
            "two fields have the name a; each needs a name of its own",
            "the fields a and b both go to attribute:x in Intercom; keep one of them"
        ]
    );
}

#[test]
fn another_place_is_another_field_in_the_bases_and_the_built_in_ones_keep_their_names() {
    let text = |place: &str| Ok(Holds::of(place, "string", &[Form::Text]));
    let order = |rules: &[Rule]| {
        let mapping = Mapping::new(rules.to_vec()).unwrap();
        Fitted::of(&mapping, |rule| text(&rule.keap), |rule| text(&rule.intercom)).order(&[])
    };
    let names = |rules: &[Rule]| {
        order(rules).identities().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(Mapping::default().rules()), ["email", "name", "phone"]);
    let plan = Rule::new("plan", "custom:Plan", "attribute:plan");
    assert_eq!(names(std::slice::from_ref(&plan)), ["plan: custom:Plan = attribute:plan"]);
    let kept = Rule { clears: OnEmpty::Never, ..plan.clone() };
    assert!(
        order(std::slice::from_ref(&plan)).is_same(&order(&[kept])),
        "what is written is the same"
    );

    // A field that is not written now is another mapping, with the same fields.
    let idle = Rule { owner: Owner::Never, ..plan.clone() };
    let mapping = Mapping::new(vec![plan.clone()]).unwrap();
    let gone = |_: &Rule| Err(Unfit::now("gone"));
    let held = Fitted::of(&mapping, |rule| text(&rule.keap), gone).order(&[]);
    for other in [order(&[idle]), held] {
        assert!(!other.is_same(&order(std::slice::from_ref(&plan))));
        assert_eq!(other.identities(), order(std::slice::from_ref(&plan)).identities());
    }

    // While Keap does not show the field, the last mapping knows its place.
    let stored = ["plan: custom:12 = attribute:plan", "plan: custom:9 = attribute:plan"];
    let lost = Fitted::of(&mapping, gone, |rule| text(&rule.intercom));
    let order = lost.order(&stored.map(str::to_owned));
    assert_eq!(order.identities()[0].as_str(), stored[0]);
}
