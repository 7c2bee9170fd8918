//! What a client sends and what it gets back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{DATE, HeaderMap};

use super::breaker::Kind;
use super::pacer::retry_after;

/// A call. It is sent a second time only when the remote refused it without reading it (401 and
/// 429).
pub struct Call<'a> {
    pub method: Method,
    /// Parts of the path after the base URL; each is escaped.
    pub path: &'a [&'a str],
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Vec<u8>>,
    pub kind: Kind,
    /// The Keap contacts that the call is about; empty if it is about none in particular.
    pub about: Vec<i64>,
    /// Whether an answer comes from the remote itself. What a proxy or a maintenance page says
    /// instead counts as a failure of the remote.
    pub understood: fn(&Reply) -> bool,
    /// The route exists in every account: a 404 is about the address and not about a contact.
    pub always_exists: bool,
    /// Statuses that are an answer to this call, although they may refuse the whole side elsewhere.
    pub answers: &'static [u16],
    /// Asked at the last moment, after all waiting: whether the call may still be made.
    pub only_while: Option<&'a Guard>,
}

/// Whether a write about these contacts may be made now.
pub type Guard = dyn Fn(&[i64]) -> Result<(), Closed> + Send + Sync;

/// Why no write may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// Another process may hold the lease by now.
    LeaseLost,
    /// A person has paused it. The text says what, since when and by whom.
    Paused(String),
}

impl<'a> Call<'a> {
    /// Fails if the call may not be made now.
    pub(super) fn may_go(&self) -> Result<(), Closed> {
        self.only_while.map_or(Ok(()), |guard| guard(&self.about))
    }

    pub fn get(path: &'a [&'a str]) -> Self {
        Self {
            method: Method::GET,
            path,
            query: Vec::new(),
            body: None,
            kind: Kind::Read,
            about: Vec::new(),
            understood: |_| true,
            always_exists: false,
            answers: &[],
            only_while: None,
        }
    }
}

/// What the content of an answer says, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// Nothing beyond the status.
    Nothing,
    /// The remote failed. The text says how, and follows the remote's name.
    Failed(String),
    /// The remote refuses the call for a reason that may hold for the whole side. The same text.
    Refused(String),
}

/// An answer that is about the call: neither a refusal for its number (429) nor a failing server.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    /// The remote's time, cut to the second.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        let text = self.header(DATE.as_str())?;
        DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A maintenance or login page instead of an answer.
    pub fn is_html(&self) -> bool {
        self.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers)
    }
}
