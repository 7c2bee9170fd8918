//! `migrate`: applies the missing migrations.

use super::{Ended, WELL, exit};
use crate::app;
use crate::config::{Needed, Settings};

pub async fn run(settings: &Settings) -> Ended {
    settings.require(&[Needed::DatabaseUrl])?;
    let applied = app::store(settings)?.migrate().await?;
    outln!(
        "{}",
        if applied == 0 {
            "The database is up to date.".to_owned()
        } else {
            format!("{applied} migration(s) applied.")
        }
    );
    exit(WELL)
}
