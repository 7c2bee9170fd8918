//! What a write sends: the change, and every other entry of a list as it was.

use super::*;
use crate::contact::FieldPlace;
use crate::mapping::Filter;

fn places() -> Places {
    let field = |name: &str, place: &str, form| FieldPlace::new(name, place, form);
    Places::new(
        &[
            field("email", "email", Form::Email),
            field("phone", "phone", Form::Phone),
            field("job", "job_title", Form::Text),
            field("born", "birth_date", Form::Day),
            field("plan", "custom:12", Form::Text),
            field("seats", "custom:13", Form::Whole),
            field("vip", "custom:14", Form::YesNo),
            field("topics", "custom:15", Form::List),
            field("due", "custom:16", Form::Time),
            FieldPlace { is_written: false, ..field("name", "name", Form::Text) },
        ],
        Filter::default(),
    )
}

/// The body of a write of these fields. An empty text clears.
fn body(shown: &Json, changes: &[(&str, Form, &str)]) -> Result<(Json, Vec<String>), String> {
    let changes: Vec<(FieldName, Reading)> = changes
        .iter()
        .map(|(name, form, text)| (FieldName::from(*name), form.read(Some(text))))
        .collect();
    let changes: Vec<Change<'_>> =
        changes.iter().map(|(field, reading)| Change { field, reading }).collect();
    let patch = places().patch(&shown.to_string(), &changes, &["98".to_owned()])?;
    Ok((Json::Object(patch.body), patch.mask))
}

#[test]
fn a_property_is_sent_alone_and_null_clears_it() {
    let shown = json!({ "id": "7", "job_title": "Buyer" });
    let job = |text| body(&shown, &[("job", Form::Text, text)]).unwrap();
    assert_eq!(job("Chief"), (json!({ "job_title": "Chief" }), vec!["job_title".to_owned()]));
    assert_eq!(job("").0, json!({ "job_title": null }));
    let born = body(&shown, &[("born", Form::Day, "2001-02-28")]).unwrap();
    assert_eq!(born.0, json!({ "birth_date": "2001-02-28" }));
}

#[test]
fn only_our_address_is_replaced_and_nothing_opts_anybody_in() {
    let shown = json!({ "id": "7", "email_addresses": [
        { "email": "b@example.org", "field": "EMAIL2", "opt_in_reason": "asked", "is_opt_in": true },
        { "email": "a@example.org", "field": "EMAIL1", "email_opt_status": "SINGLE_OPT_IN" },
        null,
    ] });
    let (sent, mask) = body(&shown, &[("email", Form::Email, "new@example.org")]).unwrap();
    assert_eq!(mask, ["email_addresses"]);
    assert_eq!(
        sent,
        json!({ "email_addresses": [
            { "email": "b@example.org", "field": "EMAIL2" },
            { "email": "new@example.org", "field": "EMAIL1" },
        ] })
    );
    let (sent, _) = body(&shown, &[("email", Form::Email, "")]).unwrap();
    assert_eq!(
        sent,
        json!({ "email_addresses": [{ "email": "b@example.org", "field": "EMAIL2" }] })
    );
}

#[test]
fn the_last_way_to_reach_a_contact_is_not_cleared() {
    let only =
        json!({ "id": "7", "email_addresses": [{ "email": "a@example.org", "field": "EMAIL1" }] });
    assert!(body(&only, &[("email", Form::Email, "")]).is_err());
    let mut with_phone = only;
    with_phone["phone_numbers"] = json!([{ "number": "5550144", "field": "PHONE1" }]);
    assert!(body(&with_phone, &[("email", Form::Email, "")]).is_ok());
}

#[test]
fn the_first_address_of_a_contact_gets_the_first_free_slot() {
    for (list, slot) in [
        (json!(null), "EMAIL1"),
        (json!([]), "EMAIL1"),
        (json!([{ "email": "none", "field": "EMAIL1" }]), "EMAIL2"),
    ] {
        let shown = json!({ "id": "7", "email_addresses": list });
        let (sent, _) = body(&shown, &[("email", Form::Email, "a@example.org")]).unwrap();
        let last = sent["email_addresses"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last, json!({ "email": "a@example.org", "field": slot }));
    }
}

