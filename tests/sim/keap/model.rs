//! The contact model of Keap: its custom fields, and the forms in which their contents are shown
//! (`GET /v2/contacts/model`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::knobs::{KeapKnobs, ListForm, NumberForm, YesNoForm};
use super::person::Person;
use super::render::optional_properties;
use super::{Keap, errors};
use crate::sim::message::{Answer, Request};

/// The types of custom fields by the contract.
pub(crate) const FIELD_TYPES: [&str; 24] = [
    "CURRENCY",
    "DATE",
    "DATE_TIME",
    "DAY_OF_WEEK",
    "DECIMAL_NUMBER",
    "DRILLDOWN",
    "DROPDOWN",
    "EMAIL",
    "LIST_BOX",
    "MONTH",
    "NAME",
    "PERCENT",
    "PHONE_NUMBER",
    "RADIO",
    "SOCIAL_SECURITY_NUMBER",
    "STATE",
    "TEXT",
    "TEXT_AREA",
    "USER",
    "USER_LIST_BOX",
    "WEBSITE",
    "WHOLE_NUMBER",
    "YEAR",
    "YES_NO",
];

const FIRST_ID: i64 = 12;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CustomField {
    pub label: String,
    /// The name of the database column. A new label does not change it.
    pub field_name: String,
    pub field_type: String,
    pub options: Vec<String>,
    pub default_value: Option<String>,
    pub group_id: i64,
    pub group_name: String,
}

#[derive(Default)]
pub(super) struct Model {
    fields: BTreeMap<i64, CustomField>,
    /// No contact shows their contents.
    deleted: BTreeSet<i64>,
}

impl Model {
    fn next_id(&self) -> i64 {
        let last = self.fields.keys().chain(&self.deleted).max();
        last.map_or(FIRST_ID, |last| last + 1)
    }

    pub(super) fn has(&self, id: i64) -> bool {
        self.fields.contains_key(&id)
    }

    /// The custom fields that a contact shows: those of the model, and those that only the contact
    /// knows. A field without content is null, or is left out.
    pub(super) fn shown(&self, person: &Person, knobs: &KeapKnobs) -> Vec<(i64, Value)> {
        let held = &person.details.custom_fields;
        let ids: BTreeSet<i64> = self.fields.keys().chain(held.keys()).copied().collect();
        ids.difference(&self.deleted)
            .map(|id| {
                let field_type = self.fields.get(id).map_or("", |field| field.field_type.as_str());
                let content = held.get(id).unwrap_or(&Value::Null);
                (*id, in_form(content, field_type, knobs))
            })
            .filter(|(_, content)| !(knobs.omit_nulls && content.is_null()))
            .collect()
    }

    fn json(&self, knobs: &KeapKnobs) -> Value {
        let fields: Vec<_> = self.fields.iter().map(|(id, field)| field.json(*id, knobs)).collect();
        json!({"custom_fields": fields, "optional_properties": optional_properties()})
    }
}

impl CustomField {
    fn json(&self, id: i64, knobs: &KeapKnobs) -> Value {
        let options: Vec<_> = self
            .options
            .iter()
            .enumerate()
            .map(|(at, label)| json!({"id": (at + 1).to_string(), "label": label}))
            .collect();
        let known = |value: Value| if knobs.model_nulls { Value::Null } else { value };
        json!({
            "id": id.to_string(),
            "label": self.label,
            "field_name": known(self.field_name.clone().into()),
            "field_type": self.field_type,
            "record_type": known("CONTACT".into()),
            "options": known(options.into()),
            "default_value": self.default_value,
            "group_id": self.group_id.to_string(),
            "group_name": self.group_name,
        })
    }
}

/// A content in the form that the knobs ask for. A content that suits no form stays as it is.
fn in_form(content: &Value, field_type: &str, knobs: &KeapKnobs) -> Value {
    let changed = match field_type {
        "WHOLE_NUMBER" | "DECIMAL_NUMBER" | "CURRENCY" | "PERCENT" | "YEAR" => {
            number(content, knobs.custom_numbers)
        }
        "YES_NO" => yes_no(content, knobs.custom_yes_no),
        "LIST_BOX" | "USER_LIST_BOX" => several(content, knobs.custom_lists),
        _ => None,
    };
    changed.unwrap_or_else(|| content.clone())
}

fn number(content: &Value, form: NumberForm) -> Option<Value> {
    match (form, content) {
        (NumberForm::Number, Value::String(text)) => {
            let number = serde_json::from_str::<Value>(text.trim()).ok()?;
            number.is_number().then_some(number)
        }
        (NumberForm::Text, Value::Number(number)) => Some(number.to_string().into()),
        _ => None,
    }
}

fn yes_no(content: &Value, form: YesNoForm) -> Option<Value> {
    let yes = match content {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_i64()? != 0,
        Value::String(text) => match text.to_lowercase().as_str() {
            "yes" | "true" | "1" => true,
            "no" | "false" | "0" => false,
            _ => return None,
        },
        _ => return None,
    };
    match form {
        YesNoForm::AsStored => None,
        YesNoForm::Boolean => Some(yes.into()),
        YesNoForm::Number => Some(i32::from(yes).into()),
        YesNoForm::Word => Some(if yes { "Yes" } else { "No" }.into()),
    }
}

