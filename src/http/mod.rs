//! The HTTP surface: a table of routes behind guards, on a server that no slow or idle sender can hold open.

mod around;
mod docs;
mod guard;
mod health;
mod json;
mod look;
mod numbers;
mod problem;
mod ready;
mod rules;
mod serve;
mod sync;
mod waits;
mod webhook;

pub use guard::{Keys, Who};
pub use numbers::gather;
pub use ready::{LookAtRemotes, RemoteStanding};
pub use rules::table;
pub use serve::serve;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::bucket::Bucket;
use crate::store::Store;
use crate::trigger::Trigger;
use docs::Docs;
use problem::Problem;
use ready::Looks;
use waits::Waits;

/// A request waits no longer than this for the database: whoever calls can call again.
const DATABASE_TIME: Duration = Duration::from_millis(900);

/// Contacts that webhooks may ask for: so many at once, and so many a second, a million a day. Polling finds the others.
const HINTED_CONTACTS: (u32, f64) = (100_000, 12.0);

/// What the surface is built from.
pub struct HttpParts {
    pub environment: String,
    pub keys: Keys,
    pub store: Store,
    /// Wakes the lane of requests, and that of walks.
    pub urgent: Arc<Trigger>,
    pub bulk: Arc<Trigger>,
    /// Ends waits when the daemon stops.
    pub cancel: CancellationToken,
    /// Whether the loops turn.
    pub is_alive: Box<Says>,
    /// Whether this process runs passes.
    pub holds_lease: Box<Says>,
    pub remotes: Box<LookAtRemotes>,
    /// A last whole poll older than this is late.
    pub poll_age_limit: Duration,
}

/// Says whether something holds now.
pub type Says = dyn Fn() -> bool + Send + Sync;

/// What the handlers need.
struct HttpState {
    environment: String,
    keys: Keys,
    store: Store,
    urgent: Arc<Trigger>,
    bulk: Arc<Trigger>,
    waits: Waits,
    looks: Looks,
    is_alive: Box<Says>,
    holds_lease: Box<Says>,
    remotes: Box<LookAtRemotes>,
    poll_age_limit: Duration,
    /// Set once all routes are known.
    docs: OnceLock<Docs>,
    /// Contacts that webhooks may still ask for.
    hinted: Bucket,
}

impl HttpState {
    fn docs(&self) -> &Docs {
        self.docs.get_or_init(|| Docs::new(&docs::empty()))
    }
}

/// All routes, and those of a second listener that anyone may call who reaches it.
pub fn routers(parts: HttpParts) -> [Router; 2] {
    let store = parts.store.hurried(DATABASE_TIME);
    let state = Arc::new(HttpState {
        environment: parts.environment,
        keys: parts.keys,
        waits: Waits::new(store.clone(), parts.cancel),
        looks: Looks::new(store.clone()),
        is_alive: parts.is_alive,
        holds_lease: parts.holds_lease,
        remotes: parts.remotes,
        poll_age_limit: parts.poll_age_limit,
        docs: OnceLock::new(),
        store,
        urgent: parts.urgent,
        bulk: parts.bulk,
        hinted: Bucket::new(HINTED_CONTACTS.0, HINTED_CONTACTS.1),
    });
    let (routes, document) = rules::guarded(&state).split_for_parts();
    let _ = state.docs.set(Docs::new(&document));
    let open = Router::new()
        .route("/metrics", get(numbers::metrics))
        .route("/health", get(health::health))
        .route("/ready", get(ready::ready));
    [routes, open].map(|routes| finished(routes).with_state(Arc::clone(&state)))
}

/// Routes with what stands around all of them: request ids, time, panics, log lines, and answers where there is no route.
pub fn finished<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this route does not know this method",
            )
            .closing()
        })
        .fallback(async || Problem::not_found("there is no such route").closing())
        .layer(middleware::from_fn(around::around))
}
