//! Keap's tags: their names, who has them since when, and the routes that read and apply them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::filter::{self, Pattern};
use super::knobs::KeapKnobs;
use super::pager::{self, Pager};
use super::person::Person;
use super::{Keap, State, errors, stamps};
use crate::sim::message::{Answer, Request};

const FIRST_ID: i64 = 91;

struct Tag {
    name: String,
    created_ms: i64,
    updated_ms: i64,
}

#[derive(Default)]
pub(super) struct Tags {
    by_id: BTreeMap<i64, Tag>,
    /// When a tag was applied, by tag and contact.
    applied: BTreeMap<(i64, i64), i64>,
    last_id: i64,
}

impl Tags {
    /// Notes the tags that a contact had and has.
    pub(super) fn follow(&mut self, contact: i64, before: &[i64], after: &[i64], now_ms: i64) {
        for tag in before.iter().filter(|tag| !after.contains(tag)) {
            self.applied.remove(&(*tag, contact));
        }
        for tag in after {
            self.applied.entry((*tag, contact)).or_insert(now_ms);
        }
    }

    fn json(&self, id: i64, knobs: &KeapKnobs) -> Value {
        let Some(tag) = self.by_id.get(&id) else {
            return json!({"id": id.to_string()});
        };
        json!({
            "id": id.to_string(), "name": tag.name, "description": "", "category": null,
            "create_time": stamps::v2(tag.created_ms, knobs.rounding),
            "update_time": stamps::v2(tag.updated_ms, knobs.rounding),
        })
    }
}

// What a test or a user of Keap does.
impl Keap {
    /// Adds a tag and returns its id. A name that exists keeps its tag.
    pub(crate) fn add_tag(&self, name: &str) -> i64 {
        let now_ms = self.shared.clock.now_ms();
        let tags = &mut self.state().tags;
        if let Some((id, _)) = tags.by_id.iter().find(|(_, tag)| tag.name == name) {
            return *id;
        }
        tags.last_id = (tags.last_id + 1).max(FIRST_ID);
        let tag = Tag { name: name.to_owned(), created_ms: now_ms, updated_ms: now_ms };
        tags.by_id.insert(tags.last_id, tag);
        tags.last_id
    }

    /// Gives a tag a new name. Its id stays.
    pub(crate) fn rename_tag(&self, tag: i64, name: &str) -> bool {
        let now_ms = self.shared.clock.now_ms();
        match self.state().tags.by_id.get_mut(&tag) {
            Some(tag) => {
                name.clone_into(&mut tag.name);
                tag.updated_ms = now_ms;
                true
            }
            None => false,
        }
    }

    /// Deletes a tag, and takes it from all contacts.
    pub(crate) fn delete_tag(&self, tag: i64) -> bool {
        for contact in self.tagged(tag) {
            self.remove_tag(contact, tag);
        }
        self.state().tags.by_id.remove(&tag).is_some()
    }

    /// Applies a tag to a contact. `false` if the contact has it already, or if one of them does
    /// not exist. The stamp of the contact moves only if the knob says so.
    pub(crate) fn apply_tag(&self, contact: i64, tag: i64) -> bool {
        let applies = {
            let state = self.state();
            let person = state.rows.get(contact).map(|row| row.current.person.unpack());
            state.tags.by_id.contains_key(&tag)
                && person.is_some_and(|person| !person.tag_ids.contains(&tag))
        };
        applies && self.change_tags(contact, "contactGroup.applied", |ids| ids.push(tag))
    }

    /// Takes a tag from a contact. `false` if the contact does not have it.
    pub(crate) fn remove_tag(&self, contact: i64, tag: i64) -> bool {
        let has = self.state().tags.applied.contains_key(&(tag, contact));
        has && self.change_tags(contact, "contactGroup.removed", |ids| ids.retain(|id| *id != tag))
    }

    /// The names of a contact's tags, in order.
    pub(crate) fn tags_of(&self, contact: i64) -> Vec<String> {
        let person = self.person(contact).unwrap_or_default();
        let tags = &self.state().tags;
        let names = person.tag_ids.iter().filter_map(|id| Some(tags.by_id.get(id)?.name.clone()));
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// The contacts that have a tag, the lowest id first.
    pub(crate) fn tagged(&self, tag: i64) -> Vec<i64> {
        let tags = &self.state().tags;
        let places = tags.applied.range((tag, i64::MIN)..=(tag, i64::MAX));
        places.map(|((_, contact), _)| *contact).collect()
    }

    fn change_tags(&self, contact: i64, event: &str, change: impl FnOnce(&mut Vec<i64>)) -> bool {
        let change = |person: &mut Person| change(&mut person.tag_ids);
        let changed = if self.knobs(|knobs| knobs.tags_bump_update_time) {
            self.edit(contact, change)
        } else {
            self.edit_quietly(contact, change)
        };
        let now_ms = self.shared.clock.now_ms();
        self.raise(&mut self.state(), event, &[contact], now_ms);
        changed
    }
}

// The routes.
impl Keap {
    /// `GET /v2/tags`
    pub(super) fn tags_call(&self, request: &Request) -> Answer {
        let state = self.state();
        or_400(list_tags(&state, request))
    }

