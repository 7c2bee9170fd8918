//! Notifies systemd: ready, status, alive, reloading, stopping; and takes the socket that it
//! passes. Without systemd, none of this does anything.

use std::net::TcpListener;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::feed::{Cursor, Feed};
use crate::remote::{Remote, Standing};
use crate::store::Store;
use crate::sync::Context as Lanes;

/// How often the status is computed. systemd gets it only when it has changed.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);

/// How long Postgres gets to say how far the polls are.
const CURSOR_TIMEOUT: Duration = Duration::from_secs(1);

/// Notifications that wait while systemd does not read its socket.
const MOST_WAITING: usize = 64;

/// The listening socket that systemd passes (`LISTEN_FDS`), if it passes one. Call this before any
/// thread starts, because it changes the environment.
pub fn passed_listener() -> anyhow::Result<Option<TcpListener>> {
    let mut passed = ListenFd::from_env();
    if passed.len() > 1 {
        anyhow::bail!(
            "systemd passes {} sockets; leave one ListenStream= in the .socket unit",
            passed.len()
        );
    }
    passed
        .take_tcp_listener(0)
        .context("the socket that systemd passes is not a TCP socket; give ListenStream= an address and a port")
}

/// Announces that all parts are up, after a start or a reload.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Announces the status: the line that `systemctl status` shows.
pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// Announces that the settings are read again. `ready` ends the reload.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Announces that the daemon stops.
pub fn stopping() {
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("Stopping: what is under way is finished and recorded."),
    ]);
}

/// Hands a notification to the thread that sends it, in order. The daemon goes on even if systemd
/// takes nothing: then further notifications are dropped.
fn notify(state: &[NotifyState<'_>]) {
    static SENDER: LazyLock<Option<SyncSender<String>>> = LazyLock::new(sender);
    let Some(sender) = &*SENDER else { return };
    let text = state.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    if sender.try_send(text).is_err() {
        tracing::debug!("systemd takes no notifications at the moment.");
    }
}

/// Starts the thread that sends notifications. It blocks while systemd does not read its socket,
/// which the only thread of the runtime must not. `None` without systemd.
fn sender() -> Option<SyncSender<String>> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (sender, receiver) = sync_channel::<String>(MOST_WAITING);
    let send = move || {
        for text in receiver {
            if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&text)]) {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "systemd could not be notified."
                );
            }
        }
    };
    std::thread::Builder::new().name("notify".into()).spawn(send).ok()?;
    Some(sender)
}

/// Reports the state of the daemon to systemd.
pub struct Reporter {
    pub store: Store,
    /// What the lanes stand on, once they run.
    pub lanes: watch::Receiver<Option<Arc<Lanes>>>,
    /// Says how both remotes stand, by name.
    pub standings: Box<dyn Fn() -> [(&'static str, Standing); 2] + Send + Sync>,
}

impl Reporter {
    /// Until `cancel`: keeps the status up to date, and feeds the watchdog while the lanes make
    /// progress.
    pub async fn report(self, cancel: CancellationToken) {
        let watchdog = sd_notify::watchdog_enabled();
        // Without a service manager nobody reads the status.
        let is_managed = std::env::var_os("NOTIFY_SOCKET").is_some();
        // A quarter of the watchdog's time, so that a busy machine does not look like a hang.
        let pause = watchdog.map_or(STATUS_INTERVAL, |time| (time / 4).min(STATUS_INTERVAL));
        let mut started = self.lanes.clone();
        let (mut shown, mut is_ready, mut hangs) = (String::new(), false, false);
        loop {
            let lanes = started.borrow_and_update().clone();
            if lanes.is_some() && !is_ready {
                is_ready = true;
                ready();
            }
            if is_managed {
                let words = self.in_words(lanes.as_deref()).await;
                if words != shown {
                    status(&words);
                    shown = words;
                }
            }
            // Before the lanes run nothing can hang: each try to reach Postgres has its own time
            // limit.
            let alive = lanes.is_none_or(|lanes| lanes.is_alive());
            if alive && watchdog.is_some() {
                notify(&[NotifyState::Watchdog]);
            }
            if !alive && !hangs {
                tracing::error!(
                    "A lane makes no progress any more. systemd restarts the daemon if its watchdog is on."
                );
            }
            hangs = !alive;
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                Ok(()) = started.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn in_words(&self, lanes: Option<&Lanes>) -> String {
        let Some(lanes) = lanes else {
            return "Waiting for Postgres.".into();
        };
        if !lanes.lease.is_held() {
            return "Standing by: this process does not hold the lease.".into();
        }
        let now = Utc::now();
        let troubles: Vec<String> = (self.standings)()
            .into_iter()
            .filter_map(|(name, standing)| trouble(name, standing, now))
            .collect();
        // A slow Postgres must not starve the watchdog.
        let cursor = tokio::time::timeout(CURSOR_TIMEOUT, self.store.cursor(Feed::Changed)).await;
        let lag = match cursor {
            Ok(Ok(cursor)) => lag(cursor.as_ref()),
            Ok(Err(_)) | Err(_) => "Postgres does not answer".into(),
        };
        match troubles.as_slice() {
            [] => format!("Polling: {lag}."),
            troubles => format!("{}; {lag}.", troubles.join("; ")),
        }
    }
}

/// How both remotes stand, by name.
pub fn standings(keap: &Remote, intercom: &Remote) -> [(&'static str, Standing); 2] {
    [("Keap", keap.standing()), ("Intercom", intercom.standing())]
}

fn trouble(name: &str, standing: Standing, now: DateTime<Utc>) -> Option<String> {
    let until = |time: Duration| {
        let at = TimeDelta::from_std(time)
            .ok()
            .and_then(|time| now.checked_add_signed(time))
            .unwrap_or(now);
        // Rounded to the minute, so that the text stays the same while the limit lasts.
        let rounded = at + TimeDelta::seconds(30);
        rounded.format("%H:%M UTC").to_string()
    };
    match standing {
        Standing::Ok => None,
        Standing::Limited(time) => Some(format!("{name} is limited until {}", until(time))),
        Standing::Failing(_) => Some(format!("{name} is failing and not called for a while")),
        Standing::Refused(_) => {
            Some(format!("{name} refuses this program: see its last error in the log"))
        }
    }
}

/// How far behind Keap the polls are. The steps grow with the lag, so that the status changes
/// seldom.
fn lag(cursor: Option<&Cursor>) -> String {
    let Some(age) = cursor.and_then(|cursor| cursor.polled_age) else {
        return "the first poll is not done yet".into();
    };
    match age.as_secs() {
        0..120 => "at most two minutes behind Keap".into(),
        seconds @ 120..7200 => format!("{} minutes behind Keap", seconds / 60),
        seconds => format!("{} hours behind Keap", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reported_with_its_end() {
        let now: DateTime<Utc> = "2026-03-01T13:59:50Z".parse().unwrap();
        let of = |standing| trouble("Keap", standing, now);
        assert_eq!(of(Standing::Ok), None);
        let limited = of(Standing::Limited(Duration::from_secs(36_010)));
        assert_eq!(limited.unwrap(), "Keap is limited until 00:00 UTC");
        assert!(of(Standing::Refused(Duration::ZERO)).unwrap().contains("refuses"));
    }

    #[test]
    fn an_endless_limit_is_no_overflow() {
        assert!(trouble("Keap", Standing::Limited(Duration::MAX), Utc::now()).is_some());
    }
}
