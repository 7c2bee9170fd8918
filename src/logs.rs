//! Logs: sentences with dotted fields on standard error, as text or JSON; never a person or a secret.

use std::io::{IsTerminal, Write, stderr};
use std::sync::LazyLock;

use anyhow::Context;
use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// The progress bars of this process: log lines make room for them, so that neither tears the other.
pub fn bars() -> &'static MultiProgress {
    static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
    &BARS
}

/// Standard error, beside whatever bars are shown there.
struct BesideBars;

impl Write for BesideBars {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        bars().suspend(|| stderr().write(line))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        stderr().flush()
    }
}

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
        .with_writer(|| BesideBars);
    match log.format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder
            .with_ansi(stderr().is_terminal())
            .with_target(false)
            .init(),
    }
    Ok(())
}
