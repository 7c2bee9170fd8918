//! The server: hyper with the time limits that `axum::serve` lacks, and slots that hostile
//! connections cannot keep.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::Request;
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::ui::Peer;

/// A sender gets this long for its headers. The same limit ends idle connections.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection without a request for this long does not read its answer.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the server looks for connections that do not read their answers.
const EVICTION_INTERVAL: Duration = Duration::from_secs(5);
/// When the daemon stops, an open connection gets this long to deliver a request that is on its
/// way.
const ARRIVAL_TIME: Duration = Duration::from_millis(100);
/// A request with more headers is refused (431).
const MAX_HEADERS: usize = 64;
/// The longest head of a request: its first line and its headers.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// When the daemon stops, requests under way get this long.
const DRAIN_TIME: Duration = Duration::from_millis(1500);

/// The slots for connections. When all are taken, the connection that has waited longest for a
/// request loses its slot. So thousands of silent connections cannot keep out one that speaks.
struct Slots {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: usize,
    /// Connections without a request under way, the longest idle first.
    idle: BTreeMap<u64, (Instant, Arc<Notify>)>,
    /// Grows with each connection that becomes idle: the key of `idle`.
    next_turn: u64,
}

/// The slot of one connection.
struct Slot {
    slots: Arc<Slots>,
    evicted: Arc<Notify>,
    /// Its key in `idle`, while no request is under way.
    turn: Mutex<Option<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slots {
    fn are_in_use(&self) -> bool {
        lock(&self.state).open > 0
    }

    /// `None` when every connection has a request under way.
    fn take(self: &Arc<Self>) -> Option<Arc<Slot>> {
        let mut state = lock(&self.state);
        if state.open >= self.most {
            let (_, (_, oldest)) = state.idle.pop_first()?;
            oldest.notify_one();
        }
        state.open += 1;
        drop(state);
        let slot = Arc::new(Slot {
            slots: Arc::clone(self),
            evicted: Arc::default(),
            turn: Mutex::default(),
        });
        slot.mark_idle();
        Some(slot)
    }

    /// Evicts connections that do not read their last answer.
    fn evict_unread(&self) {
        let mut state = lock(&self.state);
        while let Some(entry) = state.idle.first_entry() {
            if entry.get().0.elapsed() < UNREAD_TIMEOUT {
                break;
            }
            entry.remove().1.notify_one();
        }
    }
}

impl Slot {
    fn mark_idle(&self) {
        let mut turn = lock(&self.turn);
        let mut state = lock(&self.slots.state);
        state.next_turn += 1;
        let now = state.next_turn;
        state.idle.insert(now, (Instant::now(), Arc::clone(&self.evicted)));
        if let Some(before) = turn.replace(now) {
            state.idle.remove(&before);
        }
    }

    fn mark_busy(&self) {
        if let Some(turn) = lock(&self.turn).take() {
            lock(&self.slots.state).idle.remove(&turn);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.mark_busy();
        lock(&self.slots.state).open -= 1;
    }
}

/// Serves until `cancel`. Then requests under way get a moment to end, and the rest is cut off.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    most_connections: usize,
    cancel: CancellationToken,
) {
    let slots = Arc::new(Slots { most: most_connections, state: Mutex::default() });
    let cut_off = CancellationToken::new();
    let connections = TaskTracker::new();
    let mut eviction = tokio::time::interval(EVICTION_INTERVAL);
    eviction.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (stream, peer) = tokio::select! {
            () = cancel.cancelled() => break,
            _ = eviction.tick(), if slots.are_in_use() => {
                slots.evict_unread();
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Most often the file descriptors have run out. The passes go on.
                    tracing::warn!(error = &error as &dyn std::error::Error, "A connection could not be accepted.");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            },
        };
        // While every slot has a request, a new connection is closed; its sender tries again.
        if let Some(slot) = slots.take() {
            let (router, cancel, cut_off) = (router.clone(), cancel.clone(), cut_off.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = connection(stream, Peer(peer.ip()), router, Arc::clone(&slot), cancel) => {}
                    () = slot.evicted.notified() => {}
                    () = cut_off.cancelled() => {}
                }
            });
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIME, connections.wait()).await.is_err() {
        cut_off.cancel();
        connections.wait().await;
    }
}

/// An answer of no known length is made while it is read. As long as its reader takes it, the
/// connection counts as one that has just answered.
fn while_it_is_read(body: Body, slot: Arc<Slot>) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    Body::from_stream(body.into_data_stream().inspect(move |_| slot.mark_idle()))
}

/// Serves one connection until it ends. After `cancel` it ends with the request under way.
async fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    slot: Arc<Slot>,
    cancel: CancellationToken,
) {
    // Small answers must not wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        slot.mark_busy();
        request.extensions_mut().insert(peer);
        let (router, slot) = (router.clone(), Arc::clone(&slot));
        async move {
            let response = router.oneshot(request.map(Body::new)).await;
            slot.mark_idle();
            response.map(|response| response.map(|body| while_it_is_read(body, slot)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let stopping = async {
        cancel.cancelled().await;
        // A request that is on its way on an accepted connection still arrives.
        tokio::time::sleep(ARRIVAL_TIME).await;
    };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "A connection ended badly.");
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// The turn in which the connection waits to be evicted; each new one is later.
    fn turn(slot: &Slot) -> Option<u64> {
        *lock(&slot.turn)
    }

    /// A download of the log may take minutes.
    #[tokio::test]
    async fn a_connection_whose_answer_is_read_waits_anew_and_an_unread_one_does_not() {
        let slots = Arc::new(Slots { most: 10, state: Mutex::default() });
        let slot = slots.take().unwrap();
        let parts = stream::iter(["a", "b", "c"].map(Ok::<_, std::io::Error>));
        let body = while_it_is_read(Body::from_stream(parts), Arc::clone(&slot));
        let before = turn(&slot);
        let mut read = body.into_data_stream();
        assert_eq!(turn(&slot), before, "nobody has read anything");

        for _ in 0..3 {
            let before = turn(&slot);
            assert!(read.next().await.is_some());
            assert!(turn(&slot) > before);
        }

        assert_eq!(lock(&slots.state).idle.len(), 1);
        let whole = while_it_is_read(Body::from("whole"), slot);
        assert_eq!(whole.size_hint().exact(), Some(5), "its length is still stated");
    }
}
