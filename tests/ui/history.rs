//! What the page remembers and compares: the charts, the history of the fields, the CSV, and one
//! contact on both sides.

use serde_json::json;
use sqlx::PgPool;

use super::{Browser, Page, text, world};
use crate::canary::canary_in;
use crate::http::{assert_problem, get, post, started};
use crate::sim::{Fault, Person, Seed, What};
use crate::world::{ann, until};

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}";

/// Counters: how many hours ago, side, what, detail, count.
async fn count(pool: &PgPool, rows: &[(i32, &str, &str, &str, i64)]) {
    for (hours, side, what, detail, count) in rows {
        sqlx::query(
            "insert into sync_tally (since, side, what, detail, count)
             values (date_trunc('hour', now() at time zone 'UTC') at time zone 'UTC' - make_interval(hours => $1), $2, $3, $4, $5)
             on conflict (since, side, what, detail) do update set count = excluded.count",
        )
        .bind(hours)
        .bind(side)
        .bind(what)
        .bind(detail)
        .bind(count)
        .execute(pool)
        .await
        .unwrap();
    }
}

#[sqlx::test]
async fn the_charts_show_both_directions_and_a_table_has_the_same_figures(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let rows = [
        (2, "intercom", "written", "", 1234),
        (2, "keap", "written", "", 56),
        (3, "intercom", "held", "", 7),
        (3, "intercom", "failed", "", 8),
        (2, "intercom", "fresh", "5", 98),
        (2, "intercom", "fresh", "600", 2),
        (200, "intercom", "written", "", 4321),
        // Of another release.
        (2, "intercom", "unheard_of", "", 1),
    ];
    count(&world.pool, &rows).await;
    let mut browser = Browser::signed_in(&daemon).await;

    let page = browser.page("/ui").await;

    let drawings: Vec<_> =
        page.of_name("svg").filter(|one| one.get("role") == Some("img")).collect();
    assert_eq!(drawings.len(), 16, "eight charts of hours and eight of days");
    let descriptions: Vec<_> = page.of_name("desc").map(|desc| desc.text.as_str()).collect();
    for expected in ["1,234 in all; the most, 1,234, in ", "5,555 in all; the most, 4,321, in "] {
        assert!(descriptions.iter().any(|desc| desc.starts_with(expected)), "{descriptions:?}");
    }
    let tables: Vec<_> = page.of_name("details").map(|one| one.text.as_str()).collect();
    assert_eq!(tables.len(), 2);
    for expected in ["1,234", "56", "≤ 5 s", "≤ 10 min"] {
        assert!(tables[0].contains(expected), "{expected}: {}", tables[0]);
    }
    assert!(tables[1].contains("4,321") && !tables[0].contains("4,321"));
    let bars: Vec<i64> = page
        .of_name("rect")
        .filter(|one| one.get("class") == Some("bar"))
        .map(|one| one.get("height").unwrap().parse().unwrap())
        .collect();
    assert_eq!(bars.len(), 8 * 24 + 8 * 30);
    assert!(bars.iter().all(|height| (0..=60).contains(height)), "{bars:?}");
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_walk_under_way_has_a_bar_and_a_forecast(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let links = "insert into contact_link (keap_contact_id, intercom_contact_id, state, fingerprint, sighting)
                 select n, n::text, 'linked', '', '' from generate_series(1, 4000) n";
    sqlx::query(links).execute(&world.pool).await.unwrap();
    let run = "insert into sync_run (feed, reason, state, seen, created_at) values ('audit', 'manual', 'running', 1000, now() - interval '10 minutes')";
    sqlx::query(run).execute(&world.pool).await.unwrap();
    let mut browser = Browser::signed_in(&daemon).await;

    let page = browser.page("/ui").await;

    let expected = "Comparison of both sides: 1,000 of about 4,000 contacts; about 30 min left";
    assert!(page.text().contains(expected), "{}", page.text());
    let widths = page.of_name("rect").filter(|one| one.get("class") == Some("left"));
    assert!(widths.map(|one| one.get("width").unwrap()).any(|width| width == "25"));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_fields_show_what_they_did_lately(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let rows = [
        (1, "intercom", "field_written", "phone", 12),
        (1, "intercom", "field_cleared", "phone", 3),
        (1, "keap", "field_refused", "phone", 1),
        (100, "intercom", "field_written", "phone", 1000),
        (1, "intercom", "field_written", HOSTILE, 1),
    ];
    count(&world.pool, &rows).await;
    let mut browser = Browser::signed_in(&daemon).await;
    let row = |page: &Page, name: &str| {
        let row = page.of_name("tr").find(|row| row.text.starts_with(name));
        row.map(|row| row.text.clone())
    };

    let week = browser.page("/ui/fields").await;
    assert_eq!(row(&week, "phoneIntercom").as_deref(), Some("phoneIntercom1,012300"));
    assert_eq!(row(&week, "phoneKeap").as_deref(), Some("phoneKeap0010"));
    assert!(week.text().contains(HOSTILE) && !week.html.contains("<script"), "it stays a text");
    let day = browser.page("/ui/fields?days=1").await;
    assert_eq!(row(&day, "phoneIntercom").as_deref(), Some("phoneIntercom12300"));
    assert_eq!(browser.get("/ui/fields?days=x").await.status, 400);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_activity_is_filtered_by_links_and_downloaded_as_it_is_shown(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let sql = "insert into keap_intercom_sync_logs (keap_contact_id, sync_status, sync_direction, synced_at, created_at, action, error_message)
               select n::text, case n % 2 when 0 then 'synced' else 'failed' end, case n % 4 when 0 then 'intercom_to_keap' else 'keap_to_intercom' end,
                      now(), now() - n * interval '30 minutes', case n % 2 when 0 then 'updated' else 'held' end,
                      case n % 2 when 1 then 'several_users: more than one' end
                 from generate_series(1, 40) n";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    let mut browser = Browser::signed_in(&daemon).await;
    let rows = |page: &Page| page.of_name("tr").count().saturating_sub(1);
    let link = |page: &Page, label: &str| {
        let link = page.of_name("a").find(|link| link.text == label);
        link.unwrap_or_else(|| panic!("{label}")).get("href").unwrap().to_owned()
    };

    let all = browser.page("/ui/log").await;
    assert_eq!(rows(&all), 40);
    let failed = browser.page(&link(&all, "failed")).await;
    assert_eq!(rows(&failed), 20);
    let synced = browser.page(&link(&all, "synced")).await;
    let to_keap = browser.page(&link(&synced, "Intercom to Keap")).await;
    assert_eq!(rows(&to_keap), 10);
    let hour = browser.page(&link(&to_keap, "the last 24 hours")).await;
    assert_eq!(rows(&hour), 10);
    assert_eq!(rows(&browser.page(&link(&all, "the last hour")).await), 1);
    let reason = browser.page(&link(&all, "Only several_users")).await;
    assert_eq!(rows(&reason), 20);
    // The form keeps what the links have chosen.
    let kept: Vec<_> = to_keap
        .of_name("input")
        .filter(|input| input.get("type") == Some("hidden") && input.get("name") != Some("token"))
        .map(|input| (input.get("name").unwrap(), input.get("value").unwrap()))
        .collect();
    assert_eq!(kept, [("status", "synced"), ("direction", "intercom_to_keap")]);

    let csv = browser.get(&link(&to_keap, "Download all of these as CSV")).await;
    assert_eq!((csv.status, text(&csv).lines().count()), (200, 11));
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    assert!(csv.header("content-security-policy").is_some());
    let stranger = Browser::new(&daemon).get("/ui/log/csv").await;
    assert_eq!((stranger.status, stranger.header("location")), (303, Some("/ui/sign-in")));
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_contact_is_compared_side_by_side_with_two_calls(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(
        Person::named("Canary", HOSTILE)
            .email("canary.side@example.org")
            .phone("(602) 555-0100", Some("+16025550100")),
    );
    post(&daemon, "/sync/contact", &json!({ "keapContactId": id })).await;
    until("it is created", async || world.last_action(id).await == "created").await;
    let user = world.user(id).id;
    world.intercom.edit(&user, |user| user.phone = Some("+1 602 555 0199".into()));
    let mut browser = Browser::signed_in(&daemon).await;
    let story = browser.page(&format!("/ui/contacts?id={id}")).await;
    let path = format!("/ui/contacts/fields?id={id}");
    assert!(story.links().contains(&path), "{:?}", story.links());
    world.keap.clear_ledger();
    world.intercom.clear_ledger();

    let page = browser.page(&path).await;

    assert_eq!((world.keap.calls(), world.intercom.calls()), (1, 1));
    let row = |name: &str| {
        page.of_name("tr").find(|row| row.text.starts_with(name)).unwrap().text.clone()
    };
    assert!(row("phone").contains("differs") && row("phone").contains("0199"), "{}", row("phone"));
    assert!(row("email").contains("the same"), "{}", row("email"));
    assert!(page.text().contains(HOSTILE) && !page.html.contains("<script"), "{}", page.html);
    assert!(page.text().contains("Keap: last changed 20"), "{}", page.text());
    assert!(page.text().contains("with one call to each side"));

    let reply = get(&daemon, &format!("/sync/contacts/{id}/fields")).await.json();
    assert_eq!(
        (reply["keapContactId"].clone(), reply["intercomContactId"].clone()),
        (json!(id), json!(user))
    );
    let field = |name: &str| {
        let fields = reply["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == name).unwrap().clone()
    };
    assert_eq!(
        (field("email")["same"].clone(), field("phone")["same"].clone()),
        (json!(true), json!(false))
    );
    assert!(
        field("email")["owner"].as_str().is_some_and(|owner| owner.contains("Keap")),
        "{}",
        field("email")
    );

    // A side that does not answer says so, and the other one is shown.
    world.intercom.fault(Fault::on("read").what(What::status(500)).always());
    let page = browser.page(&path).await;
    assert!(page.text().contains("Intercom does not show it now"), "{}", page.text());
    assert!(page.text().contains("canary.side@example.org"));
    world.intercom.clear_faults();

    // Nothing of it is stored or logged.
    for table in ["keap_intercom_sync_logs", "contact_link", "sync_tally"] {
        let sql = sqlx::AssertSqlSafe(format!(
            "select coalesce(string_agg(t::text, ' '), '') from {table} t"
        ));
        let rows: String = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
        assert_eq!(canary_in(&rows), None, "{table}");
    }
    assert_problem(&get(&daemon, "/sync/contacts/999999/fields").await, 404);
    assert_problem(&get(&daemon, "/sync/contacts/x/fields").await, 404);
    assert_eq!(browser.get("/ui/contacts/fields?id=999999").await.status, 404);
    assert_eq!(browser.get("/ui/contacts/fields").await.status, 400);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_contact_without_a_link_costs_one_call(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    for _ in 0..2 {
        world.intercom.add_user(Seed::with_email("ann@example.org"));
    }
    world.intercom.reindex_now();
    let id = world.keap.add(ann());
    post(&daemon, "/sync/contact", &json!({ "keapContactId": id })).await;
    let held = get(&daemon, "/sync/held").await.json();
    assert_eq!(
        held["held"][0]["offers"],
        json!(["use", "create", "retry", "ignore_until_changed", "ignore"]),
        "{held}"
    );
    world.keap.clear_ledger();
    world.intercom.clear_ledger();

    let reply = get(&daemon, &format!("/sync/contacts/{id}/fields")).await.json();

    assert_eq!((world.keap.calls(), world.intercom.calls()), (1, 0));
    assert!(reply["intercom"]["error"].as_str().unwrap().contains("not linked"), "{reply}");
    assert_eq!(reply["fields"][0]["intercom"], json!(null), "{reply}");
    daemon.stop().await.1.unwrap();
}
