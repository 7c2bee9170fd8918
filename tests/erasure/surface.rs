//! Erasure on the command line, over HTTP and on the page: by the same code, with the same answers.

use serde_json::json;
use sqlx::PgPool;

use super::rows_with;
use crate::http::{assert_problem, get, post, started, world as http_world};
use crate::process::{Process, command, world as small_world};
use crate::sim::{Seed, Standing};
use crate::ui::{Browser, world as ui_world};
use crate::world::{World, ann, keap_id, until};

const ANN: i64 = super::ANN;

/// Ann is linked, and no daemon runs.
async fn linked(pool: PgPool) -> (World, String) {
    let mut world = small_world(pool, 2).await;
    world.set("POLL__SCHEDULE", "0 0 0 1 1 *");
    world.keap.add_with_id(ANN, ann());
    world.sync().await;
    let user = world.user(ANN).id;
    (world, user)
}

fn is_deleted(world: &World, user: &str) -> bool {
    matches!(world.intercom.contact(user).unwrap().standing, Standing::Deleted { .. })
}

/// The answer of `erase` names the proof and no person.
async fn assert_erased(world: &World, user: &str, stdout: &str) {
    assert!(stdout.contains(&format!("Keap contact {ANN} is erased:\n")), "{stdout}");
    assert!(stdout.contains("proof deleted: Intercom showed the contact"), "{stdout}");
    assert!(stdout.contains("by the command line"), "{stdout}");
    assert!(!stdout.contains(user) && !stdout.contains("ann@"), "{stdout}");
    assert!(is_deleted(world, user));
    assert_eq!(rows_with(world, &[&ANN.to_string(), user]).await, [""; 0]);
}

#[sqlx::test]
async fn the_command_erases_without_a_daemon(pool: PgPool) {
    let (world, user) = linked(pool).await;
    let id = ANN.to_string();

    let ended = command(&world, &["erase", &id, "--yes"]).await.expect(0);

    assert_erased(&world, &user, &ended.stdout).await;
    // Again: the same proof, and no call.
    world.intercom.clear_ledger();
    let again = command(&world, &["erase", &id]).await.expect(0);
    assert_eq!(again.stdout, ended.stdout);
    assert_eq!(world.intercom.calls(), 0);
    let listed = command(&world, &["erase", "--list"]).await.expect(0).stdout;
    assert!(listed.contains("DIGEST") && listed.contains("deleted"), "{listed}");
    assert!(!listed.contains(&id), "{listed}");
    let listed = command(&world, &["erase", "--list", "--json"]).await.expect(0).json();
    assert_eq!(listed[0]["proof"], json!(["deleted"]));
    // Whoever asks for the contact is told.
    let explained = command(&world, &["explain", &id]).await.expect(0).stdout;
    assert!(explained.contains("It is erased"), "{explained}");
    let synced = command(&world, &["sync", &id]).await.expect(1).stdout;
    assert!(synced.contains("skipped (erased: "), "{synced}");

    let ended = command(&world, &["erase", "--forget", &id]).await.expect(0);
    assert_eq!(ended.stdout, format!("Keap contact {ANN} may come back: it is due now.\n"));
    let ended = command(&world, &["erase", "--forget", &id]).await.expect(1);
    assert_eq!(ended.stdout, format!("Keap contact {ANN} is not erased.\n"));
    assert_eq!(
        command(&world, &["erase", "--list"]).await.expect(0).stdout,
        "Nobody was erased.\n"
    );
}

#[sqlx::test]
async fn the_command_asks_the_daemon_that_holds_the_lease(pool: PgPool) {
    let (world, user) = linked(pool).await;
    let daemon = Process::daemon(&world);
    let store = world.store();
    until("the daemon holds the lease", async || {
        store.lease_holder().await.unwrap().is_some_and(|holder| holder.live)
    })
    .await;

    let ended = command(&world, &["erase", &ANN.to_string(), "--yes"]).await.expect(0);

    assert_erased(&world, &user, &ended.stdout).await;
    assert_eq!(daemon.said("A contact is erased."), 1, "the daemon did it");
    daemon.stop().await;
}

#[sqlx::test]
async fn nothing_is_erased_before_somebody_says_yes(pool: PgPool) {
    let (world, user) = linked(pool).await;

    let ended = command(&world, &["erase", &ANN.to_string()]).await.expect(2);

    assert!(ended.stdout.contains("deleted for good"), "{}", ended.stdout);
    assert!(ended.stderr.contains("add --yes"), "{}", ended.stderr);
    assert!(!is_deleted(&world, &user));
    assert!(world.store().erasure(keap_id(ANN)).await.unwrap().is_none());
}

