//! Serves a stand-in on loopback and applies the faults that act on the connection.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use futures_util::stream;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::clock::Clock;
use super::faults::{Faults, What};
use super::ledger::{Call, Ledger};
use super::message::{Answer, Compression, Described, Request};

/// A minute in all.
const REOPEN_TRIES: u32 = 300;
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// Larger than any request of either API.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// The pause before a connection is cut, so that the bytes before the cut are sent first.
const BEFORE_CUT: Duration = Duration::from_millis(10);

/// What the server needs from a stand-in.
pub(super) trait StandIn: Clone + Send + Sync + 'static {
    fn clock(&self) -> &Clock;
    fn ledger(&self) -> &Ledger;
    fn faults(&self) -> &Faults;
    fn latency(&self) -> Duration;
    fn compression(&self) -> Option<Compression>;
    fn describe(&self, request: &Request) -> Described;
    /// Performs the call and answers it.
    fn answer(&self, request: &Request) -> Answer;
    /// Answers with the given status and body without performing the call. The call counts against
    /// the limits.
    fn answer_with(&self, request: &Request, status: u16, body: &str) -> Answer;
}

/// The listener of a stand-in. It can be closed and opened again on the same port.
pub(super) struct Door {
    port: u16,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl Door {
    /// Binds a port of loopback; 0 takes a free one. [`Door::serve`] starts to answer.
    pub(super) async fn bind(port: u16) -> io::Result<(Door, TcpListener)> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let port = listener.local_addr()?.port();
        Ok((Door { port, serving: Mutex::new(None) }, listener))
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn serve(&self, listener: TcpListener, stand_in: impl StandIn) {
        let task = tokio::spawn(accept_all(listener, stand_in));
        *self.serving.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(task);
    }

    /// Closes the listener and every connection, and returns when new connections are refused.
    pub(super) async fn close(&self) {
        let task = self.serving.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            // The only error is the abort itself.
            let _ = task.await;
        }
    }

    pub(super) async fn reopen(&self, stand_in: impl StandIn) -> io::Result<()> {
        self.close().await;
        // Another process may use the port for a moment, as the local end of a connection.
        let mut tries = 0;
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < REOPEN_TRIES => {
                    tries += 1;
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
                bound => break bound?,
            }
        };
        self.serve(listener, stand_in);
        Ok(())
    }
}

async fn accept_all(listener: TcpListener, stand_in: impl StandIn) {
    // Dropping this set, with the task, closes all connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, stand_in.clone()));
                }
                // Probably no file descriptor is free, so wait for a connection to end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, stand_in: impl StandIn) {
    // With Nagle's algorithm, small answers would wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |incoming| handle(incoming, stand_in.clone()));
    // The only error is a closed connection, by the peer or by a fault.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The error that makes hyper close the connection without an answer.
type Closed = io::Error;

fn closed() -> Closed {
    io::Error::other("closed on purpose")
}

async fn handle(
    incoming: axum::http::Request<hyper::body::Incoming>,
    stand_in: impl StandIn,
) -> Result<Response<Body>, Closed> {
    let request = read(incoming).await?;
    let described = stand_in.describe(&request);
    let ledger = stand_in.ledger();
    let call = ledger.open(Call {
        n: 0,
        at: Instant::now(),
        kind: described.kind,
        method: request.method.to_string(),
        path: request.path.clone(),
        query: request.query.clone(),
        key: described.key,
        external_id: described.external_id,
        body: if ledger.keeps_calls() { request.json().cloned() } else { None },
        status: 0,
        applied: false,
        authorization_ok: described.authorization_ok,
    });
    let what = match stand_in.faults().strike(&call) {
        Some(What::RunThen(action, rest)) => {
            action(&call);
            Some(*rest)
        }
        what => what,
    };
    let latency = stand_in.latency();

    let answer = if latency.is_zero() && !matches!(what, Some(What::Delay(_))) {
        perform(&stand_in, &request, &call, &what, latency).await?
    } else {
        // A task of its own, because a real server continues when the caller has given up.
        let (stand_in, what) = (stand_in.clone(), what.clone());
        let task = async move { perform(&stand_in, &request, &call, &what, latency).await };
        tokio::spawn(task).await.map_err(|_| closed())??
    };
    send(compressed(answer, stand_in.compression()), what, stand_in.clock())
}

