//! Who comes in: the secrets, the cookies, the sign-out, and the token of each form.

use keap_intercom_sync::http::ui_table;
use sqlx::PgPool;

use super::{Browser, Page, SECRETS, hold, text, world};
use crate::http::{TOKEN, assert_problem, started, url};
use crate::sim::client;
use crate::world::keap_id;

/// The path of a route with its parameters filled in.
fn filled(path: &str) -> String {
    path.replace("{id}", "0d9b4a7e-3c55-4f0e-9a53-5a3c8d3ad7c1")
}

const SESSION: &str = "keap_intercom_sync_session";

/// No plan has this id.
const PLAN: &str = "0d9b4a7e-3c55-4f0e-9a53-5a3c8d3ad7c1";

#[sqlx::test]
async fn there_is_no_page_without_a_secret_and_each_secret_opens_it(pool: PgPool) {
    let mut world = world(pool).await;
    for (name, _) in SECRETS {
        world.env.remove(name);
    }
    let daemon = world.daemon().await;
    for (method, path, _) in ui_table() {
        let path = url(&daemon, &filled(path));
        assert_problem(&client::send(method, &path, &[], "").await.unwrap(), 404);
    }
    daemon.stop().await.1.unwrap();

    for (name, secret) in SECRETS {
        world.set(name, secret);
        let daemon = world.daemon().await;
        let mut browser = Browser::new(&daemon);
        let other = SECRETS.iter().find(|(other, _)| *other != name).unwrap().1;
        assert_eq!(browser.sign_in(other).await.status, 401, "only {name} is set");
        assert_eq!(browser.get("/ui").await.status, 303);
        // Another address, so that this try does not wait.
        browser.headers.push(("x-forwarded-for", "192.0.2.1"));
        assert_eq!(browser.sign_in(secret).await.status, 303, "{name}");
        assert_eq!(browser.get("/ui").await.status, 200, "{name}");
        daemon.stop().await.1.unwrap();
        world.env.remove(name);
    }
}

