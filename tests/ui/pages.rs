//! What holds for every page: strict headers, well-formed HTML that works without script and with a
//! screen reader, no request to elsewhere, and no person.

use std::collections::BTreeSet;
use std::time::Duration;

use keap_intercom_sync::http::ui_table;
use keap_intercom_sync::report::{PartStates, SecondDirection, Status};
use serde_json::json;
use sqlx::PgPool;

use super::html::Element;
use super::{Browser, Page, hold, text, world};
use crate::canary::{canary, canary_in};
use crate::http::outages::Door;
use crate::http::{post, started};
use crate::sim::keap::knobs::KeapKnobs;
use crate::world::{Daemon, World, until};

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A world in which every page shows something, and every person is a canary.
pub(super) async fn full(pool: PgPool) -> (World, Daemon, Vec<i64>) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    // Answers that state their limits, for the gauges.
    world.keap.knobs(KeapKnobs::exact_limits);
    world.intercom.knobs(|knobs| knobs.limit = Some(1000));
    let people = world.keap.add_many(5, canary);
    let reply = post(&daemon, "/sync/batch", &json!({ "keapContactIds": people })).await;
    assert_eq!(reply.json()["succeeded"], 5, "{}", reply.json());
    let held = hold(&world, &daemon, 2).await;
    let run = "insert into sync_run (id, feed, reason, state, seen, finished_at)
               values ('0d9b4a7e-3c55-4f0e-9a53-5a3c8d3ad7c1', 'changed', 'manual', 'done', 5, now())";
    sqlx::query(run).execute(&world.pool).await.unwrap();
    let plan = "insert into sync_plan (id, kind, asked_by, state, why)
                values ('0d9b4a7e-3c55-4f0e-9a53-5a3c8d3ad7c1', 'all', 'page', 'waiting', '<b>why</b>')";
    sqlx::query(plan).execute(&world.pool).await.unwrap();
    let contact =
        "insert into plan_contact (plan_id, number, keap_contact_id, intercom_contact_id, action)
                   values ('0d9b4a7e-3c55-4f0e-9a53-5a3c8d3ad7c1', 1, 1, 'abc', 'updated')";
    sqlx::query(contact).execute(&world.pool).await.unwrap();
    (world, daemon, people.into_iter().chain(held).collect())
}

/// The address of each page that is read, with something to show.
pub(super) fn pages(ids: &[i64]) -> Vec<String> {
    let fixed = ui_table().into_iter().filter(|(method, path, is_inside)| {
        *method == "GET"
            && *is_inside
            && !path.starts_with("/ui/contacts")
            && !["/ui/held/contact", "/ui/log/csv"].contains(path)
    });
    let run = "0d9b4a7e-3c55-4f0e-9a53-5a3c8d3ad7c1";
    let fixed = fixed.map(|(_, path, _)| path.replace("{id}", run));
    let contacts = ids.iter().map(|id| format!("/ui/contacts?id={id}"));
    let further = [
        "/ui/contacts",
        "/ui/contacts?id=999999",
        "/ui/contacts?nobody=1",
        "/ui/held?reason=several_users&decided=1&decision=retry",
        "/ui/held/retry?reason=several_users&until=2999-01-01",
        "/ui/settings?changed=1",
        "/ui/fields?days=30",
        "/ui/log?status=failed&direction=keap_to_intercom&within=day",
    ];
    fixed.chain(contacts).chain(further.map(str::to_owned)).collect()
}

