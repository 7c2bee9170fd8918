//! systemd: ready, status in words, alive, reloading, stopping; and the socket that it passes. Without it, none of this does anything.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::remote::{Remote, Standing};
use crate::store::{Cursor, Feed, Store};
use crate::sync::Syncer;

/// How often the status is looked at; systemd is told only what has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long Postgres gets to tell how far the polls have come.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// The listening socket that systemd holds for us (`LISTEN_FDS`), if it does. Call it before there are threads.
pub fn passed_listener() -> anyhow::Result<Option<TcpListener>> {
    let mut passed = ListenFd::from_env();
    if passed.len() > 1 {
        anyhow::bail!(
            "systemd passes {} sockets; give the .socket unit one ListenStream=",
            passed.len()
        );
    }
    passed
        .take_tcp_listener(0)
        .context("the socket that systemd passes is no TCP socket; ListenStream= takes an address and a port")
}

/// Tells systemd that all parts are up, after a start or a reload.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// Settings are read again; `ready` ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

pub fn stopping() {
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("Stopping: what is under way is finished and recorded."),
    ]);
}

/// The service manager may be gone; that is no reason to stop working.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "systemd could not be told."
        );
    }
}

/// What is told of the daemon, and where it is looked up.
pub struct Reporter {
    pub store: Store,
    /// Holds the syncer once its lanes run.
    pub lanes: watch::Receiver<Option<Arc<Syncer>>>,
    /// Both remotes with their names.
    pub standings: Box<dyn Fn() -> [(&'static str, Standing); 2] + Send + Sync>,
}

impl Reporter {
    /// Feeds the watchdog for as long as the lanes go round, and keeps the status up to date, until `cancel`.
    pub async fn report(self, cancel: CancellationToken) {
        let watchdog = sd_notify::watchdog_enabled();
        // Well within the watchdog's time, so that a busy machine is no hang.
        let pause = watchdog.map_or(LOOK_EVERY, |time| (time / 4).min(LOOK_EVERY));
        let mut started = self.lanes.clone();
        let (mut told, mut is_ready, mut hangs) = (String::new(), false, false);
        loop {
            let lanes = started.borrow_and_update().clone();
            if lanes.is_some() && !is_ready {
                is_ready = true;
                ready();
            }
            let words = self.in_words(lanes.as_deref()).await;
            if words != told {
                status(&words);
                told = words;
            }
            // Before the lanes run, each try to reach Postgres has its own bounds.
            let alive = lanes.is_none_or(|syncer| syncer.is_alive());
            if alive && watchdog.is_some() {
                notify(&[NotifyState::Watchdog]);
            }
            if !alive && !hangs {
                tracing::error!(
                    "A lane does not turn any more; where systemd watches, it restarts the daemon."
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

    async fn in_words(&self, lanes: Option<&Syncer>) -> String {
        let Some(syncer) = lanes else {
            return "Waiting for Postgres.".into();
        };
        if !syncer.holds_lease() {
            return "Standing by: this process does not hold the lease.".into();
        }
        let now = Utc::now();
        let troubles: Vec<String> = (self.standings)()
            .into_iter()
            .filter_map(|(name, standing)| trouble(name, standing, now))
            .collect();
        // The watchdog is not to starve while Postgres keeps us waiting.
        let cursor = tokio::time::timeout(LOOK_TIME, self.store.cursor(Feed::Changed)).await;
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

/// Both remotes as a reporter looks at them.
pub fn standings(keap: &Remote, intercom: &Remote) -> [(&'static str, Standing); 2] {
    [("Keap", keap.standing()), ("Intercom", intercom.standing())]
}

fn trouble(name: &str, standing: Standing, now: DateTime<Utc>) -> Option<String> {
    let until = |time: Duration| {
        let at = TimeDelta::from_std(time)
            .ok()
            .and_then(|time| now.checked_add_signed(time))
            .unwrap_or(now);
        // To the minute, so that the text stays the same while it waits.
        let rounded = at + TimeDelta::seconds(30);
        rounded.format("%H:%M UTC").to_string()
    };
    match standing {
        Standing::Ok => None,
        Standing::Limited(time) => Some(format!("{name} is limited until {}", until(time))),
        Standing::Failing(_) => Some(format!("{name} is failing and left alone for a while")),
        Standing::Refused(_) => Some(format!(
            "{name} refuses this program: see its last error in the log"
        )),
    }
}

/// How far behind, in steps that grow with it, so that the status is not told anew at every look.
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
    fn a_limit_is_told_with_its_end() {
        let now: DateTime<Utc> = "2026-03-01T13:59:50Z".parse().unwrap();
        let told = |standing| trouble("Keap", standing, now);
        assert_eq!(told(Standing::Ok), None);
        let limited = told(Standing::Limited(Duration::from_secs(36_010)));
        assert_eq!(limited.unwrap(), "Keap is limited until 00:00 UTC");
        assert!(
            told(Standing::Refused(Duration::ZERO))
                .unwrap()
                .contains("refuses")
        );
    }

    #[test]
    fn an_endless_limit_is_no_overflow() {
        assert!(trouble("Keap", Standing::Limited(Duration::MAX), Utc::now()).is_some());
    }
}
