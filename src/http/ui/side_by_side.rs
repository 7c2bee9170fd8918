//! `/ui/contacts/fields`: the fields of one contact as both products show them now.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;

use super::form::Fields;
use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::contact::KeapId;
use crate::http::code::Code;
use crate::http::problem::Problem;
use crate::http::side_by_side::{Both, owner_of, read};
use crate::http::state::HttpState;
use crate::report::words::stamp;
use crate::report::{ComparedField, SideShown};

/// One field on both sides.
struct FieldRow {
    name: String,
    decides: &'static str,
    keap: String,
    intercom: String,
    state: &'static str,
    differs: bool,
}

impl FieldRow {
    fn of(state: &HttpState, field: ComparedField) -> Self {
        let ComparedField { name, keap, intercom, is_same } = field;
        let value = |value: Option<String>| match value {
            None => "(not shown)".to_owned(),
            Some(value) if value.is_empty() => "(empty)".to_owned(),
            Some(value) => value,
        };
        Self {
            decides: owner_of(state, &name).unwrap_or("not in the mapping"),
            keap: value(keap),
            intercom: value(intercom),
            state: match is_same {
                Some(true) => "the same",
                Some(false) => "differs",
                None => "shown by one side",
            },
            differs: is_same == Some(false),
            name,
        }
    }
}

#[derive(Template)]
#[template(path = "contact_fields.html", config = "src/http/ui/templates/askama.toml")]
struct FieldsPage {
    frame: Frame,
    id: KeapId,
    /// What the two sides say of the contact: a sentence each.
    sides: Vec<String>,
    fields: Vec<FieldRow>,
}

pub(super) async fn show(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let id = query.contact_of_address()?;
    let Some(Both { sides, .. }) = read(&state, id).await? else {
        let why = "nothing is known of such a contact, or it was erased";
        return Err(Problem::new(Code::UnknownContact, why));
    };
    let said = |name: &str, shown: SideShown| match shown {
        SideShown::Contact(Some(at)) => format!("{name}: last changed {} UTC.", stamp(at)),
        SideShown::Contact(None) => format!("{name}: it does not say when it last changed."),
        SideShown::Nobody(why) => format!("{name}: {why}."),
    };
    page(&FieldsPage {
        frame: Frame::new(&state, session, Place::Contacts, "One contact on both sides"),
        id,
        sides: vec![said("Keap", sides.keap), said("Intercom", sides.intercom)],
        fields: sides.fields.into_iter().map(|field| FieldRow::of(&state, field)).collect(),
    })
}
