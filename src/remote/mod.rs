//! What both clients share: sending, time limits, the pacer, the breaker, and the classes of failure.

mod breaker;
mod clock;
mod failure;
mod pacer;

pub use breaker::Kind;
pub use clock::RemoteClock;
pub use failure::Failure;
pub use pacer::{Admission, Answered, Headroom, Lane, Limits, Pacer, number};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, redirect};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use breaker::{Breaker, Fault};
use pacer::Started;

/// No answer that we ask for comes near this; whatever is larger is not read to its end.
const LARGEST_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// A call that is refused for its number so often in a row meets a limit that its headers do not tell.
const MOST_REFUSALS: u32 = 8;
/// A remote that asks for more patience than this is down for that time: nobody waits for it with work in hand.
const LONGEST_PATIENCE: Duration = Duration::from_secs(90);
/// Idle connections are closed by us before a remote closes them in the middle of a call.
const IDLE: Duration = Duration::from_secs(20);

pub struct RemoteOptions {
    /// The remote's name in texts.
    pub name: &'static str,
    pub base_url: Url,
    /// The environment name of the base URL's setting, for texts.
    pub base_url_setting: &'static str,
    /// The environment name of the credential's setting, for texts.
    pub credential_setting: &'static str,
    /// Sent with every call; secret values are marked sensitive.
    pub headers: HeaderMap,
    /// A route that is always there and costs little: it tells whether the remote is back.
    pub probe: &'static [&'static str],
    /// Whether an answer to it is the remote's own.
    pub probe_understood: fn(&Reply) -> bool,
    pub limits: Box<dyn Limits>,
    pub idle_connections: usize,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    /// How long a side that needs a person is left alone.
    pub stop_recheck: Duration,
}

/// The remote's settings that are wrong, or a system that gives no TLS.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{0} holds characters that no HTTP header can carry")]
    Credential(&'static str),
    #[error(
        "no HTTPS client could be made; are the system's certificate authorities installed (package ca-certificates)?"
    )]
    Client(#[from] reqwest::Error),
}

/// One remote API.
pub struct Remote {
    name: &'static str,
    base_url: Url,
    base_url_setting: &'static str,
    credential_setting: &'static str,
    probe: &'static [&'static str],
    probe_understood: fn(&Reply) -> bool,
    client: Client,
    pacer: Pacer,
    breaker: Mutex<Breaker>,
    /// A trial is over.
    tried: Notify,
    stopped: Mutex<Option<Stopped>>,
    stop_recheck: Duration,
    request_timeout: Duration,
    /// By lane: urgent, bulk.
    calls: [AtomicU64; 2],
}

/// How a side stands, and when it is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Ok,
    /// A limit leaves no calls for so long.
    Limited(Duration),
    /// It kept failing and is left alone.
    Failing(Duration),
    /// A person must act.
    Refused(Duration),
}

struct Stopped {
    why: String,
    until: Instant,
}

/// What the side says to a call.
enum Checked<'a> {
    May(Ticket<'a>),
    /// A trial is under way; it lasts so long at most.
    Wait(Duration),
}

/// The leave to make a call. Its end is the end of the trial, if it is one, however the call ends.
struct Ticket<'a> {
    remote: &'a Remote,
    trial: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.trial {
            lock(&self.remote.breaker).tried();
            self.remote.tried.notify_waiters();
        }
    }
}

/// A call to be made. It may be sent more than once: only when the remote refused it unread (429).
pub struct Call<'a> {
    pub method: Method,
    /// Parts of the path behind the base URL; each is escaped.
    pub path: &'a [&'a str],
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Vec<u8>>,
    pub kind: Kind,
    /// The Keap contacts that it is for, where it is for some only.
    pub about: Vec<i64>,
    /// Whether an answer is the remote's own. What a proxy or a page says in its place is a failure of the remote's.
    pub understood: fn(&Reply) -> bool,
    /// Asked at the last moment, after all waiting: whether the call may still be made.
    pub only_while: Option<&'a Guard>,
}

/// Says whether this process may still write.
pub type Guard = dyn Fn() -> bool + Send + Sync;

impl<'a> Call<'a> {
    pub fn get(path: &'a [&'a str]) -> Self {
        Self {
            method: Method::GET,
            path,
            query: Vec::new(),
            body: None,
            kind: Kind::Read,
            about: Vec::new(),
            understood: |_| true,
            only_while: None,
        }
    }
}

/// An answer that is about the call: neither a refusal for its number nor a failing server.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    /// The remote's time, cut to the second.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        date(&self.headers)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A maintenance or login page in place of an answer.
    pub fn is_html(&self) -> bool {
        self.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
    }
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|date| date.to_utc())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = number(headers, RETRY_AFTER.as_str())?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

