//! `/ui/fields`: the mapping in words, as it fits both accounts, and what each field did lately.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;

use super::form;
use super::frame::{Frame, Place, page};
use super::log_filter::Choice;
use super::sessions::Session;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::report::words::number;
use crate::report::{MappedFields, capital};
use crate::store::{Counted, FieldTally, IntentSide};

/// The spans of time to choose from: days, and in words.
const SPANS: [(i32, &str); 3] = [(1, "24 hours"), (7, "7 days"), (30, "30 days")];

/// What has become of one field on one side.
struct HistoryRow {
    field: String,
    side: &'static str,
    /// In the order of [`Counted::OF_FIELDS`].
    counts: Vec<String>,
}

#[derive(Template)]
#[template(path = "fields.html", config = "src/http/ui/templates/askama.toml")]
struct FieldsPage {
    frame: Frame,
    /// `None`: the accounts have not shown their fields yet.
    mapped: Option<MappedFields>,
    direction: String,
    consent: String,
    days: &'static str,
    spans: Vec<Choice>,
    history: Vec<HistoryRow>,
}

pub(super) async fn fields(
    State(state): State<Arc<HttpState>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = form::Fields::read(query.unwrap_or_default().as_bytes());
    let asked: Option<i32> = query.parsed("days")?;
    let known = SPANS.iter().find(|(days, _)| Some(*days) == asked);
    let (days, in_words) = known.copied().unwrap_or(SPANS[1]);
    let history = history(&state.store.field_tallies(days).await?);
    let mapped = state.shown.fields.borrow().clone();
    let sentence = |text: Option<&String>| text.map(|text| capital(text)).unwrap_or_default();
    page(&FieldsPage {
        frame: Frame::new(&state, session, Place::Fields, "Fields"),
        direction: sentence(mapped.as_ref().map(|mapped| &mapped.direction)),
        consent: sentence(mapped.as_ref().map(|mapped| &mapped.consent)),
        mapped,
        days: in_words,
        spans: SPANS.map(|span| choice(span, days)).into(),
        history,
    })
}

fn choice((days, words): (i32, &str), chosen: i32) -> Choice {
    let href = format!("/ui/fields?days={days}#history");
    Choice { label: words.to_owned(), href, is_chosen: days == chosen }
}

/// A row for each field and side. The counters of one field stand together.
fn history(tallies: &[FieldTally]) -> Vec<HistoryRow> {
    let same =
        |one: &FieldTally, other: &FieldTally| (&one.field, one.side) == (&other.field, other.side);
    let row = |tallies: &[FieldTally]| {
        let first = tallies.first()?;
        let of = |counted| tallies.iter().filter(move |tally| tally.counted == counted);
        let counts = Counted::OF_FIELDS.map(|counted| of(counted).map(|tally| tally.count).sum());
        Some(HistoryRow {
            field: first.field.clone(),
            side: match first.side {
                IntentSide::Keap => "Keap",
                IntentSide::Intercom => "Intercom",
            },
            counts: counts.map(number).into(),
        })
    };
    tallies.chunk_by(same).filter_map(row).collect()
}
