//! Opens the database for a command, and says so while it does not answer.

use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::run::stop_on_signals;
use crate::app::{self, Parts};
use crate::config::{Migrate, Needed, Settings};
use crate::store::{Store, StoreError};

/// A person who sees nothing for this long asks what the command does.
const SILENCE: Duration = Duration::from_secs(1);

/// The database of the settings, in the schema of this program.
pub(super) async fn open(settings: &Settings) -> anyhow::Result<Store> {
    settings.require(&[Needed::DatabaseUrl])?;
    let store = app::store(settings)?;
    prepare(&store, settings, Migrate::Refuse).await?;
    Ok(store)
}

/// Brings a database to the schema of this program, or refuses. Says on standard error what it
/// waits for.
pub(super) async fn prepare(
    store: &Store,
    settings: &Settings,
    migrate: Migrate,
) -> Result<(), StoreError> {
    while_waiting(settings, app::prepare_database(store, migrate)).await
}

/// The database and both remotes, for a command that stops at a signal. The database is migrated if
/// the settings say so.
pub(super) async fn with_remotes(
    settings: &Settings,
) -> anyhow::Result<(Parts, CancellationToken)> {
    settings.require(&[Needed::DatabaseUrl, Needed::KeapApiKey, Needed::IntercomAccessToken])?;
    let parts = Parts::build(settings)?;
    let cancel = CancellationToken::new();
    stop_on_signals(&cancel)?;
    prepare(&parts.store, settings, settings.database.migrate)
        .await
        .context("nothing could be done")?;
    Ok((parts, cancel))
}

/// Waits for Postgres. If that takes long, a line says so.
pub(super) async fn while_waiting<T>(settings: &Settings, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(SILENCE) => {}
    }
    errln!(
        "Waiting for Postgres, at most {} s (database.connect_timeout_ms).",
        settings.database.connect_timeout.as_secs().max(1)
    );
    work.await
}
