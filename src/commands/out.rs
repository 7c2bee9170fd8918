//! What commands print. A reader that goes away, as `head` does, ends the output and not the
//! command: its work goes on, and its exit status stays true.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};

use super::{NOTHING_DONE, wrap};

/// Writes lines for people to standard output. In a terminal, a line that is too long wraps between
/// words.
macro_rules! outln {
    () => { $crate::commands::out::line(format_args!("")) };
    ($($part:tt)*) => { $crate::commands::out::line(format_args!($($part)*)) };
}

/// Writes a text to standard output as it is: a document for programs, or a command to copy.
macro_rules! out {
    ($($part:tt)*) => { $crate::commands::out::text(format_args!($($part)*)) };
}

/// Writes lines for people to standard error.
macro_rules! errln {
    ($($part:tt)*) => { $crate::commands::out::error(format_args!($($part)*)) };
}

/// The reader of standard output has gone away, or the output cannot be written.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Why the output cannot be written, if no reader is to blame.
static FAILURE: OnceLock<String> = OnceLock::new();

/// Whether colours are shown. They are left out in files and pipes, and where `NO_COLOR` asks for
/// it.
fn colours() -> ColorChoice {
    static CHOICE: OnceLock<ColorChoice> = OnceLock::new();
    *CHOICE.get_or_init(|| AutoStream::choice(&stdout()))
}

/// Writes a text to standard output.
pub fn text(text: Arguments<'_>) {
    if is_closed() {
        return;
    }
    let written = AutoStream::new(stdout().lock(), colours()).write_fmt(text);
    note(written);
}

/// Writes lines to standard output.
pub fn line(line: Arguments<'_>) {
    let line = line.to_string();
    text(format_args!("{}\n", wrap::fitting(&line, wrap::width_of(&stdout()))));
}

/// Writes lines to standard error. If nobody reads them, they are lost.
pub fn error(line: Arguments<'_>) {
    let line = line.to_string();
    let _ = writeln!(stderr().lock(), "{}", wrap::fitting(&line, wrap::width_of(&stderr())));
}

/// Whether nobody reads standard output any more. A command that only prints may end then.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Writes what is still kept back. Returns the exit status: that of the command, unless its output
/// could not be written.
pub fn end(status: ExitCode) -> ExitCode {
    note(stdout().lock().flush());
    match FAILURE.get() {
        None => status,
        Some(why) => {
            error(format_args!("Error: the output cannot be written: {why}"));
            ExitCode::from(NOTHING_DONE)
        }
    }
}

fn note(written: std::io::Result<()>) {
    let Err(error) = written else { return };
    CLOSED.store(true, Ordering::Relaxed);
    if error.kind() != ErrorKind::BrokenPipe {
        let _ = FAILURE.set(error.to_string());
    }
}
