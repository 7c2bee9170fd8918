//! Notifications of Intercom: signed hints that bring an edit at once.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use sqlx::PgPool;

use crate::http::url;
use crate::mapping::tables;
use crate::sim::client::{self, Reply};
use crate::world::{Daemon, World, ann, until};

const SECRET: &str = "canary-client-secret-0123456789";

/// Both directions are on, and nothing is polled but at the start.
pub(super) async fn world(pool: PgPool) -> (World, i64) {
    let mut world = World::new(pool).await;
    world.intercom.add_attribute("job", "string", &[]);
    world.file(&tables(&[
        ("email", "email", ""),
        ("name", "name", ""),
        ("job_title", "attribute:job", "owner = \"newest\""),
    ]));
    world
        .set("INTERCOM_TO_KEAP__ENABLED", "true")
        .set("POLL__SCHEDULE", "0 0 0 1 1 *")
        .set("INTERCOM_TO_KEAP__SCHEDULE", "0 0 0 1 1 *")
        .set("INTERCOM_CLIENT_SECRET", SECRET)
        .set("API_TOKEN", crate::http::TOKEN);
    let id = world.keap.add(ann().with("job_title", "Buyer"));
    (world, id)
}

pub(super) async fn started(world: &World, id: i64) -> Daemon {
    let daemon = world.daemon().await;
    until("Ann is linked", async || world.last_action(id).await == "created").await;
    // The daemon polls at its start, and compares everybody once.
    let sql =
        "select exists (select from intercom_cursor where feed = 'audit' and walked_at is not null)
                  and not exists (select from sync_run where finished_at is null)";
    until("both sides are compared", async || {
        sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
    })
    .await;
    daemon
}

fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let bytes = mac.finalize().into_bytes();
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha1={digits}")
}

pub(super) async fn deliver(daemon: &Daemon, body: &Value) -> Reply {
    let body = body.to_string();
    let signature = signature(SECRET, &body);
    let headers = [("x-hub-signature", signature.as_str())];
    client::send("POST", &url(daemon, "/webhook/intercom"), &headers, body).await.unwrap()
}

/// What Intercom sends of a contact. Times are texts there.
pub(super) fn updated(world: &World, id: i64) -> Value {
    let user = world.user(id);
    let at = chrono::DateTime::from_timestamp(user.updated_at, 0).unwrap();
    json!({
        "type": "notification_event", "app_id": "abc", "topic": "contact.user.updated",
        "data": { "type": "notification_event_data", "item": {
            "type": "contact", "id": user.id, "role": "user", "external_id": user.external_id,
            "email": user.email, "name": user.name, "phone": user.phone,
            "updated_at": at.to_rfc3339_opts(chrono::SecondsFormat::Millis, false),
            "custom_attributes": user.custom_attributes,
        } },
    })
}

pub(super) fn edit_job(world: &World, id: i64, job: &str) {
    let user = world.user(id).id;
    world.intercom.edit(&user, |contact| {
        contact.custom_attributes.insert("job".into(), job.into());
    });
}

fn action(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["action"].clone()
}

