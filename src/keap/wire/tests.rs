//! What Keap shows, and how it is read.

use super::*;
use crate::remote::lenient::instant;
use proptest::prelude::*;
use serde_json::{Value, json};

fn built_in() -> Places {
    places(&[])
}

/// The three built-in fields, and more.
fn places(more: &[(&str, &str)]) -> Places {
    let built_in = [("email", "email"), ("name", "name"), ("phone", "phone")];
    let fields: Vec<_> = built_in
        .iter()
        .chain(more)
        .map(|(field, place)| {
            let form = match *field {
                "email" => Form::Email,
                "phone" => Form::Phone,
                _ => Form::Text,
            };
            FieldPlace::new(*field, *place, form)
        })
        .collect();
    Places::new(&fields, Filter::default())
}

fn row(json: &str) -> Row {
    built_in().row(json)
}

fn contact(json: &str) -> Contact {
    read(&built_in(), json)
}

fn value<'a>(contact: &'a Contact, field: &str) -> Option<&'a str> {
    match contact.fields.get(field) {
        Some(Reading::Is(value)) => Some(value.as_str()),
        _ => None,
    }
}

fn read(places: &Places, json: &str) -> Contact {
    match places.row(json) {
        Row::Contact(contact) => contact,
        Row::Unreadable { why, .. } => panic!("{why}"),
    }
}

