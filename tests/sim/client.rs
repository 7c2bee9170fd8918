//! An HTTP client that calls only loopback. The stand-ins deliver hooks with it, and their tests
//! call them with it.

use std::io;
use std::net::IpAddr;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use url::{Host, Url};

/// Larger than any answer of a stand-in.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null if it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends one request over a connection of its own.
pub(crate) async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> io::Result<Reply> {
    let url = Url::parse(url).map_err(io::Error::other)?;
    let stream = TcpStream::connect(loopback(&url)?).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);

    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut request = Request::builder().method(method).uri(target);
    request = request.header("host", url.authority());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body: Bytes = body.into();
    if matches!(method, "POST" | "PUT" | "PATCH") {
        // hyper states no length for an empty body.
        request = request.header("content-length", body.len());
    }
    let request = request.body(Body::from(body)).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (parts, body) = response.into_parts();
    let body = to_bytes(Body::new(body), BODY_LIMIT).await.map_err(io::Error::other)?;
    connection.abort();
    Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
}

/// Accepts plain HTTP to loopback and nothing else, so no test calls another machine.
fn loopback(url: &Url) -> io::Result<(IpAddr, u16)> {
    let refused = || {
        io::Error::new(
            io::ErrorKind::PermissionDenied,
            "this client only calls plain HTTP on loopback",
        )
    };
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        Some(Host::Domain("localhost")) => [127, 0, 0, 1].into(),
        _ => return Err(refused()),
    };
    let port = url.port_or_known_default().ok_or_else(refused)?;
    if address.is_loopback() && url.scheme() == "http" {
        Ok((address, port))
    } else {
        Err(refused())
    }
}
