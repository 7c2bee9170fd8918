//! `/ui/sign-in` and `/ui/sign-out`.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};

use super::attempts::Verdict;
use super::door::{SIGN_IN, see_other};
use super::entrance::Peer;
use super::form::Fields;
use super::frame::page;
use super::sessions::Session;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

#[derive(Template)]
#[template(path = "sign_in.html", config = "src/http/ui/templates/askama.toml")]
struct SignInPage {
    environment: String,
    /// Why the last try was refused.
    refused: Option<String>,
}

fn form(state: &HttpState, refused: Option<String>) -> Result<Response, Problem> {
    page(&SignInPage { environment: state.environment.clone(), refused })
}

/// The form. Who is signed in goes on to the overview.
pub(super) async fn show(
    State(state): State<Arc<HttpState>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match state.entrance.session(&headers) {
        Some(_) => Ok(see_other("/ui")),
        None => form(&state, None),
    }
}

pub(super) async fn sign_in(
    State(state): State<Arc<HttpState>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::read(&body);
    let password = fields.get("password").unwrap_or_default();
    match state.entrance.check(&state.keys, &headers, peer, password) {
        Verdict::Right => {
            tracing::info!("Somebody signed in to the operator's page.");
            let cookies = AppendHeaders(state.entrance.welcome(&headers));
            Ok((cookies, see_other("/ui")).into_response())
        }
        Verdict::Wrong => {
            tracing::warn!("A sign-in to the operator's page was refused: a wrong password.");
            let page = form(&state, Some("That is not the password.".to_owned()))?;
            Ok((StatusCode::UNAUTHORIZED, page).into_response())
        }
        Verdict::Closed(wait) => {
            let seconds = wait.as_secs() + 1;
            let why = format!(
                "The last password was wrong. Wait {seconds} s before the next try; this one was not looked at."
            );
            let page = form(&state, Some(why))?;
            let later = [(RETRY_AFTER, HeaderValue::from(seconds))];
            Ok((StatusCode::TOO_MANY_REQUESTS, later, page).into_response())
        }
    }
}

pub(super) async fn sign_out(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    Fields::of_session(&state.entrance, session, &body)?;
    let cookie = AppendHeaders([state.entrance.farewell(session)]);
    Ok((cookie, see_other(SIGN_IN)).into_response())
}
