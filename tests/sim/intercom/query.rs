//! The search language: parses filters and groups and checks them against the documented limits
//! (`docs/api/intercom.md`, "Search").

use serde_json::Value;

use super::contact::{Facts, Slot, id_of};
use super::errors;
use super::knobs::IntercomKnobs;
use super::render::domain;
use crate::sim::message::Answer;

#[derive(Debug)]
pub(super) enum Query {
    Filter(Filter),
    Group { any: bool, parts: Vec<Query> },
}

#[derive(Debug)]
pub(super) struct Filter {
    pub field: Field,
    pub operator: Operator,
    pub values: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field {
    Id,
    Role,
    Name,
    Email,
    EmailDomain,
    Phone,
    ExternalId,
    CreatedAt,
    UpdatedAt,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    Is,
    IsNot,
    Contains,
    ContainsNot,
    Starts,
    Ends,
    After,
    Before,
}

/// A group may contain groups. Those must not contain groups.
const MAX_DEPTH: usize = 2;
const DAY: i64 = 86_400;

impl Field {
    pub(super) fn named(name: &str) -> Option<Field> {
        Some(match name {
            "id" => Field::Id,
            "role" => Field::Role,
            "name" => Field::Name,
            "email" => Field::Email,
            "email_domain" => Field::EmailDomain,
            "phone" => Field::Phone,
            "external_id" => Field::ExternalId,
            "created_at" => Field::CreatedAt,
            "updated_at" => Field::UpdatedAt,
            _ => return None,
        })
    }

    fn is_date(self) -> bool {
        matches!(self, Field::CreatedAt | Field::UpdatedAt)
    }

    /// The text that a contact has in this field.
    pub(super) fn text(self, slot: Slot, facts: &Facts) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Field::Id => Some(id_of(slot).into()),
            Field::Role => Some(facts.role.word().into()),
            Field::Name => facts.name.as_deref().map(Into::into),
            Field::Email => facts.email.as_deref().map(Into::into),
            Field::EmailDomain => domain(facts).map(Into::into),
            Field::Phone => facts.phone.as_deref().map(Into::into),
            Field::ExternalId => facts.external_id.as_deref().map(Into::into),
            Field::CreatedAt | Field::UpdatedAt => None,
        }
    }

    pub(super) fn time(self, facts: &Facts) -> i64 {
        if self == Field::UpdatedAt { facts.updated_at } else { facts.created_at }
    }
}

impl Query {
    pub(super) fn parse(value: &Value, knobs: &IntercomKnobs) -> Result<Query, Answer> {
        Query::parse_at(value, knobs, 1)
    }

    fn parse_at(value: &Value, knobs: &IntercomKnobs, depth: usize) -> Result<Query, Answer> {
        let word = |name| value.get(name).and_then(Value::as_str);
        match (word("field"), word("operator"), value.get("value")) {
            // The real service has this defect.
            (Some(_), Some("AND" | "OR"), _) => {
                Err(errors::error(500, "server_error", "Internal error"))
            }
            (Some(field), Some(operator), Some(value)) => {
                Filter::parse(field, operator, value, knobs).map(Query::Filter)
            }
            (None, Some(operator @ ("AND" | "OR")), Some(Value::Array(parts))) => {
                if depth > MAX_DEPTH || (depth > 1 && !knobs.allow_nested_search) {
                    return Err(errors::invalid("The query is nested too deeply"));
                }
                if parts.is_empty() || parts.len() > knobs.max_in_values {
                    return Err(errors::invalid(&format!(
                        "A group takes 1 to {} filters",
                        knobs.max_in_values
                    )));
                }
                let parts = parts
                    .iter()
                    .map(|part| Query::parse_at(part, knobs, depth + 1))
                    .collect::<Result<_, _>>()?;
                Ok(Query::Group { any: operator == "OR", parts })
            }
            _ => Err(errors::invalid("Invalid query")),
        }
    }

