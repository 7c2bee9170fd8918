//! Who is brought into Keap, and who is not.

use serde_json::json;
use sqlx::PgPool;

use super::{BOB, CREATE, TAG, bob, bodies, stage};
use crate::mapping::tables;
use crate::process::command;
use crate::sim::{Person, Seed};
use crate::two_way::Stage;
use crate::world::World;

// F130
#[sqlx::test]
async fn a_user_whom_keap_does_not_know_gets_one_contact_with_its_fields(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let user = stage.add_bob();
    stage.world.intercom.edit(&user, |contact| {
        contact.custom_attributes.insert("plan".into(), "tin".into());
        contact.custom_attributes.insert("job".into(), "Seller".into());
    });
    stage.bring().await;
    let id = stage.linked_once(BOB, &user).await;
    let person = stage.world.keap.person(id).unwrap();
    assert_eq!(
        (person.given_name.as_deref(), person.family_name.as_deref()),
        (Some("Bob"), Some("Ray"))
    );
    assert_eq!(person.job_title.as_deref(), Some("Seller"));
    assert_eq!(person.phones[0].number.as_deref(), Some("+16025550188"));
    assert_eq!(person.details.custom_fields[&stage.plan], "tin");
    // An address and names; the rest followed as an update.
    let emails = json!([{ "email": BOB, "field": "EMAIL1" }]);
    let body = json!({ "given_name": "Bob", "family_name": "Ray", "email_addresses": emails });
    assert_eq!(bodies(&stage), [(body, false)]);
    let log = stage.log_of(id).await;
    assert_eq!(log[0], ("created".into(), "intercom_to_keap".into()), "{log:?}");
    assert!(log.iter().any(|(action, _)| action == "linked"), "{log:?}");
    let shown = stage.world.intercom.contact(&user).unwrap();
    assert_eq!(shown.name.as_deref(), Some("Bob Ray"));
    assert_eq!(shown.phone.as_deref(), Some("+16025550188"));
    stage.assert_quiet().await;
    stage.audit_all().await;
    assert_eq!((stage.creates(), stage.writes()), (0, (0, 0)));
}

#[sqlx::test]
async fn what_a_new_contact_costs(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let user = stage.add_bob();
    stage.poll_intercom().await;
    let before = (stage.world.keap.kinds(), stage.world.intercom.kinds());
    stage.worker.sync().await;
    stage.worker.sync().await;
    stage.linked_once(BOB, &user).await;
    let more = |now: std::collections::BTreeMap<&'static str, usize>,
                before: &std::collections::BTreeMap<&'static str, usize>,
                kind: &str| {
        now.get(kind).copied().unwrap_or_default() - before.get(kind).copied().unwrap_or_default()
    };
    let keap = |kind| more(stage.world.keap.kinds(), &before.0, kind);
    let intercom = |kind| more(stage.world.intercom.kinds(), &before.1, kind);
    // Lists of Keap: two polls, the search by e-mail, and the new contact by its id.
    assert_eq!(
        (keap("create"), keap("write"), keap("list")),
        (1, 1, 4),
        "{:?}",
        stage.world.keap.kinds()
    );
    assert_eq!((intercom("update"), intercom("create"), intercom("search")), (1, 0, 0));
    assert!(intercom("read") <= 3, "{}", intercom("read"));
}

