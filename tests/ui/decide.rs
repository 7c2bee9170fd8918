//! One held contact with its candidates, and the buttons that decide about it.

use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use super::{Browser, Page, hold, world};
use crate::http::{post, started};
use crate::sim::{Fault, Person, Seed, What};
use crate::world::{Daemon, World, until};

const DECIDE: &str = "/ui/held/decide";
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}";

fn path(id: i64) -> String {
    format!("/ui/held/contact?id={id}")
}

/// Sends the form of the first button whose text begins so.
async fn press(browser: &mut Browser<'_>, page: &Page, label: &str) -> crate::sim::client::Reply {
    let form = page.of_name("form").find(|form| form.text.trim().starts_with(label));
    let form = form.unwrap_or_else(|| panic!("no {label:?}: {}", page.text()));
    assert_eq!(form.get("action"), Some(DECIDE));
    // The reader keeps elements in the order of their ends: the fields of a form stand before it.
    let at = page.elements.iter().position(|one| std::ptr::eq(one, form)).unwrap();
    let before = page.elements[..at].iter().rev().take_while(|one| one.name != "form");
    let mut fields = Vec::new();
    for one in before {
        let is_sent = one.name == "input" || (one.name == "button" && one.text.starts_with(label));
        if let (true, Some(name), Some(value)) = (is_sent, one.get("name"), one.get("value")) {
            fields.push((name, value));
        }
    }
    browser.post(DECIDE, &fields).await
}

async fn held_one(world: &World, daemon: &Daemon) -> (i64, Vec<String>) {
    let [id] = hold(world, daemon, 1).await[..] else { panic!("one contact") };
    (id, world.only_held(id).await.candidates)
}