async fn read(incoming: axum::http::Request<hyper::body::Incoming>) -> Result<Request, Closed> {
    let (parts, body) = incoming.into_parts();
    let body = to_bytes(Body::new(body), BODY_LIMIT).await.map_err(io::Error::other)?;
    Ok(Request::new(parts, body))
}

/// Performs the call, or what a fault puts in its place, and notes the result in the ledger.
async fn perform(
    stand_in: &impl StandIn,
    request: &Request,
    call: &Call,
    what: &Option<What>,
    latency: Duration,
) -> Result<Answer, Closed> {
    // Half of the latency comes before and half after, so that simultaneous calls really overlap.
    pause_for(latency / 2).await;
    let answer = match what {
        // The front ends of both services refuse it before anything else sees it.
        _ if request.lacks_length() => Answer::html(411, "Length Required"),
        Some(What::Refuse) => return Err(closed()),
        Some(What::Hang) => std::future::pending().await,
        Some(What::Status(status, body)) => stand_in.answer_with(request, *status, body),
        Some(What::Html(status)) => Answer::html(*status, "Service Unavailable"),
        Some(What::Redirect(to)) => Answer::empty(302).header("location", to.clone()),
        Some(What::Delay(pause)) => {
            tokio::time::sleep(*pause).await;
            stand_in.answer(request)
        }
        Some(What::Run(action)) => {
            action(call);
            stand_in.answer(request)
        }
        _ => stand_in.answer(request),
    };
    let answer = answer.awaited().await;
    let unanswered = matches!(what, Some(What::ApplyThenDrop | What::ApplyThenHang));
    stand_in.ledger().close(call.n, if unanswered { 0 } else { answer.status }, answer.applied);
    match what {
        Some(What::ApplyThenRun(action)) => action(call),
        Some(What::ApplyThenDrop) => return Err(closed()),
        Some(What::ApplyThenHang) => std::future::pending().await,
        Some(What::ApplyThenDelay(pause)) => tokio::time::sleep(*pause).await,
        _ => {}
    }
    pause_for(latency / 2).await;
    Ok(answer)
}

/// Does not sleep for zero, because even that would cost a tick of the timer.
async fn pause_for(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

fn compressed(mut answer: Answer, compression: Option<Compression>) -> Answer {
    match compression {
        Some(compression) if !answer.body.is_empty() => {
            answer.body = compression.compress(&answer.body);
            answer.header("content-encoding", compression.word())
        }
        _ => answer,
    }
}

fn send(mut answer: Answer, what: Option<What>, clock: &Clock) -> Result<Response<Body>, Closed> {
    if let Some(What::ApplyThenSay(body)) = what {
        (answer.status, answer.body) = (200, body.into());
    }
    let length = answer.body.len();
    let flooded = matches!(what, Some(What::Flood(_)));
    let body = match what {
        Some(What::CutBody(sent)) => cut(Bytes::from(answer.body), sent),
        Some(What::Flood(size)) => flood(size),
        Some(What::Drip(pause)) => drip(Bytes::from(answer.body), pause),
        _ => Body::from(answer.body),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(io::Error::other)?;
    let headers = response.headers_mut();
    headers.insert(DATE, value(&clock.http_date())?);
    if answer.status != 204 {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        if !flooded {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    for (name, text) in answer.headers {
        headers.insert(HeaderName::from_static(name), value(&text)?);
    }
    Ok(response)
}

fn value(text: &str) -> Result<HeaderValue, Closed> {
    HeaderValue::from_str(text).map_err(io::Error::other)
}

fn cut(body: Bytes, sent: usize) -> Body {
    let start = body.slice(..sent.min(body.len()));
    Body::from_stream(stream::unfold(Some(start), async |start| match start {
        Some(start) if !start.is_empty() => Some((Ok(start), Some(Bytes::new()))),
        Some(_) => {
            tokio::time::sleep(BEFORE_CUT).await;
            Some((Err(closed()), None))
        }
        None => None,
    }))
}

fn drip(body: Bytes, pause: Duration) -> Body {
    Body::from_stream(stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Closed>(rest.split_to(1)), rest))
    }))
}

/// A body of blanks, which JSON allows before a value, without an announced length.
fn flood(size: usize) -> Body {
    const PIECE: usize = 64 * 1024;
    let piece = Bytes::from(vec![b' '; PIECE]);
    Body::from_stream(stream::iter(
        (0..size.div_ceil(PIECE)).map(move |_| Ok::<_, Closed>(piece.clone())),
    ))
}
