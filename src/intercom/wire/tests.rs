//! What is written to Intercom, and how its answers are read.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn ann(email: Option<&str>, name: Option<&str>) -> Contact {
    contact_of([
        ("email", Form::Email.read(email)),
        ("name", Form::Text.read(name)),
        ("phone", Reading::Empty),
    ])
}

fn contact_of<const N: usize>(fields: [(&str, Reading); N]) -> Contact {
    Contact::showing(KeapId::new(7).unwrap(), fields.into_iter().collect())
}

fn places(places: &[(&str, &str)]) -> Places {
    let place = |(field, place): &(&str, &str)| FieldPlace::new(*field, *place, Form::Text);
    Places::new(&places.iter().map(place).collect::<Vec<_>>(), Arc::default())
}

fn created(contact: &Contact, places: &Places) -> Value {
    serde_json::to_value(Write::new(contact, places, &Clears::nothing())).unwrap()
}

fn updated(contact: &Contact, places: &Places) -> Value {
    let names = ["email", "name", "phone", "job", "plan"].map(FieldName::from);
    let clears = names.into_iter().collect();
    serde_json::to_value(Write::new(contact, places, &clears)).unwrap()
}

#[test]
fn a_create_leaves_out_what_an_update_clears() {
    let built_in = places(&[("email", "email"), ("name", "name"), ("phone", "phone")]);
    let contact = ann(Some("Ann@Example.org"), None);
    assert_eq!(
        created(&contact, &built_in),
        json!({ "role": "user", "external_id": "7", "email": "Ann@Example.org" })
    );
    assert_eq!(
        updated(&contact, &built_in),
        json!({ "role": "user", "external_id": "7", "email": "Ann@Example.org", "name": null, "phone": null })
    );
    assert_eq!(
        updated(&ann(None, Some("Ann")), &built_in),
        json!({ "role": "user", "external_id": "7", "email": null, "name": "Ann", "phone": null })
    );
    assert_eq!(
        updated(&ann(Some("n/a"), Some("Ann")), &built_in),
        json!({ "role": "user", "external_id": "7", "name": "Ann", "phone": null })
    );
    let unasked = contact_of([("name", Form::Text.read(Some("Ann")))]);
    assert_eq!(
        updated(&unasked, &built_in),
        json!({ "role": "user", "external_id": "7", "name": "Ann" })
    );
}

#[test]
fn a_custom_attribute_has_its_own_object() {
    let places =
        places(&[("name", "name"), ("job", "attribute:job_title"), ("plan", "attribute:Plan")]);
    let both = contact_of([
        ("job", Form::Text.read(Some("Buyer"))),
        ("name", Form::Text.read(Some("Ann"))),
        ("plan", Reading::Empty),
    ]);
    assert_eq!(
        created(&both, &places),
        json!({ "role": "user", "external_id": "7", "name": "Ann", "custom_attributes": { "job_title": "Buyer" } })
    );
    assert_eq!(
        updated(&both, &places),
        json!({ "role": "user", "external_id": "7", "name": "Ann", "custom_attributes": { "job_title": "Buyer", "Plan": null } })
    );
    let neither = contact_of([("job", Reading::Invalid), ("name", Reading::Empty)]);
    assert_eq!(
        updated(&neither, &places),
        json!({ "role": "user", "external_id": "7", "name": null })
    );
}

#[test]
fn both_texts_of_a_conflict_and_texts_without_an_id() {
    let conflict = |message: &str| {
        Errors::of(
            json!({ "errors": [{ "code": "other" }, { "code": "conflict", "message": message }] })
                .to_string()
                .as_bytes(),
        )
        .conflict()
    };
    let live = conflict(
        "A contact matching those details already exists with id=6762f0dd1bb69f9f2193bb83",
    );
    assert_eq!((live.id.unwrap().as_str(), live.archived), ("6762f0dd1bb69f9f2193bb83", false));
    let archived =
        conflict("An archived contact matching those details already exists with id=abc.");
    assert_eq!((archived.id.unwrap().as_str(), archived.archived), ("abc", true));
    for nameless in
        ["Multiple existing users match this email address", "exists with id=", "id=../x"]
    {
        assert!(conflict(nameless).id.is_none(), "{nameless}");
    }
    assert!(Errors::of(b"<html>").conflict().id.is_none());
}