fn assert_strict(path: &str, reply: &crate::sim::client::Reply) {
    assert_eq!(reply.header("content-security-policy"), Some(POLICY), "{path}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
}

// S11
#[sqlx::test]
async fn every_answer_has_a_strict_policy_and_no_page_asks_another_site(pool: PgPool) {
    let (_world, daemon, ids) = full(pool).await;
    let mut browser = Browser::signed_in(&daemon).await;

    for path in pages(&ids) {
        let reply = browser.get(&path).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
        assert_strict(&path, &reply);
        let html = text(&reply);
        for forbidden in ["<script", "javascript:", "style=\"", "http:", "https:", "url(", "<base"]
        {
            // A setting may be an address. It is a text there, and no link.
            let is_text = path.starts_with("/ui/settings") && forbidden.starts_with("http");
            assert!(is_text || !html.contains(forbidden), "{path} has {forbidden}");
        }
        let page = Page::of(&path, &reply);
        for element in &page.elements {
            for target in ["href", "action", "src"].iter().filter_map(|name| element.get(name)) {
                assert!(target.starts_with("/ui") || target == "#content", "{path}: {element:?}");
            }
        }
    }
    // The other answers: redirects, refusals, files, and the sign-in.
    for path in
        ["/ui/sign-in", "/ui/", "/ui/style.css", "/ui/icon.svg", "/ui/runs/x", "/ui/log?after=x"]
    {
        assert_strict(path, &browser.get(path).await);
        assert_strict(path, &Browser::new(&daemon).get(path).await);
    }
    assert_strict("a wrong password", &Browser::new(&daemon).sign_in("wrong").await);
    assert_strict("a forged form", &browser.post("/ui/sign-out", &[]).await);
    let style = text(&browser.get("/ui/style.css").await);
    assert!(!style.contains("url(") && !style.contains("@import"));
    assert!(style.contains("prefers-color-scheme: dark"));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn every_page_works_by_keyboard_and_with_a_screen_reader(pool: PgPool) {
    let (_world, daemon, ids) = full(pool).await;
    let mut browser = Browser::signed_in(&daemon).await;
    let mut links = BTreeSet::new();

    let mut read = Vec::new();
    for path in pages(&ids) {
        read.push((path.clone(), browser.page(&path).await));
    }
    let mut stranger = Browser::new(&daemon);
    read.push(("/ui/sign-in".into(), stranger.page("/ui/sign-in").await));
    let problem = browser.get("/ui/runs/x").await;
    read.push(("a problem".into(), Page::of("a problem", &problem)));
    for (path, page) in &read {
        let one = |name| {
            // A drawing has titles of its own.
            let is_of_page = |element: &&Element| {
                element.name != "title" || element.text.ends_with("keap-intercom-sync")
            };
            let found: Vec<_> = page.of_name(name).filter(is_of_page).collect();
            assert_eq!(found.len(), 1, "{path} has {} <{name}>", found.len());
            found[0]
        };
        assert_eq!(one("html").get("lang"), Some("en"));
        assert!(one("title").text.len() > " · keap-intercom-sync".len(), "{path}");
        assert!(!one("h1").text.trim().is_empty());
        assert_eq!(one("main").get("id"), Some("content"));
        if path.starts_with("/ui") && path != "/ui/sign-in" {
            let skip = page.of_name("a").next().unwrap();
            assert_eq!(skip.get("href"), Some("#content"), "{path}: the first link skips");
            assert_eq!(one("nav").get("aria-label"), Some("Pages"));
        }
        let named: BTreeSet<_> =
            page.of_name("label").filter_map(|label| label.get("for")).collect();
        for field in page.of_name("input").chain(page.of_name("select")) {
            let is_labelled = field.get("id").is_some_and(|id| named.contains(id));
            let is_hidden = field.get("type") == Some("hidden") || field.get("hidden").is_some();
            assert!(is_hidden || is_labelled, "{path}: {field:?}");
        }
        for button in page.of_name("button").chain(page.of_name("a")) {
            assert!(!button.text.trim().is_empty(), "{path}: {button:?}");
        }
        assert_eq!(page.of_name("table").count(), page.of_name("caption").count(), "{path}");
        for heading in page.of_name("th") {
            assert!(
                ["col", "row"].map(Some).contains(&heading.get("scope")),
                "{path}: {heading:?}"
            );
        }
        for drawing in page.of_name("svg") {
            // A text says the same, or the drawing has a name and a description.
            let named = drawing.get("aria-labelledby").unwrap_or_default().split(' ');
            let is_there = |id: &str| {
                let mut names = page.of_name("title").chain(page.of_name("desc"));
                names.any(|name| name.get("id") == Some(id) && !name.text.trim().is_empty())
            };
            let is_named = drawing.get("role") == Some("img") && named.map(is_there).eq([true; 2]);
            assert!(is_named || drawing.get("aria-hidden") == Some("true"), "{path}: {drawing:?}");
        }
        for form in page.of_name("form").filter(|form| form.get("method") == Some("post")) {
            assert!(form.get("action").is_some_and(|action| action.starts_with("/ui/")));
        }
        links.extend(page.links());
    }
    // Two buttons of a list that do different things have different names.
    let held = &read.iter().find(|(path, _)| path == "/ui/held").unwrap().1;
    let names: Vec<_> = held.of_name("button").map(|button| button.text.clone()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    for link in links.iter().filter(|link| *link != "#content") {
        let expected = if link.starts_with("/ui/contacts/elsewhere") { 303 } else { 200 };
        let mut status = browser.get(link).await.status;
        // The page takes 20 requests a second, and a person follows fewer links.
        while status == 429 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            status = browser.get(link).await.status;
        }
        assert_eq!(status, expected, "{link} leads nowhere");
    }
    daemon.stop().await.1.unwrap();
}

// F101
#[sqlx::test]
async fn no_page_shows_a_person_or_a_secret(pool: PgPool) {
    let (_world, daemon, ids) = full(pool).await;
    let mut browser = Browser::signed_in(&daemon).await;

    for path in pages(&ids) {
        let page = browser.page(&path).await;
        assert_eq!(canary_in(&page.html), None, "{path}: {}", page.text());
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_overview_says_what_status_says(pool: PgPool) {
    let (world, daemon, _) = full(pool).await;
    let store = world.store();
    let mut browser = Browser::signed_in(&daemon).await;

    let page = browser.page("/ui").await;
    assert!(page.text().contains("Working: contacts flow."), "{}", page.text());
    for expected in
        ["Linked contacts5", "Need a person2", "Waiting for a look0", "Keap takes calls"]
    {
        assert!(page.text().contains(expected), "{expected}: {}", page.text());
    }
    assert!(page.of_name("svg").count() >= 2, "each limit has a gauge");
    let share: Vec<i64> = page
        .of_name("rect")
        .filter(|part| part.get("class") == Some("left"))
        .map(|part| part.get("width").unwrap().parse().unwrap())
        .collect();
    assert!(share.iter().all(|percent| (0..=100).contains(percent)), "{share:?}");

    // A failed run is a trouble more.
    let run = "insert into sync_run (feed, reason, state, error, error_code, finished_at)
               values ('sweep', 'manual', 'failed', 'brake: 9 of 10 are gone', 'brake', now())";
    sqlx::query(run).execute(&world.pool).await.unwrap();
    let page = browser.page("/ui").await;
    let status = Status::take(
        &store,
        PartStates::default(),
        Duration::from_secs(900),
        SecondDirection::default(),
    )
    .await
    .unwrap();
    let troubles = status.troubles();
    assert!(troubles.len() >= 2, "{troubles:?}");
    for trouble in troubles {
        for sentence in [trouble.what, trouble.todo] {
            let sentence = sentence.replace('`', "");
            assert!(page.text().contains(&sentence), "{sentence}: {}", page.text());
        }
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_overview_says_that_nothing_works(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let mut browser = Browser::signed_in(&daemon).await;
    // Nothing was polled for an hour.
    let sql = "update sync_cursor set polled_at = now() - interval '1 hour'";
    sqlx::query(sql).execute(&world.pool).await.unwrap();

    let page = browser.page("/ui").await;

    let expected = "Not working: the last successful poll is 1 h ago.";
    assert!(page.text().contains(expected), "{}", page.text());
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn without_the_database_the_overview_shows_what_the_process_knows(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let mut browser = Browser::signed_in(&daemon).await;
    let mut door = Door::find(&world).await;

    door.close().await;

    let reply = browser.get("/ui").await;
    assert_eq!(reply.status, 503);
    let page = Page::of("/ui", &reply);
    for expected in [
        "Not working: the database does not answer.",
        "see whether the server runs and DATABASE_URL is right",
        "Keap takes calls",
    ] {
        assert!(page.text().contains(expected), "{expected}: {}", page.text());
    }
    assert!(!page.text().contains("Linked contacts"), "{}", page.text());
    let reply = browser.get("/ui/held").await;
    assert_eq!(reply.status, 503);
    assert!(Page::of("/ui/held", &reply).text().contains("the database does not answer"));
    // The sign-in needs no database.
    assert_eq!(Browser::new(&daemon).sign_in(super::PASSWORD).await.status, 303);
    door.allow(true).await;
    until("the overview is whole", async || browser.get("/ui").await.status == 200).await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn many_links_are_estimated_and_few_are_counted(pool: PgPool) {
    let world = world(pool).await;
    let store = world.store();
    let link = |from: i64, to: i64| {
        sqlx::query(
            "insert into contact_link (keap_contact_id, intercom_contact_id, state, fingerprint, sighting)
             select n, case when n % 10 > 0 then n::text end, case when n % 10 > 0 then 'linked' else 'skipped' end, '', ''
               from generate_series($1, $2) n",
        )
        .bind(from)
        .bind(to)
    };

    link(1, 10_000).execute(&world.pool).await.unwrap();
    let few = store.count_linked_soon().await.unwrap();
    link(10_001, 20_000).execute(&world.pool).await.unwrap();
    sqlx::query("analyze contact_link").execute(&world.pool).await.unwrap();
    let many = store.count_linked_soon().await.unwrap();

    assert_eq!((few.links, few.is_exact), (9000, true));
    assert!(!many.is_exact && (16_000..=20_000).contains(&many.links), "{many:?}");
}

/// The contrast of two colours by the rule of WCAG 2.
fn contrast(one: &str, other: &str) -> f64 {
    let luminance = |colour: &str| {
        let part = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn every_text_stands_out_from_what_is_behind_it_in_light_and_in_dark() {
    let style = include_str!("../../src/http/ui/style.css");
    let blocks: Vec<&str> =
        style.split(":root {").skip(1).map(|b| b.split('}').next().unwrap()).collect();
    assert_eq!(blocks.len(), 2, "light and dark");
    assert_eq!(contrast("#000000", "#ffffff").round(), 21.0);

    for block in blocks {
        let colour = |name: &str| {
            let (_, value) = block.split_once(&format!("--{name}: ")).unwrap();
            value.split(';').next().unwrap()
        };
        for (text, behind) in [
            ("text", "back"),
            ("text", "soft"),
            ("muted", "back"),
            ("link", "back"),
            ("on-main", "main"),
            ("good", "back"),
            ("good", "good-back"),
            ("bad", "back"),
            ("bad", "bad-back"),
        ] {
            let contrast = contrast(colour(text), colour(behind));
            assert!(contrast >= 4.5, "--{text} on --{behind}: {contrast}");
        }
        // What is drawn has no letters.
        for drawn in ["main", "pale", "muted", "good", "bad"] {
            let contrast = contrast(colour(drawn), colour("back"));
            assert!(contrast >= 3.0, "--{drawn}: {contrast}");
        }
    }
}
