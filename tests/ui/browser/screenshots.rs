//! The pictures of the page for README and docs. `make screenshots` runs this.

use std::path::PathBuf;

use sqlx::PgPool;

use super::driver::{Chromium, Look};
use super::signed_in;
use crate::http::url;
use crate::ui::pages::full;

/// Each picture: its name, the page, what stands at the top of it, how high it is, and whether it
/// is dark.
const PICTURES: [(&str, &str, &str, u32, bool); 3] = [
    ("overview", "/ui", "body", 1000, false),
    ("charts", "/ui", "h2:has(+ .charts)", 1000, false),
    ("decide", "/ui/held/contact?id=6", "body", 1200, true),
];

/// A month of invented figures: more by day than by night, and an outage yesterday.
const MONTH: &str = "
    insert into sync_tally (since, side, what, detail, count)
    select since, side, what, detail, greatest(round(base * (1.2 + sin(hour * 0.2618 - 2)) * (0.7 + abs(sin(n * 0.9)) * 0.6)), 0)
      from (select n, date_trunc('hour', now() at time zone 'UTC') at time zone 'UTC' - n * interval '1 hour' as since,
                   extract(hour from (now() - n * interval '1 hour') at time zone 'UTC') as hour
              from generate_series(0, 719) n) hours,
           (values ('intercom', 'written', '', 140), ('keap', 'written', '', 22), ('intercom', 'held', '', 2),
                   ('intercom', 'failed', '', 1), ('keap', 'calls', '', 210), ('intercom', 'calls', '', 190),
                   ('intercom', 'fresh', '30', 70), ('intercom', 'fresh', '60', 60), ('intercom', 'fresh', '120', 2),
                   ('keap', 'fresh', '30', 10), ('keap', 'fresh', '60', 12)) as counted (side, what, detail, base)
    on conflict (since, side, what, detail) do update set count = excluded.count";

#[sqlx::test]
#[ignore = "needs Chromium: make screenshots runs this"]
async fn pictures(pool: PgPool) {
    let folder = PathBuf::from(std::env::var_os("SCREENSHOTS").expect("make sets SCREENSHOTS"));
    std::fs::create_dir_all(&folder).unwrap();
    let (world, daemon, _) = full(pool).await;
    sqlx::query(MONTH).execute(&world.pool).await.unwrap();
    let browser = Chromium::start().await;
    signed_in(&browser, &daemon).await;

    for (name, path, top, height, is_dark) in PICTURES {
        browser.look(Look { width: 1200, height, is_dark }).await;
        browser.goto(&url(&daemon, path)).await;
        browser.run(&format!("document.querySelector('{top}').scrollIntoView()")).await;
        let picture = browser.client.screenshot_as_png().await.unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }
    browser.end().await;
    daemon.stop().await.1.unwrap();
}
