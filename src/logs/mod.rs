//! Logs: sentences with dotted fields. They go to the journal if systemd runs the program, else to
//! standard error as text or JSON. They never hold a person's data or a secret.

mod journal;

use std::io::{IsTerminal, Write, stderr};
use std::sync::LazyLock;

use anyhow::Context;
use indicatif::MultiProgress;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use self::journal::Journal;
use crate::config::{Log, LogFormat};

/// The progress bars of this process. Log lines are printed above them, so that neither breaks the
/// other.
pub fn bars() -> &'static MultiProgress {
    static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
    &BARS
}

/// Standard error, next to the progress bars that are shown there.
struct BesideBars;

impl Write for BesideBars {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        bars().suspend(|| stderr().write(line))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        stderr().flush()
    }
}

/// Changes what is logged while the program runs.
pub struct FilterSwitch(reload::Handle<EnvFilter, Registry>);

impl FilterSwitch {
    pub fn set(&self, text: &str) -> anyhow::Result<()> {
        self.0.reload(filter(text)?).context("the log filter could not be changed")
    }
}

/// Libraries whose log lines do not help an operator. The operator's own directive for them wins.
const QUIET: &str = "tokio_cron_scheduler=warn";

/// The filter, from the text of the setting.
pub fn filter(text: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("{QUIET},{text}")).with_context(|| {
        format!("RUST_LOG (log.filter) is not a log filter, for example \"info\": {text:?}")
    })
}

/// Starts logging. Call it once, before anything is logged.
pub fn start(log: &Log) -> anyhow::Result<FilterSwitch> {
    let (filter, switch) = reload::Layer::new(filter(&log.filter)?);
    // Where standard error is closed, its own complaint would panic.
    let lines = fmt::layer().with_writer(|| BesideBars).log_internal_errors(false);
    let lines = match (log.format, Journal::of_this_process()) {
        (LogFormat::Json, _) => lines.json().flatten_event(true).boxed(),
        (LogFormat::Text, Some(journal)) => journal.boxed(),
        (LogFormat::Text, None) => {
            lines.with_ansi(stderr().is_terminal()).with_target(false).boxed()
        }
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(FilterSwitch(switch))
}
