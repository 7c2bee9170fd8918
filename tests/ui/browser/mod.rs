//! The page in a real browser. tests/browser.test runs this.

mod driver;
mod screenshots;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use thirtyfour::Key;

use super::pages::{full, pages};
use super::{Browser as Plain, PASSWORD, hold, world};
use crate::http::{started, url};
use crate::world::{Daemon, until};
use driver::{Chromium, Look};

/// A phone, a tablet and a desk: their widths, in light and in dark.
const LOOKS: [(u32, bool); 6] =
    [(360, false), (360, true), (768, false), (768, true), (1280, false), (1280, true)];
const HEIGHT: u32 = 900;
const NEEDS: &str = "tests/browser.test sets AXE to the file of axe-core";

/// Fills the sign-in form and sends it by a key.
async fn sign_in(browser: &Chromium, daemon: &Daemon, password: &str) {
    browser.goto(&url(daemon, "/ui/sign-in")).await;
    let field = browser.find("input[type=password]").await;
    field.send_keys(password).await.unwrap();
    field.send_keys(Key::Enter + "").await.unwrap();
}

async fn signed_in(browser: &Chromium, daemon: &Daemon) {
    sign_in(browser, daemon, PASSWORD).await;
    is_at(browser, "/ui").await;
}

async fn is_at(browser: &Chromium, path: &str) {
    let script = format!("return location.pathname + location.search === {}", json!(path));
    browser.until(path, &script).await;
}

/// Clicks what a selector names.
async fn click(browser: &Chromium, selector: &str) {
    browser.find(selector).await.click().await.unwrap();
}

/// What axe-core finds on the page that is shown, a line for each rule.
async fn violations(browser: &Chromium, axe: &str) -> Vec<String> {
    if browser.run("return window.axe === undefined").await == true {
        browser.run(axe).await;
    }
    let script = "const done = arguments[arguments.length - 1];
                  axe.run().then(found => done(found.violations));";
    let found = browser.client.execute_async(script, Vec::new()).await.unwrap();
    let line = |rule: &Value| format!("{}: {} at {}", rule["id"], rule["help"], rule["nodes"]);
    found.json().as_array().unwrap().iter().map(line).collect()
}

