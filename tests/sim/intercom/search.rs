//! Search and list. Both read the lagging index and use cursors that need no state.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::contact::{Facts, Slot, id_of, slot_of};
use super::errors;
use super::knobs::IntercomKnobs;
use super::query::{Field, Filter, Operator, Query};
use super::render;
use super::store::Store;
use super::{Intercom, State};
use crate::sim::message::{Answer, Request};
use crate::sim::opaque;

const SEARCH_PER_PAGE: usize = 50;
const LIST_PER_PAGE: usize = 10;
const MAX_PER_PAGE: usize = 150;

#[derive(Clone, Copy)]
struct Sort {
    field: Field,
    descending: bool,
}

/// The newest first. The real service sorts by last request, which no contact here has.
const BY_DEFAULT: Sort = Sort { field: Field::CreatedAt, descending: true };

/// The start of a page: after this value and slot, in the order that is asked for.
struct Cursor {
    value: Value,
    slot: Slot,
    page: usize,
}

impl Cursor {
    fn encode(&self) -> String {
        opaque::encode(&json!([self.value, id_of(self.slot), self.page]).to_string())
    }

    fn decode(text: &str) -> Result<Cursor, Answer> {
        let read = || {
            let [value, id, page] =
                serde_json::from_str::<[Value; 3]>(&opaque::decode(text)?).ok()?;
            Some(Cursor { value, slot: slot_of(id.as_str()?)?, page: page.as_u64()? as usize })
        };
        read().ok_or_else(|| errors::invalid("Invalid starting_after"))
    }
}

impl Intercom {
    pub(super) fn search(&self, request: &Request) -> Answer {
        let now_ms = self.moment().now_ms;
        let State { store, knobs, .. } = &mut *self.state();
        store.catch_up(now_ms);
        searched(store, knobs, request.json()).unwrap_or_else(|refusal| refusal)
    }

    pub(super) fn list(&self, request: &Request) -> Answer {
        let now_ms = self.moment().now_ms;
        let store = &mut self.state().store;
        store.catch_up(now_ms);
        listed(store, request).unwrap_or_else(|refusal| refusal)
    }
}

fn searched(store: &Store, knobs: &IntercomKnobs, body: Option<&Value>) -> Result<Answer, Answer> {
    let missing = || errors::error(400, "parameter_missing", "query is missing");
    let body = body.ok_or_else(missing)?;
    let query = Query::parse(body.get("query").ok_or_else(missing)?, knobs)?;
    let sort = sort(body.get("sort"))?;
    let pagination = body.get("pagination");
    let per_page = match pagination.and_then(|pagination| pagination.get("per_page")) {
        None => SEARCH_PER_PAGE,
        Some(number) => per_page(number.as_u64())?,
    };
    let after = pagination
        .and_then(|pagination| pagination.get("starting_after")?.as_str())
        .map(Cursor::decode)
        .transpose()?;

    let candidates = candidates(store, &query);
    let slots: Box<dyn Iterator<Item = Slot>> = match candidates {
        Some(slots) => Box::new(slots.into_iter()),
        None => Box::new(store.slots()),
    };
    let mut found: Vec<_> = slots
        .filter_map(|slot| Some((slot, store.seen(slot)?)))
        .filter(|(slot, facts)| query.fits(*slot, facts, knobs))
        .collect();
    found.sort_by(|one, other| sort.compare(*one, *other));
    let total = found.len();
    let start = match &after {
        Some(cursor) => found.partition_point(|contact| sort.compare_to(*contact, cursor).is_le()),
        None => 0,
    };
    let rest = found.into_iter().skip(start);
    Ok(page(rest, total, per_page, after.map_or(1, |cursor| cursor.page), sort))
}

fn listed(store: &Store, request: &Request) -> Result<Answer, Answer> {
    let per_page = match request.param("per_page") {
        None => LIST_PER_PAGE,
        Some(text) => per_page(text.parse().ok())?,
    };
    let after = request.param("starting_after").map(|text| Cursor::decode(&text)).transpose()?;
    let end = after.as_ref().map_or(store.slots().end, |cursor| cursor.slot);
    // A newer contact has a higher slot, so this order needs no sorting.
    let rest = (0..end).rev().filter_map(|slot| Some((slot, store.seen(slot)?)));
    Ok(page(
        rest,
        store.index.visible(),
        per_page,
        after.map_or(1, |cursor| cursor.page),
        BY_DEFAULT,
    ))
}

