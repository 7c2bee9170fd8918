//! A mapping that changes, a filter that people leave, and a former release, while both directions
//! are on.

use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use crate::mapping::tables;
use crate::sim::Person;
use crate::sim::people::{Shape, invented};
use crate::world::World;

const NEWEST: &str = "owner = \"newest\"";
const BEFORE: [(&str, &str, &str); 5] = [
    ("email", "email", NEWEST),
    ("name", "name", ""),
    ("phone", "phone", NEWEST),
    ("custom:Plan", "attribute:plan", NEWEST),
    ("job_title", "attribute:job", NEWEST),
];
/// The same, with one field more.
const WITH_SITE: (&str, &str, &str) = ("website", "attribute:site", NEWEST);

/// Twenty people more. All are settled on both sides, and the first four have a website in Keap.
async fn settled(pool: PgPool) -> (Stage, Vec<i64>) {
    let stage = Stage::with(pool, "newest", |world| {
        for name in ["site", "tier"] {
            world.intercom.add_attribute(name, "string", &[]);
        }
        world.set("MAPPING__BRAKE_PERCENT", "100");
    })
    .await;
    let ids = stage.world.keap.add_many(20, |n| {
        let person = invented(n as u64, Shape::Plain).custom(stage.plan, format!("plan {n}"));
        if n < 4 { person.with("website", "https://example.org") } else { person }
    });
    stage.settle().await;
    stage.assert_quiet().await;
    (stage, ids)
}

/// The daemon starts with this mapping, and brings it to everybody.
async fn with_mapping(stage: Stage, fields: &[(&str, &str, &str)]) -> Stage {
    let Stage { mut world, worker, plan, id } = stage;
    worker.stop().await;
    world.file(&tables(fields));
    let worker = world.worker().await;
    let stage = Stage { world, worker, plan, id };
    stage.clear();
    stage.worker.backfill().await;
    stage.settle().await;
    stage
}

