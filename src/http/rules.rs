//! The table of routes. The router is built from it, so no route can exist without a rule.

use std::sync::Arc;

use axum::middleware;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::guard::{Guard, Who, guard};
use super::{HttpState, docs, health, look, numbers, ready, sync, webhook};
use crate::bucket::Bucket;

/// Bodies of the `/sync` routes: a batch of 1,000 ids of twenty digits is less than half of it.
const SYNC_BYTES: usize = 64 * 1024;
/// Calls to the `/sync` routes: so many at once, and so many a second.
const SYNC_CALLS: (u32, f64) = (100, 20.0);
/// Bodies of deliveries: 1,000 keys with their addresses and times are about 150 kB.
const HOOK_BYTES: usize = 256 * 1024;
/// Deliveries: so many at once, and so many a second.
const DELIVERIES: (u32, f64) = (500, 50.0);

/// One route and what it asks of its callers.
pub struct Rule {
    who: Who,
    body_bytes: usize,
    bucket: Option<Arc<Bucket>>,
    routes: UtoipaMethodRouter<Arc<HttpState>>,
}

/// Every route there is.
fn rules() -> Vec<Rule> {
    let (most, per_second) = SYNC_CALLS;
    let calls = Arc::new(Bucket::new(most, per_second));
    let (most, per_second) = DELIVERIES;
    let deliveries = Arc::new(Bucket::new(most, per_second));
    let hook = |routes| Rule {
        who: Who::WebhookSecret,
        body_bytes: HOOK_BYTES,
        bucket: Some(Arc::clone(&deliveries)),
        routes,
    };
    let open = |routes| Rule {
        who: Who::Anyone,
        body_bytes: 0,
        bucket: None,
        routes,
    };
    let sync = |routes| Rule {
        who: Who::ApiToken,
        body_bytes: SYNC_BYTES,
        bucket: Some(Arc::clone(&calls)),
        routes,
    };
    vec![
        open(routes!(health::health)),
        open(routes!(ready::ready)),
        open(routes!(docs::openapi)),
        open(routes!(docs::docs)),
        open(routes!(docs::style)),
        sync(routes!(numbers::metrics)),
        sync(routes!(sync::contact)),
        sync(routes!(sync::batch)),
        sync(routes!(look::ask_run)),
        sync(routes!(look::run)),
        sync(routes!(look::contact)),
        hook(routes!(webhook::by_path)),
        hook(routes!(webhook::by_header)),
    ]
}

/// All routes behind their guards.
pub fn guarded(state: &Arc<HttpState>) -> OpenApiRouter<Arc<HttpState>> {
    let guarded = |rule: Rule| {
        let before = Guard {
            who: rule.who,
            body_bytes: rule.body_bytes,
            bucket: rule.bucket,
            state: Arc::clone(state),
        };
        OpenApiRouter::new()
            .routes(rule.routes)
            .route_layer(middleware::from_fn_with_state(before, guard))
    };
    rules().into_iter().map(guarded).fold(
        OpenApiRouter::with_openapi(docs::empty()),
        OpenApiRouter::merge,
    )
}

/// The table as tests see it: method, path, who may call.
pub fn table() -> Vec<(String, String, Who)> {
    rules()
        .into_iter()
        .flat_map(|rule| {
            let (_, paths, _) = rule.routes;
            paths
                .paths
                .into_iter()
                .flat_map(move |(path, item)| {
                    let methods = [("GET", item.get.is_some()), ("POST", item.post.is_some())];
                    methods
                        .into_iter()
                        .filter(|(_, there)| *there)
                        .map(move |(method, _)| (method.to_owned(), path.clone(), rule.who))
                })
                .collect::<Vec<_>>()
        })
        .collect()
}
