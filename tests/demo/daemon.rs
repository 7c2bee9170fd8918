//! The daemon: the code that `keap-intercom-sync run` runs, in a process of its own that can be killed.
#![allow(dead_code)] // Each user needs a part.

use std::io::Write;

use anyhow::Context;
use keap_intercom_sync::commands::run::stop_on_signals;
use keap_intercom_sync::config::{self, Sources};
use keap_intercom_sync::{app, logs};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::process::{Process, end_with_parent};
use crate::sim::{Intercom, Keap};

/// The first word that makes a process a daemon.
pub const WORD: &str = "daemon";

/// What the daemon is told: the names of its environment and their values.
pub type Settings = Vec<(&'static str, String)>;

/// Where everything is. The rest stays as it is by default.
pub fn settings(database_url: &str, keap: (&str, &str), intercom: (&str, &str)) -> Settings {
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

/// The settings for stand-ins in this process.
pub fn settings_for(database_url: &str, keap: &Keap, intercom: &Intercom) -> Settings {
    settings(
        database_url,
        (&keap.base_url(), &keap.token()),
        (&intercom.base_url(), &intercom.token()),
    )
}

/// Starts one; its first line is the address that it listens on.
pub fn start(settings: &Settings) -> anyhow::Result<Process> {
    Process::start(&[WORD], settings)
}

/// Is the daemon, until a signal.
pub fn run() -> anyhow::Result<()> {
    end_with_parent();
    let settings = config::load(&Sources::from_process(None))?;
    logs::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let listener = TcpListener::bind(settings.http.listen)
            .await
            .context("no port to listen on")?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        let cancel = CancellationToken::new();
        stop_on_signals(&cancel)?;
        app::run(&settings, listener, cancel).await
    });
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    ended
}
