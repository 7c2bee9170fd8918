//! Opt-outs travel, opt-ins never do.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::mapped;
use crate::sim::{Person, Seed};
use crate::world::{Worker, World, ann};

/// The statuses of Keap by which a person has opted out.
const OUT: [&str; 6] = ["MANUAL", "ADMIN", "SYSTEM", "LIST_UNSUBSCRIBE", "FEEDBACK", "SPAM"];
/// The other ones: marketable, not marketable yet, and addresses that do not work.
const NOT_OUT: [&str; 10] = [
    "UNENGAGED_MARKETABLE",
    "SINGLE_OPT_IN",
    "DOUBLE_OPT_IN",
    "CONFIRMED",
    "UNENGAGED_NON_MARKETABLE",
    "NON_MARKETABLE",
    "LOCKDOWN",
    "BOUNCE",
    "HARD_BOUNCE",
    "INVALID",
];

async fn world(pool: PgPool) -> World {
    let mut world = World::new(pool).await;
    world.set("CONSENT__OPT_OUT", "to_intercom");
    world
}

fn is_out(world: &World, id: i64) -> bool {
    world.user(id).unsubscribed_from_emails
}

/// The flags that were sent since the ledger was cleared; null where there was none.
fn flags(world: &World) -> Vec<Value> {
    let flag = |body: &Value| body.get("unsubscribed_from_emails").cloned().unwrap_or_default();
    world.bodies().iter().map(flag).collect()
}

async fn poll(world: &World, worker: &Worker) {
    world.intercom.clear_ledger();
    worker.sync().await;
}

#[sqlx::test]
async fn only_an_opt_out_travels_whatever_the_status(pool: PgPool) {
    let world = world(pool).await;
    let statuses: Vec<(&str, i64)> = OUT
        .into_iter()
        .chain(NOT_OUT)
        .map(|status| {
            let email = format!("{}@example.org", status.to_lowercase());
            let id = world.keap.add(Person::named("P", "Lee").email(&email));
            world.keap.set_opt_status(&email, status);
            (status, id)
        })
        .collect();
    let worker = world.worker().await;

    worker.sync().await;

    for (status, id) in &statuses {
        assert_eq!(is_out(&world, *id), OUT.contains(status), "{status}");
    }
    let sent = flags(&world);
    assert_eq!(sent.iter().filter(|flag| **flag == json!(true)).count(), OUT.len());
    assert_eq!(sent.iter().filter(|flag| flag.is_null()).count(), NOT_OUT.len());
}

#[sqlx::test]
async fn an_opt_out_is_part_of_the_one_call_and_an_opt_in_is_left_out(pool: PgPool) {
    let world = world(pool).await;
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    assert!(!is_out(&world, id));

    world.keap.unsubscribe("ann@example.org");
    world.keap.edit(id, |person| person.family_name = Some("Leeds".into()));
    poll(&world, &worker).await;
    assert_eq!((flags(&world), world.contact_calls()), (vec![json!(true)], 1));
    assert!(is_out(&world, id));

    // She subscribes again in Keap. A person has to do so in Intercom too.
    world.keap.set_opt_status("ann@example.org", "CONFIRMED");
    world.keap.touch(id);
    poll(&world, &worker).await;
    assert!(flags(&world).iter().all(Value::is_null), "{:?}", flags(&world));
    assert!(is_out(&world, id));

    // Out once more.
    world.keap.unsubscribe("ann@example.org");
    world.keap.touch(id);
    poll(&world, &worker).await;
    assert_eq!(flags(&world), [json!(true)]);
}

#[sqlx::test]
async fn another_address_is_looked_at_again(pool: PgPool) {
    let world = world(pool).await;
    world.keap.unsubscribe("other@example.org");
    let id = world.keap.add(ann());
    let worker = world.worker().await;
    worker.sync().await;
    assert!(!is_out(&world, id));

    world.keap.edit(id, |person| person.emails[0].1 = "other@example.org".into());
    poll(&world, &worker).await;
    assert_eq!(flags(&world), [json!(true)]);
}

#[sqlx::test]
async fn a_first_match_keeps_out_who_is_out_on_either_side(pool: PgPool) {
    let world = world(pool).await;
    let people = [
        ("a@example.org", true, false),
        ("b@example.org", false, true),
        ("c@example.org", false, false),
    ];
    let ids = people.map(|(email, out_in_keap, out_in_intercom)| {
        let user = world.intercom.add_user(Seed::with_email(email).name("P Lee"));
        world.intercom.edit(&user, |contact| contact.unsubscribed_from_emails = out_in_intercom);
        if out_in_keap {
            world.keap.unsubscribe(email);
        }
        world.keap.add(Person::named("P", "Lee").email(email))
    });

    let counts = world.sync().await;

    assert_eq!(counts.linked, 3);
    assert_eq!(ids.map(|id| is_out(&world, id)), [true, true, false]);
}

#[sqlx::test]
async fn without_the_setting_nothing_about_consent_is_read_or_sent(pool: PgPool) {
    let world = World::new(pool).await;
    world.keap.unsubscribe("ann@example.org");
    let id = world.keap.add(ann());

    world.sync().await;

    assert!(!is_out(&world, id));
    assert!(flags(&world).iter().all(Value::is_null));
}

#[sqlx::test]
async fn a_field_cannot_carry_consent(pool: PgPool) {
    let mut world = World::new(pool).await;
    let may_mail = world.keap.add_custom_field("May mail", "YES_NO", &[]);
    world.file(&mapped(&[("custom:May mail", "unsubscribed_from_emails", "")]));
    world.keap.add(ann().custom(may_mail, false));

    let settings = world.settings();
    let error = keap_intercom_sync::app::mapping(&settings).unwrap_err().to_string();

    assert!(error.contains("set consent.opt_out instead"), "{error}");
}

/// What [`World`] asserts at the end of every test can fail.
#[sqlx::test]
async fn a_request_that_could_subscribe_somebody_is_found_even_after_the_ledger_is_cleared(
    pool: PgPool,
) {
    let world = World::new(pool).await;
    let (keap, intercom) = (world.keap.clone(), world.intercom.clone());
    drop(world);
    let user = intercom.add_user(Seed::with_email("ann@example.org"));
    let authorization = format!("Bearer {}", intercom.token());
    let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
    let url = format!("{}/contacts/{user}", intercom.base_url().trim_end_matches('/'));
    let body = json!({ "unsubscribed_from_emails": false }).to_string();
    crate::sim::client::send("PUT", &url, &headers, body).await.unwrap();
    intercom.clear_ledger();

    assert_eq!(intercom.could_subscribe().len(), 1);
    assert!(keap.could_subscribe().is_empty());
}