#[sqlx::test]
async fn a_held_contact_is_shown_with_its_people_and_the_chosen_candidate_is_linked(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let (id, twins) = held_one(&world, &daemon).await;
    world.intercom.edit(&twins[1], |twin| twin.name = Some("Ann of Intercom".into()));
    let mut browser = Browser::signed_in(&daemon).await;
    assert!(browser.page("/ui/held").await.links().contains(&path(id)));
    world.intercom.clear_ledger();
    world.keap.clear_ledger();

    let page = browser.page(&path(id)).await;

    for expected in [
        "Canaryann Lee",
        "canary.twins.0@example.org",
        "Ann of Intercom",
        twins[0].as_str(),
        "more than one Intercom user has this e-mail",
        "external id(empty)",
    ] {
        assert!(page.text().contains(expected), "{expected}: {}", page.text());
    }
    assert_eq!((world.keap.calls(), world.intercom.calls()), (1, 2), "bounded, and no search");
    let label = format!("Use this one: {}", twins[1]);
    let reply = press(&mut browser, &page, &label).await;
    let back = format!("{}&decided=1&decision=use", path(id));
    assert_eq!((reply.status, reply.header("location")), (303, Some(back.as_str())));
    until("it is linked", async || world.last_action(id).await == "linked").await;
    assert_eq!(world.user(id).id, twins[1]);
    let page = browser.page(&back).await;
    for expected in ["Decided about 1 contact.", "does not wait for a person", "carried out"] {
        assert!(page.text().contains(expected), "{expected}: {}", page.text());
    }
    let story = browser.page(&format!("/ui/contacts?id={id}")).await;
    assert!(story.text().contains("by page: use the Intercom contact"), "{}", story.text());

    // Nothing of the people was stored.
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    for table in tables {
        let sql =
            format!("select count(*) from \"{table}\" t where t::text ~* 'canary|Ann of Intercom'");
        let rows: i64 =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&world.pool).await.unwrap();
        assert_eq!(rows, 0, "{table} holds a person");
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_contact_is_ignored_and_that_is_taken_back_without_script(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let (id, _) = held_one(&world, &daemon).await;
    let mut browser = Browser::signed_in(&daemon).await;

    let page = browser.page(&path(id)).await;
    let reply = press(&mut browser, &page, "Ignore for good").await;
    assert_eq!(reply.status, 303);
    let list = browser.page("/ui/held").await;
    assert!(list.text().contains("No contact is held."), "{}", list.text());
    assert!(list.text().contains("Ignored: 1 contact"), "{}", list.text());
    let story = browser.page(&format!("/ui/contacts?id={id}")).await;
    for expected in
        ["a person has decided to ignore it", "Nothing until the decision is taken back"]
    {
        assert!(story.text().contains(expected), "{expected}: {}", story.text());
    }

    let ignored = browser.page("/ui/held/ignored").await;
    assert!(ignored.text().contains("for good"), "{}", ignored.text());
    let reply = press(&mut browser, &ignored, "Take back").await;
    let back = "/ui/held/ignored?decided=1&decision=take_back";
    assert_eq!(reply.header("location"), Some(back));
    let page = browser.page(back).await;
    assert!(page.text().contains("is taken back"), "{}", page.text());
    assert!(page.text().contains("No contact is ignored."), "{}", page.text());
    until("it waits again", async || world.held().await.len() == 1).await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn all_contacts_of_a_reason_are_decided_about_on_their_page(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    hold(&world, &daemon, 3).await;
    let mut browser = Browser::signed_in(&daemon).await;
    let all = browser.page("/ui/held").await;
    let labels: Vec<&str> = all.of_name("button").map(|one| one.text.as_str()).collect();
    assert!(!labels.iter().any(|label| label.contains("Ignore")), "{labels:?}");

    let page = browser.page("/ui/held?reason=several_users").await;
    for label in ["Create a new one: all", "Ignore until it changes: all", "Ignore for good: all"] {
        assert!(page.of_name("button").any(|one| one.text.starts_with(label)), "{label}");
    }
    let token = browser.token().await;
    let fields = [("token", token.as_str()), ("decision", "ignore"), ("reason", "several_users")];
    let reply = browser.post(DECIDE, &fields).await;
    assert_eq!(reply.header("location"), Some("/ui/held?decided=3&decision=ignore"));
    assert!(world.held().await.is_empty());
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_remote_that_does_not_answer_is_named_and_the_rest_is_shown(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let (id, twins) = held_one(&world, &daemon).await;
    world.intercom.archive(&twins[0]);
    world.intercom.fault(Fault::on("read").key(twins[1].clone()).what(What::status(500)));
    world.keap.fault(Fault::on("read").always().what(What::status(500)));
    let mut browser = Browser::signed_in(&daemon).await;

    let page = browser.page(&path(id)).await;

    for expected in [
        "Keap does not show it now (",
        "Intercom does not show it now (",
        "it is archived or deleted in Intercom",
        "Ignore for good",
    ] {
        assert!(page.text().contains(expected), "{expected}: {}", page.text());
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_refused_decision_and_an_odd_form_get_a_page_that_says_why(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let owner = world.keap.add(Person::named("Canaryann", "Lee").email("canary.one@example.org"));
    let blocked = world.keap.add(Person::named("Canarybo", "Lee").email("canary.one@example.org"));
    for id in [owner, blocked] {
        post(&daemon, "/sync/contact", &json!({ "keapContactId": id })).await;
    }
    world.only_held(blocked).await;
    let linked = world.user(owner).id;
    let sql = "update contact_hold set candidates = array[$1]";
    sqlx::query(sql).bind(&linked).execute(&world.pool).await.unwrap();
    let mut browser = Browser::signed_in(&daemon).await;
    let token = browser.token().await;
    let id = blocked.to_string();

    let page = browser.page(&path(blocked)).await;
    let note = format!("It cannot be used: linked to the Keap contact {owner}");
    assert!(page.text().contains(&note), "{}", page.text());
    assert!(!page.text().contains("Use this one"), "{}", page.text());
    for (fields, status, why) in [
        (
            vec![("decision", "use"), ("id", id.as_str()), ("intercom", &linked)],
            422,
            "is linked to",
        ),
        (vec![("decision", "use"), ("id", &id)], 400, "use needs one"),
        (vec![("decision", "use"), ("id", &id), ("intercom", "a/b")], 400, "no id of an Intercom"),
        (vec![("decision", "ignore"), ("id", &id), ("intercom", &linked)], 400, "only use needs"),
        (vec![("decision", "explode"), ("id", &id)], 400, "the decision is one of"),
        (vec![("id", &id)], 400, "the decision is one of"),
        (vec![("decision", "ignore")], 400, "names no contacts"),
    ] {
        let mut fields = fields;
        fields.push(("token", &token));
        let reply = browser.post(DECIDE, &fields).await;
        assert_eq!(reply.status, status, "{fields:?}");
        let page = Page::of(DECIDE, &reply);
        assert!(page.text().contains(why), "{why}: {}", page.text());
    }
    assert_eq!(browser.get("/ui/held/contact").await.status, 400);
    assert_eq!(browser.get("/ui/held/contact?id=x").await.status, 400);
    assert!(browser.page(&path(9_999_999)).await.text().contains("does not wait for a person"));
    daemon.stop().await.1.unwrap();
}

// S11
#[sqlx::test]
async fn markup_in_the_names_of_people_stays_text(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let email = "canary.twins.0@example.org";
    for name in [HOSTILE, "Ζωή 张伟 محمد 👩‍🚀 é"] {
        world.intercom.add_user(Seed::with_email(email).name(name));
    }
    let id = world.keap.add(Person::named(HOSTILE, "Lee").email(email));
    world.intercom.reindex_now();
    post(&daemon, "/sync/contact", &json!({ "keapContactId": id })).await;
    world.only_held(id).await;
    let mut browser = Browser::signed_in(&daemon).await;

    // The reader accepts no bare markup.
    let page = browser.page(&path(id)).await;

    assert_eq!(page.text().matches("<script>alert(1)</script>").count(), 2, "{}", page.text());
    assert!(page.text().contains("张伟"), "{}", page.text());
    for name in ["script", "img"] {
        assert_eq!(page.of_name(name).count(), 0);
    }
    daemon.stop().await.1.unwrap();
}
