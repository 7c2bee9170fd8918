//! The filter language of v2: clauses joined by `;`. Each clause is a field, an operator and a
//! value (`docs/api/keap.md`, "Filters and bounds").

use std::collections::HashSet;

use super::knobs::{KeapKnobs, RepeatedField};
use super::person::Person;
use super::rows::Version;
use super::stamps;

/// A parsed filter, ready to be checked against rows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Filter {
    /// `ids==` or `contact_ids==`, in ascending order.
    pub ids: Option<Vec<i64>>,
    /// Smallest and largest id that the `contact_id` comparisons allow.
    pub least_id: Option<i64>,
    pub greatest_id: Option<i64>,
    pub start_ms: Option<i64>,
    pub end_ms: Option<i64>,
    texts: Vec<(Text, Pattern)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Text {
    Email,
    GivenName,
    MiddleName,
    FamilyName,
    Phone,
    Website,
    PreferredName,
    CompanyId,
    Address {
        slot: &'static str,
        part: &'static str,
    },
    /// A field of the contract that is blank on every contact here.
    Blank,
}

/// A text that a value must equal, or start with if it ends with `*`, whatever the case.
#[derive(Debug, PartialEq)]
pub(super) struct Pattern {
    text: String,
    prefix: bool,
}

impl Pattern {
    pub(super) fn new(value: &str) -> Pattern {
        let (text, prefix) = match value.strip_suffix('*') {
            Some(start) => (start, true),
            None => (value, false),
        };
        Pattern { text: text.to_lowercase(), prefix }
    }

    pub(super) fn fits(&self, value: &str) -> bool {
        let value = value.to_lowercase();
        if self.prefix { value.starts_with(&self.text) } else { value == self.text }
    }
}

/// The start of a field that filters by a part of an address, and the slot of that address.
const ADDRESSES: [(&str, &str); 3] = [
    ("billing_address_", "BILLING"),
    ("shipping_address_", "SHIPPING"),
    ("other_address_", "OTHER"),
];
const ADDRESS_PARTS: [&str; 5] = ["line1", "locality", "region", "postal_code", "country_code"];

/// The longer ones come first, so that `>=` is not read as `>`.
const OPERATORS: [&str; 5] = ["==", ">=", "<=", ">", "<"];

impl Filter {
    /// Parses a filter. The error is the text of the 400.
    pub(super) fn parse(text: &str, knobs: &KeapKnobs) -> Result<Filter, String> {
        let mut filter = Filter::default();
        let mut compares_id = false;
        let mut phone_fields = false;
        let mut fields = HashSet::new();
        for clause in text.split(';').map(str::trim).filter(|clause| !clause.is_empty()) {
            let (field, operator, value) = split(clause)?;
            if !fields.insert(field) {
                filter.repeat(field, knobs)?;
            }
            match (field, operator) {
                ("contact_id", "<" | "<=") if !knobs.id_below => {
                    return Err(format!("Operator {operator} is not supported for field {field}"));
                }
                ("contact_id", _) => {
                    compares_id |= operator != "==";
                    filter.bound_id(operator, number(field, value)?);
                }
                ("ids" | "contact_ids", "==") => filter.ids = Some(id_list(field, value, knobs)?),
                ("start_update_time", "==") => filter.start_ms = Some(time(field, value, knobs)?),
                ("end_update_time", "==") => filter.end_ms = Some(time(field, value, knobs)?),
                ("phone_fields", "==") => phone_fields = true,
                (_, "==") => filter.texts.push((text_field(field)?, Pattern::new(value))),
                _ => {
                    return Err(format!("Operator {operator} is not supported for field {field}"));
                }
            }
        }
        if filter.texts.iter().any(|(field, _)| *field == Text::Phone) != phone_fields {
            return Err("phone_number and phone_fields must be used together".to_owned());
        }
        let bounds_time = filter.start_ms.is_some() || filter.end_ms.is_some();
        if compares_id && bounds_time && !knobs.combine_filters {
            return Err("contact_id cannot be combined with update time filters".to_owned());
        }
        if compares_id && knobs.ignore_contact_id_filter {
            (filter.least_id, filter.greatest_id) = (None, None);
        }
        Ok(filter)
    }