fn per_page(number: Option<u64>) -> Result<usize, Answer> {
    match number {
        Some(number) if (1..=MAX_PER_PAGE as u64).contains(&number) => Ok(number as usize),
        _ => Err(errors::invalid(&format!("per_page must be between 1 and {MAX_PER_PAGE}"))),
    }
}

fn sort(value: Option<&Value>) -> Result<Sort, Answer> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(BY_DEFAULT);
    };
    let word = |name| value.get(name).and_then(Value::as_str);
    let name = word("field").unwrap_or_default();
    let field = Field::named(name).ok_or_else(|| {
        errors::error(400, "invalid_field", &format!("Unknown sort field {name}"))
    })?;
    let descending = match word("order") {
        None | Some("descending") => true,
        Some("ascending") => false,
        Some(other) => {
            let message =
                format!("Invalid sort order '{other}'. Must be one of: ascending, descending");
            return Err(errors::error(400, "invalid_sort_order", &message));
        }
    };
    Ok(Sort { field, descending })
}

impl Sort {
    fn compare(self, one: (Slot, &Facts), other: (Slot, &Facts)) -> Ordering {
        let order = match self.field {
            Field::CreatedAt | Field::UpdatedAt => {
                self.field.time(one.1).cmp(&self.field.time(other.1))
            }
            field => field.text(one.0, one.1).cmp(&field.text(other.0, other.1)),
        };
        self.directed(order.then(one.0.cmp(&other.0)))
    }

    fn compare_to(self, contact: (Slot, &Facts), cursor: &Cursor) -> Ordering {
        let (slot, facts) = contact;
        let order = match self.field {
            Field::CreatedAt | Field::UpdatedAt => {
                self.field.time(facts).cmp(&cursor.value.as_i64().unwrap_or_default())
            }
            field => field.text(slot, facts).as_deref().cmp(&cursor.value.as_str()),
        };
        self.directed(order.then(slot.cmp(&cursor.slot)))
    }

    fn directed(self, order: Ordering) -> Ordering {
        if self.descending { order.reverse() } else { order }
    }

    fn value(self, slot: Slot, facts: &Facts) -> Value {
        match self.field {
            Field::CreatedAt | Field::UpdatedAt => self.field.time(facts).into(),
            field => json!(field.text(slot, facts)),
        }
    }
}

/// The slots that may match, from the index. `None` means that every slot must be checked.
fn candidates(store: &Store, query: &Query) -> Option<Vec<Slot>> {
    let mut slots = match query {
        Query::Filter(Filter { field, operator: Operator::Is, values }) => {
            let texts = values.iter().filter_map(Value::as_str);
            match field {
                Field::Id => texts.filter_map(slot_of).collect(),
                Field::Email => texts.flat_map(|text| store.index.by_email(text)).collect(),
                Field::ExternalId => {
                    texts.flat_map(|text| store.index.by_external_id(text)).collect()
                }
                _ => return None,
            }
        }
        Query::Filter(_) => return None,
        Query::Group { any: true, parts } => {
            let parts: Option<Vec<_>> = parts.iter().map(|part| candidates(store, part)).collect();
            parts?.concat()
        }
        Query::Group { any: false, parts } => {
            parts.iter().filter_map(|part| candidates(store, part)).min_by_key(Vec::len)?
        }
    };
    slots.sort_unstable();
    slots.dedup();
    Some(slots)
}

fn page<'a>(
    mut rest: impl Iterator<Item = (Slot, &'a Facts)>,
    total: usize,
    per_page: usize,
    number: usize,
    sort: Sort,
) -> Answer {
    let mut out = br#"{"type":"list","data":["#.to_vec();
    let mut last = None;
    for (at, (slot, facts)) in rest.by_ref().take(per_page).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        render::write_contact(&mut out, slot, facts);
        last = Some((slot, facts));
    }
    let pages = total.div_ceil(per_page);
    render::raw(
        &mut out,
        format_args!(
            r#"],"total_count":{total},"pages":{{"type":"pages","page":{number},"per_page":{per_page},"total_pages":{pages}"#
        ),
    );
    if let (Some((slot, facts)), Some(_)) = (last, rest.next()) {
        let cursor = Cursor { value: sort.value(slot, facts), slot, page: number + 1 };
        render::raw(
            &mut out,
            format_args!(
                r#","next":{{"page":{},"starting_after":"{}"}}"#,
                number + 1,
                cursor.encode()
            ),
        );
    }
    out.extend_from_slice(b"}}");
    Answer::json(200, out)
}
