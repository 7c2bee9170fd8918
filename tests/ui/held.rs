//! The contacts that need a person, and the buttons that try them again.

use sqlx::PgPool;

use super::{Browser, Page, hold, world};
use crate::http::started;
use crate::world::until;

const DECIDE: &str = "/ui/held/decide";

#[sqlx::test]
async fn held_contacts_stand_by_reason_with_what_it_means_and_what_to_do(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let ids = hold(&world, &daemon, 2).await;
    let mut browser = Browser::signed_in(&daemon).await;

    let page = browser.page("/ui/held").await;

    let text = page.text();
    for expected in [
        "several_users: 2 contacts",
        "more than one Intercom user has this e-mail",
        "Merge or archive all but one of them in Intercom.",
        "Try again: all",
        "Decide about all of them",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for held in world.held().await {
        assert!(ids.contains(&held.keap_contact_id));
        assert_eq!(held.candidates.len(), 2);
        assert!(held.candidates.iter().all(|candidate| text.contains(candidate)), "{text}");
        let link = format!("/ui/contacts?id={}", held.keap_contact_id);
        assert!(page.links().contains(&link), "{link}");
    }
    let other = browser.page("/ui/held?reason=refused").await;
    assert!(other.text().contains("No contact is held."), "{}", other.text());
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_button_tries_one_contact_again_and_another_all_of_a_reason(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let ids = hold(&world, &daemon, 3).await;
    settle(&world, 0);
    let mut browser = Browser::signed_in(&daemon).await;
    let token = browser.token().await;

    let id = ids[0].to_string();
    let reply =
        browser.post(DECIDE, &[("token", &token), ("decision", "retry"), ("id", &id)]).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (303, Some("/ui/held?decided=1&decision=retry"))
    );
    let page = browser.page("/ui/held?decided=1&decision=retry").await;
    assert!(page.text().contains("1 contact is due again"), "{}", page.text());
    until("it is linked", async || world.last_action(ids[0]).await == "linked").await;
    assert_eq!(world.held().await.len(), 2, "the others wait");

    settle(&world, 1);
    settle(&world, 2);
    let fields = [("token", token.as_str()), ("decision", "retry"), ("reason", "several_users")];
    let reply = browser.post(DECIDE, &fields).await;
    assert_eq!(reply.header("location"), Some("/ui/held?decided=2&decision=retry"));
    until("all are linked", async || {
        world.last_action(ids[1]).await == "linked" && world.last_action(ids[2]).await == "linked"
    })
    .await;
    assert!(browser.page("/ui/held").await.text().contains("No contact is held."));

    // A contact that is not held is not looked at, and an odd form is refused.
    let reply =
        browser.post(DECIDE, &[("token", &token), ("decision", "retry"), ("id", &id)]).await;
    assert_eq!(reply.header("location"), Some("/ui/held?decided=0&decision=retry"));
    for wrong in [("id", "x"), ("id", "-1"), ("reason", "a b"), ("all", "true")] {
        let fields = [("token", token.as_str()), ("decision", "retry"), wrong];
        let reply = browser.post(DECIDE, &fields).await;
        assert_eq!(reply.status, 400, "{wrong:?}");
        Page::of(DECIDE, &reply);
    }
    daemon.stop().await.1.unwrap();
}

/// Leaves one Intercom user with the e-mail of a held contact.
fn settle(world: &crate::world::World, number: usize) {
    let email = format!("canary.twins.{number}@example.org");
    let twin =
        world.intercom.live_users().into_iter().find(|user| user.email.as_ref() == Some(&email));
    world.intercom.delete(&twin.unwrap().id);
    world.intercom.reindex_now();
}

#[sqlx::test]
async fn many_held_contacts_are_read_page_by_page(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let sql = "insert into contact_hold (keap_contact_id, code) select id, 'conflict' from generate_series(1, 130) id";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    let mut browser = Browser::signed_in(&daemon).await;

    let page = browser.page("/ui/held").await;
    assert!(page.text().contains("conflict: 130 contacts"), "{}", page.text());
    assert_eq!(page.of_name("tr").count(), 21, "a heading and twenty contacts");
    let more = |page: &Page| page.links().into_iter().find(|link| link.contains("after="));
    let mut seen = 20;
    let mut next = more(&page);
    while let Some(path) = next {
        let page = browser.page(&path).await;
        seen += page.of_name("tr").count() - 1;
        next = more(&page);
    }

    assert_eq!(seen, 130);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn users_without_a_contact_in_keap_stand_there_too_and_are_tried_again(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let sql = "insert into intercom_due (intercom_contact_id, reason, priority, not_before, code, waits_since)
               select 'user' || n, 'again', 2, now() + interval '1 day', 'external_id_taken', now() + n * interval '1 s'
                 from generate_series(100, 122) n";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    let sql = "insert into contact_hold (keap_contact_id, code) values (77, 'external_id_taken')";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    let mut browser = Browser::signed_in(&daemon).await;
    let token = browser.token().await;
    let waiting = async || -> i64 {
        let sql = "select count(*) from intercom_due where code is not null";
        sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
    };

    let page = browser.page("/ui/held").await;
    let text = page.text();
    assert!(text.contains("external_id_taken: 1 contact and 23 users"), "{text}");
    assert!(text.contains("user100") && text.contains("user119") && !text.contains("user120"));
    let more = page.links().into_iter().find(|link| link.contains("afterUsers=")).unwrap();
    let rest = browser.page(&more).await;
    assert!(rest.text().contains("user120") && rest.text().contains("user122"), "{}", rest.text());
    assert!(!rest.text().contains("user119"), "{}", rest.text());
    assert!(!rest.links().iter().any(|link| link.contains("/ui/contacts?id=77")));

    let form = |field: (&'static str, &'static str)| {
        [("token", token.as_str()), ("decision", "retry"), field]
    };
    let reply = browser.post("/ui/held/decide", &form(("user", "user101"))).await;
    assert_eq!(reply.header("location"), Some("/ui/held?decided=1&decision=retry"));
    assert_eq!(waiting().await, 22);
    let reply = browser.post("/ui/held/decide", &form(("reason", "external_id_taken"))).await;
    let back = "/ui/held?decided=23&decision=retry";
    assert_eq!(reply.header("location"), Some(back), "with the contact");
    assert_eq!(waiting().await, 0);
    for (word, user) in [("retry", "a/b"), ("ignore", "user102")] {
        let fields = [("token", token.as_str()), ("decision", word), ("user", user)];
        assert_eq!(browser.post("/ui/held/decide", &fields).await.status, 400, "{word} {user}");
    }
    daemon.stop().await.1.unwrap();
}