#[sqlx::test]
async fn an_edit_arrives_by_its_notification_and_our_own_write_is_no_news(pool: PgPool) {
    let (world, id) = world(pool).await;
    let daemon = started(&world, id).await;
    edit_job(&world, id, "Head");
    assert_eq!(action(&deliver(&daemon, &updated(&world, id)).await), "queued");
    until("Keap shows it", async || {
        world.keap.person(id).unwrap().job_title.as_deref() == Some("Head")
    })
    .await;
    until("it is recorded", async || world.last_action(id).await == "updated").await;

    // A poll of the start may have been faster than the notification, which then causes one look
    // more.
    let sql = "select not exists (select from contact_due)
                  and not exists (select from sync_run where finished_at is null)";
    until("the daemon rests", async || {
        sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
    })
    .await;
    // The same once more, and what our own write raised.
    let before = (world.keap.kinds(), world.intercom.kinds());
    for _ in 0..3 {
        assert_eq!(action(&deliver(&daemon, &updated(&world, id)).await), "skipped");
    }
    assert_eq!((world.keap.kinds(), world.intercom.kinds()), before);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn an_old_picture_never_travels(pool: PgPool) {
    let (world, id) = world(pool).await;
    let daemon = started(&world, id).await;
    let old = updated(&world, id);
    world.intercom.clock().advance_ms(5_000);
    edit_job(&world, id, "Head");
    deliver(&daemon, &updated(&world, id)).await;
    until("Keap shows it", async || {
        world.keap.person(id).unwrap().job_title.as_deref() == Some("Head")
    })
    .await;
    until("it is recorded", async || world.last_action(id).await == "updated").await;
    // Notifications come late and out of order.
    deliver(&daemon, &old).await;
    until("nothing is due", async || world.store().count_due().await.unwrap().0 == 0).await;
    assert_eq!(world.keap.person(id).unwrap().job_title.as_deref(), Some("Head"));
    assert_eq!(world.attribute(id, "job"), "Head");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn only_what_intercom_has_signed_is_taken(pool: PgPool) {
    let (world, id) = world(pool).await;
    let daemon = started(&world, id).await;
    edit_job(&world, id, "Head");
    let body = updated(&world, id).to_string();
    let address = url(&daemon, "/webhook/intercom");
    let send = async |headers: &[(&str, &str)], body: String| {
        client::send("POST", &address, headers, body).await.unwrap()
    };
    assert_eq!(send(&[], body.clone()).await.status, 401);
    for wrong in ["", "sha1=", &signature("another secret of somebody", &body)] {
        assert_eq!(send(&[("x-hub-signature", wrong)], body.clone()).await.status, 401);
    }
    let right = signature(SECRET, &body);
    let tampered = body.replace("Head", "Thief");
    assert_eq!(send(&[("x-hub-signature", &right)], tampered).await.status, 401);
    assert_eq!(world.store().count_due().await.unwrap().0, 0);

    let head = client::send("HEAD", &address, &[], "").await.unwrap();
    assert_eq!(head.status, 200, "Intercom asks so when the address is saved");
    for harmless in [json!({ "topic": "ping", "data": { "item": { "type": "ping" } } }), json!([])]
    {
        assert_eq!(action(&deliver(&daemon, &harmless).await), "skipped");
    }
    let stranger =
        json!({ "data": { "item": { "type": "contact", "id": "0123456789abcdef01234567" } } });
    assert_eq!(action(&deliver(&daemon, &stranger).await), "skipped");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_caller_names_the_intercom_contact_and_hears_of_the_direction(pool: PgPool) {
    let (world, id) = world(pool).await;
    let daemon = started(&world, id).await;
    let user = world.user(id).id;
    let ask = async |body: Value| crate::http::post(&daemon, "/sync/contact", &body).await;

    edit_job(&world, id, "Head");
    for (body, action) in [
        (json!({ "intercomContactId": user }), "updated"),
        (json!({ "intercom_contact_id": user }), "unchanged"),
    ] {
        let reply = ask(body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let told = reply.json();
        assert_eq!(told["keapContactId"], id);
        assert_eq!(told["action"], action);
        let direction = if action == "updated" { "intercom_to_keap" } else { "keap_to_intercom" };
        assert_eq!(told["direction"], direction);
    }
    assert_eq!(world.keap.person(id).unwrap().job_title.as_deref(), Some("Head"));

    // By the Keap id, an edit in Intercom arrives as well.
    edit_job(&world, id, "Chief");
    let told = ask(json!({ "keapContactId": id })).await.json();
    assert_eq!(
        (&told["action"], &told["direction"]),
        (&json!("updated"), &json!("intercom_to_keap"))
    );

    for (body, status) in [
        (json!({ "intercomContactId": "0123456789abcdef01234567" }), 404),
        (json!({ "intercomContactId": "../x" }), 400),
        (json!({ "intercomContactId": 7 }), 400),
        (json!({ "intercomContactId": user, "keapContactId": "x" }), 400),
        (json!({ "intercomContactId": user, "keapContactId": id + 1 }), 404),
        (json!({ "intercomContactId": user, "keapContactId": id }), 200),
        (json!({}), 400),
    ] {
        assert_eq!(ask(body.clone()).await.status, status, "{body}");
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn without_the_secret_or_the_database_it_is_answered_503(pool: PgPool) {
    let (mut world, id) = world(pool.clone()).await;
    let secret = world.env.remove("INTERCOM_CLIENT_SECRET");
    let daemon = started(&world, id).await;
    assert_eq!(deliver(&daemon, &updated(&world, id)).await.status, 503);
    daemon.stop().await.1.unwrap();

    world.env.insert("INTERCOM_CLIENT_SECRET".into(), secret.unwrap());
    let daemon = world.daemon().await;
    until("the daemon knows its mapping", async || {
        let ping =
            json!({ "data": { "item": { "type": "contact", "id": "0123456789abcdef01234567" } } });
        deliver(&daemon, &ping).await.status == 200
    })
    .await;
    edit_job(&world, id, "Head");
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("lock table contact_due in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    assert_eq!(deliver(&daemon, &updated(&world, id)).await.status, 503);
    lock.rollback().await.unwrap();
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn who_is_archived_deleted_or_merged_is_looked_at_at_once(pool: PgPool) {
    let (world, ann) = world(pool).await;
    let [bob, cleo] = ["bob", "cleo"].map(|name| {
        let address = format!("{name}@example.org");
        world.keap.add(crate::sim::Person::named(name, "Ray").email(&address))
    });
    let daemon = started(&world, ann).await;
    until("all are linked", async || world.last_action(cleo).await == "created").await;
    let [of_ann, of_bob, of_cleo] = [ann, bob, cleo].map(|id| world.user(id).id);
    world.intercom.archive(&of_ann);
    world.intercom.delete(&of_bob);
    let survivor = world.intercom.add_user(crate::sim::Seed::with_email("c@example.org"));
    world.intercom.merge(&of_cleo, &survivor);

    let gone = |id: &str, how: &str| json!({ "topic": format!("contact.{how}"), "data": { "item": { "type": "contact", "id": id, how: true } } });
    let merged = json!({ "topic": "contact.merged", "data": { "item": {
        "type": "contact", "id": survivor, "role": "user", "email": "c@example.org",
        "merged_from": { "type": "contact", "id": of_cleo },
    } } });
    for body in [gone(&of_ann, "archived"), gone(&of_bob, "deleted"), merged] {
        assert_eq!(action(&deliver(&daemon, &body).await), "queued", "{body}");
    }
    for id in [ann, bob] {
        until("it is known to be gone", async || world.last_action(id).await == "skipped").await;
        assert!(world.keap.person(id).is_some(), "nothing is deleted in Keap");
    }
    until("the link follows", async || {
        let users = world.intercom.by_external_id(&cleo.to_string());
        users.iter().any(|user| user.id == survivor)
    })
    .await;
    daemon.stop().await.1.unwrap();
}