#[sqlx::test]
async fn an_erasure_that_waits_is_said_by_the_command_and_by_status(pool: PgPool) {
    let (world, user) = linked(pool).await;
    world.intercom.delete(&user);
    let id = ANN.to_string();

    let ended = command(&world, &["erase", &id, "--yes", "--json"]).await.expect(1).json();

    assert_eq!((&ended["action"], &ended["erasure"]["waits"]), (&json!("queued"), &json!(true)));
    let status = command(&world, &["status"]).await.stdout;
    assert!(status.contains("1 person is not erased yet"), "{status}");
    let explained = command(&world, &["explain", &id]).await.expect(0).stdout;
    assert!(explained.contains("waits for a person"), "{explained}");
    let ended = command(&world, &["erase", &id, "--yes", "--absent"]).await.expect(0).stdout;
    assert!(ended.contains("proof absence_accepted"), "{ended}");
    assert!(!command(&world, &["status"]).await.stdout.contains("not erased yet"));
}

/// Another linked contact has the same address: the caller is told its id.
#[sqlx::test]
async fn contacts_with_the_same_address_are_named(pool: PgPool) {
    let (world, _) = linked(pool).await;
    let digest = "update contact_link set email_digest = (select email_digest from contact_link where keap_contact_id = $1)
                   where keap_contact_id = 2";
    sqlx::query(digest).bind(ANN).execute(&world.pool).await.unwrap();

    let ended = command(&world, &["erase", &ANN.to_string(), "--yes"]).await.expect(0);

    assert!(ended.stdout.contains("not synced any more: 2."), "{}", ended.stdout);
}

