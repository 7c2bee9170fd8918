//! A webhook: one POST of JSON, once.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, redirect, retry};
use url::Url;

use super::forms;
use super::message::Message;
use super::undelivered::Undelivered;
use crate::remote::Proxy;

/// No answer that says anything is longer; the rest is not read.
const READ_BYTES: usize = 4096;
/// The longest word of an answer that is shown.
const LONGEST_WORD: usize = 40;

/// A webhook with its client.
pub struct Webhook {
    name: &'static str,
    /// Holds a token. Only the host is ever shown.
    address: Url,
    proxy: Option<Proxy>,
    client: Client,
    timeout: Duration,
}

impl Webhook {
    /// Prepares the client; nothing is called yet.
    pub(super) fn new(
        name: &'static str,
        address: Url,
        proxy: Option<Proxy>,
        timeout: Duration,
    ) -> Result<Self, String> {
        // The first client installs it; that it is installed already is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("keap-intercom-sync/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeout)
            .timeout(timeout)
            // Messages are rare, so no connection waits for the next one.
            .pool_max_idle_per_host(0)
            // A token is for the configured host alone.
            .redirect(redirect::Policy::none())
            .retry(retry::never());
        let client = match &proxy {
            Some(proxy) => client.proxy(proxy.rule().map_err(|error| error.to_string())?),
            None => client.no_proxy(),
        };
        let client = client.build().map_err(|error| error.without_url().to_string())?;
        Ok(Self { name, address, proxy, client, timeout })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The host, and the proxy on the way.
    pub(super) fn place(&self) -> String {
        let host = self.address.host_str().unwrap_or_default();
        let way = self.proxy.as_ref().map(|proxy| format!(", through {proxy}")).unwrap_or_default();
        format!("{host}{way}")
    }

    pub(super) async fn send(&self, message: &Message) -> Result<String, Undelivered> {
        let body = forms::body(self.name, message).to_string();
        let request =
            self.client.post(self.address.clone()).header(CONTENT_TYPE, "application/json");
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|error| Undelivered::because(self.in_words(error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(format!("answered {}", status.as_u16()));
        }
        let wait = retry_after(&response);
        let said = word(response).await.map(|word| format!(", {word}")).unwrap_or_default();
        let redirect =
            if status.is_redirection() { ", a redirect, which is not followed" } else { "" };
        Err(Undelivered { why: format!("answered {}{redirect}{said}", status.as_u16()), wait })
    }

    /// What went wrong on the wire, without the address.
    fn in_words(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {} ms", self.timeout.as_millis());
        }
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        match &self.proxy {
            Some(proxy) if error.is_connect() => {
                format!("cannot be reached through {proxy}: {cause}")
            }
            _ if error.is_connect() => format!("cannot be reached: {cause}"),
            _ => format!("the connection broke off: {cause}"),
        }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The word that a refusal is, such as Slack's `invalid_token`. Any other text is left out: it may
/// repeat what was sent.
async fn word(mut response: Response) -> Option<String> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > READ_BYTES {
            return None;
        }
    }
    let text = String::from_utf8(body).ok()?;
    let word = text.trim();
    let is_word = (1..=LONGEST_WORD).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_word.then(|| word.to_owned())
}
