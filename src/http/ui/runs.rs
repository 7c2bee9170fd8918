//! `/ui/runs` and `/ui/runs/{id}`: the walks, and one of them with its counts.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Response;
use uuid::Uuid;

use super::form::Fields;
use super::frame::{Frame, Piece, Place, page, pieces};
use super::plans::{self, PlanRow};
use super::sessions::Session;
use crate::http::code::Code;
use crate::http::list::{self, After, DEFAULT_LIMIT};
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::RunFailure;
use crate::report::words::{number, span, stamp};
use crate::report::{came_of, outcomes_of, scope_of};
use crate::store::{Run, RunState};

/// A run in a table.
pub(super) struct RunRow {
    pub id: Uuid,
    pub short: String,
    pub started: String,
    pub feed: String,
    pub state: &'static str,
    pub is_failed: bool,
    pub came_of: String,
}

impl From<&Run> for RunRow {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id,
            short: short(run.id),
            started: stamp(run.created_at),
            feed: run.feed.clone(),
            state: run.state.as_str(),
            is_failed: run.state == RunState::Failed,
            came_of: came_of(run),
        }
    }
}

/// The beginning of a run's id, which is enough for people.
pub(super) fn short(id: Uuid) -> String {
    id.to_string().chars().take(8).collect()
}

#[derive(Template)]
#[template(path = "runs.html", config = "src/http/ui/templates/askama.toml")]
struct RunsPage {
    frame: Frame,
    plans: Vec<PlanRow>,
    runs: Vec<RunRow>,
    /// The key of the next page.
    next: Option<String>,
}

pub(super) async fn runs(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let after = query.get("after").map(After::<Uuid>::read).transpose()?;
    let before = after.map(|after| (after.at, after.id));
    let mut runs = state.store.runs_before(None, before, DEFAULT_LIMIT + 1).await?;
    let next = list::next(&mut runs, DEFAULT_LIMIT, |run| After::text(run.created_at, &run.id));
    page(&RunsPage {
        frame: Frame::new(&state, session, Place::Runs, "Runs"),
        plans: plans::waiting(&state).await?,
        runs: runs.iter().map(RunRow::from).collect(),
        next,
    })
}

#[derive(Template)]
#[template(path = "run.html", config = "src/http/ui/templates/askama.toml")]
struct RunPage {
    frame: Frame,
    id: Uuid,
    facts: Vec<(&'static str, String)>,
    counts: Vec<(&'static str, String)>,
    failure: Option<String>,
    remedy: Vec<Piece>,
}

pub(super) async fn run(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(Code::NoRun, "there is no such run; old runs are deleted");
    let Path(id) = path.map_err(|_| unknown())?;
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let run = state.store.run(id).await?.ok_or_else(unknown)?;
    let remedy = run.failure.as_ref().map(RunFailure::remedy).unwrap_or_default();
    page(&RunPage {
        frame: Frame::new(&state, session, Place::Runs, "One run"),
        id,
        facts: facts(&run),
        counts: counts(&run),
        failure: run.failure.as_ref().map(ToString::to_string),
        remedy: pieces(remedy),
    })
}

fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let took = run.finished_at.map(|end| (end - run.created_at).to_std().unwrap_or_default());
    let state = match took {
        Some(took) => format!("{}, after {}", run.state.as_str(), span(took)),
        None => run.state.as_str().to_owned(),
    };
    vec![
        ("Feed", format!("{}: {}", run.feed, scope_of(run))),
        ("Reason", run.reason.clone()),
        ("Started", format!("{} UTC", stamp(run.created_at))),
        ("State", state),
    ]
}

fn counts(run: &Run) -> Vec<(&'static str, String)> {
    let seen = [("looked at", run.counts.seen)];
    let calls = [
        ("calls to Keap", run.counts.keap_calls),
        ("calls to Intercom", run.counts.intercom_calls),
    ];
    let all = seen.into_iter().chain(outcomes_of(run)).chain(calls);
    all.map(|(name, value)| (name, number(value))).collect()
}
