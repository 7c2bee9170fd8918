//! One contact, the runs and the log.

use keap_intercom_sync::feed::{Feed, RunReason};
use sqlx::PgPool;

use super::{Browser, Page, hold, world};
use crate::http::started;
use crate::sim::people::{Shape, invented};
use crate::world::{ann, until};

#[sqlx::test]
async fn a_contact_is_found_by_either_id_and_synced_by_a_button(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let id = world.keap.add(ann());
    let mut browser = Browser::signed_in(&daemon).await;
    let token = browser.token().await;
    let path = format!("/ui/contacts?id={id}");
    let page = browser.page(&path).await;
    assert!(page.text().contains("not in Intercom, as far as is recorded here"), "{}", page.text());

    let id_text = id.to_string();
    let reply = browser.post("/ui/contacts/sync", &[("token", &token), ("id", &id_text)]).await;
    let location = format!("/ui/contacts?id={id}&requested=1");
    assert_eq!((reply.status, reply.header("location")), (303, Some(location.as_str())));
    assert!(browser.page(&location).await.text().contains("The contact is due now"));
    until("it is created", async || world.last_action(id).await == "created").await;

    let intercom = world.user(id).id;
    let by_keap = browser.page(&path).await;
    let by_intercom = browser.page(&format!("/ui/contacts?id=+{intercom}+")).await;
    for page in [by_keap, by_intercom] {
        let verdict = format!("It is in Intercom as {intercom}.");
        assert!(page.text().contains(&format!("Keap contact {id}")), "{}", page.text());
        assert!(page.text().contains(&verdict), "{}", page.text());
        assert!(page.text().contains("created"));
        assert!(page.text().contains("had a value in Keap: email, name, phone"), "{}", page.text());
    }
    for (wrong, why) in [
        ("6762f0dd1bb69f9fffffffff", "No contact of Keap is linked"),
        ("ann%40example.org", "neither a Keap id nor an Intercom id"),
    ] {
        let page = browser.page(&format!("/ui/contacts?id={wrong}")).await;
        assert!(page.text().contains(why), "{}", page.text());
    }
    let reply = browser.post("/ui/contacts/sync", &[("token", &token)]).await;
    assert_eq!(reply.status, 400);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_held_contact_says_what_happens_next_as_explain_does(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let ids = hold(&world, &daemon, 1).await;
    let mut browser = Browser::signed_in(&daemon).await;

    let page = browser.page(&format!("/ui/contacts?id={}", ids[0])).await;

    for expected in [
        "It is not in Intercom: it is held for a person.",
        "It is looked at again by itself at ",
        "Sooner: keap-intercom-sync held retry",
        "several_users: more than one Intercom user has this e-mail",
        "Try again now",
    ] {
        assert!(page.text().contains(expected), "{expected}: {}", page.text());
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn runs_are_listed_and_one_shows_its_counts_and_its_outcomes(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let people = world.keap.add_many(7, |n| invented(n as u64, Shape::Plain));
    let store = world.store();
    let run = store.request_run(Feed::Backfill, RunReason::Manual, None).await.unwrap();
    until("the walk has ended", async || {
        store.run(run).await.unwrap().is_some_and(|run| run.finished_at.is_some())
    })
    .await;
    let mut browser = Browser::signed_in(&daemon).await;

    let list = browser.page("/ui/runs").await;
    assert!(list.links().contains(&format!("/ui/runs/{run}")), "{:?}", list.links());
    let page = browser.page(&format!("/ui/runs/{run}")).await;
    assert!(page.text().contains("backfill: every contact in Keap"), "{}", page.text());
    let of = |name: &str| {
        let row = page.of_name("tr").find(|row| row.text.starts_with(name));
        row.unwrap_or_else(|| panic!("{name}: {}", page.text())).text.clone()
    };
    assert_eq!((of("looked at"), of("created")), ("looked at7".into(), "created7".into()));
    let log = browser.page(&format!("/ui/log?run={run}")).await;
    let rows = log.of_name("tr").count() - 1;
    assert_eq!(rows, people.len(), "{}", log.text());

    for unknown in ["/ui/runs/0d9b4a7e-3c55-4f0e-9a53-5a3c8d3ad7c1", "/ui/runs/x"] {
        let reply = browser.get(unknown).await;
        assert_eq!(reply.status, 404);
        assert!(Page::of(unknown, &reply).text().contains("there is no such run"));
    }
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn the_log_is_filtered_and_read_page_by_page(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let sql = "insert into keap_intercom_sync_logs (sync_direction, synced_at, keap_contact_id, sync_status, action, feed, error_message, created_at)
               select 'keap_to_intercom', now(), (n % 40)::text, 'skipped', case when n % 2 = 0 then 'skipped' else 'failed' end, 'changed', 'no_email: none',
                      now() - n * interval '1 second'
                 from generate_series(1, 120) n";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    let mut browser = Browser::signed_in(&daemon).await;
    let mut rows_of = async |path: &str| {
        let (mut rows, mut pages, mut next) = (0, 0, Some(path.to_owned()));
        while let Some(path) = next {
            let page = browser.page(&path).await;
            rows += page.of_name("tr").count().saturating_sub(1);
            pages += 1;
            next = page.links().into_iter().find(|link| link.contains("after="));
        }
        (rows, pages)
    };

    assert_eq!(rows_of("/ui/log").await, (120, 3));
    assert_eq!(rows_of("/ui/log?action=failed&reason=no_email").await, (60, 2));
    assert_eq!(rows_of("/ui/log?action=failed&feed=sweep").await, (0, 1));
    assert_eq!(rows_of("/ui/log?contact=7&action=&reason=").await, (3, 1));
    assert_eq!(rows_of("/ui/log?contact=41").await, (0, 1));
    for wrong in ["contact=x", "action=%3Cb%3E", "run=1", "after=x"] {
        let path = format!("/ui/log?{wrong}");
        let reply = browser.get(&path).await;
        assert_eq!(reply.status, 400, "{path}");
        Page::of(&path, &reply);
    }
    daemon.stop().await.1.unwrap();
}

/// However rare the wanted rows are, a page reads a bounded part of the log.
#[sqlx::test]
async fn a_rare_outcome_is_found_one_part_of_the_log_after_another(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let sql = "insert into keap_intercom_sync_logs (sync_direction, synced_at, keap_contact_id, sync_status, action, created_at)
               select 'keap_to_intercom', now(), n::text, 'synced', case n when 45000 then 'linked' else 'updated' end, now() - n * interval '1 second'
                 from generate_series(1, 45000) n";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    let mut browser = Browser::signed_in(&daemon).await;

    let older = |page: &Page| page.links().into_iter().find(|link| link.contains("after="));
    let first = browser.page("/ui/log?action=linked").await;
    assert!(
        first.text().contains("in this part of the log; older ones may be"),
        "{}",
        first.text()
    );
    let second = browser.page(&older(&first).unwrap()).await;
    let third = browser.page(&older(&second).unwrap()).await;

    assert_eq!(second.of_name("tr").count(), 0);
    assert!(third.links().contains(&"/ui/contacts?id=45000".to_owned()), "{}", third.text());
    assert_eq!(older(&third), None);
    daemon.stop().await.1.unwrap();
}
