//! The settings in force, the mapping in words, and the ways to one contact.

use serde_json::json;
use sqlx::PgPool;

use super::{Browser, PASSWORD, world};
use crate::http::{TOKEN, post, started};
use crate::mapping::tables;
use crate::process::command;
use crate::world::{ann, until};

#[sqlx::test]
async fn settings_are_those_of_the_command_config_and_no_secret_is_shown(pool: PgPool) {
    let mut world = world(pool).await;
    world.set("SYNC__CONCURRENCY", 7);
    let daemon = started(&world).await;
    let mut browser = Browser::signed_in(&daemon).await;

    let page = browser.page("/ui/settings").await;

    let rows = command(&world, &["config", "--json"]).await.expect(0).json();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() > 50);
    for row in rows {
        let key = row["key"].as_str().unwrap();
        let value = match (row["value"].as_str(), row["isSet"].as_bool().unwrap()) {
            (Some(value), _) => value,
            (None, true) => "(set)",
            (None, false) => "(not set)",
        };
        // The process and the command have other addresses to listen on, and other files.
        let shown = format!("{key}{value}{}", row["from"].as_str().unwrap());
        assert!(page.text().contains(&shown), "{shown}: {}", page.text());
    }
    for secret in [PASSWORD, TOKEN, &world.keap.token(), &world.intercom.token()] {
        assert!(!page.html.contains(secret));
    }
    assert!(page.text().contains("http.ui_password(set)environment (UI_PASSWORD)"));
    for fact in [
        concat!("Version", env!("CARGO_PKG_VERSION")),
        "Schema of the databasecurrent: it has all",
        "Leaseheld by process",
        "This processruns passes",
        "Standbysnone: if this process ends, nobody takes over",
    ] {
        assert!(page.text().contains(fact), "{fact}: {}", page.text());
    }
    let changed = browser.page("/ui/settings?changed=1").await;
    assert!(changed.text().contains("sync.concurrency7environment (SYNC__CONCURRENCY)"));
    assert!(!changed.text().contains("sync.record_group"), "{}", changed.text());

    // A second process stands by.
    world.set("HTTP_LISTEN", "127.0.0.1:0");
    let other = started(&world).await;
    until("the standby is counted", async || {
        let page = browser.page("/ui/settings").await;
        page.text().contains("1 other process takes over by itself")
    })
    .await;
    let mut of_other = Browser::signed_in(&other).await;
    assert!(of_other.page("/ui/settings").await.text().contains("This processstands by"));
    other.stop().await.1.unwrap();
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_mapping_is_shown_as_it_fits_both_accounts(pool: PgPool) {
    let mut world = world(pool).await;
    world.keap.add_custom_field("Plan", "TEXT", &[]);
    world.intercom.add_attribute("plan", "string", &[]);
    world.file(&tables(&[
        ("email", "email", ""),
        ("name", "name", ""),
        ("custom:Plan", "attribute:plan", "owner = \"newest\""),
        ("job_title", "attribute:missing", ""),
    ]));
    world.set("INTERCOM_TO_KEAP__ENABLED", "true");
    let daemon = started(&world).await;
    let mut browser = Browser::signed_in(&daemon).await;

    until("the accounts have shown their fields", async || {
        !browser.page("/ui/fields").await.text().contains("have not shown their fields yet")
    })
    .await;
    let page = browser.page("/ui/fields").await;
    let text = page.text().split_whitespace().collect::<Vec<_>>().join(" ");

    for expected in [
        "custom:Plan",
        "(a TEXT field) in both directions attribute:plan (a string attribute",
        "the later edit counts It fits.",
        "from Keap to Intercom",
        "Held for every contact: ",
        "Opt-outs do not travel",
        "Intercom may change",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // `check` says the same of the field that does not fit.
    let check = command(&world, &["check"]).await.stdout;
    let why = text.split("Held for every contact: ").nth(1).unwrap();
    let why = why.split(';').next().unwrap().chars().take(30).collect::<String>();
    assert!(check.contains(&why), "{why}: {check}");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_contact_is_found_by_its_address_which_stands_in_no_link(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    let mut browser = Browser::signed_in(&daemon).await;
    let token = browser.token().await;
    let asked = post(&daemon, "/sync/contact?wait=25", &json!({ "keapContactId": id })).await;
    assert_eq!(asked.status, 200, "{}", asked.json());
    let intercom = world.user(id).id;

    let text = id.to_string();
    let page = format!("/ui/contacts?id={id}");
    let by_user = format!("/ui/contacts?id={intercom}");
    for (who, location) in [
        (" Ann@Example.org ", page.as_str()),
        (&text, &page),
        (&intercom, &by_user),
        ("bob@example.org", "/ui/contacts?nobody=1"),
        ("not an address@", "/ui/contacts?nobody=1"),
        ("<b>", "/ui/contacts?id=!"),
        ("", "/ui/contacts?id=!"),
    ] {
        let reply = browser.post("/ui/contacts/find", &[("token", &token), ("who", who)]).await;
        assert_eq!((reply.status, reply.header("location")), (303, Some(location)), "{who}");
    }
    let nobody = browser.page("/ui/contacts?nobody=1").await;
    assert!(nobody.text().contains("No linked contact has this e-mail address."));

    // The links go through this program, so that no page names another site.
    let links = browser.page(&page).await.links();
    let lead = |side: &str| links.iter().find(|link| link.contains(side)).unwrap().clone();
    world.keap.clear_ledger();
    world.intercom.clear_ledger();
    let keap =
        format!("https://xy123.infusionsoft.com/Contact/manageContact.jsp?view=edit&ID={id}");
    let of_intercom = format!("https://app.intercom.com/a/apps/abc123/users/{intercom}");
    for _ in 0..2 {
        for (side, expected) in [("elsewhere?keap=", &keap), ("elsewhere?intercom=", &of_intercom)]
        {
            let reply = browser.get(&lead(side)).await;
            let location = reply.header("location").map(str::to_owned);
            assert_eq!((reply.status, location.as_ref()), (303, Some(expected)));
        }
    }
    assert_eq!(world.keap.count("userinfo"), 1, "each account is asked once");
    for wrong in ["", "?keap=x", "?intercom=../x"] {
        assert_eq!(browser.get(&format!("/ui/contacts/elsewhere{wrong}")).await.status, 400);
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_page_that_is_not_known_is_refused_with_the_reason(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let mut browser = Browser::signed_in(&daemon).await;
    world.keap.set_token("another");

    let reply = browser.get("/ui/contacts/elsewhere?keap=1").await;

    assert_eq!(reply.status, 502);
    let text = super::Page::of("elsewhere", &reply);
    assert!(text.text().contains("the page is not known: Keap"), "{}", text.text());
    daemon.stop().await.1.unwrap();
}