#[sqlx::test]
async fn nobody_is_brought_unless_it_is_asked_for(pool: PgPool) {
    let stage = stage(pool, |world| {
        world.set(CREATE, "never");
    })
    .await;
    stage.add_bob();
    stage.clear();
    stage.bring().await;
    stage.audit_all().await;
    assert_eq!((stage.creates(), stage.world.intercom.count("read")), (0, 0));
    assert_eq!(stage.in_keap(BOB), [0_i64; 0]);
    let rows: i64 = sqlx::query_scalar("select count(*) from intercom_due")
        .fetch_one(&stage.world.pool)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

// F130
#[sqlx::test]
async fn only_users_with_the_tag_are_brought_where_that_is_asked_for(pool: PgPool) {
    let stage = stage(pool, |world| {
        world.set(CREATE, "tagged").set(TAG, "To Keap");
        world.intercom.add_tag("to keap");
        (0..12).for_each(|n| drop(world.intercom.add_tag(&format!("other {n}"))));
    })
    .await;
    let user = stage.add_bob();
    let many = stage.world.intercom.add_user(Seed::with_email("many@example.org"));
    for n in 0..12 {
        assert!(stage.world.intercom.tag(&many, &format!("other {n}")));
    }
    stage.bring().await;
    assert_eq!(stage.creates(), 0);
    // Who lacks the tag is not asked for again and again.
    stage.clear();
    stage.bring().await;
    stage.bring().await;
    assert_eq!(stage.world.intercom.count("read"), 0);

    stage.world.intercom.clock().advance_ms(2_000);
    assert!(stage.world.intercom.tag(&user, "to keap"));
    assert!(stage.world.intercom.tag(&many, "to keap"));
    stage.bring().await;
    stage.linked_once(BOB, &user).await;
    stage.linked_once("many@example.org", &many).await;
}

#[sqlx::test]
async fn leads_and_people_without_an_address_are_never_brought(pool: PgPool) {
    let stage = stage(pool, |world| {
        world.set("FILTER__EXCLUDE_DOMAINS", "shop.example, @Own.example");
    })
    .await;
    let intercom = &stage.world.intercom;
    intercom.add_lead(bob());
    intercom.add_user(Seed::default().name("Nobody"));
    intercom.add_user(Seed::with_email("n/a"));
    intercom.add_user(Seed::with_email("agent@Shop.example"));
    intercom.add_user(Seed::with_email("agent@own.example"));
    stage.clear();
    stage.bring().await;
    stage.audit_all().await;
    assert_eq!((stage.creates(), intercom.count("read")), (0, 0));
    assert_eq!(stage.waiting().await, 0);
}

// F130
#[sqlx::test]
async fn a_contact_that_keap_has_is_linked_and_no_second_one_is_made(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let user = stage.add_bob();
    // No poll of Keap shows the contact: it has not changed for a day.
    let id = stage.world.keap.add(Person::named("Robert", "Ray").email("Bob@Example.org"));
    stage.world.keap.set_stamp_ms(id, Some(stage.world.keap.clock().now_ms() - 86_400_000));
    stage.bring().await;
    assert_eq!(stage.linked_once(BOB, &user).await, id);
    assert_eq!(stage.creates(), 0);
}

#[sqlx::test]
async fn a_user_with_an_external_id_is_linked_or_held_and_never_made(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let intercom = &stage.world.intercom;
    let old = stage
        .world
        .keap
        .add(Person::named("Bob", "Ray").email("other@example.org").phone("+16025550188", None));
    stage.world.keap.set_stamp_ms(old, Some(stage.world.keap.clock().now_ms() - 86_400_000));
    let user = intercom.add_user(bob().external_id(old.to_string()));
    stage.bring().await;
    assert_eq!(intercom.contact(&user).unwrap().external_id, Some(old.to_string()));
    assert_eq!(stage.world.user(old).id, user);
    assert_eq!(stage.creates(), 0);

    let own = intercom.add_user(Seed::with_email("eve@example.org").external_id("app-77"));
    stage.bring().await;
    assert_eq!(stage.creates(), 0);
    assert_eq!(stage.held_user().await, (own.clone(), "external_id_taken".into()));
    assert_eq!(intercom.contact(&own).unwrap().external_id.as_deref(), Some("app-77"));
}

// F130
#[sqlx::test]
async fn several_contacts_in_keap_with_the_address_need_a_person(pool: PgPool) {
    let stage = stage(pool, |_| {}).await;
    let day_ago = stage.world.keap.clock().now_ms() - 86_400_000;
    let ids = stage.world.keap.add_many(2, |_| Person::named("Bob", "Ray").email(BOB));
    ids.iter().for_each(|id| stage.world.keap.set_stamp_ms(*id, Some(day_ago)));
    let user = stage.add_bob();
    stage.bring().await;
    assert_eq!(stage.creates(), 0);
    assert_eq!(stage.held_user().await, (user.clone(), "several_in_keap".into()));
    // It waits without a call, and a person settles it.
    stage.clear();
    stage.bring().await;
    assert_eq!(stage.world.intercom.count("read"), 0);
    stage.world.keap.delete(ids[1]);
    command(&stage.world, &["held", "retry", &user]).await.expect(0);
    stage.worker.sync().await;
    stage.worker.sync().await;
    stage.linked_once(BOB, &user).await;
}

// F130
#[sqlx::test]
async fn who_is_gone_from_keap_is_not_brought_back(pool: PgPool) {
    let stage = stage(pool, |world| {
        world.set("SWEEP__DELETED", "unlink");
    })
    .await;
    let user = stage.add_bob();
    stage.bring().await;
    let id = stage.linked_once(BOB, &user).await;
    stage.world.keap.delete(id);
    stage.worker.request_sweep(true).await;
    stage.worker.sync().await;
    stage.world.intercom.edit(&user, |contact| contact.external_id = None);
    stage.clear();
    stage.bring().await;
    stage.audit_all().await;
    assert_eq!((stage.creates(), stage.in_keap(BOB)), (0, Vec::new()));
}

#[sqlx::test]
async fn names_of_their_own_are_sent_as_they_are_mapped(pool: PgPool) {
    let stage: Stage = stage(pool, |world: &mut World| {
        world.intercom.add_attribute("first", "string", &[]);
        world.intercom.add_attribute("last", "string", &[]);
        world.file(&tables(&[
            ("email", "email", ""),
            ("given_name", "attribute:first", "owner = \"newest\""),
            ("family_name", "attribute:last", "owner = \"newest\""),
        ]));
    })
    .await;
    let user = stage.add_bob();
    stage.world.intercom.edit(&user, |contact| {
        contact.custom_attributes.insert("first".into(), "Bob".into());
        contact.custom_attributes.insert("last".into(), "van Ray".into());
    });
    stage.bring().await;
    let id = stage.linked_once(BOB, &user).await;
    let person = stage.world.keap.person(id).unwrap();
    assert_eq!(
        (person.given_name.as_deref(), person.family_name.as_deref()),
        (Some("Bob"), Some("van Ray"))
    );
    stage.assert_quiet().await;
}
