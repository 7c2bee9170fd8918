//! Markup in texts from outside stays text.

use sqlx::PgPool;

use super::{Browser, world};
use crate::http::started;

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}";

// S11
#[sqlx::test]
async fn markup_in_any_text_from_outside_stays_text(pool: PgPool) {
    let world = world(pool).await;
    let daemon = started(&world).await;
    let log = "insert into keap_intercom_sync_logs (sync_direction, synced_at, keap_contact_id, intercom_contact_id, sync_status, action, error_message, feed)
               values ('keap_to_intercom', now(), $1, $1, 'failed', $1, $1, $1), ('keap_to_intercom', now(), '7', $1, 'failed', $1, $1, $1)";
    let hold = "insert into contact_hold (keap_contact_id, code, detail, candidates)
                values (7, 'refused', $1, array[$1]), (8, $1, $1, array[$1])";
    let run = "insert into sync_run (id, feed, reason, state, error, finished_at)
               values ('0d9b4a7e-3c55-4f0e-9a53-5a3c8d3ad7c1', 'sweep', 'manual', 'failed', $1, now())";
    for sql in [log, hold, run] {
        sqlx::query(sql).bind(HOSTILE).execute(&world.pool).await.unwrap();
    }
    let mut browser = Browser::signed_in(&daemon).await;
    let hostile: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();

    for path in [
        "/ui",
        "/ui/held",
        "/ui/contacts?id=7",
        "/ui/runs",
        "/ui/runs/0d9b4a7e-3c55-4f0e-9a53-5a3c8d3ad7c1",
        "/ui/log",
        &format!("/ui/contacts?id={hostile}"),
    ] {
        let page = browser.page(path).await;
        // The reader accepts no bare markup: what stands in a text is escaped.
        for name in ["script", "img"] {
            assert_eq!(page.of_name(name).count(), 0, "{path}");
        }
        let handlers = |name: &str| name.starts_with("on") || name == "style" || name == "src";
        for element in &page.elements {
            let odd = element.attributes.iter().find(|(name, _)| handlers(name));
            assert_eq!(odd, None, "{path}: {element:?}");
        }
        let shown = page.text().contains(HOSTILE)
            || page.of_name("input").any(|input| input.get("value") == Some(HOSTILE));
        assert!(shown, "{path} does not show the text: {}", page.text());
    }
    for path in [
        format!("/ui/held?reason={hostile}"),
        format!("/ui/log?reason={hostile}"),
        format!("/ui/runs/{hostile}"),
    ] {
        let reply = browser.get(&path).await;
        assert!([400, 404].contains(&reply.status), "{path}");
        let page = super::Page::of(&path, &reply);
        assert!(!page.text().contains("alert"), "a refusal repeats nothing: {}", page.text());
    }
    daemon.stop().await.1.unwrap();
}