#[test]
fn errors_in_words_hold_no_message() {
    let errors = Errors::of(br#"{"errors":[{"code":"parameter_invalid","message":"ann@example.org is bad","field":"email"},{"code":"Ann@x"},{"code":"conflict","field":"ann@example.org"}]}"#);
    assert_eq!(errors.in_words(), "parameter_invalid in email, conflict");
}

#[test]
fn a_survivor_is_an_id_on_this_host() {
    for (link, id) in [
        (r#"</contacts/abc>; rel="canonical""#, Some("abc")),
        (r#"<https://elsewhere.example/contacts/abc?x=1>; rel="canonical""#, Some("abc")),
        ("/contacts/abc", None),
        ("</companies/abc>", None),
        ("", None),
    ] {
        assert_eq!(survivor(link).as_ref().map(IntercomId::as_str), id, "{link}");
    }
}

#[test]
fn a_leads_external_id_is_not_a_keap_id() {
    let wire: ContactWire = serde_json::from_value(
        json!({ "id": "a", "role": "lead", "external_id": "7", "email": "", "name": null }),
    )
    .unwrap();
    let lead = wire.candidate(&places(&[])).unwrap();
    assert_eq!((lead.external_id, lead.email, lead.role), (None, None, Role::Lead));
}

#[test]
fn an_update_clears_no_more_than_it_is_told_to() {
    let built_in = places(&[("email", "email"), ("name", "name"), ("phone", "phone")]);
    let body = |clears: &Clears| {
        serde_json::to_value(Write::new(&ann(None, None), &built_in, clears)).unwrap()
    };
    assert_eq!(body(&Clears::nothing()), json!({ "role": "user", "external_id": "7" }));
    assert_eq!(
        body(&["phone".into()].into_iter().collect()),
        json!({ "role": "user", "external_id": "7", "phone": null })
    );
}

#[test]
fn a_candidate_shows_the_mapped_fields_that_tell_people_apart() {
    let places = places(&[
        ("mail", "email"),
        ("full_name", "name"),
        ("plan", "attribute:name"),
        ("owner", "owner_id"),
    ]);
    let wire: ContactWire = serde_json::from_value(json!({
        "id": "a", "role": "user", "email": "ann@example.org", "name": " Ann Lee ", "phone": 5, "owner_id": "3"
    }))
    .unwrap();

    let shows = wire.candidate(&places).unwrap().shows;

    let names: Vec<_> = shows.iter().map(|(name, _)| name.as_str().to_owned()).collect();
    assert_eq!(names, ["full_name", "mail"]);
    assert!(
        matches!(shows.get("full_name"), Some(Reading::Is(value)) if value.as_str() == "Ann Lee")
    );
}

// F25
#[test]
fn what_cannot_be_read_counts_as_absent() {
    let read = |more: Value| {
        let mut wire = json!({ "id": "a", "role": "user", "external_id": "7" });
        wire.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<ContactWire>(wire).unwrap().candidate(&places(&[])).unwrap()
    };
    for created_at in [
        json!(1734537437),
        json!("1734537437"),
        json!(1734537437.0),
        json!(1734537437000_i64),
        json!("2024-12-18T15:57:17.000+00:00"),
    ] {
        let found = read(json!({ "created_at": created_at }));
        assert_eq!(found.created_at, 1734537437, "{created_at}");
    }
    for wrong in [json!({}), json!([1]), json!(true), json!("soon")] {
        let found = read(json!({ "created_at": wrong, "email": wrong, "name": wrong }));
        assert_eq!((found.created_at, found.email), (0, None), "{wrong}");
    }
    let numbers = read(json!({ "id": 77, "external_id": 7 }));
    assert_eq!((numbers.id.as_str(), numbers.external_id.as_deref()), ("77", Some("7")));
    assert!(numbers.belongs_to(KeapId::new(7).unwrap()));
    let seen = read(json!({ "email": "\u{feff}Ann\u{200b}@example.org" }));
    assert_eq!(seen.email.as_deref(), Some("ann@example.org"));
}

#[test]
fn a_page_is_read_as_far_as_it_can_be() {
    let page = |json: Value| serde_json::from_str::<Found>(&json.to_string());
    let mut found = page(
        json!({ "data": [null, { "id": "a" }], "pages": { "next": { "starting_after": 7 } } }),
    )
    .unwrap();
    assert_eq!((found.data.len(), found.cursor().as_deref()), (1, Some("7")));
    for pages in
        [json!("x"), json!({ "next": "https://x" }), json!({ "next": { "starting_after": {} } })]
    {
        assert_eq!(page(json!({ "data": [], "pages": pages })).unwrap().cursor(), None, "{pages}");
    }
    // A contact without an id could be the one that is searched for.
    for wrong in [
        json!({}),
        json!({ "data": {} }),
        json!({ "data": [{ "role": "user" }] }),
        json!({ "data": [7] }),
    ] {
        assert!(page(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_refusal_names_its_field_in_a_property_or_in_its_text() {
    let places = places(&[
        ("email", "email"),
        ("name", "name"),
        ("phone", "phone"),
        ("plan", "attribute:Email_Plan"),
    ]);
    let blamed = |error: Value| {
        let errors = Errors::of(json!({ "errors": [null, error] }).to_string().as_bytes());
        errors.blamed(&places).map(|field| field.to_string())
    };
    for (error, field) in [
        (json!({ "code": "parameter_invalid", "field": "email" }), Some("email")),
        (
            json!({ "code": "parameter_invalid", "field": "phone", "message": "The email ..." }),
            Some("phone"),
        ),
        (json!({ "field": "custom_attributes.Email_Plan" }), Some("plan")),
        (json!({ "message": "E-Mail is invalid" }), Some("email")),
        (json!({ "message": "Email ann@example.org is invalid", "field": null }), Some("email")),
        (json!({ "message": "Custom attribute 'Email_Plan' does not exist" }), Some("plan")),
        (json!({ "message": "phone: not a number" }), Some("phone")),
        (json!({ "message": "The full name is bad" }), None),
        (json!({ "field": "name" }), Some("name")),
        (json!({ "field": "owner_id", "message": "no such teammate" }), None),
        (json!({ "code": "parameter_invalid" }), None),
    ] {
        assert_eq!(blamed(error.clone()).as_deref(), field, "{error}");
    }
}

proptest! {
    #[test]
    fn nothing_that_intercom_could_send_is_a_panic(text in ".{0,200}") {
        let errors = Errors::of(json!({ "errors": [{ "message": &text, "code": &text }] }).to_string().as_bytes());
        let _ = (errors.conflict(), errors.in_words(), survivor(&text));
    }
}
