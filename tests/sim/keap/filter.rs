//! The filter language of v2: clauses joined by `;`, each a field, an operator and a value.

use super::knobs::KeapKnobs;
use super::person::Person;
use super::rows::Version;
use super::stamps;

/// What a filter asks for, ready to be checked against a row.
#[derive(Debug, Default, PartialEq)]
pub struct Filter {
    /// `ids==` or `contact_ids==`, in ascending order.
    pub ids: Option<Vec<i64>>,
    /// Smallest and largest id allowed by `contact_id` comparisons.
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
    /// A field that the contract knows and no contact here has.
    Blank,
}

#[derive(Debug, PartialEq)]
struct Pattern {
    text: String,
    prefix: bool,
}

impl Pattern {
    fn new(value: &str) -> Pattern {
        let (text, prefix) = match value.strip_suffix('*') {
            Some(start) => (start, true),
            None => (value, false),
        };
        Pattern {
            text: text.to_lowercase(),
            prefix,
        }
    }

    fn fits(&self, value: &str) -> bool {
        let value = value.to_lowercase();
        if self.prefix {
            value.starts_with(&self.text)
        } else {
            value == self.text
        }
    }
}

/// Fields of the contract that filter by text and are blank on every contact here.
const BLANK_FIELDS: [&str; 6] = [
    "company_id",
    "website",
    "city",
    "state",
    "lead_source_name",
    "preferred_name",
];

/// The longest first, so that `>=` is not read as `>`.
const OPERATORS: [&str; 5] = ["==", ">=", "<=", ">", "<"];

impl Filter {
    /// Reads a filter; the error is the text of the 400.
    pub fn parse(text: &str, knobs: &KeapKnobs) -> Result<Filter, String> {
        let mut filter = Filter::default();
        let mut compares_id = false;
        let mut phone_fields = false;
        for clause in text
            .split(';')
            .map(str::trim)
            .filter(|clause| !clause.is_empty())
        {
            let (field, operator, value) = split(clause)?;
            match (field, operator) {
                ("contact_id", _) => {
                    compares_id |= operator != "==";
                    filter.bound_id(operator, number(field, value)?);
                }
                ("ids" | "contact_ids", "==") => filter.ids = Some(id_list(field, value)?),
                ("start_update_time", "==") => filter.start_ms = Some(time(field, value, knobs)?),
                ("end_update_time", "==") => filter.end_ms = Some(time(field, value, knobs)?),
                ("phone_fields", "==") => phone_fields = true,
                (_, "==") => filter.texts.push((text_field(field)?, Pattern::new(value))),
                _ => {
                    return Err(format!(
                        "Operator {operator} is not supported for field {field}"
                    ));
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

    pub fn has_time_bound(&self) -> bool {
        self.start_ms.is_some() || self.end_ms.is_some()
    }

    pub fn fits(&self, id: i64, shown: &Version, knobs: &KeapKnobs) -> bool {
        self.least_id.is_none_or(|least| id >= least)
            && self.greatest_id.is_none_or(|greatest| id <= greatest)
            && self
                .ids
                .as_ref()
                .is_none_or(|ids| ids.binary_search(&id).is_ok())
            && (!self.has_time_bound() || self.fits_time(shown, knobs))
            && (self.texts.is_empty() || self.fits_texts(shown))
    }

    fn fits_time(&self, shown: &Version, knobs: &KeapKnobs) -> bool {
        // No stamp, no place in any window.
        let Some(stamp_ms) = shown.stamp_ms else {
            return false;
        };
        let time = stamps::compared_ms(stamp_ms, knobs);
        let after = |start| {
            if knobs.inclusive_start {
                time >= start
            } else {
                time > start
            }
        };
        let before = |end| {
            if knobs.inclusive_end {
                time <= end
            } else {
                time < end
            }
        };
        self.start_ms.is_none_or(after) && self.end_ms.is_none_or(before)
    }

    fn fits_texts(&self, shown: &Version) -> bool {
        let person = shown.person.unpack();
        self.texts
            .iter()
            .all(|(field, pattern)| field.values(&person).any(|value| pattern.fits(value)))
    }
}

impl Text {
    fn values(self, person: &Person) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Text::Email => Box::new(person.emails.iter().map(|(_, address)| address.as_str())),
            Text::GivenName => Box::new(person.given_name.as_deref().into_iter()),
            Text::MiddleName => Box::new(person.middle_name.as_deref().into_iter()),
            Text::FamilyName => Box::new(person.family_name.as_deref().into_iter()),
            Text::Phone => Box::new(
                person
                    .phones
                    .iter()
                    .filter_map(|phone| phone.number.as_deref()),
            ),
            Text::Blank => Box::new(std::iter::empty()),
        }
    }
}

fn split(clause: &str) -> Result<(&str, &str, &str), String> {
    let end = clause
        .find(['=', '<', '>'])
        .ok_or_else(|| format!("Invalid filter clause {clause}"))?;
    let (field, rest) = clause.split_at(end);
    let operator = OPERATORS
        .into_iter()
        .find(|operator| rest.starts_with(operator))
        .ok_or_else(|| format!("Invalid filter clause {clause}"))?;
    Ok((field.trim(), operator, rest[operator.len()..].trim()))
}

fn text_field(field: &str) -> Result<Text, String> {
    let address = ["billing_address_", "shipping_address_", "other_address_"];
    match field {
        "email" => Ok(Text::Email),
        "given_name" => Ok(Text::GivenName),
        "middle_name" => Ok(Text::MiddleName),
        "family_name" => Ok(Text::FamilyName),
        "phone_number" => Ok(Text::Phone),
        _ if BLANK_FIELDS.contains(&field) => Ok(Text::Blank),
        _ if address.iter().any(|start| field.starts_with(start)) => Ok(Text::Blank),
        _ => Err(format!("Unknown filter field {field}")),
    }
}

fn number(field: &str, value: &str) -> Result<i64, String> {
    value
        .parse()
        .map_err(|_| format!("Invalid value for {field}"))
}

fn id_list(field: &str, value: &str) -> Result<Vec<i64>, String> {
    let mut ids = value
        .split(',')
        .map(|id| number(field, id.trim()))
        .collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn time(field: &str, value: &str, knobs: &KeapKnobs) -> Result<i64, String> {
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
        let knobs = KeapKnobs {
            combine_filters: false,
            ..KeapKnobs::default()
        };
        assert!(Filter::parse(both, &knobs).is_err());
    }
}
