//! Fields and their mapping: an upgrade writes nothing, and a new field is a new rule and nothing
//! else.

use keap_intercom_sync::outcome::Action;
use keap_intercom_sync::sync::dry_run;
use keap_intercom_sync::sync::preview::Scope;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::sim::{Keap, Person};
use crate::world::{World, ann};

/// A database of release 0.1.0 (migrations 1 to 7), as `pg_dump` shows it. That release had brought
/// all of [`former_people`] to the stand-in for Intercom.
pub(crate) const FORMER_DATABASE: &str = include_str!("fields/former.sql");

/// Everybody whom the former release had seen, as it saw them last. Their ids count from 1. Ben and
/// Cleo had valid addresses when they were created in Intercom.
fn former_people() -> Vec<Person> {
    let [plain, nameless] = [ann(), Person::default().email("nameless@example.org")];
    vec![
        plain,
        nameless.phone("(602) 555-0145", Some("+16025550145")),
        Person::named("No", "Phone").email("no.phone@example.org"),
        Person::named("Ben", "Cleared").phone("(602) 555-0146", Some("+16025550146")),
        Person::named("Cleo", "Invalid").email("n/a").phone("555-3001", None),
        Person::named(" Zoe\u{308} ", "Mu\u{308}ller-Lu\u{308}denscheidt")
            .email(" Zo\u{eb}+Tag@B\u{fc}cher.example ")
            .phone(" 555\u{a0}3002 ", None),
        Person::named("小百合", "田中").email("sayuri@example.org"),
        Person::named("Skipped", "Nomail").phone("555-3003", None),
        Person::named("Skipped", "Rubbish").email("ask her"),
        Person {
            emails: vec![("EMAIL2".into(), "Second@Example.org".into())],
            family_name: None,
            ..Person::named("Given", "")
        },
        Person::named("Held", "Double").email("double@example.org"),
        Person::named("No", "Stamp").email("no.stamp@example.org"),
    ]
}

/// Puts the people and the stamps into Keap that the former release saw.
pub(crate) fn add_former_people(keap: &Keap) {
    for (person, id) in former_people().into_iter().zip(1..) {
        keap.add_with_id(id, person);
        // 2026-02-03 04:05:06.789, and a minute more for each.
        keap.set_stamp_ms(id, Some(1_770_091_506_789 + id * 60_000));
    }
    keap.set_stamp_ms(12, None);
}

#[sqlx::test(migrations = false)]
async fn an_upgrade_writes_nothing_to_intercom(pool: PgPool) {
    sqlx::raw_sql(FORMER_DATABASE).execute(&pool).await.unwrap();
    let world = World::new(pool).await;
    add_former_people(&world.keap);
    world.store().migrate().await.unwrap();
    let logged = world.log().await.len();

    let worker = world.worker().await;
    let counts = worker.backfill().await;

    assert_eq!(world.intercom.calls(), 0, "{counts:?}");
    // The poll before the walk may read the newest of them, which is held, once more.
    assert_eq!((counts.unchanged, counts.skipped), (9, 2), "{counts:?}");
    assert_eq!(counts.seen, 9 + 2 + counts.held, "{counts:?}");
    assert_eq!(world.log().await.len(), logged, "nothing is logged a second time");

    // What the database knows is really compared: a change of each contact is a call.
    for id in 1..=12 {
        world.keap.edit(id, |person| person.family_name = Some("Changed".into()));
        world.intercom.clear_ledger();
        worker.request(&[id]).await;
        assert_eq!(world.intercom.calls() > 0, ![8, 9].contains(&id), "contact {id}");
    }
}

/// The built-in fields, and Keap's job title as a custom attribute of Intercom.
const WITH_JOB_TITLE: &str = r#"
[[field]]
keap = "email"
intercom = "email"
[[field]]
keap = "name"
intercom = "name"
[[field]]
keap = "phone"
intercom = "phone"
[[field]]
name = "job"
keap = "job_title"
intercom = "attribute:job_title"
"#;

#[sqlx::test]
async fn a_new_field_is_a_new_rule_and_nothing_else(pool: PgPool) {
    let mut world = World::new(pool).await;
    world.file(WITH_JOB_TITLE);
    world.intercom.knobs(|knobs| knobs.attributes.insert("job_title".into()));
    let id = world.keap.add(Person { job_title: Some(" Buyer ".into()), ..ann() });
    let worker = world.worker().await;
    let title = || world.user(id).custom_attributes["job_title"].clone();

    // Created, and found unchanged.
    worker.sync().await;
    assert_eq!(title(), json!("Buyer"));
    assert!(world.keap.ledger().iter().any(|call| call.query.contains("job_title")));
    world.intercom.clear_ledger();
    worker.backfill().await;
    assert_eq!(world.intercom.calls(), 0);

    // Changed, then cleared: one call each, after a dry run that shows it.
    for (keap, intercom) in [(Some("Head of sales"), json!("Head of sales")), (None, Value::Null)] {
        world.keap.edit(id, |person| person.job_title = keap.map(str::to_owned));
        let mut previews = Vec::new();
        dry_run::run(worker.context(), Scope::All, |preview| previews.push(preview)).await.unwrap();
        let job = previews[0].fields.iter().find(|(name, _)| name == "job").unwrap();
        assert_eq!((previews[0].action, job.1.as_deref()), (Action::Updated, keap));

        world.intercom.clear_ledger();
        worker.sync().await;
        assert_eq!((world.intercom.calls(), title()), (1, intercom.clone()));
        let body = world.intercom.ledger()[0].body.clone().unwrap();
        assert_eq!(body["custom_attributes"], json!({ "job_title": intercom }));
        assert_eq!(body["name"], "Ann Lee");
    }
}
