//! Intercom's tags: their names, and the contacts that have them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::contact::{Facts, Slot, Standing, slot_of};
use super::store::Store;
use super::workspace::ADMIN_ID;
use super::write::{Moment, live_contact};
use super::{Intercom, State, errors};
use crate::sim::message::{Answer, Request};

pub(crate) type TagId = u32;

const FIRST_ID: TagId = 80;

#[derive(Default)]
pub(super) struct Tags {
    /// Names by id.
    by_id: BTreeMap<TagId, String>,
    /// How many were made, deleted ones included: no id comes twice.
    made: TagId,
}

impl Tags {
    /// The tag of this name, in any case of letters. Adds it if there is none.
    fn named(&mut self, name: &str) -> TagId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = FIRST_ID + self.made;
        self.made += 1;
        self.by_id.insert(id, name.to_owned());
        id
    }

    fn find(&self, name: &str) -> Option<TagId> {
        let name = name.to_lowercase();
        self.by_id.iter().find(|(_, held)| held.to_lowercase() == name).map(|(id, _)| *id)
    }

    fn name(&self, id: TagId) -> &str {
        self.by_id.get(&id).map_or("", String::as_str)
    }

    fn json(&self, id: TagId) -> Value {
        json!({"type": "tag", "id": id.to_string(), "name": self.name(id)})
    }

    /// A tag of a contact, with the time at which it was applied.
    fn applied_json(&self, id: TagId, applied_at: i64) -> Value {
        let mut json = self.json(id);
        json["applied_at"] = applied_at.into();
        json["applied_by"] = json!({"type": "admin", "id": ADMIN_ID});
        json
    }

    fn given(&self, id: Option<&Value>) -> Option<TagId> {
        let id = match id? {
            Value::String(text) => text.parse().ok()?,
            id => TagId::try_from(id.as_u64()?).ok()?,
        };
        self.by_id.contains_key(&id).then_some(id)
    }
}

/// Tags a contact, unless it has the tag. Returns when the tag was applied.
fn apply(store: &mut Store, slot: Slot, mut facts: Facts, tag: TagId, moment: Moment) -> i64 {
    let tags = &mut facts.extras.get_or_insert_default().tags;
    if let Some((_, applied_at)) = tags.iter().find(|(held, _)| *held == tag) {
        return *applied_at;
    }
    tags.push((tag, moment.seconds()));
    facts.updated_at = moment.seconds();
    store.change(slot, facts, Standing::Live, moment.due_ms);
    moment.seconds()
}

/// Untags a contact. Returns when the tag was applied, or `None` if the contact lacks it.
fn unapply(
    store: &mut Store,
    slot: Slot,
    mut facts: Facts,
    tag: TagId,
    moment: Moment,
) -> Option<i64> {
    let mut extras = *facts.extras.take()?;
    let at = extras.tags.iter().position(|(held, _)| *held == tag)?;
    let (_, applied_at) = extras.tags.remove(at);
    facts.set_extras(extras);
    facts.updated_at = moment.seconds();
    store.change(slot, facts, Standing::Live, moment.due_ms);
    Some(applied_at)
}

// What a test or an admin does.
impl Intercom {
    /// Adds a tag and returns its id. A name that exists keeps its tag.
    pub(crate) fn add_tag(&self, name: &str) -> String {
        self.state().workspace.tags.named(name).to_string()
    }

    /// Deletes a tag. Contacts that have it show no name for it.
    pub(crate) fn delete_tag(&self, name: &str) -> bool {
        let tags = &mut self.state().workspace.tags;
        tags.find(name).and_then(|id| tags.by_id.remove(&id)).is_some()
    }

    /// Tags a live contact. Adds the tag if there is none of that name.
    pub(crate) fn tag(&self, id: &str, name: &str) -> bool {
        let moment = self.moment();
        let State { store, workspace, .. } = &mut *self.state();
        let Some((slot, facts)) = live(store, id) else {
            return false;
        };
        apply(store, slot, facts, workspace.tags.named(name), moment);
        true
    }

    /// `false` if the contact is not live or does not have the tag.
    pub(crate) fn untag(&self, id: &str, name: &str) -> bool {
        let moment = self.moment();
        let State { store, workspace, .. } = &mut *self.state();
        let untagged = live(store, id).and_then(|(slot, facts)| {
            unapply(store, slot, facts, workspace.tags.find(name)?, moment)
        });
        untagged.is_some()
    }

    /// The names of a live contact's tags, in order.
    pub(crate) fn tags_of(&self, id: &str) -> Vec<String> {
        let state = self.state();
        let extras = live(&state.store, id).and_then(|(_, facts)| facts.extras);
        let tags = extras.map(|extras| extras.tags).unwrap_or_default();
        let mut names: Vec<_> =
            tags.iter().map(|(tag, _)| state.workspace.tags.name(*tag).to_owned()).collect();
        names.sort();
        names
    }

    /// The names of all tags, in order.
    pub(crate) fn tag_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.state().workspace.tags.by_id.values().cloned().collect();
        names.sort();
        names
    }
}

