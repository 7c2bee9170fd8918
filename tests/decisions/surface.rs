//! Decisions over HTTP and on the command line.

use serde_json::json;
use sqlx::PgPool;

use crate::http::{self, assert_problem, get, post, started};
use crate::process::{command, world as canary_world};
use crate::sim::{Person, Seed};
use crate::world::{Daemon, World, until};

const DECIDE: &str = "/sync/held/decide";

/// Two contacts are held: each has two Intercom users with its e-mail.
async fn hold_two(world: &World, daemon: &Daemon) -> [i64; 2] {
    let ids = [1, 2].map(|n| {
        let email = format!("twins.{n}@example.org");
        for _ in 0..2 {
            world.intercom.add_user(Seed::with_email(&email));
        }
        world.keap.add(Person::named("Ann", "Lee").email(&email))
    });
    world.intercom.reindex_now();
    let reply = post(daemon, "/sync/batch", &json!({ "keapContactIds": ids })).await;
    assert_eq!(reply.json()["failed"], 2, "{}", reply.json());
    ids
}

async fn candidates(world: &World, id: i64) -> Vec<String> {
    let held = world.held().await;
    held.into_iter().find(|one| one.keap_contact_id == id).unwrap().candidates
}

#[sqlx::test]
async fn every_decision_is_taken_and_taken_back_over_http(pool: PgPool) {
    let world = http::world(pool).await;
    let daemon = started(&world).await;
    let [one, other] = hold_two(&world, &daemon).await;
    let twin = candidates(&world, one).await.remove(1);

    let body = json!({ "decision": "use", "keapContactIds": [one], "intercomContactId": twin });
    let reply = post(&daemon, DECIDE, &body).await;
    let expected = json!({ "success": true, "decided": [one], "refused": [], "notHeld": [] });
    assert_eq!((reply.status, reply.json()), (202, expected));
    until("it is linked", async || world.last_action(one).await == "linked").await;
    assert_eq!(world.user(one).id, twin);

    let body = json!({ "decision": "ignore", "keapContactIds": [other, 77] });
    let reply = post(&daemon, DECIDE, &body).await.json();
    assert_eq!((&reply["decided"], &reply["notHeld"]), (&json!([other]), &json!([77])));
    let reply = post(&daemon, "/sync/contact", &json!({ "keapContactId": other })).await;
    assert_problem(&reply, 422);
    assert_eq!(reply.json()["code"], "contact_skipped", "{}", reply.json());
    let listed = get(&daemon, "/sync/held/decisions?decision=ignore").await.json();
    assert_eq!(listed["decisions"][0]["keapContactId"], other, "{listed}");
    let all = get(&daemon, "/sync/held/decisions?limit=1").await.json();
    let next = all["next"].as_str().unwrap();
    let rest = get(&daemon, &format!("/sync/held/decisions?after={next}")).await.json();
    assert_eq!(rest["decisions"][0]["decision"], "use", "{rest}");
    let known = get(&daemon, &format!("/sync/contacts/{other}")).await.json();
    assert_eq!(known["decisions"][0]["decidedBy"], "http", "{known}");

    let body = json!({ "decision": "take_back", "reason": "several_users" });
    let reply = post(&daemon, DECIDE, &body).await.json();
    assert_eq!(reply["decided"], json!([one, other]));
    until("it waits again", async || world.held().await.len() == 1).await;
    let body = json!({ "decision": "create", "reason": "several_users" });
    assert_eq!(post(&daemon, DECIDE, &body).await.json()["decided"], json!([other]));
    until("it is created", async || world.last_action(other).await == "created").await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_wrong_request_over_http_gets_one_clear_error(pool: PgPool) {
    let world = http::world(pool).await;
    let daemon = started(&world).await;
    let [one, _] = hold_two(&world, &daemon).await;

    for (wrong, status, code) in [
        (json!({}), 400, "invalid_body"),
        (json!({ "decision": "ignore" }), 400, "invalid_body"),
        (json!({ "decision": "explode", "keapContactIds": [one] }), 400, "invalid_body"),
        (
            json!({ "decision": "ignore", "keapContactIds": [one], "reason": "x" }),
            400,
            "invalid_body",
        ),
        (json!({ "decision": "ignore", "keapContactIds": ["x"] }), 400, "invalid_id"),
        (json!({ "decision": "use", "keapContactIds": [one] }), 400, "invalid_body"),
        (json!({ "decision": "ignore", "who": 1 }), 400, "unknown_field"),
        (
            json!({ "decision": "use", "keapContactIds": [one], "intercomContactId": "abc" }),
            422,
            "decision_refused",
        ),
    ] {
        let reply = post(&daemon, DECIDE, &wrong).await;
        assert_problem(&reply, status);
        assert_eq!(reply.json()["code"], code, "{wrong}: {}", reply.json());
    }
    assert_eq!(world.held().await.len(), 2);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_webhook_of_a_contact_that_is_ignored_for_good_costs_no_call(pool: PgPool) {
    let world = http::world(pool).await;
    let daemon = started(&world).await;
    let [one, _] = hold_two(&world, &daemon).await;
    let body = json!({ "decision": "ignore", "keapContactIds": [one] });
    post(&daemon, DECIDE, &body).await;
    world.keap.clear_ledger();

    let url = http::url(&daemon, &format!("/webhook/keap/{}", http::OLD_SECRET));
    let event = json!({ "event_key": "contact.edit", "object_type": "contact", "object_keys": [{ "id": one }] });
    let reply = crate::sim::client::send("POST", &url, &[], event.to_string()).await.unwrap();

    assert_eq!((reply.status, &reply.json()["action"]), (200, &json!("skipped")));
    assert_eq!((world.keap.calls(), world.store().count_due().await.unwrap().0), (0, 0));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_command_decides_lists_and_takes_back(pool: PgPool) {
    let mut world = canary_world(pool, 3).await;
    world.set("RUST_LOG", "warn");
    for id in [1, 2] {
        let email = world.keap.person(id).unwrap().first_email().unwrap().to_owned();
        for _ in 0..2 {
            world.intercom.add_user(Seed::with_email(&email));
        }
    }
    command(&world, &["sync", "--all"]).await.expect(1);
    let twin = candidates(&world, 1).await.remove(0);

    let ended = command(&world, &["decide", "use", "1", "nobody"]).await.expect(2);
    assert!(ended.stderr.contains("is none of the candidates: "), "{ended:#?}");
    let ended = command(&world, &["decide", "use", "1", &twin]).await.expect(0);
    assert_eq!(ended.stdout, "1 contact: decided.\n");
    command(&world, &["sync", "--changed"]).await;
    assert_eq!(world.user(1).id, twin);

    let ended = command(&world, &["decide", "ignore", "--reason", "several_users", "--json"]).await;
    let expected = json!({ "decided": [2], "refused": [], "notHeld": [] });
    assert_eq!(ended.expect(0).json(), expected);
    let text = command(&world, &["decide", "list"]).await.expect(0).stdout;
    assert!(text.contains("ignore it for good (held for several_users); in force"), "{text}");
    let story = command(&world, &["explain", "2"]).await.expect(0).stdout;
    for expected in ["decided ", "by command: ignore it for good", "decide take-back 2"] {
        assert!(story.contains(expected), "{expected}: {story}");
    }
    let told = command(&world, &["sync", "2"]).await;
    assert!(told.stdout.contains("ignored: a person has decided"), "{told:#?}");

    let ended = command(&world, &["decide", "take-back", "2", "77"]).await.expect(1);
    assert!(ended.stdout.contains("Not held, or nothing is decided: 77"), "{ended:#?}");
    command(&world, &["decide", "create", "3"]).await.expect(2);
    command(&world, &["sync", "--changed"]).await;
    let ended = command(&world, &["decide", "ignore", "2", "--until-changed"]).await;
    assert_eq!(ended.expect(0).stdout, "1 contact: decided.\n");
    let ended = command(&world, &["decide", "retry", "2"]).await;
    assert_eq!(
        ended.expect(2).stdout,
        "0 contacts: decided.\nNot held, or nothing is decided: 2\n"
    );
    let list = command(&world, &["decide", "list", "--json"]).await.expect(0).json();
    assert_eq!(list[0]["decision"], "ignore_until_changed", "{list}");
}
