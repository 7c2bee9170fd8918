//! The log as CSV, over HTTP: all of it, streamed, and no cell is a formula.

use sqlx::PgPool;

use super::{TOKEN, assert_problem, get, started, url, world};
use crate::sim::client::{self, Reply};
use crate::world::{Daemon, World};

async fn csv(daemon: &Daemon, path: &str, accept: &str) -> Reply {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("accept", accept)];
    client::send("GET", &url(daemon, path), &headers, "").await.unwrap()
}

fn lines(reply: &Reply) -> Vec<String> {
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert!(text.ends_with("\r\n"), "{text}");
    text.split_terminator("\r\n").map(str::to_owned).collect()
}

/// Rows of every kind, a second apart, the newest first.
async fn fill(world: &World, rows: i64) {
    let sql = "insert into keap_intercom_sync_logs (keap_contact_id, sync_status, sync_direction, synced_at, created_at, action, feed, error_message)
               select n::text, case n % 2 when 0 then 'synced' else 'failed' end, case n % 3 when 0 then 'intercom_to_keap' else 'keap_to_intercom' end,
                      now(), now() - n * interval '1 second', case n % 2 when 0 then 'updated' else 'held' end, 'due',
                      case n % 2 when 1 then 'several_users: more than one Intercom user has this e-mail' end
                 from generate_series(1, $1) n";
    sqlx::query(sql).bind(rows).execute(&world.pool).await.unwrap();
}

#[sqlx::test]
async fn every_row_is_in_the_csv_once_and_in_order(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    fill(&world, 2_500).await;

    for (path, accept) in
        [("/sync/log?format=csv", "*/*"), ("/sync/log", "text/html, text/csv;q=0.9")]
    {
        let reply = csv(&daemon, path, accept).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
        assert!(reply.header("content-disposition").unwrap().contains(".csv"));
        assert_eq!(reply.header("content-length"), None, "it is streamed");
        let lines = lines(&reply);
        assert_eq!(
            lines[0],
            "time,keap_contact_id,intercom_contact_id,status,action,direction,feed,reason,run_id"
        );
        let ids =
            lines[1..].iter().map(|line| line.split(',').nth(1).unwrap().parse::<i64>().unwrap());
        assert_eq!(ids.collect::<Vec<_>>(), (1..=2_500).collect::<Vec<_>>());
        assert!(
            lines[1].contains(",failed,held,keap_to_intercom,due,several_users,"),
            "{}",
            lines[1]
        );
    }
    let json = get(&daemon, "/sync/log?limit=1").await.json();
    assert_eq!(json["log"].as_array().unwrap().len(), 1);

    // The same filters as for the list, in every combination that a script needs.
    let count = async |query: &str| {
        lines(&csv(&daemon, &format!("/sync/log?format=csv&{query}"), "").await).len() - 1
    };
    assert_eq!(count("status=failed").await, 1250);
    assert_eq!(count("direction=intercom_to_keap").await, 833);
    assert_eq!(count("status=synced&direction=intercom_to_keap&action=updated").await, 416);
    assert_eq!(count("reason=nothing_has_it").await, 0);
    assert_eq!(count("keapContactId=7").await, 1);
    let at = json["log"][0]["at"].as_str().unwrap();
    assert_eq!(
        (count(&format!("until={at}")).await, count(&format!("since={at}")).await),
        (2499, 1)
    );
    assert_problem(&csv(&daemon, "/sync/log?format=xml", "").await, 400);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_row_of_another_program_is_no_formula(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let sql = "insert into keap_intercom_sync_logs (keap_contact_id, intercom_contact_id, sync_status, sync_direction, synced_at, action, feed, error_message)
               values ('=HYPERLINK(\"http://evil.example\",\"x\")', '@SUM(1)', 'synced', 'keap_to_intercom', now(), '+1', '-1', '=1+1: a reason')";
    sqlx::query(sql).execute(&world.pool).await.unwrap();

    let lines = lines(&csv(&daemon, "/sync/log?format=csv", "").await);

    let expected = ",\"'=HYPERLINK(\"\"http://evil.example\"\",\"\"x\"\")\",'@SUM(1),synced,'+1,keap_to_intercom,'-1,,";
    assert!(lines[1].ends_with(expected), "{}", lines[1]);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_rare_outcome_is_found_behind_many_others(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    fill(&world, 45_000).await;
    let sql = "update keap_intercom_sync_logs set action = 'linked' where keap_contact_id in ('1', '44999')";
    sqlx::query(sql).execute(&world.pool).await.unwrap();

    let lines = lines(&csv(&daemon, "/sync/log?format=csv&action=linked", "").await);
    let ids: Vec<_> = lines[1..].iter().map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(ids, ["1", "44999"]);

    // The list goes on behind a page that is not full.
    let (mut found, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let body = get(&daemon, &format!("/sync/log?action=linked{after}")).await.json();
        found
            .extend(body["log"].as_array().unwrap().iter().map(|row| row["keapContactId"].clone()));
        pages += 1;
        match body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!((found, pages), (vec![1.into(), 44_999.into()], 3));
    daemon.stop().await.1.unwrap();
}