fn live(store: &Store, id: &str) -> Option<(Slot, Facts)> {
    let slot = slot_of(id)?;
    Some((slot, store.live(slot)?.clone()))
}

// The routes.
impl Intercom {
    /// `GET /tags`
    pub(super) fn tags_call(&self) -> Answer {
        let tags = &self.state().workspace.tags;
        let data: Vec<_> = tags.by_id.keys().map(|id| tags.json(*id)).collect();
        Answer::json(200, json!({"type": "list", "data": data}).to_string())
    }

    /// `POST /tags`: creates a tag, renames it, or gives it to many contacts.
    pub(super) fn write_tag_call(&self, request: &Request) -> Answer {
        let refused = || errors::invalid("invalid tag parameters");
        let body = request.json();
        let given = |name: &str| body.and_then(|body| body.get(name));
        let name = given("name").and_then(Value::as_str).unwrap_or_default().trim();
        if name.is_empty() || given("companies").is_some() {
            return refused();
        }
        if let Some(users) = given("users") {
            return match users.as_array() {
                Some(users) => self.tag_many(name, users).unwrap_or_else(|refusal| refusal),
                None => refused(),
            };
        }
        let tags = &mut self.state().workspace.tags;
        let id = match given("id") {
            None => tags.named(name),
            Some(id) => match tags.given(Some(id)) {
                None => return errors::resource_not_found(),
                Some(id) if tags.find(name).is_some_and(|held| held != id) => return refused(),
                Some(id) => {
                    tags.by_id.insert(id, name.to_owned());
                    id
                }
            },
        };
        Answer::json(200, tags.json(id).to_string()).applied()
    }

    /// Tags many contacts, or none of them if one is not live.
    fn tag_many(&self, name: &str, users: &[Value]) -> Result<Answer, Answer> {
        let moment = self.moment();
        let State { store, workspace, knobs, .. } = &mut *self.state();
        let too_many = knobs.max_tagged.is_some_and(|most| users.len() > most);
        if too_many || users.iter().any(|user| user.get("untag").is_some()) {
            return Err(errors::invalid("invalid tag parameters"));
        }
        let ids: Option<Vec<_>> = users.iter().map(|user| user.get("id")?.as_str()).collect();
        let ids = ids.ok_or_else(|| errors::invalid("invalid tag parameters"))?;
        for id in &ids {
            live_contact(store, id, moment.now_ms)?;
        }
        let tag = workspace.tags.named(name);
        for id in &ids {
            let (slot, facts) = live_contact(store, id, moment.now_ms)?;
            apply(store, slot, facts, tag, moment);
        }
        let mut json = workspace.tags.json(tag);
        json["users"] = ids.iter().map(|id| json!({"id": id, "tagged": true})).collect();
        Ok(Answer::json(200, json.to_string()).applied())
    }

    /// `GET /contacts/{id}/tags`
    pub(super) fn contact_tags_call(&self, id: &str) -> Answer {
        let now_ms = self.moment().now_ms;
        let State { store, workspace, .. } = &*self.state();
        let facts = match live_contact(store, id, now_ms) {
            Ok((_, facts)) => facts,
            Err(refusal) => return refusal,
        };
        let tags = facts.extras.map(|extras| extras.tags).unwrap_or_default();
        let data: Vec<_> =
            tags.iter().map(|(tag, at)| workspace.tags.applied_json(*tag, *at)).collect();
        Answer::json(200, json!({"type": "list", "data": data}).to_string())
    }

    /// `POST /contacts/{id}/tags`
    pub(super) fn tag_call(&self, id: &str, request: &Request) -> Answer {
        let moment = self.moment();
        let State { store, workspace, .. } = &mut *self.state();
        let (slot, facts) = match live_contact(store, id, moment.now_ms) {
            Ok(found) => found,
            Err(refusal) => return refusal,
        };
        let given = request.json().and_then(|body| body.get("id"));
        let Some(tag) = workspace.tags.given(given) else {
            return errors::resource_not_found();
        };
        let applied_at = apply(store, slot, facts, tag, moment);
        Answer::json(200, workspace.tags.applied_json(tag, applied_at).to_string()).applied()
    }

    /// `DELETE /contacts/{id}/tags/{tag_id}`
    pub(super) fn untag_call(&self, id: &str, tag: &str) -> Answer {
        let moment = self.moment();
        let State { store, workspace, .. } = &mut *self.state();
        let (slot, facts) = match live_contact(store, id, moment.now_ms) {
            Ok(found) => found,
            Err(refusal) => return refusal,
        };
        let untagged = workspace
            .tags
            .given(Some(&tag.into()))
            .and_then(|tag| Some((tag, unapply(store, slot, facts, tag, moment)?)));
        match untagged {
            Some((tag, applied_at)) => {
                let json = workspace.tags.applied_json(tag, applied_at);
                Answer::json(200, json.to_string()).applied()
            }
            None => errors::resource_not_found(),
        }
    }
}
