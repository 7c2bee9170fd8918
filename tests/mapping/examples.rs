//! The settings files of `config/examples`, and the mappings of `docs/fields.md`.

use std::path::Path;

use keap_intercom_sync::config::{FieldOwner, Settings};
use serde_json::json;
use sqlx::PgPool;

use crate::sim::{Address, Person};
use crate::world::World;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Makes what a mapping needs in both accounts.
fn furnish(world: &World, settings: &Settings) {
    for field in &settings.fields {
        let (of_keap, of_intercom) = kinds(&field.keap);
        if let Some(label) = field.keap.strip_prefix("custom:") {
            world.keap.add_custom_field(label, of_keap, &[]);
        }
        if let Some(name) = field.intercom.strip_prefix("attribute:") {
            world.intercom.add_attribute(name, of_intercom, &[]);
        }
    }
}

/// The types on both sides of a place in Keap.
fn kinds(place: &str) -> (&'static str, &'static str) {
    match place {
        "birth_date" => ("", "date"),
        "score_value" => ("", "integer"),
        "custom:Member since"
        | "custom:Paid until"
        | "custom:Renewal date"
        | "custom:Last order" => ("DATE", "date"),
        "custom:Orders" => ("WHOLE_NUMBER", "integer"),
        "custom:Contract value" | "custom:Total spent" => ("CURRENCY", "float"),
        "custom:On trial" => ("YES_NO", "boolean"),
        "custom:Interests" => ("LIST_BOX", "string"),
        _ => ("TEXT", "string"),
    }
}

/// A person with a value in every field of the account.
fn full(world: &World) -> Person {
    let mut person = Person::named("Mira", "Okafor")
        .email("mira@example.org")
        .phone("(602) 555-0144", Some("+16025550144"))
        .with("birth_date", "1990-02-03")
        .with("score_value", "42")
        .with("website", "https://example.org")
        .with("time_zone", "America/Phoenix")
        .owner(world.keap.add_user("uma@shop.example"))
        .address(Address {
            locality: Some("Phoenix".into()),
            country_code: Some("USA".into()),
            ..Address::new("BILLING")
        });
    person.job_title = Some("Buyer".into());
    person.company_name = Some("Okafor Glass".into());
    for id in 12..60 {
        let Some(field) = world.keap.custom_field(id) else { continue };
        let content = match field.field_type.as_str() {
            "DATE" => json!("2026-01-31"),
            "WHOLE_NUMBER" => json!(7),
            "CURRENCY" => json!(12.5),
            "YES_NO" => json!(true),
            "LIST_BOX" => json!(["b", "a"]),
            _ => json!("value"),
        };
        person = person.custom(id, content);
    }
    person
}

async fn works(pool: PgPool, path: &str, least: usize) {
    let mut world = World::new(pool).await;
    world.file(&read(path));
    let settings = world.settings();
    furnish(&world, &settings);
    world.intercom.add_admin("uma@shop.example");
    assert!(settings.fields.len() >= least, "{path}");
    let fitted = keap_intercom_sync::app::Parts::build(&settings).unwrap().fit().await.unwrap();
    let unfit: Vec<_> =
        fitted.unfit().map(|(rule, unfit)| format!("{}: {}", rule.name, unfit.why)).collect();
    assert_eq!(unfit, [""; 0], "{path}");
    let id = world.keap.add(full(&world));
    world.keap.unsubscribe("mira@example.org");

    let counts = world.sync().await;

    assert_eq!((counts.created, counts.held, counts.failed), (1, 0, 0), "{path}");
    let user = world.user(id);
    assert!(
        user.custom_attributes.values().all(|value| !value.is_null()),
        "{:?}",
        user.custom_attributes
    );
    let written = world.bodies().remove(0);
    for field in &settings.fields {
        let is_written = !matches!(field.owner, FieldOwner::Intercom | FieldOwner::Never);
        let shown = match field.intercom.strip_prefix("attribute:") {
            Some(name) => &written["custom_attributes"][name],
            None => &written[field.intercom.as_str()],
        };
        assert_eq!(!shown.is_null(), is_written, "{path}: {} → {}", field.keap, field.intercom);
    }
    assert!(user.unsubscribed_from_emails, "each example sets consent.opt_out");
}

#[sqlx::test]
async fn the_example_of_a_membership_site_works(pool: PgPool) {
    works(pool, "config/examples/membership.toml", 8).await;
}

#[sqlx::test]
async fn the_example_of_an_agency_works(pool: PgPool) {
    works(pool, "config/examples/agency.toml", 8).await;
}

#[sqlx::test]
async fn the_example_of_a_shop_works(pool: PgPool) {
    works(pool, "config/examples/shop.toml", 8).await;
}

#[sqlx::test]
async fn the_example_of_both_directions_works(pool: PgPool) {
    works(pool, "config/examples/two-way.toml", 8).await;
}

/// The blocks of TOML in a document, without those that show something else than fields.
fn blocks(document: &str) -> Vec<String> {
    let parts = document.split("```toml\n").skip(1);
    let blocks = parts.map(|part| part.split("```").next().unwrap().to_owned());
    blocks.filter(|block| block.contains("[[field]]")).collect()
}

#[sqlx::test]
async fn every_mapping_in_the_documentation_is_one(pool: PgPool) {
    let mut world = World::new(pool).await;
    let documents = ["docs/fields.md", "docs/two-way.md", "README.md"];
    let blocks: Vec<String> = documents.iter().flat_map(|path| blocks(&read(path))).collect();
    assert!(blocks.len() >= 11, "{} blocks", blocks.len());
    for block in blocks {
        world.file(&block);
        let settings = world.settings();
        keap_intercom_sync::app::mapping(&settings)
            .unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
}

#[test]
fn every_place_in_the_tables_of_the_documentation_is_real() {
    let document = read("docs/fields.md");
    let named = |heading: &str| -> Vec<String> {
        let part = document.split(heading).nth(1).unwrap_or_else(|| panic!("{heading}"));
        let part = part.split("\n#").next().unwrap();
        let cells = part.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        cells.map(str::to_owned).collect()
    };
    let keap: Vec<&str> =
        keap_intercom_sync::keap::standard_places().map(|(name, _)| name).collect();
    let intercom: Vec<&str> =
        keap_intercom_sync::intercom::standard_places().map(|(name, _)| name).collect();
    for (heading, known) in [("### Places in Keap", keap), ("### Places in Intercom", intercom)] {
        let named = named(heading);
        for place in &known {
            assert!(named.iter().any(|one| one == place), "{heading} lacks {place}");
        }
        for place in named.iter().filter(|place| !place.contains(['<', ':'])) {
            assert!(known.contains(&place.as_str()), "{heading}: {place} is no place");
        }
    }
}