impl Remote {
    pub fn new(options: RemoteOptions) -> Result<Self, BuildError> {
        // The first of both clients installs it; that it is installed already is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = options.headers;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("keap-intercom-sync/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .timeout(options.request_timeout)
            .pool_max_idle_per_host(options.idle_connections)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            // A token is for the configured host alone, and no proxy is used that the settings do not name.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            name: options.name,
            base_url: options.base_url,
            base_url_setting: options.base_url_setting,
            credential_setting: options.credential_setting,
            probe: options.probe,
            probe_understood: options.probe_understood,
            client,
            pacer: Pacer::new(options.limits),
            breaker: Mutex::default(),
            tried: Notify::new(),
            stopped: Mutex::default(),
            stop_recheck: options.stop_recheck,
            request_timeout: options.request_timeout,
            calls: Default::default(),
        })
    }

    /// The value of an `Authorization` header; `setting` names the credential where it cannot be one.
    pub fn bearer(secret: &str, setting: &'static str) -> Result<HeaderValue, BuildError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {secret}"))
            .map_err(|_| BuildError::Credential(setting))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Calls made since the start, probes and refused ones included.
    pub fn calls(&self) -> u64 {
        self.calls_of(Lane::Urgent) + self.calls_of(Lane::Bulk)
    }

    pub fn calls_of(&self, lane: Lane) -> u64 {
        self.calls[lane.index()].load(Ordering::Relaxed)
    }

    /// How the side stands, without a call.
    pub fn standing(&self) -> Standing {
        let now = Instant::now();
        if let Some(stopped) = &*lock(&self.stopped) {
            return Standing::Refused(stopped.until.saturating_duration_since(now));
        }
        if let Some(pause) = lock(&self.breaker).open_for(now) {
            return Standing::Failing(pause);
        }
        match self.pacer.look(now) {
            Admission::TooLong { retry_in, .. } => Standing::Limited(retry_in),
            Admission::Now | Admission::Wait(_) => Standing::Ok,
        }
    }

    pub fn headroom(&self) -> Vec<Headroom> {
        self.pacer.headroom()
    }

    /// Makes a call, within the limits. Waiting for a limit is part of it, also when the remote refused the first try for its number.
    pub async fn send(&self, lane: Lane, call: &Call<'_>) -> Result<Reply, Failure> {
        for _ in 0..MOST_REFUSALS {
            let (started, ticket) = self.admit(lane, call.kind).await?;
            if call.only_while.is_some_and(|guard| !guard()) {
                let why = format!(
                    "{} is not called: this process no longer holds the lease",
                    self.name
                );
                return Err(Failure::Down {
                    why,
                    retry_in: Duration::from_secs(1),
                });
            }
            let reply = match self.transport(lane, call).await {
                Ok(reply) => reply,
                Err(why) => {
                    drop(started);
                    return Err(self.sick(call, &ticket, why));
                }
            };
            started.answered(&reply.headers, reply.status == 429);
            match reply.status {
                429 => match retry_after(&reply.headers) {
                    Some(retry_in) if retry_in > LONGEST_PATIENCE => {
                        return Err(self.down("asks to be left alone (429)", retry_in));
                    }
                    _ => tracing::debug!(
                        remote = self.name,
                        "A call was refused for its number (429); it waits and is repeated."
                    ),
                },
                // 501 and 505 are left out: they speak of the request, not of the server's health.
                408 | 500 | 502..=504 | 506..=599 => {
                    return Err(self.sick_answer(call, &ticket, &reply));
                }
                401 => {
                    return Err(self.stop(format!(
                        "refuses the credential (401); check {}",
                        self.credential_setting
                    )));
                }
                300..=399 => {
                    return Err(self.stop(format!(
                        "answers with a redirect ({}), which is never followed; check {}",
                        reply.status, self.base_url_setting
                    )));
                }
                _ if !(call.understood)(&reply) => {
                    let why = format!(
                        "{} sent an answer that is not understood ({})",
                        self.name, reply.status
                    );
                    return Err(self.sick(call, &ticket, why));
                }
                _ => {
                    lock(&self.breaker).succeeded(call.kind, ticket.trial);
                    return Ok(reply);
                }
            }
        }
        Err(self.down(
            "keeps refusing calls for their number (429)",
            Duration::from_secs(60),
        ))
    }

    /// Stops the side until a person acts, or until it is looked at again.
    pub fn stop(&self, what: impl AsRef<str>) -> Failure {
        let why = format!("{} {}", self.name, what.as_ref());
        *lock(&self.stopped) = Some(Stopped {
            why: why.clone(),
            until: Instant::now() + self.stop_recheck,
        });
        Failure::Stop {
            why,
            retry_in: self.stop_recheck,
        }
    }

    /// The base URL leads to no API.
    pub fn wrong_address(&self, status: u16) -> Failure {
        self.stop(format!(
            "answers {status} with a page where an API should be; check {}",
            self.base_url_setting
        ))
    }

    /// Reads an answer; what cannot be read is a failure in passing, because half an answer and a maintenance page look so too.
    pub fn parse<T: DeserializeOwned>(&self, reply: &Reply) -> Result<T, Failure> {
        self.parse_borrowed(&reply.body)
    }

    pub fn parse_borrowed<'de, T: serde::Deserialize<'de>>(
        &self,
        body: &'de [u8],
    ) -> Result<T, Failure> {
        // The parser's own text may quote what it read.
        serde_json::from_slice(body).map_err(|error| {
            Failure::again(format!(
                "{} sent an answer that is not understood (at line {}, column {})",
                self.name,
                error.line(),
                error.column()
            ))
        })
    }

    fn down(&self, what: &str, retry_in: Duration) -> Failure {
        Failure::Down {
            why: format!("{} {what}", self.name),
            retry_in,
        }
    }

    /// A failed call: the side is down once too many have failed in a row.
    fn sick(&self, call: &Call<'_>, ticket: &Ticket<'_>, why: String) -> Failure {
        let fault =
            lock(&self.breaker).failed(Instant::now(), call.kind, &call.about, ticket.trial);
        match fault {
            Fault::Contact => Failure::again(why),
            Fault::Remote(retry_in) => Failure::Down { why, retry_in },
            // A little longer than the pause, so that another contact is on trial then.
            Fault::Trial(pause) => Failure::Again {
                why,
                put_off: Some(pause.mul_f64(1.25)),
            },
        }
    }

    fn sick_answer(&self, call: &Call<'_>, ticket: &Ticket<'_>, reply: &Reply) -> Failure {
        if let Some(pause) = retry_after(&reply.headers).filter(|pause| !pause.is_zero()) {
            let pause = pause.min(Duration::from_secs(3600));
            lock(&self.breaker).pause(Instant::now(), pause);
        }
        self.sick(
            call,
            ticket,
            format!("{} failed with {}", self.name, reply.status),
        )
    }

    /// Finds out, without a call that is about a contact, whether the side may be called: nothing needs to be read for a side
    /// that takes nothing.
    pub async fn ready(&self, lane: Lane) -> Result<(), Failure> {
        match self.check_side(lane, Kind::Read).await? {
            Checked::May(_) | Checked::Wait(_) => Ok(()),
        }
    }

    /// Waits for the place of one call; fails at once when the side is stopped or down.
    async fn admit(&self, lane: Lane, kind: Kind) -> Result<(Started<'_>, Ticket<'_>), Failure> {
        let ticket = loop {
            let tried = self.tried.notified();
            let mut tried = std::pin::pin!(tried);
            tried.as_mut().enable();
            match self.check_side(lane, kind).await? {
                Checked::May(ticket) => break ticket,
                // The trial speaks for this call as well.
                Checked::Wait(longest) => {
                    let _ = tokio::time::timeout(longest, tried).await;
                }
            }
        };
        let started = self
            .pacer
            .start(lane)
            .await
            .map_err(|(why, retry_in)| self.down(&why, retry_in))?;
        if ticket.trial {
            return Ok((started, ticket));
        }
        // Much may have been learnt while this call waited for its place.
        match self.check_side(lane, kind).await? {
            Checked::May(ticket) => Ok((started, ticket)),
            Checked::Wait(_) => Err(self.down(
                "is left alone for a moment, until another call has shown that it is back",
                Duration::from_millis(250),
            )),
        }
    }

    async fn check_side(&self, lane: Lane, kind: Kind) -> Result<Checked<'_>, Failure> {
        loop {
            self.check_stopped()?;
            let admission = lock(&self.breaker).admit(Instant::now(), kind);
            let trial = match admission {
                breaker::Admission::Call => false,
                breaker::Admission::Trial => true,
                breaker::Admission::Wait(longest) => return Ok(Checked::Wait(longest)),
                breaker::Admission::Pause(retry_in) => {
                    return Err(self.down(
                        "is left alone for a moment, because it kept failing",
                        retry_in,
                    ));
                }
                breaker::Admission::Probe => {
                    self.probe(lane).await?;
                    continue;
                }
            };
            return Ok(Checked::May(Ticket {
                remote: self,
                trial,
            }));
        }
    }

    fn check_stopped(&self) -> Result<(), Failure> {
        let mut stopped = lock(&self.stopped);
        let now = Instant::now();
        match &*stopped {
            Some(Stopped { why, until }) if now < *until => Err(Failure::Stop {
                why: why.clone(),
                retry_in: *until - now,
            }),
            _ => {
                *stopped = None;
                Ok(())
            }
        }
    }

    /// Finds out, by a call that changes nothing and is about no contact, whether the remote is back.
    async fn probe(&self, lane: Lane) -> Result<(), Failure> {
        let started = match self.pacer.start(lane).await {
            Ok(started) => started,
            Err((why, retry_in)) => {
                lock(&self.breaker).probed(Instant::now(), false);
                return Err(self.down(&why, retry_in));
            }
        };
        let (well, why) = match self.transport(lane, &Call::get(self.probe)).await {
            Ok(reply) => {
                started.answered(&reply.headers, reply.status == 429);
                let (name, status) = (self.name, reply.status);
                if status >= 500 || status == 408 {
                    (false, format!("{name} failed with {status}"))
                } else {
                    let understood = status >= 300 || (self.probe_understood)(&reply);
                    let why = format!("{name} sent an answer that is not understood ({status})");
                    (understood, why)
                }
            }
            Err(why) => (false, why),
        };
        match lock(&self.breaker).probed(Instant::now(), well) {
            None => Ok(()),
            Some(retry_in) => Err(Failure::Down { why, retry_in }),
        }
    }

    /// One request over the wire and its whole answer; `Err` says in words why there is none.
    async fn transport(&self, lane: Lane, call: &Call<'_>) -> Result<Reply, String> {
        self.calls[lane.index()].fetch_add(1, Ordering::Relaxed);
        let mut request = self.client.request(call.method.clone(), self.url(call));
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let started = Instant::now();
        let reply = async {
            let mut response = request.send().await?;
            let status = response.status().as_u16();
            let headers = std::mem::take(response.headers_mut());
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > LARGEST_ANSWER_BYTES {
                    return Ok(Err(format!(
                        "{} sent an answer of more than {LARGEST_ANSWER_BYTES} bytes",
                        self.name
                    )));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Ok(Reply {
                status,
                headers,
                body,
            }))
        }
        .await
        .unwrap_or_else(|error| Err(self.in_words(error)));
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        let took = started.elapsed();
        count(self.name, call, status, took);
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(remote = self.name, method = %call.method, path = call.path.join("/"), status, duration_ms, "A call was made.");
        reply
    }

    fn url(&self, call: &Call<'_>) -> Url {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(call.path);
        }
        if !call.query.is_empty() {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&call.query)
                .finish();
            // A plus is a blank in forms only; a real plus is written %2B by then.
            url.set_query(Some(&query.replace('+', "%20")));
        }
        url
    }

    /// What went wrong on the wire; addresses and ids at most.
    fn in_words(&self, error: reqwest::Error) -> String {
        let name = self.name;
        if error.is_timeout() && !error.is_connect() {
            return format!(
                "{name} did not answer within {} ms",
                self.request_timeout.as_millis()
            );
        }
        let what = if error.is_connect() {
            "cannot be reached"
        } else {
            "broke off the connection"
        };
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let advice = if error.is_connect() {
            format!("; check the network and {}", self.base_url_setting)
        } else {
            String::new()
        };
        format!("{name} {what}: {cause}{advice}")
    }
}

/// Counts a call by its route, its ids left out, and the class of its answer.
fn count(name: &'static str, call: &Call<'_>, status: u16, took: Duration) {
    let class = match status {
        0 => "no_answer",
        200..=299 => "ok",
        429 => "limited",
        500.. => "failed",
        _ => "refused",
    };
    let word = |part: &str| {
        part.len() <= 24
            && (part.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
                || matches!(part, "v1" | "v2"))
    };
    let parts: Vec<&str> = call
        .path
        .iter()
        .map(|part| if word(part) { part } else { "{id}" })
        .collect();
    let route = format!("{} /{}", call.method, parts.join("/"));
    let remote = name.to_lowercase();
    metrics::histogram!("keap_intercom_sync_call_seconds", "remote" => remote.clone()).record(took);
    metrics::counter!("keap_intercom_sync_calls_total", "remote" => remote, "route" => route, "class" => class)
        .increment(1);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept under these locks is replaced whole, so a panic cannot leave half of it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
