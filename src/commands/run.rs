//! `run`: the daemon.

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Ended, WELL, exit};
use crate::app;
use crate::config::{Needed, Settings};

pub async fn run(settings: &Settings) -> Ended {
    settings.require(&[
        Needed::DatabaseUrl,
        Needed::KeapApiKey,
        Needed::IntercomAccessToken,
    ])?;
    let listen = settings.http.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("HTTP_LISTEN: cannot listen on {listen}"))?;
    tracing::info!(http.listen = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), environment = settings.environment, "Starting.");
    let cancel = CancellationToken::new();
    stop_on_signals(&cancel)?;
    app::run(settings, listener, cancel).await?;
    tracing::info!("Stopped.");
    exit(WELL)
}

/// The first SIGTERM or SIGINT stops in order, the second at once.
pub fn stop_on_signals(cancel: &CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let cancel = cancel.clone();
    tokio::spawn(async move {
        for turn in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if turn > 0 {
                std::process::exit(130);
            }
            cancel.cancel();
        }
    });
    Ok(())
}