    /// `POST /v2/tags`
    pub(super) fn create_tag_call(&self, request: &Request) -> Answer {
        let name = request.json().and_then(|body| body.get("name")?.as_str());
        let Some(name) = name.map(str::trim).filter(|name| (1..=255).contains(&name.len())) else {
            return errors::bad_request("name is required");
        };
        let id = self.add_tag(name);
        let state = self.state();
        Answer::json(201, state.tags.json(id, &state.knobs).to_string()).applied()
    }

    /// `GET /v2/contacts/{id}/tags`
    pub(super) fn contact_tags_call(&self, contact: &str, request: &Request) -> Answer {
        let state = self.state();
        let row = contact.parse::<i64>().ok().and_then(|id| Some((id, state.rows.get(id)?)));
        let Some((id, row)) = row else {
            return errors::not_found(contact);
        };
        let tag_ids = row.current.person.unpack().tag_ids;
        or_400(list_tags_of(&state, id, tag_ids, request))
    }

    /// `GET /v2/tags/{id}/contacts`
    pub(super) fn tag_contacts_call(&self, tag: &str, request: &Request) -> Answer {
        let state = self.state();
        match tag.parse() {
            Ok(id) if state.tags.by_id.contains_key(&id) => {
                or_400(list_tagged(&state, id, request))
            }
            _ => errors::not_found(tag),
        }
    }

