//! Plans by command, over HTTP and on the page: each shows what the others did.

use serde_json::json;
use sqlx::PgPool;

use crate::http::{self, assert_problem, get, post, started};
use crate::process::command;
use crate::ui;
use crate::world::{World, until};

async fn synced(pool: PgPool) -> World {
    let mut world = ui::world(pool).await;
    world.set("POLL__FIRST_RUN", "everything");
    for n in 0..4 {
        let person = crate::sim::Person::named("P", "Lee").email(&format!("p{n}@example.org"));
        world.keap.add(person);
    }
    world.sync().await;
    world.keap.clock().advance_ms(2_000);
    world
}

#[sqlx::test]
async fn the_commands_make_show_approve_and_drop_a_plan(pool: PgPool) {
    let mut world = synced(pool).await;
    world.set("RUST_LOG", "warn");
    let nothing = command(&world, &["plan", "approve"]).await.expect(2);
    assert!(nothing.stderr.contains("No plan waits"), "{}", nothing.stderr);
    command(&world, &["plan"]).await.expect(2);
    world.keap.edit(1, |person| person.family_name = Some("One".into()));
    world.intercom.clear_ledger();

    let text = command(&world, &["plan", "--changed"]).await.expect(0).stdout;
    assert!(text.contains("updated: 1 contact\n  1 → Intercom"), "{text}");
    assert!(text.contains("Fields that are written to Intercom: name in 1"), "{text}");
    assert!(text.contains("keap-intercom-sync plan approve"), "{text}");
    assert_eq!(world.writes(), 0);
    let shown = command(&world, &["plan", "show", "--json"]).await.expect(0).json();
    assert_eq!(
        (&shown["plan"]["state"], &shown["plan"]["askedBy"]),
        (&json!("waiting"), &json!("command"))
    );
    assert_eq!(shown["contacts"][0]["keapContactId"], 1);
    let first = shown["plan"]["id"].as_str().unwrap().to_owned();
    command(&world, &["plan", "--all"]).await.expect(0);
    let several = command(&world, &["plan", "approve"]).await.expect(2);
    assert!(several.stderr.contains("Several plans wait"), "{}", several.stderr);
    assert!(several.stderr.contains(&first[..8]), "{}", several.stderr);
    let status = command(&world, &["status"]).await.expect(1).stdout;
    assert!(status.contains("a plan waits: "), "{status}");

    let text = command(&world, &["plan", "drop", &first[..8]]).await.expect(0).stdout;
    assert!(text.starts_with("Dropped: "), "{text}");
    world.keap.edit(1, |person| person.family_name = Some("Two".into()));
    let text = command(&world, &["plan", "approve"]).await.expect(0).stdout;
    assert!(text.contains("1 updated"), "{text}");
    let changed = "1 contact has changed since the plan was made, and was decided afresh.";
    assert!(text.contains(changed), "{text}");
    assert_eq!(world.writes(), 1);
    let again = command(&world, &["plan", "approve", &first]).await.expect(2);
    assert!(again.stderr.contains("dropped"), "{}", again.stderr);
    let list = command(&world, &["plan", "list"]).await.expect(0).stdout;
    assert!(list.contains("carried out") && list.contains("dropped"), "{list}");
    let list = command(&world, &["plan", "list", "--json"]).await.expect(0).json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let unknown = command(&world, &["plan", "show", "ffffffff"]).await.expect(2);
    assert!(unknown.stderr.contains("There is no plan"), "{}", unknown.stderr);
    command(&world, &["pause"]).await.expect(0);
    command(&world, &["plan", "--all"]).await.expect(0);
    let paused = command(&world, &["plan", "approve"]).await.expect(2);
    assert!(paused.stderr.contains("paused"), "{}", paused.stderr);
}

