//! Every place of Keap, and every place of Intercom.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::{mapped, tables};
use crate::sim::{Address, Person};
use crate::world::{World, ann};

/// The text properties of Keap, each with another value.
const TEXTS: [&str; 17] = [
    "given_name",
    "middle_name",
    "family_name",
    "preferred_name",
    "prefix",
    "suffix",
    "job_title",
    "website",
    "spouse_name",
    "time_zone",
    "preferred_locale",
    "contact_type",
    "source_type",
    "referral_code",
    "assistant_name",
    "assistant_phone",
    "notes",
];

fn address(kind: &str) -> Address {
    let part = |name: &str| Some(format!("{kind} {name}"));
    Address {
        field: kind.to_uppercase(),
        line1: part("line1"),
        line2: part("line2"),
        locality: part("locality"),
        region: part("region"),
        region_code: part("region_code"),
        postal_code: part("postal_code"),
        zip_code: part("zip_code"),
        zip_four: part("zip_four"),
        country: part("country"),
        country_code: part("country_code"),
    }
}

const PARTS: [&str; 10] = [
    "line1",
    "line2",
    "locality",
    "region",
    "region_code",
    "postal_code",
    "zip_code",
    "zip_four",
    "country",
    "country_code",
];

/// Maps each place to an attribute of its own, with this type.
fn map_each(world: &mut World, places: &[(String, &str)]) {
    let names: Vec<(String, String)> = places
        .iter()
        .enumerate()
        .map(|(at, (place, kind))| {
            world.intercom.add_attribute(&format!("a{at}"), kind, &[]);
            (place.clone(), format!("attribute:a{at}"))
        })
        .collect();
    let fields: Vec<_> =
        names.iter().map(|(one, other)| (one.as_str(), other.as_str(), "")).collect();
    world.file(&mapped(&fields));
}

#[sqlx::test]
async fn every_text_and_every_part_of_an_address_has_a_place(pool: PgPool) {
    let mut world = World::new(pool).await;
    let kinds = ["billing", "shipping", "other"];
    let parts = kinds.iter().flat_map(|kind| PARTS.map(|part| format!("address.{kind}.{part}")));
    let places: Vec<(String, &str)> =
        TEXTS.iter().map(ToString::to_string).chain(parts).map(|place| (place, "string")).collect();
    map_each(&mut world, &places);
    let mut person = kinds.iter().fold(ann(), |person, kind| person.address(address(kind)));
    for name in TEXTS {
        person.set(name, Some(&format!("the {name}")));
    }
    let (full, bare) =
        (world.keap.add(person), world.keap.add(Person::default().email("b@example.org")));

    world.sync().await;

    for (at, (place, _)) in places.iter().enumerate() {
        let expected = match place.strip_prefix("address.") {
            Some(part) => part.replacen('.', " ", 1),
            None => format!("the {place}"),
        };
        assert_eq!(world.attribute(full, &format!("a{at}")), expected, "{place}");
    }
    assert!(world.user(bare).custom_attributes.is_empty());
}

#[sqlx::test]
async fn what_keap_computes_can_be_read(pool: PgPool) {
    let mut world = World::new(pool).await;
    let places = [
        ("id", "integer"),
        ("id", "string"),
        ("create_time", "datetime"),
        ("create_time", "date"),
        ("score_value", "integer"),
        ("score_value", "float"),
        ("score_value", "string"),
        ("leadsource_id", "integer"),
        ("leadsource_id", "string"),
        ("birth_date", "date"),
        ("anniversary_date", "date"),
        ("company", "string"),
        ("email", "string"),
        ("name", "string"),
        ("phone", "string"),
        ("owner", "string"),
    ];
    map_each(&mut world, &places.map(|(place, kind)| (place.to_owned(), kind)));
    let mut person = ann()
        .with("score_value", "42")
        .with("leadsource_id", "9")
        .with("birth_date", "1970-01-02")
        .with("anniversary_date", "2000-02-29")
        .owner(77);
    person.company_name = Some("Okafor Glass".into());
    let id = world.keap.add(person);

    world.sync().await;

    let created = world.keap.clock().now_ms() / 1000;
    let is_now = |value: &Value| (created - value.as_i64().unwrap()).abs() < 60;
    for (at, expected) in [
        json!(id),
        json!(id.to_string()),
        Value::Null,
        Value::Null,
        json!(42),
        json!(42.0),
        json!("42"),
        json!(9),
        json!("9"),
        json!(86_400),
        json!(951_782_400),
        json!("Okafor Glass"),
        json!("ann@example.org"),
        json!("Ann Lee"),
        json!("+16025550144"),
        json!("77"),
    ]
    .into_iter()
    .enumerate()
    {
        let found = world.attribute(id, &format!("a{at}"));
        match places[at].0 {
            "create_time" => assert!(is_now(&found), "{found}"),
            place => assert_eq!(found, expected, "{place}"),
        }
    }
}

