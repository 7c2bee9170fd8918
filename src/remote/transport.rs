//! One request over the wire and its whole answer: addresses, time limits, and words for what goes
//! wrong on the way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use reqwest::{Client, Method, redirect, retry};
use tokio::time::Instant;
use url::Url;

use super::call::{Call, Reply};
use super::failure::BuildError;
use super::proxy::Proxy;
use crate::feed::Lane;

/// No answer that we ask for comes near this size; a larger one is not read to its end.
const LARGEST_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// We close idle connections before a remote closes them in the middle of a call.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);

/// How a remote is reached.
pub struct TransportOptions {
    /// The remote's name in texts.
    pub name: &'static str,
    pub base_url: Url,
    /// The environment name of the base URL's setting, for texts.
    pub base_url_setting: &'static str,
    /// Sent with every call. The credential is not among them: each call asks for it.
    pub headers: HeaderMap,
    /// The proxy on the way; `None` to call the remote directly.
    pub proxy: Option<Proxy>,
    pub idle_connections: usize,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
}

pub(super) struct Transport {
    name: &'static str,
    base_url: Url,
    base_url_setting: &'static str,
    proxy: Option<Proxy>,
    client: Client,
    request_timeout: Duration,
    /// By lane.
    calls: [AtomicU64; 2],
}

impl Transport {
    pub(super) fn new(options: TransportOptions) -> Result<Self, BuildError> {
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
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_nodelay(true)
            // A token is for the configured host alone.
            .redirect(redirect::Policy::none())
            // The client's own repetitions would pass the pacer, and keep a copy of each call.
            .retry(retry::never());
        // The library reads no variables by itself: `Proxy` has followed their rules, and ours.
        let client = match &options.proxy {
            Some(proxy) => client.proxy(proxy.rule()?),
            None => client.no_proxy(),
        };
        let client = client.build()?;
        Ok(Self {
            name: options.name,
            base_url: options.base_url,
            base_url_setting: options.base_url_setting,
            proxy: options.proxy,
            client,
            request_timeout: options.request_timeout,
            calls: Default::default(),
        })
    }

    pub(super) fn base_url_setting(&self) -> &'static str {
        self.base_url_setting
    }

    pub(super) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    pub(super) fn calls_of(&self, lane: Lane) -> u64 {
        self.calls[lane.index()].load(Ordering::Relaxed)
    }

    /// `Err` says in words why there is no answer.
    pub(super) async fn send(
        &self,
        lane: Lane,
        call: &Call<'_>,
        authorization: HeaderValue,
    ) -> Result<Reply, String> {
        self.calls[lane.index()].fetch_add(1, Ordering::Relaxed);
        let mut request = self
            .client
            .request(call.method.clone(), self.url(call))
            .header(AUTHORIZATION, authorization);
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let may_have_a_body = matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
        if may_have_a_body && call.body.as_ref().is_none_or(Vec::is_empty) {
            // The library states no length where there is nothing to send, and front ends answer
            // 411.
            request = request.header(CONTENT_LENGTH, 0);
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
            Ok(Ok(Reply { status, headers, body }))
        }
        .await
        .unwrap_or_else(|error| Err(self.in_words(error)));
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        let took = started.elapsed();
        count(self.name, call, status, took);
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(remote = self.name, method = %call.method, path = shown(call.path), status, duration_ms, "A call was made.");
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
            // A plus means a blank in forms only. A real plus has become %2B by now.
            url.set_query(Some(&query.replace('+', "%20")));
        }
        url
    }

    /// What went wrong on the wire. The text holds addresses and ids at most.
    fn in_words(&self, error: reqwest::Error) -> String {
        let name = self.name;
        if error.is_timeout() && !error.is_connect() {
            return format!("{name} did not answer within {} ms", self.request_timeout.as_millis());
        }
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        match &self.proxy {
            _ if !error.is_connect() => format!("{name} broke off the connection: {cause}"),
            None => format!(
                "{name} cannot be reached: {cause}; check the network and {}",
                self.base_url_setting
            ),
            Some(proxy) => format!(
                "{name} cannot be reached through {proxy}: {cause}; check that proxy, {} and {}",
                proxy.setting(),
                self.base_url_setting
            ),
        }
    }
}

/// A path for people. It may hold ids, and never an e-mail address.
fn shown(path: &[&str]) -> String {
    let parts = path.iter().map(|part| if part.contains('@') { "{email}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Counts a call by its route, without ids, and by the class of its answer.
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
    let parts: Vec<&str> =
        call.path.iter().map(|part| if word(part) { part } else { "{id}" }).collect();
    let route = format!("{} /{}", call.method, parts.join("/"));
    let remote = name.to_lowercase();
    metrics::histogram!("keap_intercom_sync_call_seconds", "remote" => remote.clone()).record(took);
    metrics::counter!("keap_intercom_sync_calls_total", "remote" => remote, "route" => route, "class" => class)
        .increment(1);
}
