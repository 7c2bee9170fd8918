//! The daemon, as `keap-intercom-sync run` runs it, in a process of its own that can be killed.
#![allow(dead_code)] // The demo and the bench each use a part.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use keap_intercom_sync::commands::run::stop_on_signals;
use keap_intercom_sync::config::{self, Sources};
use keap_intercom_sync::{app, daemon, logs};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::process::{Process, end_with_parent};
use crate::sim::{Intercom, Keap};

/// The first argument of a process that is to be a daemon.
pub(crate) const WORD: &str = "daemon";

/// The variable that names the settings file of a daemon, if it has one.
pub(crate) const SETTINGS_FILE: &str = "BENCH_SETTINGS_FILE";

/// The environment of a daemon: names and values.
pub(crate) type Settings = Vec<(&'static str, String)>;

/// The settings that say where everything is. All others keep their defaults.
pub(crate) fn settings(database_url: &str, keap: (&str, &str), intercom: (&str, &str)) -> Settings {
    let text = str::to_owned;
    vec![
        ("DATABASE_URL", text(database_url)),
        ("KEAP_BASE_URL", text(keap.0)),
        ("KEAP_API_KEY", text(keap.1)),
        ("INTERCOM_BASE_URL", text(intercom.0)),
        ("INTERCOM_ACCESS_TOKEN", text(intercom.1)),
        ("HTTP_LISTEN", text("127.0.0.1:0")),
    ]
}

/// The settings for the stand-ins of this process.
pub(crate) fn settings_for(database_url: &str, keap: &Keap, intercom: &Intercom) -> Settings {
    settings(
        database_url,
        (&keap.base_url(), &keap.token()),
        (&intercom.base_url(), &intercom.token()),
    )
}

/// Starts a daemon. Its first line is the address that it listens on.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<Process> {
    Process::start(&[WORD], settings)
}

/// Runs the daemon in this process until a signal.
pub(crate) fn run() -> anyhow::Result<()> {
    end_with_parent();
    let file = std::env::var_os(SETTINGS_FILE).map(PathBuf::from);
    let settings = config::load(&Sources::from_process(file))?;
    logs::start(&settings.log)?;
    let runtime = app::runtime()?;
    let ended = runtime.block_on(async {
        let listener = TcpListener::bind(settings.http.listen)
            .await
            .context("cannot listen on the address")?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        let cancel = CancellationToken::new();
        stop_on_signals(&cancel)?;
        daemon::run(&settings, listener, cancel).await
    });
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    ended
}
