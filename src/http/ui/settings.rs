//! `/ui/settings`: the settings of this process, its version, and who runs passes.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;

use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::config::InForce;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::report::{lease_line, schema_line, standby_line};

struct SettingRow {
    key: &'static str,
    value: String,
    from: String,
}

impl From<&InForce> for SettingRow {
    fn from(one: &InForce) -> Self {
        Self { key: one.key, value: one.in_words(), from: one.from.clone() }
    }
}

/// The targets of alarms, and what they have answered to a test.
struct Alarms {
    targets: Vec<(&'static str, String)>,
    /// Whether each has taken it, and its answer in words. Empty: nobody has asked.
    answers: Vec<(&'static str, bool, String)>,
}

/// The settings of one section of a settings file.
struct Section {
    name: &'static str,
    rows: Vec<SettingRow>,
}

#[derive(Template)]
#[template(path = "settings.html", config = "src/http/ui/templates/askama.toml")]
struct SettingsPage {
    frame: Frame,
    alarms: Alarms,
    facts: Vec<(&'static str, String)>,
    only_changed: bool,
    sections: Vec<Section>,
}

pub(super) async fn settings(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    shown(&state, session, query.get("changed").is_some(), Vec::new()).await
}

/// Sends a test message to each target of alarms, and shows the page with the answers.
pub(super) async fn test_alarms(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    Fields::of_session(&state.entrance, session, &body)?;
    let answers = state.notifier.test().await.into_iter();
    let answers =
        answers.map(|one| (one.name, one.said.is_ok(), one.said.unwrap_or_else(|why| why)));
    shown(&state, session, true, answers.collect()).await
}

async fn shown(
    state: &HttpState,
    session: Session,
    only_changed: bool,
    answers: Vec<(&'static str, bool, String)>,
) -> Result<Response, Problem> {
    let targets = state.notifier.targets().iter().map(|one| (one.name(), one.place())).collect();
    let holder = state.store.lease_holder().await?.filter(|holder| holder.live);
    let listening = state.store.listening().await?;
    let this = if (state.holds_lease)() { "runs passes" } else { "stands by" };
    page(&SettingsPage {
        frame: Frame::new(state, session, Place::Settings, "Settings in force"),
        alarms: Alarms { targets, answers },
        facts: vec![
            ("Version", env!("CARGO_PKG_VERSION").to_owned()),
            ("Schema of the database", schema_line(&state.store.schema_state().await?)),
            ("Lease", lease_line(holder.as_ref())),
            ("This process", this.to_owned()),
            ("Standbys", standby_line(listening)),
        ],
        only_changed,
        sections: sections(&state.shown.settings, only_changed),
    })
}

fn sections(settings: &[InForce], only_changed: bool) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for one in settings.iter().filter(|one| !only_changed || !one.is_default) {
        let name = one.key.split_once('.').map_or("general", |(section, _)| section);
        match sections.iter_mut().find(|section| section.name == name) {
            Some(section) => section.rows.push(one.into()),
            None => sections.push(Section { name, rows: vec![one.into()] }),
        }
    }
    sections
}
