//! `PATCH /v2/contacts/{id}`: checks and stores the fields that the mask names.

use std::time::Instant;

use serde_json::Value;

use super::details::Address;
use super::model::Model;
use super::person::{Person, Phone};
use super::render::Fields;
use super::routes::one;
use super::{Keap, errors};
use crate::sim::message::{Answer, Request};

/// The most characters of a text property, by the contract.
const LIMITS: [(&str, usize); 10] = [
    ("given_name", 40),
    ("family_name", 40),
    ("middle_name", 100),
    ("preferred_name", 100),
    ("job_title", 255),
    ("website", 100),
    ("spouse_name", 100),
    ("billing_information", 100),
    ("assistant_name", 20),
    ("assistant_phone", 15),
];

/// The most characters of a text in a custom field, by the contract.
const CUSTOM_LIMIT: usize = 65_535;

/// The text properties that only Keap itself sets.
const READ_ONLY: [&str; 4] = ["score_value", "created_by", "last_updated_by", "account_id"];

impl Keap {
    /// Sets the fields that the mask names. A list is replaced whole.
    pub(super) fn write(&self, id: &str, request: &Request) -> Answer {
        let Ok(id) = id.parse::<i64>() else {
            return errors::bad_request("Invalid contact_id");
        };
        let Some(Value::Object(body)) = request.json() else {
            return errors::bad_request("Input could not be converted to a valid request");
        };
        let fields = match Fields::parse(request.param("fields").as_deref()) {
            Ok(fields) => fields,
            Err(message) => return errors::bad_request(&message),
        };
        let mask: Vec<_> = request
            .params()
            .into_iter()
            .filter(|(key, _)| key == "update_mask")
            .map(|(_, name)| name)
            .collect();
        let Some(mut person) = self.person(id) else {
            return errors::not_found(&id.to_string());
        };
        // Without a mask, absent fields stay. Keap does not document this; it is the milder
        // reading.
        let named: Vec<&str> = if mask.is_empty() {
            body.keys().map(String::as_str).collect()
        } else {
            mask.iter().map(String::as_str).collect()
        };
        for name in named {
            let value = body.get(name).unwrap_or(&Value::Null);
            if let Err(message) = set(&mut person, name, value, &self.state().model) {
                return errors::bad_request(&message);
            }
        }
        let (keeps_entries, bumps) =
            self.knobs(|knobs| (knobs.patch_keeps_entries, knobs.unchanged_write_bumps));
        let before = self.person(id).unwrap_or_default();
        if keeps_entries {
            keep_entries(&mut person, &before);
        }
        self.note_overwritten(id, &before, &person);
        if bumps || person != before {
            self.edit(id, |old| *old = person);
        }
        self.opt_in_as_asked(body);
        one(&self.state(), id, &fields).applied()
    }
}

impl Keap {
    /// When the content of a custom field was replaced by a write, the last time.
    pub(crate) fn overwritten_at(&self, id: i64, content: &str) -> Option<Instant> {
        let state = self.state();
        let mut of_contact = state.overwritten.iter().rev().filter(|(of, ..)| *of == id);
        of_contact.find(|(_, was, _)| was.as_str() == Some(content)).map(|(.., at)| *at)
    }

    fn note_overwritten(&self, id: i64, before: &Person, now: &Person) {
        let (before, now) = (&before.details.custom_fields, &now.details.custom_fields);
        let lost =
            before.iter().filter(|(field, was)| !was.is_null() && now.get(field) != Some(was));
        let at = Instant::now();
        self.state().overwritten.extend(lost.map(|(_, was)| (id, was.clone(), at)));
    }

    /// A reason for an opt-in opts the address in.
    pub(super) fn opt_in_as_asked(&self, body: &serde_json::Map<String, Value>) {
        for item in body.get("email_addresses").into_iter().flat_map(items) {
            if let (Some(address), Some(_)) = (string(item, "email"), string(item, "opt_in_reason"))
            {
                self.opt_in(&address);
            }
        }
    }
}

