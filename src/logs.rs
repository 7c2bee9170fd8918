//! Logs: sentences with dotted fields on standard error, as text or JSON; never a person or a secret.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging. Call once, before anything is logged.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter).with_context(|| {
        format!(
            "RUST_LOG (log.filter) is not a log filter, for example \"info\": {:?}",
            log.filter
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    match log.format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder
            .with_ansi(stderr().is_terminal())
            .with_target(false)
            .init(),
    }
    Ok(())
}