#[sqlx::test]
async fn routes_ask_for_a_plan_and_the_daemon_makes_it_and_carries_it_out(pool: PgPool) {
    let world = synced(pool).await;
    let daemon = started(&world).await;
    world.keap.edit(1, |person| person.family_name = Some("One".into()));
    world.intercom.clear_ledger();

    let asked = post(&daemon, "/sync/plans", &json!({ "kind": "all" })).await;
    assert_eq!(asked.status, 202, "{}", asked.json());
    let id = asked.json()["plan"]["planId"].as_str().unwrap().to_owned();
    let path = format!("/sync/plans/{id}");
    let state = async || get(&daemon, &path).await.json()["plan"]["state"].clone();
    until("the plan waits", async || state().await == "waiting").await;
    let shown = get(&daemon, &path).await.json();
    assert_eq!(shown["counts"][0], json!({ "what": "action", "word": "updated", "contacts": 1 }));
    assert_eq!((&shown["contacts"][0]["keapContactId"], &shown["next"]), (&json!(1), &json!(null)));
    let listed = get(&daemon, "/sync/plans?waiting=true").await.json();
    assert_eq!(listed["plans"][0]["planId"], json!(id));
    until("/ready shows it", async || {
        get(&daemon, "/ready").await.json()["checks"]["plans"]
            == json!({ "state": "waiting", "waiting": 1 })
    })
    .await;
    let metrics = get(&daemon, "/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("keap_intercom_sync_plans_waiting 1"), "{metrics}");
    assert_eq!(world.writes(), 0);

    let approved = post(&daemon, &format!("{path}/approve"), &json!({})).await;
    assert_eq!(approved.status, 202, "{}", approved.json());
    until("it is carried out", async || state().await == "done").await;
    assert_eq!(world.writes(), 1);
    assert_problem(&post(&daemon, &format!("{path}/approve"), &json!({})).await, 422);
    assert_problem(&post(&daemon, &format!("{path}/drop"), &json!({})).await, 422);
    assert_problem(&post(&daemon, "/sync/plans", &json!({ "kind": "mapping" })).await, 400);
    assert_problem(&get(&daemon, "/sync/plans/nothing").await, 404);
    let other = "/sync/plans/00000000-0000-0000-0000-000000000000/approve";
    assert_problem(&post(&daemon, other, &json!({})).await, 404);
    // What it cannot look for, it says.
    let asked = post(&daemon, "/sync/plans", &json!({ "kind": "audit" })).await.json();
    let path = format!("/sync/plans/{}", asked["plan"]["planId"].as_str().unwrap());
    until("it has failed", async || get(&daemon, &path).await.json()["plan"]["state"] == "failed")
        .await;
    daemon.stop().await.1.unwrap();
    let _ = http::TOKEN;
}

#[sqlx::test]
async fn the_page_shows_plans_and_approves_and_drops_them(pool: PgPool) {
    let world = synced(pool).await;
    let daemon = started(&world).await;
    world.keap.edit(1, |person| person.family_name = Some("One".into()));
    world.intercom.clear_ledger();
    let mut browser = ui::Browser::signed_in(&daemon).await;
    let token = browser.token().await;

    let reply = browser.post("/ui/plans/ask", &[("token", &token), ("kind", "all")]).await;
    assert_eq!(reply.status, 303);
    let path = reply.header("location").unwrap().to_owned();
    let id = path.rsplit('/').next().unwrap().to_owned();
    until("the plan waits", async || world.store().plans(true, None, 10).await.unwrap().len() == 1)
        .await;
    let page = browser.page("/ui/runs").await;
    assert!(page.text().contains("Plans that wait"), "{}", page.text());
    assert!(page.text().contains("1 updated"), "{}", page.text());
    let page = browser.page(&path).await;
    for expected in ["Approve", "Drop", "Updated", "name is written to Intercom"] {
        assert!(page.text().contains(expected), "{expected}: {}", page.text());
    }
    let forged = browser.post("/ui/plans/approve", &[("id", &id)]).await;
    assert_eq!(forged.status, 403);
    assert_eq!(
        browser.post("/ui/plans/ask", &[("token", &token), ("kind", "x")]).await.status,
        400
    );

    let reply = browser.post("/ui/plans/approve", &[("token", &token), ("id", &id)]).await;
    assert_eq!((reply.status, reply.header("location")), (303, Some(path.as_str())));
    until("it is carried out", async || {
        let plan = world.store().plan(id.parse().unwrap()).await.unwrap().unwrap();
        plan.state == "done" && plan.decided_by.as_deref() == Some("page")
    })
    .await;
    assert_eq!(world.writes(), 1);
    let page = browser.page(&path).await;
    assert!(!page.text().contains("Approve"), "{}", page.text());
    let over = browser.post("/ui/plans/drop", &[("token", &token), ("id", &id)]).await;
    assert_eq!(over.status, 422);
    daemon.stop().await.1.unwrap();
}
