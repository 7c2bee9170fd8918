//! The data attributes of a workspace: standard ones, and custom ones that come and go
//! (`/data_attributes`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::knobs::IntercomKnobs;
use super::workspace::{ADMIN_ID, Workspace};
use super::{Intercom, State, errors};
use crate::sim::message::{Answer, Request};

/// The most custom attributes of a workspace. Archived ones do not count.
const MOST_ATTRIBUTES: usize = 250;
const FIRST_ID: u64 = 12_001;
/// The ids of the attributes that a knob names start here.
const FIRST_KNOB_ID: u64 = 900_001;

pub(crate) const DATA_TYPES: [&str; 6] =
    ["string", "integer", "float", "boolean", "date", "datetime"];

/// Standard attributes of a contact: name, type, and whether the API can write them.
const STANDARD: [(&str, &str, bool); 18] = [
    ("id", "string", false),
    ("external_id", "string", true),
    ("role", "string", true),
    ("name", "string", true),
    ("email", "string", true),
    ("phone", "string", true),
    ("avatar", "string", true),
    ("owner_id", "integer", true),
    ("created_at", "date", false),
    ("updated_at", "date", false),
    ("signed_up_at", "date", true),
    ("last_seen_at", "date", true),
    ("last_contacted_at", "date", false),
    ("last_replied_at", "date", false),
    ("unsubscribed_from_emails", "boolean", true),
    ("marked_email_as_spam", "boolean", false),
    ("has_hard_bounced", "boolean", false),
    ("language_override", "string", true),
];

/// What an attribute describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    Contact,
    Company,
}

impl Model {
    fn named(word: &str) -> Option<Model> {
        match word {
            "contact" => Some(Model::Contact),
            "company" => Some(Model::Company),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Model::Contact => "contact",
            Model::Company => "company",
        }
    }

    /// Its word in messages.
    fn data(self) -> &'static str {
        match self {
            Model::Contact => "people",
            Model::Company => "company",
        }
    }
}

/// A custom attribute. Its name is the key of its values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute {
    pub name: String,
    pub model: Model,
    pub data_type: String,
    pub description: Option<String>,
    /// The values of a list. Empty: any value of the type.
    pub options: Vec<String>,
    pub api_writable: bool,
    pub messenger_writable: bool,
    pub archived: bool,
    /// Unix seconds.
    pub created_at: i64,
    pub updated_at: i64,
}

impl Attribute {
    fn new(name: &str, model: Model, data_type: &str, now: i64) -> Attribute {
        Attribute {
            name: name.to_owned(),
            model,
            data_type: data_type.to_owned(),
            description: None,
            options: Vec::new(),
            api_writable: true,
            messenger_writable: false,
            archived: false,
            created_at: now,
            updated_at: now,
        }
    }

    /// Whether a value other than null has the type.
    pub(super) fn takes(&self, value: &Value) -> bool {
        match self.data_type.as_str() {
            "integer" | "date" | "datetime" => value.is_i64() || value.is_u64(),
            "float" => value.is_number(),
            "boolean" => value.is_boolean(),
            _ => value.is_string(),
        }
    }

    fn json(&self, id: u64) -> Value {
        let mut json = json!({
            "id": id, "type": "data_attribute", "model": self.model.word(), "name": self.name,
            "full_name": format!("custom_attributes.{}", self.name), "label": self.name,
            "description": self.description, "data_type": self.data_type,
            "api_writable": self.api_writable, "ui_writable": true,
            "messenger_writable": self.messenger_writable, "custom": true,
            "archived": self.archived, "admin_id": ADMIN_ID,
            "created_at": self.created_at, "updated_at": self.updated_at,
        });
        if !self.options.is_empty() {
            json["options"] = json!(self.options);
        }
        json
    }
}

#[derive(Default)]
pub(super) struct Attributes {
    by_id: BTreeMap<u64, Attribute>,
}

impl Attributes {
    pub(super) fn named(&self, model: Model, name: &str) -> Option<&Attribute> {
        self.by_id.values().find(|held| held.model == model && held.name == name)
    }

    fn named_mut(&mut self, name: &str) -> Option<&mut Attribute> {
        self.by_id.values_mut().find(|held| held.model == Model::Contact && held.name == name)
    }

