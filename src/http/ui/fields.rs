//! `/ui/fields`: the mapping in words, as it fits both accounts.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::response::Response;

use super::frame::{Frame, Place, page};
use super::sessions::Session;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::report::{MappedFields, capital};

#[derive(Template)]
#[template(path = "fields.html", config = "src/http/ui/templates/askama.toml")]
struct FieldsPage {
    frame: Frame,
    /// `None`: the accounts have not shown their fields yet.
    mapped: Option<MappedFields>,
    direction: String,
    consent: String,
}

pub(super) async fn fields(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
) -> Result<Response, Problem> {
    let mapped = state.shown.fields.borrow().clone();
    let sentence = |text: Option<&String>| text.map(|text| capital(text)).unwrap_or_default();
    page(&FieldsPage {
        frame: Frame::new(&state, session, Place::Fields, "Fields"),
        direction: sentence(mapped.as_ref().map(|mapped| &mapped.direction)),
        consent: sentence(mapped.as_ref().map(|mapped| &mapped.consent)),
        mapped,
    })
}
