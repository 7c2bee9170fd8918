//! The body of a write: what changes, and each list whole, as Keap has just shown it, because Keap
//! removes the entries that a write leaves out (`docs/api/keap.md`, "Writing").

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value as Json, json};

use super::{Field, Form, Places, Reading, Source, Value, slot};
use crate::contact::FieldName;
use crate::remote::lenient::Text;

/// A field that is written, and what it shall show.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    pub field: &'a FieldName,
    pub reading: &'a Reading,
}

/// A body, and the names of the properties in it, for `update_mask`.
pub(in crate::keap) struct Patch {
    pub body: Map<String, Json>,
    pub mask: Vec<String>,
}

/// Slots for new entries.
const EMAILS: [&str; 3] = ["EMAIL1", "EMAIL2", "EMAIL3"];
const PHONES: [&str; 5] = ["PHONE1", "PHONE2", "PHONE3", "PHONE4", "PHONE5"];

impl Places {
    /// The write that makes these changes to a contact. `shown`: the contact, as Keap showed it
    /// just now. `masked`: the custom fields that Keap may show masked. `Err` says why it cannot be
    /// made, without personal data.
    pub(in crate::keap) fn patch(
        &self,
        shown: &str,
        changes: &[Change<'_>],
        masked: &[String],
    ) -> Result<Patch, String> {
        let shown: Map<String, Json> = serde_json::from_str(shown)
            .map_err(|_| "Keap shows this contact in a form that is not understood".to_owned())?;
        let mut patch = Patch { body: Map::new(), mask: Vec::new() };
        for Change { field, reading } in changes {
            let place = self.fields.iter().find(|known| known.place.field == **field);
            let Some(place) = place.filter(|place| place.place.is_written) else {
                return Err(format!("the field {field} is not written to Keap"));
            };
            self.change(&mut patch, &shown, place, reading)?;
        }
        let customs = patch.body.get("custom_fields").and_then(Json::as_array);
        let is_masked = |entry: &Json| {
            !entry["content"].is_null() && masked.iter().any(|id| is_custom(entry, id))
        };
        if customs.is_some_and(|entries| entries.iter().any(is_masked)) {
            return Err("the contact has a social security number, which Keap may show masked, and a write of any custom field sends it back".to_owned());
        }
        Ok(patch)
    }

    fn change(
        &self,
        patch: &mut Patch,
        shown: &Map<String, Json>,
        field: &Field,
        reading: &Reading,
    ) -> Result<(), String> {
        match &field.source {
            Source::Property(index) => {
                if let Some(name) = self.properties.get(*index) {
                    patch.body.insert(name.clone(), content(field.place.form, reading, None));
                    patch.mask.push(name.clone());
                }
                Ok(())
            }
            Source::Email => {
                let list = patch.list("email_addresses", shown, email)?;
                put_email(list, reading);
                if list.is_empty() && !has_any(shown, &["phone_numbers", "addresses"]) {
                    return Err("without its address, the contact would have no e-mail, phone or postal address, which Keap does not take".to_owned());
                }
                Ok(())
            }
            Source::Phone => {
                put_phone(patch.list("phone_numbers", shown, Json::clone)?, reading);
                Ok(())
            }
            Source::Custom(id) => {
                let list = patch.list("custom_fields", shown, custom)?;
                put_custom(list, id, field.place.form, reading);
                Ok(())
            }
            _ => Err(format!("the field {} is not written to Keap", field.place.field)),
        }
    }
}

impl Patch {
    /// The list of this name: as it is sent so far, else as Keap shows it.
    fn list(
        &mut self,
        name: &'static str,
        shown: &Map<String, Json>,
        entry: fn(&Json) -> Json,
    ) -> Result<&mut Vec<Json>, String> {
        if !self.body.contains_key(name) {
            let entries: Vec<Json> = match shown.get(name) {
                None | Some(Json::Null) => Vec::new(),
                Some(Json::Array(entries)) if entries.iter().all(is_entry) => {
                    entries.iter().filter(|one| !one.is_null()).map(entry).collect()
                }
                Some(_) => {
                    return Err(format!(
                        "Keap shows {name} in a form that is not understood, and a write would lose it"
                    ));
                }
            };
            self.body.insert(name.to_owned(), Json::Array(entries));
            self.mask.push(name.to_owned());
        }
        self.body
            .get_mut(name)
            .and_then(Json::as_array_mut)
            .ok_or_else(|| format!("{name} is no list"))
    }
}

fn is_entry(entry: &Json) -> bool {
    entry.is_object() || entry.is_null()
}

/// An address as it may be sent. Nothing that is sent can opt anybody in.
fn email(entry: &Json) -> Json {
    json!({ "email": entry["email"], "field": entry["field"] })
}

fn custom(entry: &Json) -> Json {
    json!({ "id": entry["id"], "content": entry["content"] })
}

/// The index of the first entry, by slot, that is usable.
fn first_usable(list: &[Json], is_usable: impl Fn(&Json) -> bool) -> Option<usize> {
    let usable = list.iter().enumerate().filter(|(_, entry)| is_usable(entry));
    usable.min_by_key(|(at, entry)| (slot_of(entry), *at)).map(|(at, _)| at)
}

fn slot_of(entry: &Json) -> u32 {
    slot(&entry["field"].as_str().map_or(Text::Absent, |name| Text::Is(name.into())))
}

/// The first of these slots that no entry has.
fn free_slot<'a>(list: &[Json], slots: &[&'a str]) -> Option<&'a str> {
    slots.iter().copied().find(|slot| !list.iter().any(|entry| entry["field"] == *slot))
}

