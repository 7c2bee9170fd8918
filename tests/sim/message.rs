//! A request and its answer, in the form that the stand-ins work with.

use std::io::Write;
use std::pin::Pin;
use std::sync::OnceLock;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use flate2::write::{GzEncoder, ZlibEncoder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) struct Request {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    json: OnceLock<Option<Value>>,
}

impl Request {
    pub(super) fn new(parts: Parts, body: Bytes) -> Request {
        Request {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body,
            json: OnceLock::new(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// Whether it may have a body and does not say how long that is.
    pub(super) fn lacks_length(&self) -> bool {
        matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
            && !["content-length", "transfer-encoding"]
                .iter()
                .any(|name| self.headers.contains_key(*name))
    }

    /// The decoded parameters of the query, in order.
    pub(super) fn params(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query.as_bytes()).into_owned().collect()
    }

    pub(super) fn param(&self, name: &str) -> Option<String> {
        self.params().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The body as JSON, parsed once. `None` if the body is empty or not JSON.
    pub(super) fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_slice(&self.body).ok()).as_ref()
    }
}

/// Decodes the percent signs of a path segment.
pub(super) fn decoded(segment: &str) -> String {
    // In a path, `+` is a plus sign.
    let query = format!("x={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// What a call asks for, found without performing it.
pub(super) struct Described {
    pub kind: &'static str,
    pub key: Option<String>,
    pub external_id: Option<String>,
    pub authorization_ok: bool,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Compression {
    Gzip,
    Deflate,
    Brotli,
}

impl Compression {
    /// Its word in `Content-Encoding`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Deflate => "deflate",
            Compression::Brotli => "br",
        }
    }

    pub(crate) fn compress(self, body: &[u8]) -> Vec<u8> {
        // Writing to memory cannot fail.
        let done = match self {
            Compression::Gzip => {
                let mut out = GzEncoder::new(Vec::new(), Default::default());
                out.write_all(body).and_then(|()| out.finish())
            }
            Compression::Deflate => {
                let mut out = ZlibEncoder::new(Vec::new(), Default::default());
                out.write_all(body).and_then(|()| out.finish())
            }
            Compression::Brotli => {
                let mut out = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
                out.write_all(body).map(|()| out.into_inner())
            }
        };
        done.unwrap_or_default()
    }
}

pub(super) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Whether the call changed the stand-in's memory.
    pub applied: bool,
    /// The status and body, if they are not known yet.
    later: Option<Later>,
}

type Later = Pin<Box<dyn Future<Output = (u16, Vec<u8>)> + Send>>;

impl Answer {
    pub(super) fn json(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status,
            content_type: "application/json;charset=utf-8",
            headers: Vec::new(),
            body: body.into(),
            applied: false,
            later: None,
        }
    }

    /// An answer whose status and body come from a future.
    pub(super) fn later(result: impl Future<Output = (u16, Vec<u8>)> + Send + 'static) -> Answer {
        Answer { later: Some(Box::pin(result)), ..Answer::empty(200) }
    }

    /// Waits for the future of [`Answer::later`], if there is one.
    pub(super) async fn awaited(mut self) -> Answer {
        if let Some(later) = self.later.take() {
            (self.status, self.body) = later.await;
        }
        self
    }

    pub(super) fn html(status: u16, title: &str) -> Answer {
        let page = format!(
            "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        );
        Answer { content_type: "text/html;charset=utf-8", ..Answer::json(status, page) }
    }

    pub(super) fn empty(status: u16) -> Answer {
        Answer::json(status, Vec::new())
    }

    pub(super) fn applied(mut self) -> Answer {
        self.applied = true;
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// A body that a test sets. It is sent as JSON if it starts like JSON.
    pub(super) fn fixed(status: u16, body: &str) -> Answer {
        let answer = Answer::json(status, body);
        if body.trim_start().starts_with(['{', '[']) {
            answer
        } else {
            Answer { content_type: "text/plain;charset=utf-8", ..answer }
        }
    }
}
