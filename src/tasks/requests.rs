//! Listens for requests that other processes store, so that idle lanes need not look for them.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Listener, Request, Store, StoreError};
use crate::trigger::Requests;

/// The pause before a new connection is tried. Until then the lanes look by themselves.
const RETRY: Duration = Duration::from_secs(5);

/// The pause where notifications do not come through. Somebody may change the pooler.
const RETRY_BEHIND_POOLER: Duration = Duration::from_secs(3600);

/// How long Postgres gets to take note of the end.
const FAREWELL: Duration = Duration::from_millis(300);

/// Wakes the lanes for requests until `cancel`.
pub async fn hear(store: Store, requests: Arc<Requests>, cancel: CancellationToken) {
    loop {
        let began = tokio::select! {
            () = cancel.cancelled() => return,
            began = store.listen() => began,
        };
        let pause = match began {
            Ok(Some(mut listener)) => {
                tokio::select! {
                    () = cancel.cancelled() => return listener.close(FAREWELL).await,
                    lost = wake_lanes(&mut listener, &requests) => report_retry(&lost),
                }
                requests.stop_listening();
                RETRY
            }
            Ok(None) => {
                tracing::info!(
                    "Notifications do not come through, as behind a transaction-mode pooler; idle lanes look for requests every sync.idle_check_ms."
                );
                RETRY_BEHIND_POOLER
            }
            Err(error) => {
                report_retry(&error);
                RETRY
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Forwards requests until the connection is lost.
async fn wake_lanes(listener: &mut Listener, requests: &Requests) -> StoreError {
    requests.start_listening();
    tracing::debug!("This process hears of requests that others store.");
    loop {
        match listener.next().await {
            Ok(Request::Due) => requests.due.fire("request"),
            Ok(Request::Run) => requests.runs.fire("request"),
            Ok(Request::Pause) => requests.pauses.fire("request"),
            Ok(Request::Plan) => requests.plans.fire("request"),
            Err(error) => return error,
        }
    }
}

/// The lanes and the lease warn of a database that is down; this line says why requests are late.
fn report_retry(error: &StoreError) {
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "The connection that listens for requests is lost. Until it is back, the lanes look by themselves."
    );
}
