//! `POST /sync/held/decide`: a person decides about held contacts, or takes a decision back.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::{Object, Type};

use super::batch;
use super::code::Code;
use super::json::{self, Field};
use super::list;
use super::problem::{Problem, ProblemBody};
use super::state::HttpState;
use crate::contact::{IntercomId, KeapId};
use crate::outcome::Decided;
use crate::store::{DecidedBy, NewDecision, Taken, Whose};

/// The word that takes a decision back.
pub(super) const TAKE_BACK: &str = "take_back";

/// A decision about held contacts. Give `keapContactIds` or `reason`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DecideRequest {
    /// `use`: one of the candidates becomes the contact's Intercom contact. `create`: it gets a new
    /// one. `retry`: it is looked at again. `ignore_until_changed` and `ignore`: it is skipped.
    /// `take_back`: the decision in force ends.
    #[schema(schema_with = decisions)]
    decision: String,
    /// 1 to 1,000 Keap contact ids, and one with `use`. `keap_contact_ids` is accepted too.
    #[schema(schema_with = batch::keap_ids_schema)]
    #[serde(default, alias = "keap_contact_ids", deserialize_with = "batch::given")]
    keap_contact_ids: Option<Vec<Value>>,
    /// Every contact that is held for this reason. Not with `use`.
    #[serde(default, deserialize_with = "list::word")]
    #[schema(value_type = Option<String>, example = "several_users", pattern = "^[A-Za-z0-9_]{1,64}$")]
    reason: Option<String>,
    /// With `use`: the candidate.
    #[serde(default)]
    #[schema(example = "6762f0dd1bb69f9f00000151")]
    intercom_contact_id: Option<String>,
}

const DECIDE_FIELDS: [Field; 4] = [
    Field { name: "decision", former: None },
    Field { name: "keapContactIds", former: Some("keap_contact_ids") },
    Field { name: "reason", former: None },
    Field { name: "intercomContactId", former: None },
];

const EXPECTED: &str = "{\"decision\": \"ignore\", \"keapContactIds\": [12345]}, {\"decision\": \"create\", \"reason\": \"several_users\"}, or {\"decision\": \"use\", \"keapContactIds\": [12345], \"intercomContactId\": \"6762f0dd1bb69f9f00000151\"}";

fn words() -> impl Iterator<Item = &'static str> {
    Decided::ALL.into_iter().map(Decided::code).chain([TAKE_BACK])
}

fn decisions() -> Object {
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(words()))
        .examples(["ignore"])
        .build()
}

/// What was decided.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DecideReply {
    success: bool,
    /// The contacts about which it was decided.
    decided: Vec<i64>,
    /// The contacts about which it cannot be decided so.
    refused: Vec<RefusedBody>,
    /// The named contacts that are not held, or about which nothing was decided.
    not_held: Vec<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefusedBody {
    keap_contact_id: i64,
    why: String,
}

/// Decides about held contacts
///
/// The decision is stored first, and the daemon carries it out at once. If every contact refuses
/// it, the answer is 422 and says why.
#[utoipa::path(post, path = "/sync/held/decide", tag = "held", operation_id = "decideHeld",
    request_body(content = DecideRequest, example = json!({ "decision": "ignore", "keapContactIds": [1000] })), security(("apiToken" = [])),
    responses(
        (status = 202, description = "The decision is stored", body = DecideReply, example = json!({ "success": true, "decided": [1000], "refused": [], "notHeld": [] })),
        (status = 400, description = "The body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "More than 1,000 contacts", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The reason does not offer this decision, or the Intercom contact cannot be used", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not configured, or the database is down", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn decide(
    State(state): State<Arc<HttpState>>,
    body: Bytes,
) -> Result<(StatusCode, Json<DecideReply>), Problem> {
    let body: DecideRequest = json::body(&body, &DECIDE_FIELDS, EXPECTED)?;
    let ids = body.keap_contact_ids.as_deref().map(batch::ids).transpose()?;
    let asked = Asked {
        decision: &body.decision,
        ids: ids.as_deref(),
        reason: body.reason.as_deref(),
        intercom: body.intercom_contact_id.as_deref(),
        by: DecidedBy::Http,
    };
    let taken = asked.take(&state).await?;
    if let (true, Some((id, why))) = (taken.decided.is_empty(), taken.refused.first()) {
        return Err(refused(*id, why));
    }
    let numbers = |ids: &[KeapId]| ids.iter().map(|id| id.get()).collect();
    let reply = DecideReply {
        success: true,
        decided: numbers(&taken.decided),
        not_held: numbers(&taken.not_held),
        refused: taken
            .refused
            .into_iter()
            .map(|(id, why)| RefusedBody { keap_contact_id: id.get(), why })
            .collect(),
    };
    Ok((StatusCode::ACCEPTED, Json(reply)))
}

/// The answer to a decision that a contact refuses.
pub(super) fn refused(id: KeapId, why: &str) -> Problem {
    Problem::new(Code::DecisionRefused, format!("contact {id}: {why}"))
}

/// A decision as a caller names it.
pub(super) struct Asked<'a> {
    pub decision: &'a str,
    pub ids: Option<&'a [KeapId]>,
    pub reason: Option<&'a str>,
    pub intercom: Option<&'a str>,
    pub by: DecidedBy,
}

impl Asked<'_> {
    /// Takes the decision, or takes one back.
    pub(super) async fn take(&self, state: &HttpState) -> Result<Taken, Problem> {
        let invalid = |why: String| Problem::new(Code::InvalidBody, why);
        let whose = match (self.ids, self.reason) {
            (Some(ids), None) => Whose::These(ids),
            (None, Some(reason)) => Whose::Reason(reason),
            _ => {
                let why = "it names no contacts, or in two ways; give ids of contacts, or a reason";
                return Err(invalid(why.into()));
            }
        };
        let decided = match Decided::parse(self.decision) {
            None if self.decision == TAKE_BACK && self.intercom.is_none() => {
                return take_back(state, whose, self.by).await;
            }
            None => {
                let words: Vec<&str> = words().collect();
                return Err(invalid(format!("the decision is one of {}", words.join(", "))));
            }
            Some(decided) => decided,
        };
        let intercom = match (decided, self.intercom, self.ids) {
            (Decided::Use, Some(id), Some([_])) => {
                let id = IntercomId::new(id);
                Some(id.ok_or_else(|| invalid("that is no id of an Intercom contact".into()))?)
            }
            (Decided::Use, ..) => {
                let why = "use needs one Keap contact and one Intercom contact, which is one of its candidates";
                return Err(invalid(why.into()));
            }
            (_, None, _) => None,
            (_, Some(_), _) => {
                return Err(invalid("only use needs an Intercom contact".into()));
            }
        };
        take(state, &NewDecision { whose, decided, intercom: intercom.as_ref(), by: self.by }).await
    }
}

/// Takes a decision, and wakes the lane that carries it out.
pub(super) async fn take(state: &HttpState, new: &NewDecision<'_>) -> Result<Taken, Problem> {
    let taken = state.store.decide(new).await?;
    state.urgent.fire("decision");
    tracing::info!(
        decision = new.decided.code(),
        by = new.by.as_str(),
        contacts = taken.decided.len(),
        "A person has decided about held contacts."
    );
    Ok(taken)
}

async fn take_back(state: &HttpState, whose: Whose<'_>, by: DecidedBy) -> Result<Taken, Problem> {
    let taken = state.store.take_back(whose, by).await?;
    state.urgent.fire("decision");
    tracing::info!(
        by = by.as_str(),
        contacts = taken.decided.len(),
        "A person has taken decisions about contacts back."
    );
    Ok(taken)
}