    fn add(&mut self, attribute: Attribute) -> u64 {
        let id = self.by_id.keys().next_back().map_or(FIRST_ID, |last| last + 1);
        self.by_id.insert(id, attribute);
        id
    }

    fn list(&self, wanted: Option<Model>, archived: bool, knobs: &IntercomKnobs) -> Vec<Value> {
        let wants = |model| wanted.is_none_or(|wanted| wanted == model);
        let mut data = Vec::new();
        if wants(Model::Contact) {
            data.extend(STANDARD.map(standard));
            let mut names: Vec<_> = knobs.attributes.iter().collect();
            names.sort();
            let named = (FIRST_KNOB_ID..).zip(names);
            data.extend(
                named.map(|(id, name)| Attribute::new(name, Model::Contact, "string", 0).json(id)),
            );
        }
        let custom = self.by_id.iter().filter(|(_, held)| wants(held.model));
        data.extend(
            custom.filter(|(_, held)| archived || !held.archived).map(|(id, held)| held.json(*id)),
        );
        data
    }
}

fn standard((name, data_type, api_writable): (&str, &str, bool)) -> Value {
    json!({
        "type": "data_attribute", "model": "contact", "name": name, "full_name": name,
        "label": name, "description": "", "data_type": data_type, "api_writable": api_writable,
        "ui_writable": false, "messenger_writable": true, "custom": false, "archived": false,
    })
}

// What a test or an admin does.
impl Intercom {
    /// Adds a custom attribute of contacts, without the checks of the API, and returns its id.
    /// Panics if there is no such type. A list has the type `string` and options.
    pub(crate) fn add_attribute(&self, name: &str, data_type: &str, options: &[&str]) -> u64 {
        assert!(DATA_TYPES.contains(&data_type), "{data_type} is no type of an attribute");
        let attribute = Attribute {
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..Attribute::new(name, Model::Contact, data_type, self.moment().seconds())
        };
        self.state().workspace.attributes.add(attribute)
    }

    /// Changes a custom attribute of contacts, for instance `api_writable`. `false` if there is no
    /// such attribute.
    pub(crate) fn edit_attribute(&self, name: &str, edit: impl FnOnce(&mut Attribute)) -> bool {
        self.state().workspace.attributes.named_mut(name).map(edit).is_some()
    }

    pub(crate) fn archive_attribute(&self, name: &str) -> bool {
        self.edit_attribute(name, |attribute| attribute.archived = true)
    }

    /// A custom attribute of contacts.
    pub(crate) fn attribute(&self, name: &str) -> Option<Attribute> {
        self.state().workspace.attributes.named(Model::Contact, name).cloned()
    }

    /// The custom attributes of a contact. A cleared one is null.
    pub(crate) fn attributes_of(&self, id: &str) -> Map<String, Value> {
        self.contact(id).map(|contact| contact.custom_attributes).unwrap_or_default()
    }
}

// The routes.
impl Intercom {
    /// `GET /data_attributes`
    pub(super) fn attributes_call(&self, request: &Request) -> Answer {
        let model = match request.param("model") {
            None => None,
            Some(word) => match Model::named(&word) {
                Some(model) => Some(model),
                None => {
                    let message = format!(
                        "model={word} is no longer supported. Use GET /{word}s/attributes instead"
                    );
                    return errors::error(422, "parameter_invalid", &message);
                }
            },
        };
        let archived = request.param("include_archived").is_some_and(|word| word == "true");
        let State { workspace, knobs, .. } = &*self.state();
        let data = workspace.attributes.list(model, archived, knobs);
        Answer::json(200, json!({"type": "list", "data": data}).to_string())
    }

    /// `POST /data_attributes`
    pub(super) fn create_attribute_call(&self, request: &Request) -> Answer {
        let now = self.moment().seconds();
        let workspace = &mut self.state().workspace;
        let attribute = match drafted(request.json(), workspace, now) {
            Ok(attribute) => attribute,
            Err(refusal) => return refusal,
        };
        let id = workspace.attributes.add(attribute.clone());
        Answer::json(200, attribute.json(id).to_string()).applied()
    }

