//! The table of routes and their rules. The router is built from it, so no route lacks a rule.

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::guard::{Guard, Who, guard};
use super::state::HttpState;
use super::{
    batch, cursor, decide, decisions, docs, erase, erasures, health, held, log, metrics, notify,
    openapi, pause, plans, ready, root, runs, side_by_side, status, sync, webhook,
    webhook_intercom,
};
use crate::bucket::Bucket;

/// The largest body on a `/sync` route. A batch of 1,000 ids of twenty digits takes less than half.
const SYNC_BODY_BYTES: usize = 64 * 1024;
/// Calls to the `/sync` routes: this many at once, and this many a second.
const SYNC_CALLS: (u32, f64) = (100, 20.0);
/// The largest body of a delivery. 1,000 keys with their addresses and times take about 150 kB.
const HOOK_BODY_BYTES: usize = 256 * 1024;
/// Deliveries: this many at once, and this many a second.
const DELIVERIES: (u32, f64) = (500, 50.0);

/// One route, with what it demands of its callers.
pub(super) struct Rule {
    who: Who,
    body_bytes: usize,
    bucket: Option<Arc<Bucket>>,
    /// While the daemon starts, its requests wait for the database.
    needs_database: bool,
    routes: UtoipaMethodRouter<Arc<HttpState>>,
}

/// All routes.
#[expect(clippy::too_many_lines, reason = "a line for each route")]
fn rules() -> Vec<Rule> {
    let calls = Arc::new(Bucket::new(SYNC_CALLS.0, SYNC_CALLS.1));
    let deliveries = Arc::new(Bucket::new(DELIVERIES.0, DELIVERIES.1));
    let hook = |routes| Rule {
        who: Who::WebhookSecret,
        body_bytes: HOOK_BODY_BYTES,
        bucket: Some(Arc::clone(&deliveries)),
        needs_database: true,
        routes,
    };
    let open = |routes| Rule {
        who: Who::Anyone,
        body_bytes: 0,
        bucket: None,
        needs_database: false,
        routes,
    };
    let sync = |routes| Rule {
        who: Who::ApiToken,
        body_bytes: SYNC_BODY_BYTES,
        bucket: Some(Arc::clone(&calls)),
        needs_database: true,
        routes,
    };
    vec![
        open(routes!(root::root)),
        open(routes!(health::health)),
        open(routes!(ready::ready)),
        open(routes!(docs::openapi)),
        open(routes!(docs::docs)),
        open(routes!(docs::style)),
        Rule { needs_database: false, ..sync(routes!(metrics::metrics)) },
        sync(routes!(sync::contact)),
        sync(routes!(batch::batch)),
        sync(routes!(status::ask_run)),
        sync(routes!(cursor::cursor)),
        sync(routes!(cursor::set_cursor)),
        sync(routes!(runs::runs)),
        sync(routes!(runs::run)),
        sync(routes!(status::contact)),
        sync(routes!(side_by_side::fields)),
        sync(routes!(log::log)),
        sync(routes!(held::held)),
        sync(routes!(held::retry)),
        sync(routes!(decide::decide)),
        sync(routes!(decisions::decisions)),
        sync(routes!(plans::ask, plans::plans)),
        sync(routes!(plans::plan)),
        sync(routes!(plans::approve)),
        sync(routes!(plans::drop)),
        sync(routes!(pause::pauses)),
        sync(routes!(pause::pause)),
        sync(routes!(pause::resume)),
        Rule { needs_database: false, ..sync(routes!(notify::test)) },
        sync(routes!(erase::erase)),
        sync(routes!(erase::forget)),
        sync(routes!(erasures::erasures)),
        hook(routes!(webhook::by_path)),
        hook(routes!(webhook::by_header)),
        // Intercom sends what it has to say once more, and stops after a 429.
        Rule {
            who: Who::IntercomSignature,
            bucket: None,
            ..hook(routes!(webhook_intercom::deliver, webhook_intercom::probe))
        },
    ]
}

/// All routes behind their guards.
pub(super) fn guarded(state: &Arc<HttpState>) -> OpenApiRouter<Arc<HttpState>> {
    let guarded = |rule: Rule| {
        let before_route = Guard {
            who: rule.who,
            body_bytes: rule.body_bytes,
            bucket: rule.bucket,
            needs_database: rule.needs_database,
            state: Arc::clone(state),
        };
        OpenApiRouter::new()
            .routes(rule.routes)
            .route_layer(from_fn_with_state(before_route, guard))
    };
    rules()
        .into_iter()
        .map(guarded)
        .fold(OpenApiRouter::with_openapi(openapi::empty()), OpenApiRouter::merge)
}

/// The table for tests: method, path, who may call.
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
                        .filter(|(_, exists)| *exists)
                        .map(move |(method, _)| (method.to_owned(), path.clone(), rule.who))
                })
                .collect::<Vec<_>>()
        })
        .collect()
}