    pub(super) fn fits(&self, slot: Slot, facts: &Facts, knobs: &IntercomKnobs) -> bool {
        match self {
            Query::Filter(filter) => filter.fits(slot, facts, knobs),
            Query::Group { any: true, parts } => {
                parts.iter().any(|part| part.fits(slot, facts, knobs))
            }
            Query::Group { any: false, parts } => {
                parts.iter().all(|part| part.fits(slot, facts, knobs))
            }
        }
    }
}

impl Filter {
    fn parse(
        field: &str,
        operator: &str,
        value: &Value,
        knobs: &IntercomKnobs,
    ) -> Result<Filter, Answer> {
        let Some(field) = Field::named(field) else {
            return Err(errors::error(400, "invalid_field", &format!("Unknown field {field}")));
        };
        let several = matches!(operator, "IN" | "NIN");
        let operator = match operator {
            "=" => Operator::Is,
            "IN" if !field.is_date() => Operator::Is,
            "!=" | "NIN" if !field.is_date() => Operator::IsNot,
            "~" if !field.is_date() => Operator::Contains,
            "!~" if !field.is_date() => Operator::ContainsNot,
            "^" if !field.is_date() => Operator::Starts,
            "$" if !field.is_date() => Operator::Ends,
            ">" if field.is_date() => Operator::After,
            "<" if field.is_date() => Operator::Before,
            _ => {
                return Err(errors::invalid(&format!(
                    "Operator {operator} is not supported for this field"
                )));
            }
        };
        let values = match (several, value) {
            (true, Value::Array(values)) if values.len() > knobs.max_in_values => {
                return Err(errors::invalid(&format!(
                    "At most {} values are allowed",
                    knobs.max_in_values
                )));
            }
            (true, Value::Array(values)) => values.clone(),
            (false, value) if !value.is_array() => vec![value.clone()],
            _ => return Err(errors::invalid("The value does not suit the operator")),
        };
        let typed = |value: &Value| {
            if field.is_date() { date(value).is_some() } else { value.is_string() }
        };
        if !values.iter().all(typed) {
            return Err(errors::invalid("The value has the wrong type for this field"));
        }
        let refused = |value: &Value| {
            value.as_str().is_some_and(|email| knobs.unsearchable_emails.contains(email))
        };
        if field == Field::Email && values.iter().any(refused) {
            return Err(errors::invalid("The value is not an email"));
        }
        Ok(Filter { field, operator, values })
    }

    fn fits(&self, slot: Slot, facts: &Facts, knobs: &IntercomKnobs) -> bool {
        if self.field.is_date() {
            return self.fits_day(facts, knobs);
        }
        let text = self.field.text(slot, facts).unwrap_or_default();
        let fold = |text: &str| match self.field {
            Field::Email if knobs.email_case_sensitive => text.to_owned(),
            Field::Email | Field::EmailDomain | Field::Name => text.to_lowercase(),
            _ => text.to_owned(),
        };
        let text = fold(&text);
        let any = |test: fn(&str, &str) -> bool| {
            self.values.iter().filter_map(Value::as_str).any(|value| test(&text, &fold(value)))
        };
        match self.operator {
            Operator::Is => any(|text, value| text == value),
            Operator::IsNot => !any(|text, value| text == value),
            Operator::Contains => any(|text, value| text.contains(value)),
            Operator::ContainsNot => !any(|text, value| text.contains(value)),
            Operator::Starts => any(|text, value| text.starts_with(value)),
            Operator::Ends => any(|text, value| text.ends_with(value)),
            Operator::After | Operator::Before => false,
        }
    }

    /// Compares calendar days in the time zone of the workspace.
    fn fits_day(&self, facts: &Facts, knobs: &IntercomKnobs) -> bool {
        let day = |seconds: i64| (seconds + knobs.utc_offset_secs).div_euclid(DAY);
        let held = day(self.field.time(facts));
        self.values.iter().filter_map(date).map(day).any(|asked| match self.operator {
            Operator::After => held > asked,
            Operator::Before => held < asked,
            _ => held == asked,
        })
    }
}

/// Reads Unix seconds, as a number or as a text of digits.
fn date(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