    /// `PUT /data_attributes/{id}`. The type and the name cannot be changed.
    pub(super) fn update_attribute_call(&self, id: &str, request: &Request) -> Answer {
        let now = self.moment().seconds();
        let State { workspace, knobs, .. } = &mut *self.state();
        let found = id
            .parse()
            .ok()
            .and_then(|id: u64| Some((id, workspace.attributes.by_id.get_mut(&id)?)));
        let Some((id, attribute)) = found else {
            let message = "We couldn't find that data attribute to update";
            return errors::error(404, "field_not_found", message);
        };
        let given = |name: &str| request.json().and_then(|body| body.get(name));
        let archived = given("archived").and_then(Value::as_bool);
        if archived == Some(true) && knobs.attributes_in_use.contains(&attribute.name) {
            let message = "The Data Attribute you are trying to archive has a dependant object";
            return errors::error(422, "data_invalid", message);
        }
        if let Some(options) = given("options") {
            match read_options(options) {
                Some(options) => attribute.options = options,
                None => return errors::invalid("Options isn't an array"),
            }
        }
        if let Some(description) = given("description") {
            attribute.description = description.as_str().map(str::to_owned);
        }
        attribute.archived = archived.unwrap_or(attribute.archived);
        let messenger = given("messenger_writable").and_then(Value::as_bool);
        attribute.messenger_writable = messenger.unwrap_or(attribute.messenger_writable);
        attribute.updated_at = now;
        Answer::json(200, attribute.json(id).to_string()).applied()
    }
}

/// The attribute that a body asks for. The error is the answer that refuses it.
fn drafted(body: Option<&Value>, workspace: &Workspace, now: i64) -> Result<Attribute, Answer> {
    let given = |name: &str| body.and_then(|body| body.get(name));
    let word = |name: &str| given(name).and_then(Value::as_str);
    let model = word("model").and_then(Model::named).ok_or_else(|| {
        errors::invalid("The Data Attribute model field must be either contact or company")
    })?;
    let name = word("name").unwrap_or_default();
    check_name(name, model, &workspace.attributes)?;
    let (data_type, options) = match word("data_type").unwrap_or_default() {
        "options" => {
            let options = given("options")
                .and_then(read_options)
                .ok_or_else(|| errors::invalid("The Data Attribute needs at least two options"))?;
            ("string", options)
        }
        known if DATA_TYPES.contains(&known) => (known, Vec::new()),
        _ => return Err(errors::invalid("Data Type isn't an option")),
    };
    let live = workspace.attributes.by_id.values().filter(|held| !held.archived).count();
    if live >= MOST_ATTRIBUTES {
        let message = format!("You have reached the limit of {MOST_ATTRIBUTES} attributes");
        return Err(errors::error(400, "custom_data_limit_reached", &message));
    }
    Ok(Attribute {
        description: word("description").map(str::to_owned),
        options,
        messenger_writable: given("messenger_writable").and_then(Value::as_bool).unwrap_or(false),
        ..Attribute::new(name, model, data_type, now)
    })
}

/// Checks the name of a new attribute. An archived attribute keeps its name.
fn check_name(name: &str, model: Model, attributes: &Attributes) -> Result<(), Answer> {
    let allowed = |letter: char| letter.is_alphanumeric() || "-_ $€£¥".contains(letter);
    if name.trim().is_empty() || !name.chars().all(allowed) {
        return Err(errors::invalid(
            "Your name for this attribute must only contain alphanumeric characters, currency \
             symbols, and hyphens",
        ));
    }
    if model == Model::Contact && STANDARD.iter().any(|(known, ..)| *known == name) {
        return Err(errors::invalid(&format!("'{name}' is the name of a standard attribute")));
    }
    // Names of contacts and of companies collide as well.
    match attributes.by_id.values().find(|held| held.name == name) {
        Some(held) => Err(errors::invalid(&format!(
            "You already have '{name}' in your {} data. To save this as new {} data, use a different \
             name.",
            held.model.data(),
            model.data()
        ))),
        None => Ok(()),
    }
}

/// The values of a list, if there are at least two.
fn read_options(options: &Value) -> Option<Vec<String>> {
    let values = options.as_array()?.iter();
    let values: Vec<_> = values
        .map(|option| Some(option.get("value")?.as_str()?.to_owned()))
        .collect::<Option<_>>()?;
    (values.len() >= 2).then_some(values)
}