/// The custom attributes of all writes to Intercom, without repeats.
fn written(world: &World) -> Vec<String> {
    let mut names: Vec<String> = world
        .bodies()
        .iter()
        .flat_map(|body| {
            let mut keys: Vec<String> = body.as_object().unwrap().keys().cloned().collect();
            keys.retain(|key| key != "custom_attributes" && key != "external_id" && key != "role");
            let attributes = body["custom_attributes"].as_object().cloned().unwrap_or_default();
            keys.extend(attributes.keys().cloned());
            keys
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[sqlx::test]
async fn a_field_that_is_added_is_all_that_is_written(pool: PgPool) {
    let (stage, ids) = settled(pool).await;
    // One of them has the website in Intercom alone.
    let user = stage.world.user(ids[10]).id;
    stage.world.intercom.edit(&user, |contact| {
        contact.custom_attributes.insert("site".into(), json!("https://moss.example"));
    });
    stage.settle().await;
    let fields = [BEFORE.as_slice(), &[WITH_SITE]].concat();

    let stage = with_mapping(stage, &fields).await;

    assert_eq!(written(&stage.world), ["site"]);
    assert_eq!(stage.writes(), (1, 4));
    assert_eq!(stage.world.attribute(ids[0], "site"), "https://example.org");
    let person = stage.world.keap.person(ids[10]).unwrap();
    assert_eq!(person.text("website"), Some("https://moss.example"));
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn a_field_that_is_removed_or_comes_back_writes_nothing_that_both_sides_show(pool: PgPool) {
    let (stage, ids) = settled(pool).await;

    let without: Vec<_> = BEFORE.into_iter().filter(|field| field.0 != "custom:Plan").collect();
    let stage = with_mapping(stage, &without).await;
    assert_eq!(stage.writes(), (0, 0));
    // What is not mapped is left alone.
    stage.edit_plan_in_intercom("bronze", 1);
    stage.edit_plan_in_keap("silver");
    stage.settle().await;
    assert_eq!(stage.writes(), (0, 0));
    assert_eq!(
        (stage.plan_in_keap(), stage.plan_in_intercom()),
        (json!("silver"), json!("bronze"))
    );

    // It comes back: only the contact that differs is written, once.
    let stage = with_mapping(stage, &BEFORE).await;
    assert_eq!(stage.writes().0 + stage.writes().1, 1);
    assert_eq!(stage.plan_in_keap(), stage.plan_in_intercom());
    assert_eq!(stage.world.attribute(ids[5], "plan"), "plan 5");
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn a_field_that_moves_to_another_attribute_is_written_there_and_nowhere_else(pool: PgPool) {
    let (stage, ids) = settled(pool).await;
    let moved: Vec<_> = BEFORE
        .into_iter()
        .map(|field| match field {
            ("custom:Plan", _, owner) => ("custom:Plan", "attribute:tier", owner),
            other => other,
        })
        .collect();

    let stage = with_mapping(stage, &moved).await;

    assert_eq!(written(&stage.world), ["tier"]);
    assert_eq!(stage.writes(), (0, 21));
    assert_eq!(stage.world.attribute(ids[5], "tier"), "plan 5");
    assert_eq!(stage.world.attribute(ids[5], "plan"), "plan 5", "the former one is left as it is");
    stage.assert_quiet().await;
}

#[sqlx::test]
async fn who_leaves_the_filter_is_left_alone_by_both_directions_until_it_comes_back(pool: PgPool) {
    let mut inside = 0;
    let stage = Stage::with(pool, "newest", |world| {
        inside = world.keap.add_tag("Customer");
        let fields = tables(&BEFORE);
        world.file(&format!("{fields}\n[filter]\nkeap_tags_any = [\"Customer\"]\n"));
        world.keap.knobs(|knobs| knobs.tags_bump_update_time = true);
    })
    .await;
    // Ann was never in it. Bob is.
    assert!(stage.world.intercom.live_users().is_empty());
    let bob = Person::named("Bob", "Ray").email("bob@example.org").custom(stage.plan, "gold");
    let stage = Stage { id: stage.world.keap.add(bob), ..stage };
    stage.tag_in_keap(inside, true);
    stage.settle().await;
    assert_eq!(stage.plan_in_intercom(), "gold");

    stage.tag_in_keap(inside, false);
    stage.settle().await;
    stage.clear();
    stage.edit_plan_in_intercom("bronze", 1);
    stage.edit_in_intercom(1, |contact| {
        contact.custom_attributes.insert("job".into(), json!("Head"));
    });
    stage.world.keap.edit(stage.id, |person| person.given_name = Some("Rob".into()));
    stage.settle().await;
    assert_eq!(stage.writes(), (0, 0));
    assert_eq!(stage.plan_in_keap(), "gold");

    stage.tag_in_keap(inside, true);
    stage.settle().await;
    assert_eq!(stage.plan_in_keap(), "bronze");
    assert_eq!(stage.world.keap.person(stage.id).unwrap().job_title.as_deref(), Some("Head"));
    assert_eq!(stage.world.user(stage.id).name.as_deref(), Some("Rob Ray"));
    stage.assert_quiet().await;
}

/// The former release works for a while: it brings the changed built-in fields to Intercom, and
/// records them in its own columns alone.
async fn former_release_works(world: &mut World, changed: &[i64]) {
    let run = async |pool: &PgPool, sql: &'static str| {
        sqlx::query(sql).bind(changed).execute(pool).await.unwrap();
    };
    sqlx::raw_sql("create table before as table contact_link").execute(&world.pool).await.unwrap();
    world.file(&tables(&[("email", "email", ""), ("name", "name", ""), ("phone", "phone", "")]));
    world.set("INTERCOM_TO_KEAP__ENABLED", "false");
    world.sync().await;
    let columns = "update contact_link link
            set mapping_id = before.mapping_id, keap_base = before.keap_base,
                intercom_base = before.intercom_base, based_at = before.based_at,
                intercom_updated_at = before.intercom_updated_at
           from before
          where link.keap_contact_id = before.keap_contact_id and link.keap_contact_id = any($1)";
    run(&world.pool, columns).await;
    run(&world.pool, "delete from contact_link where keap_contact_id <> all($1)").await;
    let others = "insert into contact_link select * from before where keap_contact_id <> all($1)";
    run(&world.pool, others).await;
}

#[sqlx::test]
async fn what_a_former_release_writes_in_between_does_not_come_back(pool: PgPool) {
    let (stage, ids) = settled(pool).await;
    let Stage { mut world, worker, plan, id } = stage;
    worker.stop().await;
    let phones: Vec<String> = (0..10).map(|n| format!("+1602555{n:04}")).collect();
    for (id, phone) in ids.iter().zip(&phones) {
        world.keap.edit(*id, |person| {
            person.phones.clear();
            *person = std::mem::take(person).phone(phone, Some(phone));
        });
    }
    former_release_works(&mut world, &ids[..10]).await;

    // A person edits one of them in Intercom meanwhile, and another one in Keap. Then this release
    // holds the lease again.
    world.intercom.clock().advance_ms(5_000);
    let user = world.user(ids[15]).id;
    world.intercom.edit(&user, |contact| {
        contact.custom_attributes.insert("plan".into(), json!("tin"));
    });
    world.keap.set_custom(ids[16], plan, "zinc");
    world.file(&tables(&BEFORE));
    world.set("INTERCOM_TO_KEAP__ENABLED", "true");
    let worker = world.worker().await;
    let stage = Stage { world, worker, plan, id };
    stage.clear();
    stage.settle().await;

    for (id, phone) in ids.iter().zip(&phones) {
        let person = stage.world.keap.person(*id).unwrap();
        assert_eq!(person.wanted_phone().as_deref(), Some(phone.as_str()));
        assert_eq!(stage.world.user(*id).phone.as_deref(), Some(phone.as_str()));
    }
    assert_eq!(stage.writes(), (1, 1));
    assert_eq!(stage.world.attribute(ids[16], "plan"), "zinc");
    stage.assert_quiet().await;
}
