//! `/ui/contacts/elsewhere`: leads to the page of a contact in Keap or in Intercom. So no page of
//! ours names another site, and the accounts are asked for their names only when somebody wants to
//! go.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::door::see_other;
use super::form::Fields;
use crate::contact::{IntercomId, KeapId};
use crate::http::code::Code;
use crate::http::problem::Problem;
use crate::http::state::{HttpState, PageOf};

/// A person waits no longer than this for an account to say its name.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn lead(
    State(state): State<Arc<HttpState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::read(query.unwrap_or_default().as_bytes());
    let keap = query.parsed::<KeapId>("keap")?.map(PageOf::Keap);
    let intercom = query.get("intercom").and_then(IntercomId::new).map(PageOf::Intercom);
    let page = keap.or(intercom).ok_or_else(|| {
        Problem::new(Code::InvalidQuery, "the address names no contact of Keap or of Intercom")
    })?;
    let not_known = |why: &str| Problem::new(Code::NoPage, format!("the page is not known: {why}"));
    match tokio::time::timeout(PATIENCE, (state.shown.find_page)(page)).await {
        Ok(Ok(address)) => Ok(see_other(&address)),
        Ok(Err(why)) => Err(not_known(&why)),
        Err(_) => Err(not_known("the account does not answer")),
    }
}
