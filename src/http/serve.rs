//! The server: hyper with every time limit that `axum::serve` lacks, and places that hostile connections cannot keep.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// A sender gets this long for its headers; the same limit ends idle connections.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// A connection on which nothing is asked for so long is one that does not take its answer.
const UNREAD_TIME: Duration = Duration::from_secs(30);
/// How often connections that do not take their answers are looked for.
const SWEEP: Duration = Duration::from_secs(5);
/// When the daemon stops, connections that are open get this long to bring their request.
const ARRIVAL: Duration = Duration::from_millis(100);
/// Headers of one request; a request with more is refused (431).
const HEADERS: usize = 64;
/// The longest head of a request.
const HEAD_BYTES: usize = 16 * 1024;
/// When the daemon stops, requests under way get this long.
const DRAIN: Duration = Duration::from_millis(1500);

/// The places for connections. One that waits for a request gives way when all are taken, the longest waiting first:
/// thousands of silent connections cannot keep out one that speaks.
struct Places {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: usize,
    /// Connections without a request under way, in the order in which they became so.
    idle: BTreeMap<u64, (Instant, Arc<Notify>)>,
    turns: u64,
}

/// The place of one connection.
struct Place {
    places: Arc<Places>,
    given_up: Arc<Notify>,
    turn: Mutex<Option<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    /// `None` when every connection has a request under way.
    fn take(self: &Arc<Self>) -> Option<Arc<Place>> {
        let mut state = lock(&self.state);
        if state.open >= self.most {
            let (_, (_, oldest)) = state.idle.pop_first()?;
            oldest.notify_one();
        }
        state.open += 1;
        drop(state);
        let place = Arc::new(Place {
            places: Arc::clone(self),
            given_up: Arc::default(),
            turn: Mutex::default(),
        });
        place.idle();
        Some(place)
    }

    /// Gives up connections whose last answer is not taken.
    fn sweep(&self) {
        let mut state = lock(&self.state);
        while let Some(entry) = state.idle.first_entry() {
            if entry.get().0.elapsed() < UNREAD_TIME {
                break;
            }
            entry.remove().1.notify_one();
        }
    }
}

impl Place {
    fn idle(&self) {
        let mut turn = lock(&self.turn);
        let mut state = lock(&self.places.state);
        state.turns += 1;
        let now = state.turns;
        state
            .idle
            .insert(now, (Instant::now(), Arc::clone(&self.given_up)));
        if let Some(before) = turn.replace(now) {
            state.idle.remove(&before);
        }
    }

    fn busy(&self) {
        if let Some(turn) = lock(&self.turn).take() {
            lock(&self.places.state).idle.remove(&turn);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy();
        lock(&self.places.state).open -= 1;
    }
}

/// Serves until `cancel`; then requests under way get a moment to end, and whatever still stands is cut off.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    most_connections: usize,
    cancel: CancellationToken,
) {
    let places = Arc::new(Places {
        most: most_connections,
        state: Mutex::default(),
    });
    let cut_off = CancellationToken::new();
    let connections = TaskTracker::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let stream = tokio::select! {
            () = cancel.cancelled() => break,
            _ = sweep.tick() => {
                places.sweep();
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, mostly: syncing goes on meanwhile.
                    tracing::warn!(error = &error as &dyn std::error::Error, "A connection could not be accepted.");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            },
        };
        // With every place at work the connection is closed; its sender comes again.
        if let Some(place) = places.take() {
            let (router, cancel, cut_off) = (router.clone(), cancel.clone(), cut_off.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = connection(stream, router, Arc::clone(&place), cancel) => {}
                    () = place.given_up.notified() => {}
                    () = cut_off.cancelled() => {}
                }
            });
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait())
        .await
        .is_err()
    {
        cut_off.cancel();
        connections.wait().await;
    }
}

/// One connection, until it ends or `cancel` asks it to end after the request under way.
async fn connection(
    stream: TcpStream,
    router: Router,
    place: Arc<Place>,
    cancel: CancellationToken,
) {
    // Small answers must not wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        place.busy();
        let (router, place) = (router.clone(), Arc::clone(&place));
        async move {
            let response = router.oneshot(request.map(Body::new)).await;
            place.idle();
            response
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let stopping = async {
        cancel.cancelled().await;
        // What is on its way on a connection that was accepted still arrives.
        tokio::time::sleep(ARRIVAL).await;
    };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "A connection ended badly."
        );
    }
}
