//! Failed sign-ins are slowed down, and keep nobody else out.

use sqlx::PgPool;

use super::{Browser, PASSWORD, Page, world};
use crate::world::until;

#[sqlx::test]
async fn after_a_wrong_password_the_next_try_waits(pool: PgPool) {
    let world = world(pool).await;
    let daemon = world.daemon().await;
    let mut browser = Browser::new(&daemon);

    let reply = browser.sign_in("canary wrong word").await;
    assert_eq!((reply.status, reply.header("set-cookie")), (401, None));
    let page = Page::of("/ui/sign-in", &reply);
    assert!(page.text().contains("That is not the password."));
    assert!(!page.html.contains("canary"), "a password is never shown");

    // At once, not even the right password is looked at. On a slow machine the wait may be over.
    let mut refused = None;
    for _ in 0..5 {
        let reply = browser.sign_in(PASSWORD).await;
        if reply.status == 429 {
            refused = Some(reply);
            break;
        }
        browser = Browser::new(&daemon);
        browser.sign_in("canary wrong word").await;
    }
    let reply = refused.expect("a try at once is refused");
    assert_eq!(reply.header("set-cookie"), None);
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(Page::of("/ui/sign-in", &reply).text().contains("was not looked at"));
    // The time passes by itself, also for somebody who keeps trying.
    until("the right password opens", async || browser.sign_in(PASSWORD).await.status == 303).await;
    assert_eq!(browser.get("/ui").await.status, 200);
    daemon.stop().await.1.unwrap();
}

#[sqlx::test]
async fn a_flood_of_wrong_passwords_keeps_neither_a_known_browser_nor_another_address_out(
    pool: PgPool,
) {
    let world = world(pool).await;
    let daemon = world.daemon().await;
    let mut known = Browser::signed_in(&daemon).await;
    known.cookies.remove("keap_intercom_sync_session");
    assert_eq!(known.cookies.len(), 1);

    let flood = (0..300).map(async |n: usize| {
        let mut browser = Browser::new(&daemon);
        browser.sign_in(&format!("canary wrong {n}")).await.status
    });
    let statuses = futures_util::future::join_all(flood).await;
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    let waiting = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!(looked_at + waiting, 300, "{statuses:?}");
    // Two minutes of this flood would be needed for ten tries.
    assert!((1..10).contains(&looked_at), "{looked_at} passwords were looked at");

    assert_eq!(known.sign_in(PASSWORD).await.status, 303, "a known browser");
    let mut elsewhere = Browser::new(&daemon);
    elsewhere.headers.push(("x-forwarded-for", "192.0.2.9"));
    assert_eq!(elsewhere.sign_in(PASSWORD).await.status, 303, "another address");
    daemon.stop().await.1.unwrap();
}
