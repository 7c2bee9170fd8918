//! Harmless calls: calls that change nothing, and whose answers show what a remote takes. They tell
//! a contact that fails from a remote that fails.

use futures_util::future::BoxFuture;
use reqwest::Method;
use tokio::time::Instant;

use super::breaker::{KINDS, Kind};
use super::call::Reply;

/// A call that changes nothing, whatever the remote holds.
pub struct Harmless {
    pub method: Method,
    /// Parts of the path after the base URL.
    pub path: Vec<String>,
    pub body: Option<Vec<u8>>,
    /// Whether the remote answers as it does to a call that it takes.
    pub is_taken: fn(&Reply) -> bool,
    /// What must be true just before, or the call is not harmless.
    pub condition: Option<Condition>,
}

/// A read, and what it must show.
pub struct Condition {
    pub path: Vec<String>,
    pub holds: Box<dyn Fn(&Reply) -> bool + Send + Sync>,
}

/// Finds a harmless call of a kind that is about none of these contacts. `None`: none is known now.
pub type Prover = dyn Fn(Kind, Vec<i64>) -> BoxFuture<'static, Option<Harmless>> + Send + Sync;

/// What a harmless call has shown about its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The remote takes such calls.
    Taken,
    /// It takes none.
    Failed,
    /// No harmless call of this kind is known now.
    Unknown,
}

/// What the remote answered when it was asked whether it serves us at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Serves,
    /// It refuses us.
    Refuses {
        why: String,
        status: u16,
    },
    /// It does not work, and this is why.
    Failed(String),
}

/// The last answers to harmless calls, each with the time when its call began. A call that began
/// before that time, and failed, need not ask again.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub side: Option<(Instant, Verdict)>,
    /// By kind.
    pub kinds: [Option<(Instant, Proof)>; KINDS],
}
