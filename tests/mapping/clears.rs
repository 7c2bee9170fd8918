//! What an empty value in Keap means.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::mapped;
use crate::sim::Seed;
use crate::world::{World, ann};

const RULES: [&str; 3] = ["always", "after_first", "never"];

/// A field for each rule, all from one custom field. Returns its id.
fn map_each_rule(world: &mut World) -> i64 {
    let plan = world.keap.add_custom_field("Plan", "TEXT", &[]);
    let fields = RULES.map(|rule| {
        world.intercom.add_attribute(rule, "string", &[]);
        (format!("attribute:{rule}"), format!("clears = {rule:?}"))
    });
    let fields: Vec<_> =
        fields.iter().map(|(place, rule)| ("custom:Plan", place.as_str(), rule.as_str())).collect();
    world.file(&mapped(&fields));
    plan
}

fn found(world: &World, id: i64) -> [Value; 3] {
    RULES.map(|rule| world.attribute(id, rule))
}

async fn a_value_is_cleared_by_its_rule(pool: PgPool, omit_nulls: bool) {
    let mut world = World::new(pool).await;
    world.keap.knobs(|knobs| knobs.omit_nulls = omit_nulls);
    let plan = map_each_rule(&mut world);
    let id = world.keap.add(ann().custom(plan, "gold"));
    let worker = world.worker().await;
    worker.sync().await;
    assert_eq!(found(&world, id), ["gold", "gold", "gold"].map(Value::from));

    world.keap.set_custom(id, plan, Value::Null);
    world.intercom.clear_ledger();
    worker.sync().await;
    assert_eq!(found(&world, id), [Value::Null, Value::Null, json!("gold")]);
    assert_eq!(world.contact_calls(), 1);

    // What a person types into a field that is empty in Keap stays, but for `always`.
    let user = world.user(id).id;
    world.intercom.edit(&user, |contact| {
        for rule in RULES {
            contact.custom_attributes.insert(rule.into(), "typed".into());
        }
    });
    world.keap.edit(id, |person| person.family_name = Some("Leeds".into()));
    worker.sync().await;
    assert_eq!(found(&world, id), [Value::Null, json!("typed"), json!("typed")]);
}

#[sqlx::test]
async fn a_value_that_keap_shows_as_null_is_cleared_by_its_rule(pool: PgPool) {
    a_value_is_cleared_by_its_rule(pool, false).await;
}

#[sqlx::test]
async fn a_value_that_keap_leaves_out_is_cleared_by_its_rule(pool: PgPool) {
    a_value_is_cleared_by_its_rule(pool, true).await;
}

#[sqlx::test]
async fn a_first_match_wipes_only_by_the_rule_always(pool: PgPool) {
    let mut world = World::new(pool).await;
    map_each_rule(&mut world);
    let mut seed = Seed::with_email("ann@example.org").name("Ann there").phone("+16025550199");
    for rule in RULES {
        seed.custom_attributes.insert(rule.into(), "there".into());
    }
    world.intercom.add_user(seed);
    let id = world.keap.add(crate::sim::Person::default().email("ann@example.org"));

    let counts = world.sync().await;

    assert_eq!(counts.linked, 1);
    assert_eq!(found(&world, id), [Value::Null, json!("there"), json!("there")]);
    let user = world.user(id);
    assert_eq!(
        (user.name.as_deref(), user.phone.as_deref()),
        (Some("Ann there"), Some("+16025550199"))
    );
}

#[sqlx::test]
async fn rubbish_in_keap_clears_nothing(pool: PgPool) {
    let mut world = World::new(pool).await;
    let score = world.keap.add_custom_field("Score", "WHOLE_NUMBER", &[]);
    world.intercom.add_attribute("score", "integer", &[]);
    world.file(&mapped(&[("custom:Score", "attribute:score", "clears = \"always\"")]));
    let id = world.keap.add(ann().custom(score, 7));
    let worker = world.worker().await;
    worker.sync().await;

    world.keap.set_custom(id, score, "seven");
    worker.sync().await;
    assert_eq!(world.attribute(id, "score"), 7);
    let said = world.log_of(id).await.pop().unwrap().error_message.unwrap();
    assert!(said.starts_with("field_invalid score: ") && !said.contains("seven"), "{said}");

    // The value that was there before the rubbish is still known, so a clearing travels.
    world.keap.set_custom(id, score, Value::Null);
    worker.sync().await;
    assert_eq!(world.attribute(id, "score"), Value::Null);
}

#[sqlx::test]
async fn an_empty_field_of_another_kind_is_cleared_too(pool: PgPool) {
    let mut world = World::new(pool).await;
    let day = world.keap.add_custom_field("Day", "DATE", &[]);
    let list = world.keap.add_custom_field("List", "LIST_BOX", &[]);
    let yes = world.keap.add_custom_field("Yes", "YES_NO", &[]);
    for (name, kind) in [("day", "date"), ("list", "string"), ("yes", "boolean")] {
        world.intercom.add_attribute(name, kind, &[]);
    }
    let uma = world.keap.add_user("uma@shop.example");
    world.intercom.add_admin("uma@shop.example");
    world.file(&mapped(&[
        ("custom:Day", "attribute:day", ""),
        ("custom:List", "attribute:list", ""),
        ("custom:Yes", "attribute:yes", ""),
        ("owner", "owner_id", ""),
        ("website", "avatar", ""),
    ]));
    let person = ann()
        .custom(day, "2026-01-31")
        .custom(list, json!(["a"]))
        .custom(yes, true)
        .with("website", "https://example.org/a.png")
        .owner(uma);
    let id = world.keap.add(person);
    let worker = world.worker().await;
    worker.sync().await;
    assert!(world.user(id).owner_id.is_some() && world.user(id).avatar.is_some());

    world.keap.edit(id, |person| {
        person.details.custom_fields.clear();
        person.details.owner_id = None;
        person.set("website", None);
    });
    world.intercom.clear_ledger();
    worker.sync().await;

    assert_eq!(world.contact_calls(), 1);
    let user = world.user(id);
    assert_eq!((user.owner_id, user.avatar), (None, None));
    assert!(user.custom_attributes.values().all(Value::is_null), "{:?}", user.custom_attributes);
}