/// Adds the entries that a person had in a slot, or in a custom field, that is empty now.
fn keep_entries(person: &mut Person, before: &Person) {
    fn keep<T: Clone>(now: &mut Vec<T>, before: &[T], slot: impl Fn(&T) -> String) {
        let slots: Vec<_> = now.iter().map(&slot).collect();
        now.extend(before.iter().filter(|item| !slots.contains(&slot(item))).cloned());
    }
    keep(&mut person.emails, &before.emails, |(slot, _)| slot.clone());
    keep(&mut person.phones, &before.phones, |phone| phone.slot.clone());
    let (details, before) = (&mut person.details, &before.details);
    keep(&mut details.addresses, &before.addresses, |address| address.field.clone());
    keep(&mut details.fax_numbers, &before.fax_numbers, |(slot, _)| slot.clone());
    keep(&mut details.social_accounts, &before.social_accounts, |(kind, _)| kind.clone());
    for (field, content) in &before.custom_fields {
        details.custom_fields.entry(*field).or_insert_with(|| content.clone());
    }
}

pub(super) fn set(
    person: &mut Person,
    name: &str,
    value: &Value,
    model: &Model,
) -> Result<(), String> {
    let details = &mut person.details;
    match name {
        "email_addresses" => {
            person.emails = items(value)
                .filter_map(|item| Some((string(item, "field")?, string(item, "email")?)))
                .collect();
        }
        "phone_numbers" => {
            person.phones = items(value)
                .filter_map(|item| {
                    Some(Phone {
                        slot: string(item, "field")?,
                        number: string(item, "number"),
                        e164: string(item, "number_e164"),
                    })
                })
                .collect();
        }
        "fax_numbers" => {
            details.fax_numbers = items(value)
                .filter_map(|item| Some((string(item, "field")?, string(item, "number")?)))
                .collect();
        }
        "social_accounts" => {
            details.social_accounts = items(value)
                .filter_map(|item| Some((string(item, "type")?, string(item, "name")?)))
                .collect();
        }
        "addresses" => details.addresses = items(value).map(address).collect::<Result<_, _>>()?,
        "custom_fields" => {
            details.custom_fields =
                items(value).map(|item| content(item, model)).collect::<Result<_, _>>()?;
        }
        "owner_id" => details.owner_id = id(name, value)?,
        "company" => {
            let company = value.get("id").unwrap_or(&Value::Null);
            details.company_id = id(name, company)?;
            person.company_name = string(value, "company_name");
        }
        _ => return set_text(person, name, value),
    }
    Ok(())
}

fn set_text(person: &mut Person, name: &str, value: &Value) -> Result<(), String> {
    let text = match value {
        Value::Null => None,
        Value::String(text) => Some(text.as_str()),
        _ => return Err(format!("Invalid value for {name}")),
    };
    let limit = LIMITS.iter().find(|(limited, _)| *limited == name).map(|(_, limit)| *limit);
    let length = text.map_or(0, |text| text.chars().count());
    if limit.is_some_and(|limit| length > limit) {
        return Err(format!("{name} is too long"));
    }
    if READ_ONLY.contains(&name) || !person.set_text(name, text) {
        return Err(format!("Unknown field {name}"));
    }
    Ok(())
}

fn address(item: &Value) -> Result<Address, String> {
    let address: Address =
        serde_json::from_value(item.clone()).map_err(|_| "Invalid value for addresses")?;
    let has_region = address.region.is_some() || address.region_code.is_some();
    if has_region && address.country_code.is_none() {
        return Err("country_code is required with a region".to_owned());
    }
    Ok(address)
}

/// The id and the content of a custom field.
fn content(item: &Value, model: &Model) -> Result<(i64, Value), String> {
    let field = id("custom_fields", item.get("id").unwrap_or(&Value::Null))?
        .filter(|field| model.has(*field))
        .ok_or("Unknown custom field")?;
    let content = item.get("content").cloned().unwrap_or_default();
    if content.as_str().is_some_and(|text| text.chars().count() > CUSTOM_LIMIT) {
        return Err(format!("The content of custom field {field} is too long"));
    }
    Ok((field, content))
}

/// An id as a text or as a number.
fn id(name: &str, value: &Value) -> Result<Option<i64>, String> {
    let id = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.parse().ok(),
        value => value.as_i64(),
    };
    id.map(Some).ok_or_else(|| format!("Invalid value for {name}"))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn string(item: &Value, name: &str) -> Option<String> {
    item.get(name)?.as_str().map(str::to_owned)
}
