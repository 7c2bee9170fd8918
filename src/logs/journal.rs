//! The journal of systemd, in its own protocol: priorities, and every field as a field that
//! `journalctl` can ask for.
//!
//! The crate tracing-journald is not used: its lines lack their fields and the causes of an error,
//! and a journal that takes no lines would block the daemon.

use std::fmt::{self, Debug, Write as _};
use std::io::{ErrorKind, Write as _, stderr};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";
const IDENTIFIER: &str = "keap-intercom-sync";
/// A longer value is cut: a datagram has a limit, and nobody reads such a long line.
const LONGEST_VALUE: usize = 8 * 1024;

/// Writes log lines to the journal. A line that the journal does not take at once is dropped and
/// counted, so that the work goes on.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    lost: AtomicU64,
}

impl Journal {
    /// The journal, if systemd has connected standard error to it.
    pub(super) fn of_this_process() -> Option<Self> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let stderr = std::fs::metadata("/proc/self/fd/2").ok()?;
        if !names(&stream, stderr.dev(), stderr.ino()) || !Path::new(SOCKET).exists() {
            return None;
        }
        Self::at(SOCKET.into()).ok()
    }

    fn at(path: PathBuf) -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path, lost: AtomicU64::new(0) })
    }

    fn send(&self, line: &Line) {
        let lost = self.lost.load(Ordering::Relaxed);
        let mut entry = line.entry(IDENTIFIER);
        if lost > 0 {
            put(&mut entry, "LINES_LOST_BEFORE", &lost.to_string());
        }
        match self.socket.send_to(&entry, &self.path) {
            Ok(_) => {
                self.lost.fetch_sub(lost, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            // The journal may be restarting. systemd reads standard error too, with the priority
            // in front.
            Err(_) => {
                let _ = writeln!(stderr(), "<{}>{}", line.priority, line.text());
            }
        }
    }
}

/// Whether `JOURNAL_STREAM` names this device and inode. A process that we start may have another
/// standard error.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':') == Some((&device.to_string(), &inode.to_string()))
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line::new(*metadata.level(), metadata.target());
        event.record(&mut line);
        self.send(&line);
    }
}

/// One log line.
struct Line {
    priority: u8,
    target: String,
    sentence: String,
    /// Field names as they are in the code, and values.
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn new(level: Level, target: &str) -> Self {
        let priority = match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        Self { priority, target: target.to_owned(), sentence: String::new(), fields: Vec::new() }
    }

    fn take(&mut self, field: &Field, mut value: String) {
        if value.len() > LONGEST_VALUE {
            let end = (0..=LONGEST_VALUE).rev().find(|end| value.is_char_boundary(*end));
            value.truncate(end.unwrap_or(0));
            value.push('…');
        }
        match field.name() {
            "message" => self.sentence = value,
            name => self.fields.push((name, value)),
        }
    }

    /// What `journalctl` shows: the sentence and its fields.
    fn text(&self) -> String {
        let mut text = self.sentence.clone();
        for (name, value) in &self.fields {
            let _ = write!(text, " {name}={value}");
        }
        text
    }

    fn entry(&self, identifier: &str) -> Vec<u8> {
        let mut entry = Vec::new();
        put(&mut entry, "MESSAGE", &self.text());
        put(&mut entry, "PRIORITY", &self.priority.to_string());
        put(&mut entry, "SYSLOG_IDENTIFIER", identifier);
        put(&mut entry, "TARGET", &self.target);
        for (name, value) in &self.fields {
            put(&mut entry, &journal_name(name), value);
        }
        entry
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(next) = cause {
            let _ = write!(text, ": {next}");
            cause = next.source();
        }
        self.take(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, fmt::format(format_args!("{value:?}")));
    }
}

/// `keap.contact_id` becomes KEAP_CONTACT_ID: capitals, digits and underscores, a letter first.
fn journal_name(name: &str) -> String {
    let upper = name.chars().map(|letter| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' => letter.to_ascii_uppercase(),
        _ => '_',
    });
    let name: String = upper.skip_while(|letter| !letter.is_ascii_alphabetic()).collect();
    if name.is_empty() { "FIELD".into() } else { name }
}

/// Values with line ends are sent with their length, as the protocol demands.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend((value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn logged(log: impl FnOnce()) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journald = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::at(path).unwrap());
        tracing::subscriber::with_default(subscriber, log);
        let mut bytes = vec![0; 65_536];
        let length = journald.recv(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn a_line_has_its_priority_its_fields_and_the_causes_of_its_error() {
        let cause = std::io::Error::other("refused");
        let error = anyhow::Error::from(cause).context("Keap cannot be reached");
        let bytes = logged(|| {
            tracing::warn!(
                keap.contact_id = 42,
                error = AsRef::<dyn std::error::Error>::as_ref(&error),
                "The lane waits."
            );
        });
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.contains(
                &"MESSAGE=The lane waits. keap.contact_id=42 error=Keap cannot be reached: refused"
            ),
            "{text}"
        );
        for line in [
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=keap-intercom-sync",
            "KEAP_CONTACT_ID=42",
            "ERROR=Keap cannot be reached: refused",
        ] {
            assert!(lines.contains(&line), "{line} is missing: {text}");
        }
    }

    #[test]
    fn values_with_line_ends_are_sent_with_their_length_and_long_ones_are_cut() {
        let long = "ü".repeat(LONGEST_VALUE);
        let bytes = logged(|| tracing::error!(long, "one\nPRIORITY=0"));
        let start = b"MESSAGE\n";
        assert!(bytes.starts_with(start));
        let length = u64::from_le_bytes(bytes[start.len()..start.len() + 8].try_into().unwrap());
        let rest = &bytes[start.len() + 8 + usize::try_from(length).unwrap() + 1..];
        assert!(rest.starts_with(b"PRIORITY=3\n"), "no field can be smuggled in");
        assert!(bytes.len() < 3 * LONGEST_VALUE);
    }

    #[test]
    fn a_journal_that_takes_nothing_blocks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(path).unwrap();
        let line = Line::new(Level::INFO, "test");
        for _ in 0..10_000 {
            journal.send(&line);
        }
        let lost = journal.lost.load(Ordering::Relaxed);
        assert!(lost > 0);
        let mut bytes = [0; 4096];
        journald.set_nonblocking(true).unwrap();
        while journald.recv(&mut bytes).is_ok() {}
        journal.send(&line);
        let length = journald.recv(&mut bytes).unwrap();
        let line = String::from_utf8(bytes[..length].to_vec()).unwrap();
        assert!(line.contains(&format!("LINES_LOST_BEFORE={lost}\n")), "{line}");
    }

    #[test]
    fn field_names_become_names_of_the_journal() {
        assert_eq!(journal_name("keap.contact_id"), "KEAP_CONTACT_ID");
        assert_eq!(journal_name("_1-x"), "X");
        assert_eq!(journal_name("_"), "FIELD");
        assert!(names("8:4711", 8, 4711));
        assert!(!names("8:4711", 8, 4712) && !names("", 0, 0));
    }
}
