//! Lists in Keap: a write changes our entry and no other one.

use serde_json::json;
use sqlx::PgPool;

use super::Stage;
use crate::sim::{Fault, Person, Phone, What};

/// Somebody with more than one of everything.
fn rich(stage: &Stage, other: i64) -> Person {
    let mut person = Person::named("Rich", "Moss")
        .email("rich@example.org")
        .email("rich@work.example.org")
        .phone("(602) 555-0144", Some("+16025550144"))
        .custom(stage.plan, "gold")
        .custom(other, json!(["a", "b"]))
        .with("website", "https://example.org");
    person.phones.push(Phone { slot: "PHONE3".into(), number: Some("ask her".into()), e164: None });
    person
}

/// Both directions are on, and somebody rich is settled; also how Keap shows that person then.
/// `keeps_entries`: a write to Keap leaves the entries of a list that it does not name.
async fn settled(pool: &PgPool, keeps_entries: bool) -> (Stage, i64, i64, Person) {
    let stage = Stage::new(super::owners::fresh(pool).await, "newest").await;
    stage.world.keap.knobs(|knobs| knobs.patch_keeps_entries = keeps_entries);
    let other = stage.world.keap.add_custom_field("Other", "LIST_BOX", &["a", "b"]);
    let id = stage.world.keap.add(rich(&stage, other));
    stage.settle().await;
    let before = stage.world.keap.person(id).unwrap();
    (stage, other, id, before)
}

// F109
#[sqlx::test]
async fn every_other_entry_stays_as_it_is(pool: PgPool) {
    for keeps_entries in [false, true] {
        let (stage, _, id, before) = settled(&pool, keeps_entries).await;

        let user = stage.world.user(id).id;
        stage.world.intercom.edit(&user, |contact| {
            contact.custom_attributes.insert("plan".into(), json!("bronze"));
            contact.custom_attributes.insert("job".into(), json!("Head"));
        });
        stage.look().await;

        let mut expected = before;
        expected.job_title = Some("Head".into());
        expected.details.custom_fields.insert(stage.plan, json!("bronze"));
        assert_eq!(stage.world.keap.person(id).unwrap(), expected, "{keeps_entries}");
        stage.assert_quiet().await;
    }
}

// F109
#[sqlx::test]
async fn what_a_person_edits_just_before_the_fresh_read_stays(pool: PgPool) {
    for keeps_entries in [false, true] {
        let (stage, other, id, before) = settled(&pool, keeps_entries).await;

        // The poll of Keap is over. The daemon has seen the edit in Intercom, and is about to read
        // the contact from Keap.
        let (keap, second) = (stage.world.keap.clone(), "second@example.org");
        let change = move |person: &mut Person| {
            person.emails[1].1 = second.into();
            person.phones[1].number = Some("ask him".into());
            person.details.custom_fields.insert(other, json!(["b"]));
        };
        let at_the_read = What::run(move |_| assert!(keap.edit(id, change)));
        stage.world.keap.fault(Fault::on("list").what(at_the_read));
        let user = stage.world.user(id).id;
        stage.world.intercom.edit(&user, |contact| {
            contact.custom_attributes.insert("plan".into(), json!("bronze"));
        });
        stage.poll_intercom().await;
        stage.worker.work_off().await;
        assert_eq!(stage.world.keap.faults_waiting(), 0);

        let mut expected = before;
        change(&mut expected);
        expected.details.custom_fields.insert(stage.plan, json!("bronze"));
        assert_eq!(stage.world.keap.person(id).unwrap(), expected, "{keeps_entries}");
        stage.settle().await;
        stage.assert_quiet().await;
    }
}