#[test]
fn a_number_keeps_its_type_and_extension_and_the_others_are_sent_as_they_were() {
    let shown = json!({ "id": "7", "phone_numbers": [
        { "number": "ask her", "field": "PHONE1", "type": "Home" },
        { "number": "(602) 555-0144", "number_e164": "+16025550144", "type": "Work", "field": "PHONE2", "extension": "9" },
        { "number": "5550199", "number_e164": "+16025550199", "type": "Mobile", "field": "PHONE3", "extension": null },
    ] });
    let (sent, _) = body(&shown, &[("phone", Form::Phone, "+1 602 555 0100")]).unwrap();
    assert_eq!(
        sent,
        json!({ "phone_numbers": [
            { "number": "ask her", "field": "PHONE1", "type": "Home" },
            { "number": "+1 602 555 0100", "type": "Work", "field": "PHONE2", "extension": "9" },
            { "number": "5550199", "number_e164": "+16025550199", "type": "Mobile", "field": "PHONE3", "extension": null },
        ] })
    );
}

#[test]
fn custom_fields_are_sent_whole_and_in_the_way_they_were_shown() {
    let shown = |content: [Json; 4]| {
        let [seats, vip, topics, other] = content;
        json!({ "id": "7", "custom_fields": [
            { "id": "99", "content": other }, { "id": 13, "content": seats },
            { "id": "14", "content": vip }, { "id": "15", "content": topics },
        ] })
    };
    let changes = [
        ("seats", Form::Whole, "12"),
        ("vip", Form::YesNo, "true"),
        ("topics", Form::List, "b,a"),
        ("plan", Form::Text, "gold"),
        ("due", Form::Time, "1800000000"),
    ];
    for (content, expected) in [
        (
            [json!(1), json!(false), json!(["x"]), json!("kept")],
            [json!(12), json!(true), json!(["a", "b"])],
        ),
        (
            [json!("1"), json!("No"), json!("x"), json!([1])],
            [json!("12"), json!("Yes"), json!("a, b")],
        ),
        (
            [json!(null), json!(0), json!(null), json!(null)],
            [json!(12), json!(1), json!(["a", "b"])],
        ),
    ] {
        let other = content[3].clone();
        let (sent, mask) = body(&shown(content), &changes).unwrap();
        let [seats, vip, topics] = expected;
        assert_eq!(mask, ["custom_fields"]);
        assert_eq!(
            sent["custom_fields"],
            json!([
                { "id": "99", "content": other }, { "id": 13, "content": seats },
                { "id": "14", "content": vip }, { "id": "15", "content": topics },
                { "id": "12", "content": "gold" }, { "id": "16", "content": "2027-01-15T08:00:00Z" },
            ])
        );
    }
}

#[test]
fn a_masked_number_is_never_sent_back() {
    let shown = |content: Json| json!({ "id": "7", "job_title": "Buyer", "custom_fields": [{ "id": 98, "content": content }] });
    let plan = [("plan", Form::Text, "gold")];
    assert!(body(&shown(json!("***-**-1234")), &plan).is_err());
    assert!(body(&shown(json!(null)), &plan).is_ok());
    assert!(body(&shown(json!("***-**-1234")), &[("job", Form::Text, "Head")]).is_ok());
}

#[test]
fn a_list_that_is_not_understood_is_never_replaced() {
    for list in [json!("a@example.org"), json!({}), json!(["a@example.org"]), json!([7])] {
        let shown = json!({ "id": "7", "email_addresses": list });
        assert!(body(&shown, &[("email", Form::Email, "new@example.org")]).is_err());
    }
    assert!(body(&json!({ "id": "7" }), &[("name", Form::Text, "Ann")]).is_err(), "only read");
    assert!(body(&json!({ "id": "7" }), &[("other", Form::Text, "x")]).is_err(), "not mapped");
}