fn several(content: &Value, form: ListForm) -> Option<Value> {
    match (form, content) {
        (ListForm::List, Value::String(text)) => Some(text.split(',').map(Value::from).collect()),
        (ListForm::Text, Value::Array(items)) => {
            let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            Some(items.iter().map(text).collect::<Vec<_>>().join(",").into())
        }
        _ => None,
    }
}

impl Keap {
    /// `POST /v2/contacts/model/customFields`.
    pub(super) fn create_field_call(&self, request: &Request) -> Answer {
        let body = request.json().unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let (label, field_type) = (text("label"), text("field_type"));
        if label.is_empty() || !FIELD_TYPES.contains(&field_type) {
            return errors::bad_request("Input could not be converted to a valid request");
        }
        let id = self.add_custom_field(label, field_type, &[]);
        let state = self.state();
        Answer::json(201, state.model.fields[&id].json(id, &state.knobs).to_string())
    }

    /// Adds a custom field and returns its id. Panics if the contract has no such type.
    pub(crate) fn add_custom_field(&self, label: &str, field_type: &str, options: &[&str]) -> i64 {
        assert!(FIELD_TYPES.contains(&field_type), "{field_type} is no type of a custom field");
        let model = &mut self.state().model;
        let id = model.next_id();
        let column: String = label.chars().filter(|letter| letter.is_alphanumeric()).collect();
        let field = CustomField {
            label: label.to_owned(),
            field_name: format!("_{column}"),
            field_type: field_type.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            default_value: None,
            group_id: 45,
            group_name: "Custom Fields".to_owned(),
        };
        model.fields.insert(id, field);
        id
    }

    /// The custom field with this label.
    pub(crate) fn field_with_label(&self, label: &str) -> Option<CustomField> {
        self.state().model.fields.values().find(|field| field.label == label).cloned()
    }

    /// Changes a custom field, for instance its options. `false` if there is no such field.
    pub(crate) fn edit_custom_field(&self, id: i64, edit: impl FnOnce(&mut CustomField)) -> bool {
        self.state().model.fields.get_mut(&id).map(edit).is_some()
    }

    /// Gives a custom field a new label. Its id and its column stay.
    pub(crate) fn rename_custom_field(&self, id: i64, label: &str) -> bool {
        self.edit_custom_field(id, |field| label.clone_into(&mut field.label))
    }

    /// Deletes a custom field with its contents. No contact gets a new stamp.
    pub(crate) fn delete_custom_field(&self, id: i64) -> bool {
        let model = &mut self.state().model;
        model.deleted.insert(id);
        model.fields.remove(&id).is_some()
    }

    pub(crate) fn custom_field(&self, id: i64) -> Option<CustomField> {
        self.state().model.fields.get(&id).cloned()
    }

    /// Sets the content of a contact's custom field, in any form, whatever the type of the field.
    pub(crate) fn set_custom(&self, contact: i64, field: i64, content: impl Into<Value>) -> bool {
        let content = content.into();
        self.edit(contact, |person| {
            person.details.custom_fields.insert(field, content);
        })
    }

    pub(super) fn model_call(&self) -> Answer {
        let state = self.state();
        Answer::json(200, state.model.json(&state.knobs).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_takes_the_form_of_its_knob_or_stays_as_it_is() {
        let mut knobs = KeapKnobs::default();
        let shown =
            |content: Value, field_type, knobs: &KeapKnobs| in_form(&content, field_type, knobs);
        assert_eq!(shown(json!("7"), "WHOLE_NUMBER", &knobs), json!("7"));
        knobs.custom_numbers = NumberForm::Number;
        assert_eq!(shown(json!("7"), "WHOLE_NUMBER", &knobs), json!(7));
        assert_eq!(shown(json!("7.5"), "CURRENCY", &knobs), json!(7.5));
        assert_eq!(shown(json!("many"), "CURRENCY", &knobs), json!("many"));
        assert_eq!(shown(json!("7"), "TEXT", &knobs), json!("7"));
        knobs.custom_numbers = NumberForm::Text;
        assert_eq!(shown(json!(7), "WHOLE_NUMBER", &knobs), json!("7"));

        for (form, yes, no) in [
            (YesNoForm::AsStored, json!("Yes"), json!(0)),
            (YesNoForm::Boolean, json!(true), json!(false)),
            (YesNoForm::Number, json!(1), json!(0)),
            (YesNoForm::Word, json!("Yes"), json!("No")),
        ] {
            knobs.custom_yes_no = form;
            assert_eq!(shown(json!("Yes"), "YES_NO", &knobs), yes);
            assert_eq!(shown(json!(0), "YES_NO", &knobs), no);
        }

        knobs.custom_lists = ListForm::List;
        assert_eq!(shown(json!("a,b"), "LIST_BOX", &knobs), json!(["a", "b"]));
        knobs.custom_lists = ListForm::Text;
        assert_eq!(shown(json!(["a", 1]), "LIST_BOX", &knobs), json!("a,1"));
        assert_eq!(shown(Value::Null, "LIST_BOX", &knobs), Value::Null);
    }
}
