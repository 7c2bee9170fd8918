//! `run`: the daemon. SIGHUP reads the settings again, SIGTERM and SIGINT stop it.

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Ended, WELL, exit};
use crate::app::{self, Parts};
use crate::config::{self, Needed, Settings, SettingsError, Sources};
use crate::logs::{self, FilterSwitch};
use crate::systemd;

const NEEDED: &[Needed] = &[
    Needed::DatabaseUrl,
    Needed::KeapApiKey,
    Needed::IntercomAccessToken,
];

/// Runs until it is told to stop. `passed`: the listening socket that systemd holds for us.
///
/// A reload stops the parts in order and starts them again, in this process, with the new settings. The socket stays
/// open all the time, so that who calls meanwhile waits a moment.
pub async fn run(
    mut settings: Settings,
    sources: &Sources,
    passed: Option<std::net::TcpListener>,
    filter: &FilterSwitch,
) -> Ended {
    settings.require(NEEDED)?;
    let listener = listener(&settings, passed).await?;
    tracing::info!(http.listen = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), environment = settings.environment, "Starting.");
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    loop {
        let round = stop.child_token();
        let listener = TcpListener::from_std(listener.try_clone()?)?;
        let current = settings.clone();
        let mut running = std::pin::pin!(app::run(&current, listener, round.clone()));
        loop {
            tokio::select! {
                ended = &mut running => {
                    ended?;
                    tracing::info!("Stopped.");
                    return exit(WELL);
                }
                Some(()) = hangup.recv(), if !stop.is_cancelled() => {
                    systemd::reloading();
                    let reloaded = tokio::select! {
                        () = stop.cancelled() => continue,
                        reloaded = reloaded(&settings, sources, filter) => reloaded,
                    };
                    match reloaded {
                        Ok((newer, restart)) => {
                            settings = newer;
                            if restart {
                                break;
                            }
                        }
                        Err(error) => tell_refusal(&error),
                    }
                    systemd::ready();
                }
            }
        }
        // The parts that start next say when they are ready.
        round.cancel();
        running.await?;
    }
}

async fn listener(
    settings: &Settings,
    passed: Option<std::net::TcpListener>,
) -> anyhow::Result<std::net::TcpListener> {
    if let Some(passed) = passed {
        passed.set_nonblocking(true)?;
        return Ok(passed);
    }
    let listen = settings.http.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("HTTP_LISTEN: cannot listen on {listen}"))?;
    Ok(listener.into_std()?)
}

/// The settings as they are now, once they are known to work, and whether the parts must start anew for them.
async fn reloaded(
    old: &Settings,
    sources: &Sources,
    filter: &FilterSwitch,
) -> anyhow::Result<(Settings, bool)> {
    let newer = config::load(sources)?;
    newer.require(NEEDED)?;
    logs::filter(&newer.log.filter)?;
    let parts = Parts::build(&newer)?;
    let (applied, later) = old.changes(&newer);
    if applied.contains(&"database.url") {
        parts
            .store
            .schema_state()
            .await
            .context("the database of the new DATABASE_URL cannot be used")?;
    }
    if let Some(address) = newer.http.metrics_listen
        && applied.contains(&"http.metrics_listen")
    {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("HTTP__METRICS_LISTEN: cannot listen on {address}"))?;
    }
    for warning in &newer.warnings {
        tracing::warn!("{warning}");
    }
    if !later.is_empty() {
        tracing::warn!(
            keys = later.join(", "),
            "Some changed settings are taken at the next start only."
        );
    }
    if applied.is_empty() {
        tracing::info!("The settings were read again: nothing to apply has changed.");
        return Ok((newer, false));
    }
    filter.set(&newer.log.filter)?;
    tracing::info!(
        keys = applied.join(", "),
        "The settings were read again; what changed is applied now."
    );
    let restart = applied != ["log.filter"];
    Ok((newer, restart))
}

fn tell_refusal(error: &anyhow::Error) {
    let refused = "The new settings are refused; the former ones stay.";
    systemd::status("The new settings are refused; the former ones stay. The log says why.");
    match error.downcast_ref::<SettingsError>() {
        Some(wrong) => {
            for problem in wrong.lines() {
                tracing::error!(problem, "{refused}");
            }
        }
        None => {
            let error: &(dyn std::error::Error + 'static) = error.as_ref();
            tracing::error!(error, "{refused}");
        }
    }
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
            systemd::stopping();
        }
    });
    Ok(())
}