/// Puts the address into the slot that the field is read from.
fn put_email(list: &mut Vec<Json>, reading: &Reading) {
    let is_usable =
        |entry: &Json| matches!(Form::Email.read(entry["email"].as_str()), Reading::Is(_));
    let at = first_usable(list, is_usable);
    match (at, reading) {
        (Some(at), Reading::Is(value)) => list[at]["email"] = value.as_str().into(),
        (None, Reading::Is(value)) => {
            if let Some(slot) = free_slot(list, &EMAILS) {
                list.push(json!({ "email": value.as_str(), "field": slot }));
            }
        }
        (Some(at), _) => drop(list.remove(at)),
        (None, _) => {}
    }
}

/// Puts the number into the slot that the field is read from. Its type and extension stay.
fn put_phone(list: &mut Vec<Json>, reading: &Reading) {
    let is_number = |entry: &Json| {
        ["number_e164", "number"].iter().any(|name| {
            entry[*name].as_str().is_some_and(|text| text.chars().any(char::is_numeric))
        })
    };
    let at = first_usable(list, is_number);
    match (at, reading) {
        (Some(at), Reading::Is(value)) => {
            list[at]["number"] = value.as_str().into();
            if let Some(entry) = list[at].as_object_mut() {
                // Keap makes it from the number.
                entry.remove("number_e164");
            }
        }
        (None, Reading::Is(value)) => {
            if let Some(slot) = free_slot(list, &PHONES) {
                list.push(json!({ "number": value.as_str(), "field": slot }));
            }
        }
        (Some(at), _) => drop(list.remove(at)),
        (None, _) => {}
    }
}

/// Whether an entry is the custom field with this id.
fn is_custom(entry: &Json, id: &str) -> bool {
    match &entry["id"] {
        Json::String(text) => text.trim() == id,
        Json::Number(number) => number.to_string() == id,
        _ => false,
    }
}

fn put_custom(list: &mut Vec<Json>, id: &str, form: Form, reading: &Reading) {
    match list.iter().position(|entry| is_custom(entry, id)) {
        Some(at) => {
            let content = content(form, reading, Some(&list[at]["content"]));
            list[at]["content"] = content;
        }
        None => list.push(json!({ "id": id, "content": content(form, reading, None) })),
    }
}

/// A value as Keap takes it: in the way in which it showed the last one.
fn content(form: Form, reading: &Reading, shown: Option<&Json>) -> Json {
    let Reading::Is(value) = reading else {
        return Json::Null;
    };
    let text = value.as_str();
    if form == Form::List {
        return match shown {
            Some(Json::String(_)) => text.into(),
            _ => text.split(", ").collect::<Vec<_>>().into(),
        };
    }
    let Value::Typed(form, text) = value else {
        return text.into();
    };
    let number = |json: Option<Json>| match shown {
        Some(Json::String(_)) => text.as_str().into(),
        _ => json.unwrap_or_else(|| text.as_str().into()),
    };
    match form {
        Form::YesNo => yes_or_no(text == "true", shown),
        Form::Whole => number(text.parse::<i64>().ok().map(Json::from)),
        Form::Decimal => number(text.parse::<f64>().ok().map(Json::from)),
        Form::Time => text
            .parse()
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .map_or(Json::Null, |at| at.to_rfc3339_opts(SecondsFormat::Secs, true).into()),
        _ => text.as_str().into(),
    }
}

fn yes_or_no(yes: bool, shown: Option<&Json>) -> Json {
    match shown {
        Some(Json::Number(_)) => u8::from(yes).into(),
        Some(Json::String(word)) => match word.trim().to_lowercase().as_str() {
            "true" | "false" => yes.to_string().into(),
            "1" | "0" => u8::from(yes).to_string().into(),
            _ => if yes { "Yes" } else { "No" }.into(),
        },
        _ => yes.into(),
    }
}

/// Whether one of these lists has an entry.
fn has_any(shown: &Map<String, Json>, lists: &[&str]) -> bool {
    lists.iter().any(|name| {
        shown.get(*name).and_then(Json::as_array).is_some_and(|entries| !entries.is_empty())
    })
}

#[cfg(test)]
mod tests;