#[sqlx::test]
async fn http_erases_and_proves(pool: PgPool) {
    let world = http_world(pool).await;
    let daemon = started(&world).await;
    world.keap.add_with_id(ANN, ann());
    post(&daemon, "/sync/contact", &json!({ "keapContactId": ANN })).await;
    let user = world.user(ANN).id;

    let reply = post(&daemon, "/sync/erase", &json!({ "keap_contact_id": ANN.to_string() })).await;

    assert_eq!(reply.status, 200, "{}", reply.json());
    let body = reply.json();
    assert_eq!(body["action"], "erased");
    assert_eq!(body["erasure"]["proof"][0]["code"], "deleted");
    assert_eq!(body["erasure"]["askedBy"], "http");
    assert!(is_deleted(&world, &user));
    assert_eq!(rows_with(&world, &[&ANN.to_string(), &user]).await, [""; 0]);
    // Again, and by other routes.
    let again = post(&daemon, "/sync/erase", &json!({ "keapContactId": ANN })).await.json();
    assert_eq!(again["erasure"], body["erasure"]);
    let reply = post(&daemon, "/sync/contact", &json!({ "keapContactId": ANN })).await;
    assert_problem(&reply, 422);
    assert!(reply.json()["error"].as_str().unwrap().starts_with("erased: "), "{}", reply.json());
    let batch = post(&daemon, "/sync/batch", &json!({ "keapContactIds": [ANN] })).await.json();
    assert_eq!(batch["results"][0]["action"], "skipped", "{batch}");
    assert_eq!(rows_with(&world, &[&ANN.to_string()]).await, [""; 0]);
    let listed = get(&daemon, "/sync/erasures?limit=1").await.json();
    assert_eq!(listed["erasures"][0], body["erasure"]);
    assert_eq!(listed["next"], json!(null));

    let reply = post(&daemon, "/sync/erase/forget", &json!({ "keapContactId": ANN })).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    let reply = post(&daemon, "/sync/erase/forget", &json!({ "keapContactId": ANN })).await;
    assert_problem(&reply, 404);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn http_refuses_what_is_no_contact_and_says_who_waits(pool: PgPool) {
    let world = http_world(pool).await;
    let daemon = started(&world).await;
    world.keap.add_with_id(ANN, ann());
    post(&daemon, "/sync/contact", &json!({ "keapContactId": ANN })).await;
    world.intercom.delete(&world.user(ANN).id);

    for wrong in [json!({}), json!({ "keapContactId": "x" }), json!({ "id": 7 }), json!([7])] {
        assert_problem(&post(&daemon, "/sync/erase", &wrong).await, 400);
        assert_problem(&post(&daemon, "/sync/erase/forget", &wrong).await, 400);
    }
    assert_problem(&get(&daemon, "/sync/erasures?after=x").await, 400);
    let reply = post(&daemon, "/sync/erase", &json!({ "keapContactId": ANN })).await;
    assert_problem(&reply, 422);
    assert_eq!(reply.json()["code"], "erasure_waits");

    let accepted = json!({ "keapContactId": ANN, "absent": true });
    let body = post(&daemon, "/sync/erase", &accepted).await.json();
    assert_eq!(body["erasure"]["proof"][0]["code"], "absence_accepted", "{body}");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_page_asks_once_more_before_it_erases(pool: PgPool) {
    let world = ui_world(pool).await;
    let daemon = started(&world).await;
    world.keap.add_with_id(ANN, ann());
    post(&daemon, "/sync/contact", &json!({ "keapContactId": ANN })).await;
    let user = world.user(ANN).id;
    let mut browser = Browser::signed_in(&daemon).await;
    let token = browser.token().await;
    let id = ANN.to_string();
    let (erase, now) = ("/ui/contacts/erase", "/ui/contacts/erase/now");

    let page = browser.page(&format!("/ui/contacts?id={id}")).await;
    assert!(page.links().contains(&format!("{erase}?id={id}")), "{:?}", page.links());
    let page = browser.page(&format!("{erase}?id={id}")).await;
    assert!(page.text().contains("It cannot be undone"), "{}", page.text());
    for fields in [
        vec![("id", id.as_str()), ("typed", id.as_str())],
        vec![("token", token.as_str()), ("id", id.as_str())],
        vec![("token", token.as_str()), ("id", id.as_str()), ("typed", "7")],
        vec![("token", token.as_str()), ("typed", id.as_str())],
    ] {
        let reply = browser.post(now, &fields).await;
        assert!([400, 403].contains(&reply.status), "{fields:?}: {}", reply.status);
    }
    assert!(!is_deleted(&world, &user));
    assert!(world.store().erasure(keap_id(ANN)).await.unwrap().is_none());

    let fields = [("token", token.as_str()), ("id", id.as_str()), ("typed", id.as_str())];
    let reply = browser.post(now, &fields).await;

    let story = format!("/ui/contacts?id={id}");
    assert_eq!((reply.status, reply.header("location")), (303, Some(story.as_str())));
    until("the person is erased", async || is_deleted(&world, &user)).await;
    let store = world.store();
    until("the proof is kept", async || {
        store.erasure(keap_id(ANN)).await.unwrap().unwrap().done_at.is_some()
    })
    .await;
    let page = browser.page(&story).await;
    for expected in ["It is erased", "proof deleted", "by the operator's page"] {
        assert!(page.text().contains(expected), "{expected}: {}", page.text());
    }
    let page = browser.page(&format!("{erase}?id={id}")).await;
    assert!(page.text().contains("erased already"), "{}", page.text());

    let forget = "/ui/contacts/erase/forget";
    assert_eq!(browser.post(forget, &[("id", &id)]).await.status, 403);
    let reply = browser.post(forget, &[("token", &token), ("id", &id)]).await;
    assert_eq!(reply.status, 303);
    assert!(store.erasure(keap_id(ANN)).await.unwrap().is_none());
    daemon.stop().await.1.unwrap();
}

/// A person whose erasure waits is told why, and can accept it.
#[sqlx::test]
async fn the_page_shows_why_an_erasure_waits(pool: PgPool) {
    let world = ui_world(pool).await;
    let daemon = started(&world).await;
    world.intercom.add_user(Seed {
        external_id: Some(ANN.to_string()),
        ..Seed::with_email("stranger@example.org")
    });
    let mut browser = Browser::signed_in(&daemon).await;
    let token = browser.token().await;
    let id = ANN.to_string();
    let fields = [("token", token.as_str()), ("id", id.as_str()), ("typed", id.as_str())];

    browser.post("/ui/contacts/erase/now", &fields).await;
    let store = world.store();
    until("the erasure waits", async || store.erasure(keap_id(ANN)).await.unwrap().unwrap().waits)
        .await;

    let page = browser.page(&format!("/ui/contacts/erase?id={id}")).await;
    assert!(page.text().contains("neither Keap nor our records show"), "{}", page.text());
    assert!(page.of_name("input").any(|input| input.get("name") == Some("absent")));
    daemon.stop().await.1.unwrap();
}
