//! `/ui/plans/{id}`: one plan with its contacts, and the buttons that approve or drop it.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Response;
use chrono::Utc;
use uuid::Uuid;

use super::door::see_other;
use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::http::code::Code;
use crate::http::list::{self, DEFAULT_LIMIT};
use crate::http::plans::{approve_by, drop_by, place, plan_of};
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::outcome::PlanKind;
use crate::report::words::{number, stamp};
use crate::report::{action_word, capital, plan_actions, plan_facts, plan_scope, plan_standing};
use crate::store::{DecidedBy, Plan, PlanContact, PlanCount};

/// Plans that the page of runs shows.
const SHOWN: i64 = 20;

/// A plan in a table.
pub(super) struct PlanRow {
    pub id: Uuid,
    pub made: String,
    pub about: String,
    pub standing: String,
    pub does: String,
}

/// The plans that wait for a person.
pub(super) async fn waiting(state: &HttpState) -> Result<Vec<PlanRow>, Problem> {
    let now = Utc::now();
    let mut rows = Vec::new();
    for plan in state.store.plans(true, None, SHOWN).await? {
        let counts = state.store.plan_counts(plan.id).await?;
        rows.push(PlanRow {
            id: plan.id,
            made: stamp(plan.made_at),
            about: plan_scope(&plan),
            standing: plan_standing(&plan, now),
            does: plan_actions(&counts),
        });
    }
    Ok(rows)
}

/// What is counted of a plan.
struct CountRow {
    label: String,
    contacts: String,
    /// The action whose contacts a link shows.
    action: Option<String>,
}

impl From<&PlanCount> for CountRow {
    fn from(count: &PlanCount) -> Self {
        let (label, action) = match count.what.as_str() {
            "action" => (capital(&action_word(&count.word)), Some(count.word.clone())),
            "to_keap" => (format!("{} is written to Keap", count.word), None),
            _ => (format!("{} is written to Intercom", count.word), None),
        };
        Self { label, contacts: number(count.contacts), action }
    }
}

struct ContactRow {
    keap: Option<i64>,
    intercom: String,
    action: String,
    outcome: String,
}

impl From<PlanContact> for ContactRow {
    fn from(contact: PlanContact) -> Self {
        Self {
            keap: contact.keap_contact_id,
            intercom: contact.intercom_contact_id.unwrap_or_default(),
            action: action_word(&contact.action),
            outcome: contact.outcome.unwrap_or_default(),
        }
    }
}

#[derive(Template)]
#[template(path = "plan.html", config = "src/http/ui/templates/askama.toml")]
struct PlanPage {
    frame: Frame,
    id: Uuid,
    facts: Vec<(String, String)>,
    run: Option<Uuid>,
    counts: Vec<CountRow>,
    contacts: Vec<ContactRow>,
    /// Only contacts with this action are shown.
    action: Option<String>,
    /// The key of the next page.
    next: Option<String>,
    waits: bool,
}

pub(super) async fn plan(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(Code::NoPlan, "there is no such plan; old plans are deleted");
    let Path(id) = path.map_err(|_| unknown())?;
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let action = query.word("action")?.map(str::to_owned);
    let after = query.get("after").map(place).transpose()?.unwrap_or_default();
    let plan = plan_of(&state, id).await?;
    let counts = state.store.plan_counts(id).await?;
    let mut contacts =
        state.store.plan_contacts(id, action.as_deref(), after, DEFAULT_LIMIT + 1).await?;
    let next = list::next(&mut contacts, DEFAULT_LIMIT, |contact| contact.number.to_string());
    page(&PlanPage {
        frame: Frame::new(&state, session, Place::Runs, "One plan"),
        id,
        facts: facts(&plan),
        run: plan.run_id,
        counts: counts.iter().map(CountRow::from).collect(),
        contacts: contacts.into_iter().map(ContactRow::from).collect(),
        action,
        next,
        waits: plan.waits(),
    })
}

fn facts(plan: &Plan) -> Vec<(String, String)> {
    let facts = plan_facts(plan, Utc::now()).into_iter();
    let facts = facts.filter(|(name, _)| !matches!(*name, "plan" | "run"));
    facts.map(|(name, text)| (capital(name), text)).collect()
}

const BY: &str = DecidedBy::Page.as_str();

/// Asks for a plan.
pub(super) async fn ask(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = Fields::of_session(&state.entrance, session, &body)?;
    let kind = fields.word("kind")?.and_then(PlanKind::parse);
    let kind = kind.filter(|kind| PlanKind::ASKED.contains(kind));
    let kind = kind
        .ok_or_else(|| Problem::new(Code::InvalidBody, "the form does not say what to look at"))?;
    let id = state.store.request_plan(kind, BY).await?;
    Ok(see_other(&format!("/ui/plans/{id}")))
}

/// Approves a plan.
pub(super) async fn approve(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = id_of(&state, session, &body)?;
    approve_by(&state, id, BY).await?;
    Ok(see_other(&format!("/ui/plans/{id}")))
}

/// Drops a plan.
pub(super) async fn drop(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = id_of(&state, session, &body)?;
    drop_by(&state, id, BY).await?;
    Ok(see_other(&format!("/ui/plans/{id}")))
}

fn id_of(state: &HttpState, session: Session, body: &[u8]) -> Result<Uuid, Problem> {
    let fields = Fields::of_session(&state.entrance, session, body)?;
    fields.parsed("id")?.ok_or_else(|| Problem::new(Code::InvalidBody, "the form names no plan"))
}
