//! `run`: the daemon. SIGHUP reads the settings again, SIGTERM and SIGINT stop it.

use std::sync::atomic::Ordering;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Ended, WELL, exit};
use crate::app::Parts;
use crate::config::{self, Needed, Settings, SettingsError, Sources};
use crate::daemon;
use crate::logs::{self, FilterSwitch};
use crate::systemd;

const NEEDED: &[Needed] = &[Needed::DatabaseUrl, Needed::KeapApiKey, Needed::IntercomAccessToken];

/// Tokens that the running clients can replace.
const REPLACEABLE: &[Needed] = &[Needed::KeapApiKey, Needed::IntercomAccessToken];

/// Runs until a signal stops it. `passed`: the listening socket that systemd has passed to us.
///
/// A reload applies a new log filter and new tokens at once. For every other change it stops the
/// parts in order and starts them again in this process. The socket stays open all the time, so a
/// request during a reload only waits a moment.
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
    'again: loop {
        let round = stop.child_token();
        let listener = TcpListener::from_std(listener.try_clone()?)?;
        let current = settings.clone();
        let parts = Parts::build(&current)?;
        let mut running =
            std::pin::pin!(daemon::run_parts(&current, &parts, listener, round.clone()));
        loop {
            tokio::select! {
                ended = &mut running => {
                    ended?;
                    if parts.outdated.load(Ordering::Relaxed) && !stop.is_cancelled() {
                        continue 'again;
                    }
                    tracing::info!("Stopped.");
                    return exit(WELL);
                }
                Some(()) = hangup.recv(), if !stop.is_cancelled() => {
                    systemd::reloading();
                    let reloaded = tokio::select! {
                        () = stop.cancelled() => continue,
                        reloaded = reloaded(&settings, sources, filter, &parts) => reloaded,
                    };
                    match reloaded {
                        Ok((newer, restart)) => {
                            settings = newer;
                            if restart {
                                break;
                            }
                        }
                        Err(error) => log_refusal(&error),
                    }
                    systemd::ready();
                }
            }
        }
        // The next parts report to systemd when they are ready.
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

/// The new settings, once they are known to work, and whether the parts must start again for them.
async fn reloaded(
    old: &Settings,
    sources: &Sources,
    filter: &FilterSwitch,
    running: &Parts,
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
            "Some changed settings take effect at the next start only."
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
    let is_token = |key: &str| REPLACEABLE.iter().any(|needed| needed.path() == key);
    let tokens = applied.iter().any(|key| is_token(key));
    let others = applied.iter().any(|key| *key != "log.filter" && !is_token(key));
    let restart = others || tokens && !running.replace_credentials(&newer)?;
    Ok((newer, restart))
}

fn log_refusal(error: &anyhow::Error) {
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

/// The first SIGTERM or SIGINT stops the daemon in order, the second one stops it at once.
pub fn stop_on_signals(cancel: &CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let cancel = cancel.clone();
    tokio::spawn(async move {
        for signals in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if signals > 0 {
                std::process::exit(130);
            }
            cancel.cancel();
            systemd::stopping();
        }
    });
    Ok(())
}
