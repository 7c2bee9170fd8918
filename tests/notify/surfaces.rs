//! The test of the targets over HTTP and on the page.

use serde_json::json;
use sqlx::PgPool;

use super::Hook;
use crate::http::{get, post, started};
use crate::ui::{self, Browser};

#[sqlx::test]
async fn the_page_and_a_route_test_each_target(pool: PgPool) {
    let mut world = ui::world(pool).await;
    let (well, ill) = (Hook::start(200).await, Hook::start(404).await);
    world.set("NOTIFY__SLACK_URL", well.url()).set("NOTIFY__DISCORD_URL", ill.url());
    let daemon = started(&world).await;

    let reply = post(&daemon, "/sync/notify/test", &json!({})).await;

    assert_eq!(reply.status, 200, "{}", reply.json());
    let target = |name: &str, delivered: bool, answer: &str| json!({ "target": name, "place": "127.0.0.1", "delivered": delivered, "answer": answer });
    let expected = json!({
        "success": false,
        "targets": [target("slack", true, "answered 200"), target("discord", false, "answered 404")],
    });
    assert_eq!(reply.json(), expected);

    let mut browser = Browser::signed_in(&daemon).await;
    let page = browser.page("/ui/settings").await;
    assert!(page.text().contains("Send a test message to each"), "{}", page.text());
    let token = browser.token().await;
    let refused = browser.post("/ui/settings/test-alarms", &[("token", "canary")]).await;
    assert_eq!(refused.status, 403);
    let reply = browser.post("/ui/settings/test-alarms", &[("token", &token)]).await;
    let html = String::from_utf8(reply.body.to_vec()).unwrap();
    assert!(html.contains("The test message to slack has arrived: answered 200."), "{html}");
    assert!(html.contains("The test message to discord has not arrived: answered 404."), "{html}");
    assert!(!html.contains("canary-hook-token"), "{html}");
    assert_eq!((well.bodies().await.len(), ill.bodies().await.len()), (2, 2));
    let metrics = String::from_utf8(get(&daemon, "/metrics").await.body.to_vec()).unwrap();
    assert!(
        metrics.contains("keap_intercom_sync_alarms_total{target=\"mail\",class=\"sent\"} 0"),
        "{metrics}"
    );
    daemon.stop().await.1.unwrap();
}