// S10
#[sqlx::test]
async fn only_who_is_signed_in_gets_further_than_the_sign_in(pool: PgPool) {
    let world = world(pool).await;
    let daemon = world.daemon().await;
    let signed_in = Browser::signed_in(&daemon).await;
    let cookie = signed_in.cookies[SESSION].clone();

    let table = ui_table();
    assert!(table.iter().filter(|(.., is_inside)| *is_inside).count() >= 8, "{table:?}");
    let bearer = format!("Bearer {TOKEN}");
    let letter = if cookie[10..].starts_with('0') { '1' } else { '0' };
    let forged = format!("{SESSION}={}{letter}{}", &cookie[..10], &cookie[11..]);
    let longer = format!("{SESSION}={cookie}0");
    let other_name = format!("other={cookie}");
    for (method, path, is_inside) in table {
        for header in [
            ("x-none", ""),
            ("authorization", bearer.as_str()),
            ("cookie", &forged),
            ("cookie", &longer),
            ("cookie", &other_name),
            ("cookie", SESSION),
        ] {
            let reply = client::send(method, &url(&daemon, &filled(path)), &[header], "").await;
            let reply = reply.unwrap();
            let leads = (reply.status, reply.header("location"));
            assert_eq!(leads == (303, Some("/ui/sign-in")), is_inside, "{method} {path} {leads:?}");
            assert!(!is_inside || reply.body.is_empty(), "{path}");
        }
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_session_has_a_strict_cookie_and_ends_for_everybody_at_the_sign_out(pool: PgPool) {
    let world = world(pool).await;
    let daemon = world.daemon().await;
    let mut browser = Browser::new(&daemon);
    let reply = browser.sign_in(super::PASSWORD).await;
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    for cookie in cookies {
        let cookie = cookie.to_str().unwrap();
        let attributes: Vec<_> = cookie.split("; ").skip(1).collect();
        let life = if cookie.starts_with(SESSION) { "Max-Age=86400" } else { "Max-Age=2592000" };
        assert_eq!(attributes, ["Path=/ui", life, "HttpOnly", "SameSite=Strict"]);
    }
    let mut other = Browser::signed_in(&daemon).await;
    assert_ne!(other.cookies[SESSION], browser.cookies[SESSION]);
    let stolen = browser.cookies.clone();
    assert_eq!(browser.get("/ui/sign-in").await.header("location"), Some("/ui"));

    let token = browser.token().await;
    let reply = browser.post("/ui/sign-out", &[("token", &token)]).await;

    assert_eq!((reply.status, reply.header("location")), (303, Some("/ui/sign-in")));
    assert!(!browser.cookies.contains_key(SESSION));
    let mut thief = Browser { cookies: stolen, ..Browser::new(&daemon) };
    assert_eq!(thief.get("/ui").await.status, 303);
    assert_eq!(other.get("/ui").await.status, 200, "the other session stays");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn cookies_of_a_page_over_https_never_travel_without_it(pool: PgPool) {
    let mut world = world(pool).await;
    // Without a secret of its own, the address subscribes to nothing.
    world.env.remove("KEAP_WEBHOOK_SECRET");
    world.set("HTTP_PUBLIC_URL", "https://sync.example.com");
    let daemon = world.daemon().await;

    let reply = Browser::new(&daemon).sign_in(super::PASSWORD).await;

    for cookie in reply.headers.get_all("set-cookie") {
        assert!(cookie.to_str().unwrap().ends_with("; SameSite=Strict; Secure"), "{cookie:?}");
    }
    daemon.stop().await.1.unwrap();
}

// S12
#[sqlx::test]
async fn nothing_changes_without_the_token_of_the_session_or_from_another_site(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let [id] = hold(&world, &daemon, 1).await[..] else { panic!("one contact") };
    let id = id.to_string();
    let mut browser = Browser::signed_in(&daemon).await;
    let mut other = Browser::signed_in(&daemon).await;
    let token = browser.token().await;
    let others = other.token().await;
    let logged = world.log().await.len();

    let bodies = [
        ("/ui/held/decide", vec![("decision", "retry"), ("id", id.as_str())]),
        ("/ui/held/decide", vec![("decision", "ignore"), ("reason", "several_users")]),
        ("/ui/contacts/sync", vec![("id", id.as_str())]),
        ("/ui/contacts/find", vec![("who", id.as_str())]),
        ("/ui/pause", vec![("scope", "all")]),
        ("/ui/resume", vec![("scope", "all")]),
        ("/ui/contacts/erase/now", vec![("id", id.as_str()), ("typed", id.as_str())]),
        ("/ui/contacts/erase/forget", vec![("id", id.as_str())]),
        ("/ui/held/retry/now", vec![("reason", "several_users")]),
        ("/ui/settings/test-alarms", vec![]),
        ("/ui/plans/ask", vec![("kind", "all")]),
        ("/ui/plans/approve", vec![("id", PLAN)]),
        ("/ui/plans/drop", vec![("id", PLAN)]),
        ("/ui/sign-out", vec![]),
    ];
    let post_routes = ui_table().into_iter().filter(|(method, ..)| *method == "POST").count();
    assert_eq!(post_routes, 14, "the sign-in and those above: a new one belongs here");
    for (path, fields) in &bodies {
        let cookie = browser.cookies[SESSION].clone();
        for wrong in ["", "0", &token[1..], &others, &cookie] {
            let mut fields = fields.clone();
            fields.push(("token", wrong));
            let reply = browser.post(path, &fields).await;
            assert_eq!(reply.status, 403, "{path} with the token {wrong:?}");
            Page::of(path, &reply);
        }
        let mut fields = fields.clone();
        fields.push(("token", &token));
        for header in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
        ] {
            browser.headers = vec![header];
            let reply = browser.post(path, &fields).await;
            assert_eq!(reply.status, 403, "{path} with {header:?}");
        }
        browser.headers.clear();
        // No query changes anything.
        let query =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        assert_eq!(browser.get(&format!("{path}?{query}")).await.status, 405, "{path}");
    }
    assert!(world.store().pauses().await.unwrap().0.is_empty());
    let mut stranger = Browser::new(&daemon);
    stranger.headers.push(("sec-fetch-site", "cross-site"));
    let reply = stranger.sign_in(super::PASSWORD).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (403, None));
    world.only_held(id.parse().unwrap()).await;
    assert_eq!(world.log().await.len(), logged, "nothing was looked at");
    assert!(world.store().erasure(keap_id(id.parse().unwrap())).await.unwrap().is_none());

    browser.headers = vec![("sec-fetch-site", "same-origin"), ("origin", "null")];
    let fields = [("decision", "retry"), ("id", id.as_str()), ("token", token.as_str())];
    let reply = browser.post("/ui/held/decide", &fields).await;
    assert_eq!(reply.status, 303, "{}", text(&reply));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_form_that_is_too_large_is_refused_with_a_page(pool: PgPool) {
    let world = world(pool).await;
    let daemon = world.daemon().await;
    let mut browser = Browser::new(&daemon);

    let reply = browser.sign_in(&"x".repeat(5000)).await;

    assert_eq!(reply.status, 413);
    let page = Page::of("/ui/sign-in", &reply);
    assert!(page.text().contains("larger than 4096 bytes"), "{}", page.text());
    daemon.stop().await.1.unwrap();
}
