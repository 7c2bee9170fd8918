//! A call and its answer, as the stand-ins see them.

use std::pin::Pin;
use std::sync::OnceLock;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use serde_json::Value;

pub struct Request {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    json: OnceLock<Option<Value>>,
}

impl Request {
    pub fn new(parts: Parts, body: Bytes) -> Request {
        Request {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body,
            json: OnceLock::new(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The decoded pairs of the query, in order.
    pub fn params(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .into_owned()
            .collect()
    }

    pub fn param(&self, name: &str) -> Option<String> {
        self.params()
            .into_iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The body as JSON, parsed once; `None` if it is empty or is not JSON.
    pub fn json(&self) -> Option<&Value> {
        self.json
            .get_or_init(|| serde_json::from_slice(&self.body).ok())
            .as_ref()
    }
}

/// What a call is, found without doing it.
pub struct Described {
    pub kind: &'static str,
    pub key: Option<String>,
    pub external_id: Option<String>,
    pub authorization_ok: bool,
}

pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Whether the memory was changed.
    pub applied: bool,
    /// Status and body that have to be waited for.
    later: Option<Later>,
}

type Later = Pin<Box<dyn Future<Output = (u16, Vec<u8>)> + Send>>;

impl Answer {
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status,
            content_type: "application/json;charset=utf-8",
            headers: Vec::new(),
            body: body.into(),
            applied: false,
            later: None,
        }
    }

    /// An answer that is known only after something else was done.
    pub fn later(waited_for: impl Future<Output = (u16, Vec<u8>)> + Send + 'static) -> Answer {
        Answer {
            later: Some(Box::pin(waited_for)),
            ..Answer::empty(200)
        }
    }

    /// Waits for what [`Answer::later`] was given.
    pub async fn awaited(mut self) -> Answer {
        if let Some(later) = self.later.take() {
            (self.status, self.body) = later.await;
        }
        self
    }

    pub fn html(status: u16, title: &str) -> Answer {
        let page = format!(
            "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        );
        Answer {
            content_type: "text/html;charset=utf-8",
            ..Answer::json(status, page)
        }
    }

    pub fn empty(status: u16) -> Answer {
        Answer::json(status, Vec::new())
    }

    pub fn applied(mut self) -> Answer {
        self.applied = true;
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// A body of the test's choosing; JSON if it looks like it.
    pub fn dictated(status: u16, body: &str) -> Answer {
        let answer = Answer::json(status, body);
        if body.trim_start().starts_with(['{', '[']) {
            answer
        } else {
            Answer {
                content_type: "text/plain;charset=utf-8",
                ..answer
            }
        }
    }
}
