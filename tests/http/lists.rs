//! `GET /` and the lists: they have keys to go on, and every refusal has a code.

use chrono::{DateTime, Utc};
use keap_intercom_sync::feed::{Feed, RunReason};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{TOKEN, assert_problem, get, post, started, url, world};
use crate::sim::people::{Shape, invented};
use crate::sim::{Person, Seed, client};
use crate::world::{Daemon, World, ann, until};

/// Reads all pages of a list.
async fn pages(daemon: &Daemon, path: &str, list: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let reply = get(daemon, &format!("{path}{mark}limit={limit}{after}")).await;
        let body = reply.json();
        assert_eq!(reply.status, 200, "{body}");
        let rows = body[list].as_array().unwrap().clone();
        assert!(rows.len() <= limit, "{body}");
        all.extend(rows);
        match body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

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

#[sqlx::test]
async fn the_root_says_what_this_is_and_links_on(pool: PgPool) {
    let daemon = world(pool).await.daemon().await;

    let reply = client::send("GET", &url(&daemon, "/"), &[], "").await.unwrap();
    let body = reply.json();
    assert_eq!((reply.status, &body["name"]), (200, &json!("keap-intercom-sync")));
    for link in body["links"].as_object().unwrap().values() {
        let reply = get(&daemon, link.as_str().unwrap()).await;
        // The operator's page sends people to its sign-in.
        let expected = if link == "/ui" { &[303][..] } else { &[200, 503] };
        assert!(expected.contains(&reply.status), "{link}: {}", reply.status);
    }

    let accept = [("accept", "text/html,application/xhtml+xml")];
    let page = client::send("GET", &url(&daemon, "/"), &accept, "").await.unwrap();
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(text.contains("<a href=\"docs\">") && !text.contains("<script"), "{text}");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn every_list_is_read_page_by_page(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let ids = world.keap.add_many(5, |n| invented(n as u64, Shape::Plain));
    let reply = post(&daemon, "/sync/batch", &json!({ "keapContactIds": ids })).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    let held = hold_two(&world, &daemon).await;

    let log = pages(&daemon, "/sync/log", "log", 2).await;
    assert_eq!(log.len(), 7);
    let times = log.iter().map(|row| row["at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap());
    let times: Vec<_> = times.collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    assert_eq!(pages(&daemon, "/sync/log?action=held", "log", 1).await.len(), 2);
    let one = pages(&daemon, &format!("/sync/log?keapContactId={}", ids[0]), "log", 10).await;
    assert_eq!((one.len(), &one[0]["keapContactId"]), (1, &json!(ids[0])));
    assert_eq!(pages(&daemon, "/sync/log?since=2100-01-01T00:00:00Z", "log", 9).await.len(), 0);

    let listed = pages(&daemon, "/sync/held", "held", 1).await;
    let listed: Vec<_> = listed.iter().map(|one| one["keapContactId"].clone()).collect();
    assert_eq!(listed, held.map(|id| json!(id)));
    let reasons = get(&daemon, "/sync/held?reason=refused").await.json();
    assert_eq!(reasons["reasons"], json!([{ "code": "several_users", "contacts": 2, "users": 0 }]));
    assert_eq!(reasons["held"], json!([]));

    for _ in 0..3 {
        world.store().request_run(Feed::Backfill, RunReason::Manual, None).await.unwrap();
    }
    let runs = pages(&daemon, "/sync/runs?feed=backfill", "runs", 2).await;
    assert_eq!(runs.len(), 3);
    let id = runs[0]["runId"].as_str().unwrap();
    assert_eq!(get(&daemon, &format!("/sync/runs/{id}")).await.json()["runId"], json!(id));

    for wrong in [
        "/sync/log?limit=0",
        "/sync/log?after=x",
        "/sync/log?reason=%00",
        "/sync/log?keapContactId=x",
        "/sync/held?after=2026-01-01T00:00:00Z_x",
        "/sync/runs?nonsense=1",
        "/sync/runs?limit=many",
    ] {
        let reply = get(&daemon, wrong).await;
        assert_problem(&reply, 400);
        assert_eq!(reply.json()["code"], "invalid_query", "{wrong}");
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn held_contacts_are_retried_over_http(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let [one, other] = hold_two(&world, &daemon).await;
    let twins = world.intercom.live_users();
    let of = |n: i64| {
        let email = format!("twins.{n}@example.org");
        twins
            .iter()
            .filter(|user| user.email.as_deref() == Some(&email))
            .map(|user| user.id.clone())
            .collect::<Vec<_>>()
    };
    world.intercom.delete(&of(1)[0]);
    world.intercom.reindex_now();

    let body = json!({ "keapContactIds": [one, 77] });
    let reply = post(&daemon, "/sync/held/retry", &body).await;
    assert_eq!(
        (reply.status, reply.json()),
        (
            202,
            json!({ "success": true, "dryRun": false, "contacts": 1, "users": 0, "retried": [one], "notHeld": [77], "retriedUsers": [], "usersNotHeld": [] })
        )
    );
    until("it is linked", async || world.last_action(one).await == "linked").await;

    let reply = post(&daemon, "/sync/held/retry", &json!({ "reason": "several_users" })).await;
    assert_eq!(reply.json()["retried"], json!([other]));
    until("it is held again", async || world.held().await.len() == 1).await;
    let reply = post(&daemon, "/sync/held/retry", &json!({ "all": true })).await;
    assert_eq!(reply.json()["retried"], json!([other]));

    for (wrong, code) in [
        (json!({}), "invalid_body"),
        (json!({ "all": true, "reason": "refused" }), "invalid_body"),
        (json!({ "all": false }), "invalid_body"),
        (json!({ "keapContactIds": [] }), "invalid_body"),
        (json!({ "keapContactIds": null, "all": true }), "invalid_body"),
        (json!({ "keapContactIds": ["x"] }), "invalid_id"),
        (json!({ "everything": true }), "unknown_field"),
    ] {
        let reply = post(&daemon, "/sync/held/retry", &wrong).await;
        assert_problem(&reply, 400);
        assert_eq!(reply.json()["code"], code, "{wrong}");
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn requests_are_accepted_in_both_spellings(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());

    let mut replies = Vec::new();
    for body in [json!({ "keapContactId": id }), json!({ "keap_contact_id": id })] {
        let reply = post(&daemon, "/sync/contact", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.json());
        replies.push(reply.json()["intercomContactId"].clone());
    }
    assert_eq!(replies[0], replies[1]);
    for body in [json!({ "keapContactIds": [id] }), json!({ "keap_contact_ids": [id] })] {
        assert_eq!(post(&daemon, "/sync/batch", &body).await.json()["succeeded"], 1);
    }
    // What the original worker ignored is still ignored.
    let body = json!({ "keap_contact_id": id, "source": "zap" });
    assert_eq!(post(&daemon, "/sync/contact", &body).await.status, 200);

    let both = json!({ "keapContactId": id, "keap_contact_id": id });
    let reply = post(&daemon, "/sync/contact", &both).await;
    assert_problem(&reply, 400);
    assert_eq!(reply.json()["code"], "duplicate_field");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn every_refusal_has_a_stable_code_and_names_an_unknown_field(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;

    let unknown = [
        ("/sync/contact", json!({ "keapContactID": 1 }), "\"keapContactID\""),
        ("/sync/batch", json!({ "ids": [1] }), "\"ids\""),
        ("/sync/run", json!({ "feed": "changed", "form": 1 }), "\"form\""),
    ];
    for (path, body, name) in unknown {
        let reply = post(&daemon, path, &body).await;
        assert_problem(&reply, 400);
        let body = reply.json();
        assert_eq!(body["code"], "unknown_field", "{body}");
        assert_eq!(body["type"], "urn:keap-intercom-sync:problem:unknown_field");
        assert!(body["detail"].as_str().unwrap().contains(name), "{body}");
    }
    // A name that may be a person's is not repeated.
    let reply = post(&daemon, "/sync/contact", &json!({ "ann@example.org": 1 })).await;
    assert!(!reply.json().to_string().contains("ann@"), "{}", reply.json());

    for (path, body, code) in [
        ("/sync/run", json!({ "feed": "nonsense" }), "unknown_feed"),
        (
            "/sync/run",
            json!({ "feed": "sweep", "since": "2026-01-01T00:00:00Z" }),
            "since_not_allowed",
        ),
        ("/sync/contact", json!({ "keapContactId": "x" }), "invalid_id"),
        ("/sync/contact", json!({ "keapContactId": 999_999 }), "not_in_keap"),
        ("/sync/contact?wait=soon", json!({ "keapContactId": 1 }), "invalid_query"),
    ] {
        assert_eq!(post(&daemon, path, &body).await.json()["code"], code, "{path} {body}");
    }
    assert_eq!(get(&daemon, "/nonsense").await.json()["code"], "no_such_route");
    let refused = client::send("GET", &url(&daemon, "/sync/held"), &[], "").await.unwrap();
    assert_eq!(refused.json()["code"], "unauthorized");
    assert_eq!(refused.header("ratelimit-limit"), None, "a stranger learns nothing");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn replies_of_limited_routes_show_the_limit(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;

    let reply = get(&daemon, "/sync/held").await;
    assert_eq!(reply.header("ratelimit-limit"), Some("100"));
    let left: u32 = reply.header("ratelimit-remaining").unwrap().parse().unwrap();
    // A slow answer leaves the bucket time to fill up again.
    assert!((90..=100).contains(&left), "{left}");

    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str())];
    // This route answers without the database, so that even a slow machine is faster than the
    // limit.
    let quick = url(&daemon, "/sync/contacts/x");
    let calls = (0..400).map(|_| client::send("GET", &quick, &headers, ""));
    let replies = futures_util::future::join_all(calls).await;
    let refused =
        replies.into_iter().map(Result::unwrap).find(|reply| reply.status == 429).unwrap();
    assert_eq!(refused.json()["code"], "too_many_requests");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let left: u32 = refused.header("ratelimit-remaining").unwrap().parse().unwrap();
    assert!(left <= 1, "{left}");
    let health = get(&daemon, "/health").await;
    assert_eq!(health.header("ratelimit-limit"), None);
    daemon.stop().await.1.unwrap();
}