#[sqlx::test]
async fn a_custom_field_is_named_by_its_label_its_column_or_its_id(pool: PgPool) {
    let mut world = World::new(pool).await;
    let field = world.keap.add_custom_field("Größe (cm)", "TEXT", &[]);
    let places =
        ["custom:Größe (cm)", "custom:_Größecm", &format!("custom:{field}"), "custom:größe (CM)"];
    map_each(&mut world, &places.map(|place| (place.to_owned(), "string")));
    let id = world.keap.add(ann().custom(field, "180"));

    world.sync().await;

    for (at, place) in places.iter().enumerate() {
        assert_eq!(world.attribute(id, &format!("a{at}")), "180", "{place}");
    }
}

#[sqlx::test]
async fn every_place_of_intercom_can_be_written(pool: PgPool) {
    let mut world = World::new(pool).await;
    let seen = world.keap.add_custom_field("Last visit", "DATE_TIME", &[]);
    let (ann_there, bob_there) = (
        world.intercom.add_admin("Uma@Shop.example"),
        world.intercom.add_admin("bob@shop.example"),
    );
    let (uma, ulf) =
        (world.keap.add_user("uma@shop.example"), world.keap.add_user("ulf@shop.example"));
    world.file(&tables(&[
        ("email", "email", ""),
        ("preferred_name", "name", ""),
        ("assistant_phone", "phone", ""),
        ("website", "avatar", ""),
        ("owner", "owner_id", ""),
        ("create_time", "signed_up_at", ""),
        ("custom:Last visit", "last_seen_at", ""),
    ]));
    let person = ann()
        .with("preferred_name", "Annie")
        .with("assistant_phone", "555-3001")
        .with("website", "https://example.org/a.png")
        .custom(seen, "2026-01-31T23:30:00Z")
        .owner(uma);
    let (first, second) = (
        world.keap.add(person),
        world.keap.add(Person::named("No", "Match").email("n@example.org").owner(ulf)),
    );

    let worker = world.worker().await;
    worker.sync().await;

    let user = world.user(first);
    assert_eq!((user.name.as_deref(), user.phone.as_deref()), (Some("Annie"), Some("555-3001")));
    assert_eq!(user.avatar.as_deref(), Some("https://example.org/a.png"));
    assert_eq!(user.owner_id, Some(ann_there));
    assert!((user.signed_up_at.unwrap() - user.created_at).abs() < 60);
    assert!(world.bodies().iter().any(|body| body["last_seen_at"] == 1_769_902_200));
    // Nobody in Intercom has the address of this user, so the owner stays as it is there.
    assert_eq!(world.user(second).owner_id, None);
    let said = world.log_of(second).await.pop().unwrap().error_message.unwrap();
    assert!(said.contains("owner_id"), "{said}");

    // The names are Keap's, and not those that are built in.
    world.intercom.clear_ledger();
    world.keap.edit(first, |person| person.given_name = Some("Other".into()));
    worker.sync().await;
    assert_eq!(world.contact_calls(), 0);
    drop(bob_there);
}

#[sqlx::test]
async fn the_name_of_a_company_is_cleared_when_keap_unlinks_it(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.intercom.add_attribute("company", "string", &[]);
    world.file(&mapped(&[("company", "attribute:company", "")]));
    let mut person = ann();
    person.company_name = Some("Acme".into());
    let id = world.keap.add(person);
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(world.attribute(id, "company"), "Acme");

    // The company is unlinked in Keap: its name is cleared here.
    world.keap.edit(id, |person| person.company_name = None);
    world.intercom.clear_ledger();
    worker.sync().await;
    assert_eq!((world.contact_calls(), world.attribute(id, "company")), (1, Value::Null));
}