fn axe() -> String {
    let file = PathBuf::from(std::env::var_os("AXE").expect(NEEDS));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[sqlx::test]
#[ignore = "needs Chromium: tests/browser.test runs this"]
async fn every_page_fits_three_widths_in_light_and_in_dark_and_axe_finds_nothing(pool: PgPool) {
    let (_world, daemon, ids) = full(pool).await;
    let (browser, axe) = (Chromium::start().await, axe());
    browser.goto(&url(&daemon, "/ui/sign-in")).await;
    let mut all = vec!["/ui/sign-in".to_owned()];
    let mut faults = Vec::new();

    loop {
        for path in &all {
            browser.goto(&url(&daemon, path)).await;
            // What is folded away must fit, too.
            browser.run("document.querySelectorAll('details').forEach(it => it.open = true)").await;
            for (width, is_dark) in LOOKS {
                let look = Look { width, height: HEIGHT, is_dark };
                browser.look(look).await;
                // What is too wide has a bar of its own, and the page has none.
                let wide = browser.run("return document.documentElement.scrollWidth").await;
                if wide.as_u64() > Some(width.into()) {
                    faults.push(format!("{path} {look:?}: {wide} pixels wide"));
                }
                let found = violations(&browser, &axe).await;
                faults.extend(found.iter().map(|rule| format!("{path} {look:?}: {rule}")));
            }
        }
        if all.len() > 1 {
            break;
        }
        signed_in(&browser, &daemon).await;
        all = pages(&ids);
        let held = ids[ids.len() - 1];
        all.push(format!("/ui/held/contact?id={held}"));
        all.push(format!("/ui/contacts/erase?id={held}"));
        all.push(format!("/ui/contacts/fields?id={held}"));
        all.push(format!("/ui/contacts/fields?id={}", ids[0]));
    }

    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(browser.console().await, Vec::<String>::new());
    let origins: Vec<String> = browser.origins().await.into_iter().collect();
    assert_eq!(origins, [url(&daemon, "")], "nothing else was asked");
    browser.end().await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
#[ignore = "needs Chromium: tests/browser.test runs this"]
async fn axe_and_the_logs_of_the_browser_find_what_is_wrong(pool: PgPool) {
    let (_world, daemon, _) = full(pool).await;
    let (browser, axe) = (Chromium::start().await, axe());
    browser.goto(&url(&daemon, "/ui/sign-in")).await;
    assert_eq!((violations(&browser, &axe).await, browser.console().await), (vec![], vec![]));

    // An image without a text, from elsewhere, which the policy refuses.
    let script = "const image = document.createElement('img');
                  image.src = 'http://127.0.0.2:9/x.png'; document.body.append(image)";
    browser.run(script).await;

    let found = violations(&browser, &axe).await;
    assert!(found.iter().any(|rule| rule.contains("image-alt")), "{found:?}");
    let console = browser.console().await;
    assert!(console.iter().any(|line| line.contains("Content Security Policy")), "{console:?}");
    browser.end().await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
#[ignore = "needs Chromium: tests/browser.test runs this"]
async fn everything_works_with_script_off_and_by_keyboard(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let ids = hold(&world, &daemon, 100).await;
    let browser = Chromium::start().await;
    browser.order("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;

    // The first field has the focus, or the first key leads to it.
    sign_in(&browser, &daemon, "wrong").await;
    browser
        .until("a wrong password is refused", "return !!document.querySelector('[role=alert]')")
        .await;
    // A wrong password has to wait a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    signed_in(&browser, &daemon).await;

    // The first stop of the tab key leads past the menu.
    browser.find("body").await.send_keys(Key::Tab + "").await.unwrap();
    let focus = browser.client.active_element().await.unwrap();
    assert_eq!(focus.attr("href").await.unwrap().as_deref(), Some("#content"));

    click(&browser, "nav a[href='/ui/held']").await;
    is_at(&browser, "/ui/held").await;
    let shown = "return document.querySelectorAll('form[action=\"/ui/held/decide\"]').length > 0";
    browser.until("the held contacts", shown).await;
    let all = browser.client.source().await.unwrap();
    assert!(all.contains("several_users: 100 contacts"), "{all}");

    // One Intercom user of the first contact goes, and a button tries it again.
    let email = "canary.twins.0@example.org".to_owned();
    let users = world.intercom.live_users().into_iter();
    let twin = users.into_iter().find(|user| user.email.as_ref() == Some(&email)).unwrap();
    world.intercom.delete(&twin.id);
    world.intercom.reindex_now();
    let id = ids[0];
    let button = browser.find(&format!("{} button[value=retry]", form_of(id))).await;
    button.send_keys(Key::Enter + "").await.unwrap();
    is_at(&browser, "/ui/held?decided=1&decision=retry").await;
    until("it is linked", async || world.last_action(id).await == "linked").await;

    click(&browser, "form[action='/ui/sign-out'] button").await;
    is_at(&browser, "/ui/sign-in").await;
    browser.goto(&url(&daemon, "/ui/held")).await;
    browser
        .until("a stranger sees the sign-in", "return location.pathname === '/ui/sign-in'")
        .await;
    assert_eq!(browser.origins().await.into_iter().collect::<Vec<_>>(), [url(&daemon, "")]);
    browser.end().await;
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
#[ignore = "needs Chromium: tests/browser.test runs this"]
async fn a_forged_form_and_an_expired_session_change_nothing(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    hold(&world, &daemon, 1).await;
    let browser = Chromium::start().await;
    signed_in(&browser, &daemon).await;
    let due = async || world.store().count_due().await.unwrap().0;

    // Another site can send the form and the cookie, and not the token.
    browser.goto(&url(&daemon, "/ui/held")).await;
    browser
        .run("document.querySelectorAll('main [name=token]').forEach(it => it.value = 'x')")
        .await;
    click(&browser, "main form[action='/ui/held/decide'] button[value=retry]").await;
    let refused =
        "return location.pathname === '/ui/held/decide' && !!document.querySelector('h1')";
    browser.until("the form is refused", refused).await;
    assert_eq!((world.held().await.len(), due().await), (1, 0));

    // The session has ended in another window.
    browser.goto(&url(&daemon, "/ui/held")).await;
    let cookie = browser.client.get_all_cookies().await.unwrap().remove(0);
    assert_eq!((cookie.http_only, cookie.value.is_empty()), (Some(true), false));
    assert_eq!(browser.run("return document.cookie").await, "", "no script can read it");
    browser.client.delete_all_cookies().await.unwrap();
    click(&browser, "main form[action='/ui/held/decide'] button[value=retry]").await;
    is_at(&browser, "/ui/sign-in").await;
    assert_eq!((world.held().await.len(), due().await), (1, 0));

    // A cookie that somebody has changed is none.
    let (name, value) = (cookie.name, cookie.value);
    let mut plain = Plain::new(&daemon);
    let changed = if value.ends_with('0') { "1" } else { "0" };
    plain.cookies.insert(name, format!("{}{changed}", &value[..value.len() - 1]));
    assert_eq!(plain.get("/ui/held").await.header("location"), Some("/ui/sign-in"));
    browser.end().await;
    daemon.stop().await.1.unwrap();
}

/// The form of a contact in a list.
fn form_of(id: i64) -> String {
    format!("form:has(input[name=id][value='{id}'])")
}

#[sqlx::test]
#[ignore = "needs Chromium: tests/browser.test runs this"]
async fn each_decision_has_its_effect_and_every_name_stays_text(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let names = ["Ζωή Παπά", "محمد علي", "李雷", "<b id=bold>Ann</b>"];
    let ids = hold(&world, &daemon, names.len()).await;
    let mut twins = Vec::new();
    let mut held = world.held().await;
    held.sort_by_key(|held| held.keap_contact_id);
    for (held, name) in held.into_iter().zip(names) {
        world.intercom.edit(&held.candidates[0], |user| user.name = Some(name.into()));
        twins.push(held.candidates);
    }
    let browser = Chromium::start().await;
    signed_in(&browser, &daemon).await;
    let open = async |at: usize| {
        browser.goto(&url(&daemon, &format!("/ui/held/contact?id={}", ids[at]))).await;
        let shown = browser.find("main").await.text().await.unwrap();
        assert!(shown.contains(names[at]), "{}: {shown}", names[at]);
        assert_eq!(browser.run("return document.querySelector('#bold')").await, Value::Null);
    };

    // Use one of the candidates.
    open(0).await;
    let chosen = &twins[0][0];
    click(&browser, &format!("form:has(input[value='{chosen}']) button[value=use]")).await;
    browser.until("it is decided", "return location.search.includes('decision=use')").await;
    until("it is linked", async || world.last_action(ids[0]).await == "linked").await;
    assert_eq!(&world.user(ids[0]).id, chosen);

    // Make a new one.
    open(1).await;
    click(&browser, "button[value=create]").await;
    browser.until("it is decided", "return location.search.includes('decision=create')").await;
    until("it is created", async || world.last_action(ids[1]).await == "created").await;
    assert!(!twins[1].contains(&world.user(ids[1]).id));

    // Ignore one until it changes, and the other for good; then take that back.
    for (at, word) in [(2, "ignore_until_changed"), (3, "ignore")] {
        open(at).await;
        click(&browser, &format!("button[value={word}]")).await;
        browser.until(word, &format!("return location.search.includes('decision={word}')")).await;
    }
    assert!(world.held().await.is_empty(), "{:?}", world.held().await);
    browser.goto(&url(&daemon, "/ui/held/ignored")).await;
    click(&browser, &format!("{} button", form_of(ids[3]))).await;
    until("it is held again", async || world.held().await.len() == 1).await;

    assert_eq!(browser.console().await, Vec::<String>::new());
    browser.end().await;
    daemon.stop().await.1.unwrap();
}

/// Names of many scripts: right to left, without spaces, with marks that stand above others.
const SCRIPTS: [&str; 20] = [
    "Ζωή Παπά",
    "Юлия Ёлкина",
    "محمد علي",
    "שרה כהן",
    "李雷",
    "田中 小百合",
    "김민수",
    "สมชาย ใจดี",
    "नीला शर्मा",
    "রহিম উদ্দিন",
    "தமிழ் செல்வி",
    "ሰላም በቀለ",
    "Անի Հայ",
    "ნინო ბ",
    "Nguyễn Thị Hồng",
    "Þóra Ægisdóttir",
    "İpek Şahin",
    "Z̷̢a͠l̡g̸o͞",
    "👩‍👩‍👧 Family",
    "Wolfeschlegelsteinhausenbergerdorffwelchevoralternwaren",
];
const MARKUP: &str = "<b id=bold>x</b><img src=x onerror=\"alert(1)\">";

#[sqlx::test]
#[ignore = "needs Chromium: tests/browser.test runs this"]
async fn a_hundred_held_people_of_all_scripts_stay_text(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let ids = hold(&world, &daemon, 100).await;
    let name_of = |at: usize| SCRIPTS[at % SCRIPTS.len()];
    for (at, id) in ids.iter().enumerate() {
        world.keap.edit(*id, |person| {
            person.given_name = Some(name_of(at).to_owned());
            person.family_name = Some(MARKUP.to_owned());
        });
    }
    for held in world.held().await {
        let at = ids.iter().position(|id| *id == held.keap_contact_id).unwrap();
        for twin in &held.candidates {
            world.intercom.edit(twin, |user| user.name = Some(format!("{} {MARKUP}", name_of(at))));
        }
    }
    let browser = Chromium::start().await;
    signed_in(&browser, &daemon).await;
    browser.look(Look { width: 360, height: HEIGHT, is_dark: true }).await;

    for (at, id) in ids.iter().enumerate().take(SCRIPTS.len()) {
        for path in ["/ui/held/contact", "/ui/contacts/fields"] {
            browser.goto(&url(&daemon, &format!("{path}?id={id}"))).await;
            let shown = browser.run("return document.querySelector('main').textContent").await;
            let shown = shown.as_str().unwrap();
            assert!(shown.contains(name_of(at)), "{path} {}: {shown}", name_of(at));
            assert!(shown.contains(MARKUP), "{path}: {shown}");
            let injected =
                "return document.querySelectorAll('#bold, main img, main script').length";
            assert_eq!(browser.run(injected).await, 0, "{path}");
            let wide = browser.run("return document.documentElement.scrollWidth").await;
            assert!(wide.as_u64() <= Some(360), "{path} {}: {wide} pixels", name_of(at));
        }
    }
    browser.goto(&url(&daemon, "/ui/held?reason=several_users")).await;
    let all = browser.client.source().await.unwrap();
    assert!(all.contains("several_users: 100 contacts"), "{all}");
    assert_eq!(browser.console().await, Vec::<String>::new());
    browser.end().await;
    daemon.stop().await.1.unwrap();
}
