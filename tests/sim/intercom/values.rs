//! The values of custom attributes in a write: checks them, and stores them as the knobs say.

use serde_json::{Map, Value};

use super::attributes::{Attributes, Model};
use super::errors;
use super::knobs::{IntercomKnobs, LongString, Rewrite, Unfit};
use crate::sim::message::Answer;

/// The most characters of a text value.
const LIMIT: usize = 255;

/// The custom attributes of a body. One that is refused fails the whole write.
pub(super) fn custom_attributes(
    body: &Map<String, Value>,
    model: Model,
    attributes: &Attributes,
    knobs: &IntercomKnobs,
) -> Result<Map<String, Value>, Answer> {
    let given = match body.get("custom_attributes") {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(errors::invalid("custom_attributes must be an object")),
    };
    given
        .iter()
        .map(|(name, value)| Ok((name.clone(), stored(name, value, model, attributes, knobs)?)))
        .collect()
}

/// A value as it is stored. The error is the answer that refuses it.
fn stored(
    name: &str,
    value: &Value,
    model: Model,
    attributes: &Attributes,
    knobs: &IntercomKnobs,
) -> Result<Value, Answer> {
    let refused = |why: &str| Err(errors::invalid(&format!("Custom attribute '{name}' {why}")));
    let attribute = attributes.named(model, name).filter(|held| !held.archived);
    if attribute.is_none() && !(model == Model::Contact && knobs.attributes.contains(name)) {
        return refused("does not exist");
    }
    if attribute.is_some_and(|held| !held.api_writable) {
        return refused("cannot be written through the API");
    }
    if value.is_object() || value.is_array() {
        return refused("has an invalid value");
    }
    if value.is_null() {
        return Ok(Value::Null);
    }
    if let Some(held) = attribute {
        if knobs.attribute_types == Unfit::Refuse && !held.takes(value) {
            return refused(&format!("must be of type {}", held.data_type));
        }
        let listed =
            held.options.is_empty() || held.options.iter().any(|option| *value == **option);
        if knobs.option_values == Unfit::Refuse && !listed {
            return refused("must have one of its options as value");
        }
    }
    let Some(text) = value.as_str() else {
        return Ok(value.clone());
    };
    let text = if knobs.rewrites.contains(&Rewrite::Trim) { text.trim() } else { text };
    match knobs.long_string {
        LongString::Refuse if text.chars().count() > LIMIT => refused("has an invalid value"),
        LongString::Cut => Ok(text.chars().take(LIMIT).collect::<String>().into()),
        _ => Ok(text.into()),
    }
}

/// An e-mail, a name or a phone as Intercom stores it.
pub(super) fn rewritten(property: &str, text: &str, knobs: &IntercomKnobs) -> Box<str> {
    let mut text = text.to_owned();
    for rewrite in &knobs.rewrites {
        text = match rewrite {
            Rewrite::Trim => text.trim().to_owned(),
            Rewrite::EmailLower if property == "email" => text.to_lowercase(),
            Rewrite::PhoneDigits if property == "phone" => {
                text.chars().filter(|sign| *sign == '+' || sign.is_ascii_digit()).collect()
            }
            Rewrite::EmailLower | Rewrite::PhoneDigits => text,
        };
    }
    text.into_boxed_str()
}