    /// `POST /v2/tags/{id}/contacts:applyTags` and `:removeTags`
    pub(super) fn apply_call(&self, tag: &str, applies: bool, request: &Request) -> Answer {
        let known = |id: &i64| self.state().tags.by_id.contains_key(id);
        let Some(tag_id) = tag.parse::<i64>().ok().filter(known) else {
            return errors::not_found(tag);
        };
        let body = request.json().and_then(|body| body.get("contact_ids")?.as_array());
        let Some(ids) = body.filter(|ids| !ids.is_empty()) else {
            return errors::bad_request("contact_ids is required");
        };
        let mut results = Map::new();
        for id in ids {
            let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            let contact = text.parse().unwrap_or_default();
            let outcome = if self.person(contact).is_none() {
                "CONTACT_NOT_FOUND"
            } else if !applies {
                self.remove_tag(contact, tag_id);
                "SUCCESS"
            } else if self.apply_tag(contact, tag_id) {
                "SUCCESS"
            } else {
                "DUPLICATE"
            };
            results.insert(text, outcome.into());
        }
        if applies {
            Answer::json(200, json!({"results": results}).to_string()).applied()
        } else {
            Answer::empty(204).applied()
        }
    }
}

fn or_400(answer: Result<Answer, String>) -> Answer {
    answer.unwrap_or_else(|message| errors::bad_request(&message))
}

const TAG_FILTERS: [&str; 8] = [
    "name",
    "description",
    "category_id",
    "tag_ids",
    "since_create_time",
    "until_create_time",
    "since_update_time",
    "until_update_time",
];

fn list_tags(state: &State, request: &Request) -> Result<Answer, String> {
    let State { tags, knobs, .. } = state;
    let text = request.param("filter").unwrap_or_default();
    let clauses = pager::clauses(&text, &TAG_FILTERS)?;
    let bounds = times(&clauses, knobs)?;
    let fits = |id: i64, tag: &Tag| {
        clauses.iter().all(|(field, _, value)| match *field {
            "name" => Pattern::new(value).fits(&tag.name),
            "tag_ids" => value.split(',').any(|wanted| wanted.trim() == id.to_string()),
            // No tag here has a description or a category.
            "description" | "category_id" => *value == "NONE",
            _ => true,
        }) && bounds.iter().all(|bound| bound.fits("create", tag.created_ms, knobs))
            && bounds.iter().all(|bound| bound.fits("update", tag.updated_ms, knobs))
    };
    let mut rows: Vec<_> = tags.by_id.iter().filter(|(id, tag)| fits(**id, tag)).collect();
    let order = pager::order(request, &["name", "create_time", "update_time"])?;
    match order.field {
        Some("name") => rows.sort_by_key(|(_, tag)| tag.name.to_lowercase()),
        Some("update_time") => rows.sort_by_key(|(id, tag)| (tag.updated_ms, **id)),
        // Later tags have higher ids.
        _ => {}
    }
    let mut rows: Vec<_> = rows.into_iter().map(|(id, _)| (*id, *id)).collect();
    order.direct(&mut rows);
    let pager = Pager::parse(request, knobs, pager::MOST_ROWS)?;
    let (page, next) = pager.page(rows, order.is_by_id());
    let page = page.into_iter().map(|id| tags.json(id, knobs)).collect();
    Ok(pager::answer("tags", page, next, knobs))
}

fn list_tags_of(
    state: &State,
    contact: i64,
    mut tag_ids: Vec<i64>,
    request: &Request,
) -> Result<Answer, String> {
    let State { tags, knobs, .. } = state;
    let text = request.param("filter").unwrap_or_default();
    let clauses = pager::clauses(&text, &["name", "since_applied_time", "until_applied_time"])?;
    let bounds = times(&clauses, knobs)?;
    let name = clauses.iter().find(|(field, ..)| *field == "name");
    tag_ids.sort_unstable();
    let rows = tag_ids.into_iter().filter_map(|id| {
        let applied_ms = *tags.applied.get(&(id, contact))?;
        let tag_name = tags.by_id.get(&id).map_or("", |tag| &tag.name);
        let fits = name.is_none_or(|(_, _, value)| Pattern::new(value).fits(tag_name))
            && bounds.iter().all(|bound| bound.fits("applied", applied_ms, knobs));
        fits.then_some((id, (id, applied_ms)))
    });
    let mut rows: Vec<_> = rows.collect();
    let order = pager::order(request, &["applied_time"])?;
    if order.field.is_some() {
        rows.sort_by_key(|(id, (_, applied_ms))| (*applied_ms, *id));
        order.direct(&mut rows);
    }
    let pager = Pager::parse(request, knobs, pager::MOST_ROWS)?;
    let (page, next) = pager.page(rows, order.is_by_id());
    let json = |(id, applied_ms)| json!({"tag": tags.json(id, knobs), "applied_time": stamps::v2(applied_ms, knobs.rounding)});
    Ok(pager::answer("tags", page.into_iter().map(json).collect(), next, knobs))
}

const TAGGED_FILTERS: [&str; 5] =
    ["given_name", "family_name", "email", "since_applied_time", "until_applied_time"];

fn list_tagged(state: &State, tag: i64, request: &Request) -> Result<Answer, String> {
    let State { tags, rows: contacts, knobs, .. } = state;
    let text = request.param("filter").unwrap_or_default();
    let clauses = pager::clauses(&text, &TAGGED_FILTERS)?;
    let bounds = times(&clauses, knobs)?;
    let texts: Vec<_> =
        clauses.iter().filter(|(field, ..)| !field.ends_with("_applied_time")).collect();
    let person = |contact| contacts.get(contact).map(|row| row.current.person.unpack());
    let fits = |person: &Person| {
        texts.iter().all(|(field, _, value)| match property(person, field) {
            Some(held) => Pattern::new(value).fits(held),
            None => *value == "NONE",
        })
    };
    let mut rows: Vec<(i64, (i64, i64))> = tags
        .applied
        .range((tag, i64::MIN)..=(tag, i64::MAX))
        .map(|((_, contact), applied_ms)| (*contact, (*contact, *applied_ms)))
        .filter(|(_, (_, applied_ms))| {
            bounds.iter().all(|bound| bound.fits("applied", *applied_ms, knobs))
        })
        .filter(|(id, _)| texts.is_empty() || person(*id).is_some_and(|person| fits(&person)))
        .collect();
    let order = pager::order(request, &["given_name", "family_name", "email", "applied_time"])?;
    match order.field {
        Some("applied_time") => rows.sort_by_key(|(id, (_, applied_ms))| (*applied_ms, *id)),
        Some(field) => rows.sort_by_cached_key(|(id, _)| {
            person(*id).and_then(|person| Some(property(&person, field)?.to_lowercase()))
        }),
        None => {}
    }
    order.direct(&mut rows);
    let pager = Pager::parse(request, knobs, pager::MOST_ROWS)?;
    let (page, next) = pager.page(rows, order.is_by_id());
    let json = |(contact, applied_ms)| {
        let person = person(contact).unwrap_or_default();
        json!({
            "id": i64::to_string(&contact), "email": person.first_email(),
            "given_name": person.given_name, "family_name": person.family_name,
            "applied_time": stamps::v2(applied_ms, knobs.rounding),
        })
    };
    Ok(pager::answer("contacts", page.into_iter().map(json).collect(), next, knobs))
}

fn property<'a>(person: &'a Person, field: &str) -> Option<&'a str> {
    if field == "email" { person.first_email() } else { person.text(field) }
}

/// A `since_…_time` or `until_…_time` clause.
struct Bound<'a> {
    field: &'a str,
    at_ms: i64,
}

impl Bound<'_> {
    /// Whether the bound lets a time pass. A bound on another kind of time lets it pass.
    fn fits(&self, kind: &str, ms: i64, knobs: &KeapKnobs) -> bool {
        let ms = stamps::compared_ms(ms, knobs);
        match self.field.split_once('_') {
            Some(("since", rest)) if rest.starts_with(kind) => {
                ms > self.at_ms || (ms == self.at_ms && knobs.inclusive_start)
            }
            Some(("until", rest)) if rest.starts_with(kind) => {
                ms < self.at_ms || (ms == self.at_ms && knobs.inclusive_end)
            }
            _ => true,
        }
    }
}

fn times<'a>(clauses: &[pager::Clause<'a>], knobs: &KeapKnobs) -> Result<Vec<Bound<'a>>, String> {
    let is_time = |field: &str| ["since_", "until_"].iter().any(|start| field.starts_with(start));
    clauses
        .iter()
        .filter(|(field, ..)| is_time(field))
        .map(|(field, _, value)| Ok(Bound { field, at_ms: filter::time(field, value, knobs)? }))
        .collect()
}