// F24
#[test]
fn the_mapping_takes_the_first_slot_of_what_there_is() {
    let ann = contact(
        r#"{"id":"4121","given_name":" Ann ","family_name":"Lee","update_time":"2026-08-19T16:20:31Z",
            "email_addresses":[{"email":"second@example.org","field":"EMAIL2"},{"email":" Ann@Example.org ","field":"EMAIL1"}],
            "phone_numbers":[{"number":" ","field":"PHONE1"},{"number":"(602) 555-0144","number_e164":"+16025550144","field":"PHONE2"}]}"#,
    );
    assert_eq!(ann.id.get(), 4121);
    assert_eq!(value(&ann, "name"), Some("Ann Lee"));
    assert_eq!(value(&ann, "email"), Some("Ann@Example.org"));
    assert_eq!(value(&ann, "phone"), Some("+16025550144"));
    let bob = contact(
        r#"{"id":7,"email_addresses":[{"email":null,"field":"EMAIL1"},{"email":"b@example.org","field":"EMAIL3"}],"phone_numbers":[{"number":5550144}],"new":{}}"#,
    );
    assert_eq!(value(&bob, "email"), Some("b@example.org"));
    assert_eq!(
        (value(&bob, "phone"), bob.fields.get("name"), bob.updated_at),
        (Some("5550144"), Some(&Reading::Empty), None)
    );
    let nobody = contact(r#"{"id":8,"given_name":null,"email_addresses":null,"phone_numbers":[]}"#);
    assert!(nobody.fields.iter().all(|(_, reading)| *reading == Reading::Empty));
    let wrong = contact(r#"{"id":8,"email_addresses":[{"email":"n/a","field":"EMAIL1"}]}"#);
    assert_eq!(wrong.fields.get("email"), Some(&Reading::Invalid));
}

#[test]
fn an_unusable_slot_does_not_hide_a_usable_one() {
    for (emails, email) in [
        (
            json!([{ "email": "n/a", "field": "EMAIL1" }, { "email": "b@x.org", "field": "EMAIL2" }]),
            "b@x.org",
        ),
        (
            json!([{ "email": "c@x.org", "field": "EMAIL3" }, { "email": "b@x.org", "field": "EMAIL2" }, { "email": "\u{200b}", "field": "EMAIL1" }]),
            "b@x.org",
        ),
        (json!([{ "email": "c@x.org" }, { "email": "b@x.org", "field": "email2" }]), "b@x.org"),
        (json!([{ "email": "c@x.org" }, { "email": "b@x.org", "field": null }]), "c@x.org"),
        (
            json!([{ "email": ["a"], "field": "EMAIL1" }, { "email": "b@x.org", "field": 2 }]),
            "b@x.org",
        ),
    ] {
        let json = json!({ "id": 7, "email_addresses": emails }).to_string();
        assert_eq!(value(&contact(&json), "email"), Some(email), "{json}");
    }
    for (phones, phone) in [
        (
            json!([{ "number": "ask her", "field": "PHONE1" }, { "number": "555-2", "field": "PHONE2" }]),
            "555-2",
        ),
        (json!([{ "number": "555-1", "number_e164": "none", "field": "PHONE1" }]), "555-1"),
        (
            json!([{ "number": "555-5", "field": "PHONE5" }, { "number": "555-4", "field": "PHONE4" }]),
            "555-4",
        ),
        (
            json!([{ "number": "ask her", "field": "PHONE2" }, { "number": "none", "field": "PHONE1" }]),
            "none",
        ),
        (
            json!([{ "number": {}, "field": "PHONE1" }, { "number": "\u{202a}555-2\u{202c}", "field": "PHONE2" }]),
            "555-2",
        ),
    ] {
        let json = json!({ "id": 7, "phone_numbers": phones }).to_string();
        assert_eq!(value(&contact(&json), "phone"), Some(phone), "{json}");
    }
}

#[test]
fn a_name_is_what_is_left_of_its_parts() {
    for (given, family, name) in [
        (Some(" Ann "), Some("Lee"), Some("Ann Lee")),
        (Some("Ann"), None, Some("Ann")),
        (None, Some(" Lee"), Some("Lee")),
        (Some(""), Some("  "), None),
        (None, None, None),
        (Some("Zoe\u{308}"), None, Some("Zo\u{eb}")),
        (Some("\u{200b}"), Some("Lee"), Some("Lee")),
        (Some("Ann \u{200e}"), Some("\u{feff} Lee"), Some("Ann Lee")),
    ] {
        let json = json!({ "id": 7, "given_name": given, "family_name": family });
        assert_eq!(value(&contact(&json.to_string()), "name"), name);
    }
}

#[test]
fn only_what_the_fields_need_is_asked_for() {
    assert_eq!(
        built_in().list(),
        "id,given_name,family_name,email_addresses,phone_numbers,update_time"
    );
    assert_eq!(Places::none().list(), "id,update_time");
    assert_eq!(
        places(&[("job", "job_title"), ("first_name", "given_name")]).list(),
        "id,given_name,family_name,job_title,email_addresses,phone_numbers,update_time"
    );
}

#[test]
fn a_field_that_is_not_asked_for_has_no_reading() {
    let read = read(&Places::none(), r#"{"id":7,"given_name":"Ann","email_addresses":[]}"#);
    assert!(read.fields.is_empty());
}

#[test]
fn any_other_place_is_a_property() {
    let places = places(&[("job", "job_title"), ("first_name", "given_name")]);
    let ann = read(
        &places,
        r#"{"id":7,"given_name":" Ann","family_name":"Lee","job_title":"Head of \"Sales\""}"#,
    );
    assert_eq!(value(&ann, "job"), Some("Head of \"Sales\""));
    assert_eq!((value(&ann, "first_name"), value(&ann, "name")), (Some("Ann"), Some("Ann Lee")));
    let ben = read(&places, r#"{"id":8,"job_title":" "}"#);
    assert_eq!(ben.fields.get("job"), Some(&Reading::Empty));
}

// F25
#[test]
fn what_cannot_be_read_counts_as_absent() {
    for json in [
        r#"{"id":"9","given_name":{"a":1},"family_name":"Lee"}"#,
        r#"{"id":9,"family_name":"Lee","given_name":"\ud800"}"#,
        r#"{"id":9,"update_time":"yesterday","family_name":"Lee"}"#,
        r#"{"id":9,"family_name":"Lee","email_addresses":"a@b.co","phone_numbers":{"number":"5"}}"#,
        r#"{"id":9,"family_name":"Lee","email_addresses":[null,7],"phone_numbers":[[],"5",null]}"#,
    ] {
        let read = contact(json);
        assert_eq!((read.id.get(), read.updated_at), (9, None), "{json}");
        assert_eq!(value(&read, "name"), Some("Lee"), "{json}");
        assert_eq!((value(&read, "email"), value(&read, "phone")), (None, None), "{json}");
    }
    let stamped = contact(r#"{"id":9,"update_time":1732127652000}"#);
    assert_eq!(stamped.updated_at, instant("2024-11-20T18:34:12Z"));
}

/// Else a change of Keap's form would clear the fields of every contact in Intercom.
#[test]
fn a_field_of_which_nothing_can_be_read_clears_nothing() {
    let garbled = contact(
        r#"{"id":9,"given_name":[1],"email_addresses":{},"phone_numbers":[{"number":true}]}"#,
    );
    assert!(garbled.fields.iter().all(|(_, reading)| *reading == Reading::Invalid));
    // Nulls say that there is nothing.
    let empty = contact(r#"{"id":9,"given_name":null,"email_addresses":[null]}"#);
    assert!(empty.fields.iter().all(|(_, reading)| *reading == Reading::Empty));
}

#[test]
fn a_contact_without_a_readable_id_is_unreadable() {
    for json in [
        r#"{"given_name":"Ann"}"#,
        r#"{"id":-4}"#,
        r#"{"id":"x"}"#,
        r#"{"id":1.5}"#,
        r#"{"id":{}}"#,
        r#"{"id":null}"#,
        "7",
        "null",
    ] {
        assert!(matches!(row(json), Row::Unreadable { id: None, .. }), "{json}");
    }
}

#[test]
fn tokens_come_in_many_forms() {
    let token = |json: &str| serde_json::from_str::<List<'_>>(json).unwrap().next_token();
    for none in [
        r#"{"contacts":[]}"#,
        r#"{"contacts":[],"next_page_token":null}"#,
        r#"{"contacts":[],"next_page_token":""}"#,
        r#"{"contacts":[],"next_page_token":0}"#,
        r#"{"contacts":[],"next_page_token":{"none":true}}"#,
    ] {
        assert_eq!(token(none), None);
    }
    assert_eq!(token(r#"{"contacts":[],"next_page_token":91}"#).as_deref(), Some("91"));
    assert_eq!(token(r#"{"contacts":[],"next_page_token":"abc=="}"#).as_deref(), Some("abc=="));
    assert_eq!(token(r#"{"contacts":[],"next_page_token":"https://evil.example/v2/contacts?page_size=1&page_token=91"}"#).as_deref(), Some("91"));
}

/// JSON of any type.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[a-c]@[x-z]\\.org".prop_map(Value::from),
        "EMAIL[0-9]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let names = prop::sample::select(vec!["email", "field", "number", "id", ""]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..3).prop_map(|entries| {
                let entries = entries.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(entries.collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_keap_could_send_is_a_panic(text in ".{0,200}") {
        let _ = row(&text);
        let shown = json!({
            "id": 7, "given_name": text, "family_name": text, "update_time": text,
            "email_addresses": [{ "email": text, "field": text }],
            "phone_numbers": [{ "number": text, "number_e164": text, "field": text }],
        });
        let _ = row(&shown.to_string());
    }

    // F25
    #[test]
    fn no_contact_is_lost_for_a_value_of_a_wrong_type(
        values in prop::collection::vec(any_json(), 8), family in "[A-Z][a-z]{0,6}",
    ) {
        let [given, emails, phones, email, slot, number, stamp, new] =
            <[Value; 8]>::try_from(values).expect("eight values");
        let entry = |value: Value| json!([null, { "email": value, "field": slot, "number": number }]);
        for (emails, phones) in [(emails, phones), (entry(email.clone()), entry(email))] {
            let json = json!({
                "id": 7, "family_name": family, "given_name": given, "email_addresses": emails,
                "phone_numbers": phones, "update_time": stamp, "new": new,
            });
            let Row::Contact(contact) = row(&json.to_string()) else { panic!("{json}") };
            prop_assert_eq!(contact.id.get(), 7);
            prop_assert!(value(&contact, "name").is_some_and(|name| name.ends_with(&family)));
        }
    }

    #[test]
    fn a_new_order_of_the_lists_is_no_change(
        emails in Just(vec!["n/a", "", "a@x.org", "b@x.org"]).prop_shuffle(),
        phones in Just(vec!["none", "", "555-1", "555-2", "555-3"]).prop_shuffle(),
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
    ) {
        let entries = |key: &str, values: &[&str], order: &[usize]| -> Value {
            let entry = |at: &usize| json!({ key: values[*at], "field": format!("SLOT{}", at + 1) });
            order.iter().map(entry).collect()
        };
        let shown = |order: &[usize]| contact(&json!({
            "id": 7, "email_addresses": entries("email", &emails, order),
            "phone_numbers": entries("number", &phones, order),
        }).to_string());
        let in_order = shown(&[0, 1, 2, 3]);
        prop_assert!(shown(&order) == in_order);
        let first = |values: &[&'static str], usable: char| {
            values.iter().find(|value| value.contains(usable)).copied()
        };
        prop_assert_eq!(value(&in_order, "email"), first(&emails, '@'));
        prop_assert_eq!(value(&in_order, "phone"), first(&phones[..4], '-'));
    }

    /// Databases hold fingerprints of names whose parts were composed one by one.
    #[test]
    fn parts_of_a_name_can_be_composed_after_they_are_joined(
        given in "[ aeé\u{308}\u{2000}\u{a0}]{0,6}", family in "[ oö\u{308}\u{301}]{0,6}",
    ) {
        let json = json!({ "id": 7, "given_name": given, "family_name": family });
        let parts: Vec<_> = [given, family].iter().filter_map(|part| {
            match Form::Text.read(Some(part)) {
                Reading::Is(part) => Some(part.as_str().to_owned()),
                _ => None,
            }
        }).collect();
        let contact = contact(&json.to_string());
        prop_assert_eq!(value(&contact, "name").unwrap_or_default(), parts.join(" "));
    }
}