    /// A second clause on one field. Of the fields that can be bounded twice, only the id matters.
    fn repeat(&mut self, field: &str, knobs: &KeapKnobs) -> Result<(), String> {
        match knobs.repeated_field {
            RepeatedField::BothCount => {}
            RepeatedField::LastCounts if field == "contact_id" => {
                (self.least_id, self.greatest_id) = (None, None);
            }
            RepeatedField::LastCounts => self.texts.clear(),
            RepeatedField::Refused => return Err(format!("Field {field} was given twice")),
        }
        Ok(())
    }

    fn bound_id(&mut self, operator: &str, id: i64) {
        let (least, greatest) = match operator {
            ">" => (Some(id.saturating_add(1)), None),
            ">=" => (Some(id), None),
            "<" => (None, Some(id.saturating_sub(1))),
            "<=" => (None, Some(id)),
            _ => (Some(id), Some(id)),
        };
        self.least_id = self.least_id.max(least);
        self.greatest_id = match (self.greatest_id, greatest) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    pub(super) fn looks_for_email(&self) -> bool {
        self.texts.iter().any(|(field, _)| *field == Text::Email)
    }

    pub(super) fn has_time_bound(&self) -> bool {
        self.start_ms.is_some() || self.end_ms.is_some()
    }

    pub(super) fn fits(&self, id: i64, shown: &Version, knobs: &KeapKnobs) -> bool {
        self.least_id.is_none_or(|least| id >= least)
            && self.greatest_id.is_none_or(|greatest| id <= greatest)
            && self.ids.as_ref().is_none_or(|ids| ids.binary_search(&id).is_ok())
            && (!self.has_time_bound() || self.fits_time(shown, knobs))
            && (self.texts.is_empty() || self.fits_texts(shown))
    }

    fn fits_time(&self, shown: &Version, knobs: &KeapKnobs) -> bool {
        // A contact without a stamp is in no window.
        let Some(stamp_ms) = shown.stamp_ms else {
            return false;
        };
        let time = stamps::compared_ms(stamp_ms, knobs);
        let after = |start| {
            if knobs.inclusive_start { time >= start } else { time > start }
        };
        let before = |end| {
            if knobs.inclusive_end { time <= end } else { time < end }
        };
        self.start_ms.is_none_or(after) && self.end_ms.is_none_or(before)
    }

    fn fits_texts(&self, shown: &Version) -> bool {
        let person = shown.person.unpack();
        self.texts
            .iter()
            .all(|(field, pattern)| field.values(&person).iter().any(|value| pattern.fits(value)))
    }
}

impl Text {
    fn values(self, person: &Person) -> Vec<String> {
        let one = |text: Option<&str>| text.map(str::to_owned).into_iter().collect();
        match self {
            Text::Email => person.emails.iter().map(|(_, address)| address.clone()).collect(),
            Text::GivenName => one(person.text("given_name")),
            Text::MiddleName => one(person.text("middle_name")),
            Text::FamilyName => one(person.text("family_name")),
            Text::PreferredName => one(person.text("preferred_name")),
            Text::Website => one(person.text("website")),
            Text::Phone => person.phones.iter().filter_map(|phone| phone.number.clone()).collect(),
            Text::CompanyId => person.details.company_id.iter().map(i64::to_string).collect(),
            Text::Address { slot, part } => {
                let held = person.details.addresses.iter().filter(|held| held.field == slot);
                held.filter_map(|held| held.part(part).map(str::to_owned)).collect()
            }
            Text::Blank => Vec::new(),
        }
    }
}

/// The field, the operator and the value of a clause. The error is the text of the 400.
pub(super) fn split(clause: &str) -> Result<(&str, &str, &str), String> {
    let end =
        clause.find(['=', '<', '>']).ok_or_else(|| format!("Invalid filter clause {clause}"))?;
    let (field, rest) = clause.split_at(end);
    let operator = OPERATORS
        .into_iter()
        .find(|operator| rest.starts_with(operator))
        .ok_or_else(|| format!("Invalid filter clause {clause}"))?;
    Ok((field.trim(), operator, rest[operator.len()..].trim()))
}

fn text_field(field: &str) -> Result<Text, String> {
    match field {
        "email" => Ok(Text::Email),
        "given_name" => Ok(Text::GivenName),
        "middle_name" => Ok(Text::MiddleName),
        "family_name" => Ok(Text::FamilyName),
        "preferred_name" => Ok(Text::PreferredName),
        "phone_number" => Ok(Text::Phone),
        "website" => Ok(Text::Website),
        "company_id" => Ok(Text::CompanyId),
        "city" => Ok(Text::Address { slot: "BILLING", part: "locality" }),
        "state" => Ok(Text::Address { slot: "BILLING", part: "region" }),
        "lead_source_name" => Ok(Text::Blank),
        _ => address_field(field).ok_or_else(|| format!("Unknown filter field {field}")),
    }
}

fn address_field(field: &str) -> Option<Text> {
    ADDRESSES.into_iter().find_map(|(start, slot)| {
        let name = field.strip_prefix(start)?;
        let part = ADDRESS_PARTS.into_iter().find(|part| *part == name)?;
        Some(Text::Address { slot, part })
    })
}

fn number(field: &str, value: &str) -> Result<i64, String> {
    value.parse().map_err(|_| format!("Invalid value for {field}"))
}

fn id_list(field: &str, value: &str, knobs: &KeapKnobs) -> Result<Vec<i64>, String> {
    let mut ids = value
        .split(',')
        .take(knobs.ids_cap.unwrap_or(usize::MAX))
        .map(|id| number(field, id.trim()))
        .collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

pub(super) fn time(field: &str, value: &str, knobs: &KeapKnobs) -> Result<i64, String> {
    stamps::parse(value, knobs).ok_or_else(|| format!("Invalid date-time for {field}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Filter, String> {
        Filter::parse(text, &KeapKnobs::default())
    }

    #[test]
    fn every_operator_of_contact_id_narrows_the_range() {
        let range = |text| parse(text).map(|filter| (filter.least_id, filter.greatest_id));
        assert_eq!(range("contact_id>5"), Ok((Some(6), None)));
        assert_eq!(range("contact_id>=5;contact_id<9"), Ok((Some(5), Some(8))));
        assert_eq!(range("contact_id<=5"), Ok((None, Some(5))));
        assert_eq!(range("contact_id==5"), Ok((Some(5), Some(5))));
    }

    #[test]
    fn two_clauses_on_one_field_count_both_or_the_last_or_are_refused() {
        let with = |repeated_field| {
            let knobs = KeapKnobs { repeated_field, ..KeapKnobs::default() };
            Filter::parse("contact_id>5;contact_id<=9", &knobs)
                .map(|filter| (filter.least_id, filter.greatest_id))
        };
        assert_eq!(with(RepeatedField::BothCount), Ok((Some(6), Some(9))));
        assert_eq!(with(RepeatedField::LastCounts), Ok((None, Some(9))));
        assert!(with(RepeatedField::Refused).is_err());
    }

    #[test]
    fn a_list_of_ids_can_be_cut_without_a_word() {
        let knobs = KeapKnobs { ids_cap: Some(2), ..KeapKnobs::default() };
        assert_eq!(Filter::parse("ids==3,1,2", &knobs).unwrap().ids, Some(vec![1, 3]));
    }

    #[test]
    fn what_the_contract_does_not_know_is_refused() {
        assert!(parse("shoe_size==44").is_err());
        assert!(parse("email>a").is_err());
        assert!(parse("email").is_err());
        assert!(parse("ids==1,x").is_err());
        assert!(parse("start_update_time==2026-01-01").is_err());
        assert!(parse("start_update_time==2026-01-01T00:00:00Z").is_err());
        assert!(parse("start_update_time>2026-01-01T00:00:00.000Z").is_err());
        assert!(parse("phone_number==1").is_err());
        assert!(parse("start_update_time==2026-01-01T00:00:00.000Z").is_ok());
    }

    #[test]
    fn a_time_bound_and_an_id_bound_combine_unless_switched_off() {
        let both = "start_update_time==2026-01-01T00:00:00.000Z;contact_id>4";
        assert!(parse(both).is_ok());
        let knobs = KeapKnobs { combine_filters: false, ..KeapKnobs::default() };
        assert!(Filter::parse(both, &knobs).is_err());
    }
}
