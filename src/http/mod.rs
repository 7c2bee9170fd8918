//! The HTTP surface: a router behind a server that no slow or idle sender can hold open.

mod health;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

/// A sender gets this long for its headers; the same limit ends idle connections.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// No request takes longer; Keap gives up after the same time (`api/keap.md` 11.3).
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// Bodies of the routes there are so far.
const BODY_BYTES: usize = 64 * 1024;
/// Connections open at once; further ones wait in the kernel.
const CONNECTIONS: usize = 512;
/// When the daemon stops, requests under way get this long.
const DRAIN: Duration = Duration::from_secs(1);

/// What the handlers need.
pub struct HttpState {
    pub environment: String,
}

pub fn router(state: HttpState) -> Router {
    let layers = ServiceBuilder::new()
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            REQUEST_TIME,
        ))
        .layer(RequestBodyLimitLayer::new(BODY_BYTES));
    Router::new()
        .route("/health", get(health::health))
        .layer(layers)
        .with_state(Arc::new(state))
}

/// Serves until `cancel`; then connections get a moment to end.
pub async fn serve(listener: TcpListener, router: Router, cancel: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else {
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "A connection ended badly."
                );
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            // Out of file descriptors, mostly: syncing goes on meanwhile.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "A connection could not be accepted."
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
            None
        }
    }
}
