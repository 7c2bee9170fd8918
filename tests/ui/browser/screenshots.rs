//! The pictures of the page for README and docs. `make screenshots` runs this.

use std::path::PathBuf;

use sqlx::PgPool;

use super::driver::{Chromium, Look};
use super::signed_in;
use crate::http::url;
use crate::ui::pages::full;

/// Each picture: its name, what it shows, how high it is, and whether it is dark.
const PICTURES: [(&str, &str, u32, bool); 2] =
    [("overview", "/ui", 1000, false), ("decide", "/ui/held/contact?id=6", 1200, true)];

#[sqlx::test]
#[ignore = "needs Chromium: make screenshots runs this"]
async fn pictures(pool: PgPool) {
    let folder = PathBuf::from(std::env::var_os("SCREENSHOTS").expect("make sets SCREENSHOTS"));
    std::fs::create_dir_all(&folder).unwrap();
    let (_world, daemon, _) = full(pool).await;
    let browser = Chromium::start().await;
    signed_in(&browser, &daemon).await;

    for (name, path, height, is_dark) in PICTURES {
        browser.look(Look { width: 1200, height, is_dark }).await;
        browser.goto(&url(&daemon, path)).await;
        let picture = browser.client.screenshot_as_png().await.unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }
    browser.end().await;
    daemon.stop().await.1.unwrap();
}
