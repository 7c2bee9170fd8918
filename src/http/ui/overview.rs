//! `/ui`: whether it works, how far behind it is, what is wrong and what to do.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::Utc;

use super::charts::{self, Charts};
use super::frame::{Frame, Piece, Place, page, pieces};
use super::gauge::Remote;
use super::pause::PauseRow;
use super::runs::RunRow;
use super::sessions::Session;
use crate::http::problem::Problem;
use crate::http::ready::part_states;
use crate::http::state::HttpState;
use crate::report::words::number;
use crate::report::{Progress, Status, Trouble};
use crate::store::{LinkCount, StoreError};

/// One line of the overview.
struct Line {
    label: &'static str,
    text: String,
    /// The page that says more.
    href: Option<&'static str>,
}

/// Something that is wrong, and what to do.
struct ToDo {
    stops: bool,
    what: Vec<Piece>,
    todo: Vec<Piece>,
}

impl From<&Trouble> for ToDo {
    fn from(trouble: &Trouble) -> Self {
        let Trouble { what, todo, stops, .. } = trouble;
        Self { stops: *stops, what: pieces(what), todo: pieces(todo) }
    }
}

#[derive(Template)]
#[template(path = "overview.html", config = "src/http/ui/templates/askama.toml")]
struct OverviewPage {
    frame: Frame,
    /// What keeps contacts from flowing.
    stopped: Option<String>,
    todo: Vec<ToDo>,
    lines: Vec<Line>,
    pauses: Vec<PauseRow>,
    walks: Vec<Progress>,
    charts: Vec<Charts>,
    remotes: Vec<Remote>,
    runs: Vec<RunRow>,
}

pub(super) async fn overview(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
) -> Result<Response, Problem> {
    let frame = Frame::new(&state, session, Place::Overview, "Overview");
    let remotes = (state.remotes)().into_iter().map(Remote::from).collect();
    let Read { status, linked, walks } = match read(&state).await {
        Ok(read) => read,
        Err(error) if error.is_transient() => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "The overview shows only what this process knows: the database did not answer."
            );
            let trouble = Trouble::of_database(&error);
            let page = page(&OverviewPage {
                frame,
                stopped: Some("the database does not answer".to_owned()),
                todo: vec![ToDo::from(&trouble)],
                lines: Vec::new(),
                pauses: Vec::new(),
                walks: Vec::new(),
                charts: Vec::new(),
                remotes,
                runs: Vec::new(),
            })?;
            return Ok((StatusCode::SERVICE_UNAVAILABLE, page).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let troubles = status.troubles();
    page(&OverviewPage {
        frame,
        stopped: troubles.iter().find(|trouble| trouble.stops).map(|trouble| trouble.what.clone()),
        todo: troubles.iter().map(ToDo::from).collect(),
        lines: lines(&status, linked),
        pauses: PauseRow::of(&status.pauses),
        walks,
        charts: charts::read(&state).await?,
        remotes,
        runs: status.runs.iter().map(RunRow::from).collect(),
    })
}

/// What the database says.
struct Read {
    status: Status,
    linked: LinkCount,
    walks: Vec<Progress>,
}

async fn read(state: &HttpState) -> Result<Read, StoreError> {
    let seen = state.overview.read().await?;
    let parts = part_states(state, Some(&seen));
    let (store, limit) = (&state.store, state.poll_age_limit);
    let status = Status::after(seen, store, parts, limit, state.second).await?;
    let linked = state.store.count_linked_soon().await?;
    let now = Utc::now();
    let walks = state.store.running_runs().await?;
    let walks = walks.iter().map(|run| Progress::of(run, linked, now)).collect();
    Ok(Read { status, linked, walks })
}

fn lines(status: &Status, linked: LinkCount) -> Vec<Line> {
    let line = |label, text| Line { label, text, href: None };
    let linked = match linked {
        LinkCount { links, is_exact: true } => number(links),
        LinkCount { links, is_exact: false } => format!("about {}", number(links)),
    };
    let webhooks = match status.parts.webhooks.as_deref() {
        Some("off") => "off; polls find every change",
        Some("ok") => "on; changes arrive at once",
        Some("incomplete") => "subscriptions are missing or not verified; polls find the changes",
        _ => "not known",
    };
    let two_way = [
        ("Changes in Intercom", status.intercom_line()),
        ("Waiting for a write to Keap", status.keap_queue_line()),
        ("Users that wait for a contact in Keap", status.newcomers_line()),
        ("Comparison of both sides", status.audit_line()),
        ("Conflicts", status.conflicts_line()),
    ];
    let two_way = two_way.into_iter().filter_map(|(label, text)| Some(line(label, text?)));
    let mut lines = vec![
        line("Changes", status.changed_line()),
        line("Linked contacts", linked),
        line("Waiting for a look", number(status.due)),
        Line { href: Some("/ui/held"), ..line("Need a person", number(status.held)) },
        line("First walk over all contacts", status.backfill_line()),
        line("Search for deleted contacts", status.sweep_line()),
        line("Webhooks", webhooks.to_owned()),
        line("Lease", status.lease_line()),
    ];
    lines.splice(1..1, two_way);
    lines
}
