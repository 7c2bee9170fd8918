//! The HTTP surface: a table of routes behind guards, on a server that no slow or idle sender can
//! hold open.

mod batch;
mod code;
mod cursor;
mod decide;
mod decisions;
mod docs;
mod erase;
mod erasures;
mod guard;
mod health;
mod held;
mod held_users;
mod json;
mod keys;
mod list;
mod log;
mod log_csv;
mod metrics;
mod middleware;
mod newcomer;
mod notify;
mod openapi;
mod overview;
mod page;
mod pause;
mod plans;
mod problem;
mod ready;
mod requests;
mod root;
mod routes;
mod runs;
mod server;
mod side_by_side;
mod start;
mod state;
mod status;
mod sync;
mod ui;
mod waits;
mod webhook;
mod webhook_intercom;

pub use guard::Who;
pub use keys::Keys;
pub use metrics::gather;
pub use routes::table;
pub use server::serve;
pub use state::{
    FindPage, HttpParts, PageOf, Probe, RemoteProbe, RemoteStanding, START_LIMIT, ShownParts,
};
pub use ui::table as ui_table;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;

use code::Code;
use openapi::Docs;
use problem::Problem;
use state::HttpState;

/// All routes, and the routes of a second listener, which ask for no credential.
pub fn routers(parts: HttpParts) -> [Router; 2] {
    let state = Arc::new(HttpState::new(parts));
    let (guarded, document) = routes::guarded(&state).split_for_parts();
    let _ = state.docs.set(Docs::new(&document));
    // Without a secret that opens it there is no page, and no route says so.
    let guarded = if state.keys.has_ui() { guarded.merge(ui::router(&state)) } else { guarded };
    let open = Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/health", get(health::health))
        .route("/ready", get(ready::ready));
    [guarded, open].map(|routes| with_middleware(routes).with_state(Arc::clone(&state)))
}

/// Adds what every request gets: the middleware, and an answer where no route fits.
pub fn with_middleware<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .method_not_allowed_fallback(async || {
            Problem::new(Code::NoMethod, "this route does not know this method").closing()
        })
        .fallback(async || Problem::new(Code::NoRoute, "there is no such route").closing())
        .layer(from_fn(middleware::trace_and_limit))
}
