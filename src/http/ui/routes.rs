//! The routes of the page and their rules. They stand apart from those of the API, whose document
//! does not name them.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use super::door::{as_page, see_other, signed_in};
use super::{
    contact, decide, elsewhere, erase, fields, held, ignored, log, overview, pause, plans, retry,
    runs, settings, side_by_side, sign_in,
};
use crate::bucket::Bucket;
use crate::http::guard::{Guard, Who, guard};
use crate::http::state::HttpState;

/// The largest body of a form. A password and a token take much less.
const FORM_BYTES: usize = 4 * 1024;
/// Requests of people who are signed in: this many at once, and this many a second.
const CALLS: (u32, f64) = (100, 20.0);

/// Who may see a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visitor {
    Anyone,
    SignedIn,
}

struct Rule {
    path: &'static str,
    methods: &'static [&'static str],
    visitor: Visitor,
    needs_database: bool,
    routes: MethodRouter<Arc<HttpState>>,
}

const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];

/// All routes.
fn rules() -> Vec<Rule> {
    let open = |path, methods, routes| Rule {
        path,
        methods,
        visitor: Visitor::Anyone,
        needs_database: false,
        routes,
    };
    let inside = |path, methods, routes| Rule {
        path,
        methods,
        visitor: Visitor::SignedIn,
        needs_database: true,
        routes,
    };
    vec![
        open("/ui/sign-in", &["GET", "POST"], get(sign_in::show).post(sign_in::sign_in)),
        open("/ui/style.css", GET, get(style)),
        open("/ui/icon.svg", GET, get(icon)),
        open("/ui/", GET, get(async || see_other("/ui"))),
        Rule { needs_database: false, ..inside("/ui/sign-out", POST, post(sign_in::sign_out)) },
        inside("/ui", GET, get(overview::overview)),
        inside("/ui/held", GET, get(held::held)),
        inside("/ui/held/contact", GET, get(decide::show)),
        inside("/ui/held/ignored", GET, get(ignored::ignored)),
        inside("/ui/held/retry", GET, get(retry::show)),
        inside("/ui/held/retry/now", POST, post(retry::retry)),
        inside("/ui/held/decide", POST, post(decide::decide)),
        inside("/ui/contacts", GET, get(contact::contact)),
        inside("/ui/contacts/find", POST, post(contact::search)),
        inside("/ui/contacts/fields", GET, get(side_by_side::show)),
        inside("/ui/contacts/sync", POST, post(contact::sync)),
        inside("/ui/contacts/elsewhere", GET, get(elsewhere::lead)),
        inside("/ui/pause", POST, post(pause::pause)),
        inside("/ui/resume", POST, post(pause::resume)),
        inside("/ui/contacts/erase", GET, get(erase::confirm)),
        inside("/ui/contacts/erase/now", POST, post(erase::erase)),
        inside("/ui/contacts/erase/forget", POST, post(erase::forget)),
        inside("/ui/runs", GET, get(runs::runs)),
        inside("/ui/runs/{id}", GET, get(runs::run)),
        inside("/ui/plans/ask", POST, post(plans::ask)),
        inside("/ui/plans/approve", POST, post(plans::approve)),
        inside("/ui/plans/drop", POST, post(plans::drop)),
        inside("/ui/plans/{id}", GET, get(plans::plan)),
        inside("/ui/log", GET, get(log::log)),
        inside("/ui/log/csv", GET, get(log::download)),
        inside("/ui/fields", GET, get(fields::fields)),
        inside("/ui/settings", GET, get(settings::settings)),
        inside("/ui/settings/test-alarms", POST, post(settings::test_alarms)),
    ]
}

/// All routes behind their guards.
pub(in crate::http) fn router(state: &Arc<HttpState>) -> Router<Arc<HttpState>> {
    let calls = Arc::new(Bucket::new(CALLS.0, CALLS.1));
    let guarded = |rule: Rule| {
        let is_inside = rule.visitor == Visitor::SignedIn;
        let before_route = Guard {
            // The session is checked before this guard, so that a stranger uses nobody's calls up.
            who: Who::Anyone,
            body_bytes: FORM_BYTES,
            bucket: is_inside.then(|| Arc::clone(&calls)),
            needs_database: rule.needs_database,
            state: Arc::clone(state),
        };
        let routes = rule.routes.route_layer(from_fn_with_state(before_route, guard));
        if is_inside {
            routes.route_layer(from_fn_with_state(Arc::clone(state), signed_in))
        } else {
            routes
        }
    };
    let routes = rules().into_iter().map(|rule| (rule.path, guarded(rule)));
    let router = routes.fold(Router::new(), |router, (path, routes)| router.route(path, routes));
    router.route_layer(from_fn(as_page))
}

/// The table for tests: method, path, whether it is for people who are signed in.
pub fn table() -> Vec<(&'static str, &'static str, bool)> {
    let rows = |rule: Rule| {
        let is_inside = rule.visitor == Visitor::SignedIn;
        rule.methods.iter().map(move |method| (*method, rule.path, is_inside))
    };
    rules().into_iter().flat_map(rows).collect()
}

async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

async fn icon() -> Response {
    ([(CONTENT_TYPE, "image/svg+xml")], include_str!("icon.svg")).into_response()
}
