//! Keap's contacts as JSON, written straight from a row.

use std::io::Write;

use serde_json::Value;

use super::knobs::{IdsAsNumbers, KeapKnobs};
use super::person::Person;
use super::rows::{Row, Version};
use super::stamps;

/// Every name that `fields` accepts.
const NAMES: [&str; 41] = [
    "id",
    "given_name",
    "family_name",
    "addresses",
    "anniversary_date",
    "birth_date",
    "company",
    "contact_type",
    "create_time",
    "custom_fields",
    "email_addresses",
    "fax_numbers",
    "job_title",
    "leadsource_id",
    "links",
    "middle_name",
    "notes",
    "origin",
    "owner_id",
    "phone_numbers",
    "preferred_locale",
    "preferred_name",
    "prefix",
    "referral_code",
    "score_value",
    "social_accounts",
    "source_type",
    "spouse_name",
    "suffix",
    "tag_ids",
    "time_zone",
    "update_time",
    "utm_parameters",
    "website",
    "account_id",
    "assistant_name",
    "assistant_phone",
    "billing_information",
    "created_by",
    "groups",
    "last_updated_by",
];

/// Lists that no contact here has anything in.
const EMPTY_LISTS: [&str; 7] = [
    "addresses",
    "custom_fields",
    "fax_numbers",
    "links",
    "social_accounts",
    "groups",
    "utm_parameters",
];

/// The fields of an answer.
pub struct Fields(Vec<&'static str>);

impl Fields {
    /// What v2 sends when it is not asked for more.
    pub fn minimal() -> Fields {
        Fields(NAMES[..3].to_vec())
    }

    pub fn parse(text: Option<&str>) -> Result<Fields, String> {
        let Some(text) = text else {
            return Ok(Fields::minimal());
        };
        let mut fields = Vec::new();
        for name in text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let name = NAMES
                .iter()
                .find(|known| **known == name)
                .ok_or_else(|| format!("Unknown field {name}"))?;
            if !fields.contains(name) {
                fields.push(*name);
            }
        }
        Ok(Fields(fields))
    }
}

/// How this one answer spells things.
pub struct Style<'a> {
    pub knobs: &'a KeapKnobs,
    pub numeric_ids: bool,
}

impl Style<'_> {
    /// `answer` counts the answers with contacts, for `IdsAsNumbers::Alternate`.
    pub fn new(knobs: &KeapKnobs, answer: u64) -> Style<'_> {
        let numeric_ids = match knobs.ids_as_numbers {
            IdsAsNumbers::Never => false,
            IdsAsNumbers::Always => true,
            IdsAsNumbers::Alternate => answer.is_multiple_of(2),
        };
        Style { knobs, numeric_ids }
    }
}

pub fn text(out: &mut Vec<u8>, text: &str) {
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn opt_text(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => text(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

pub fn raw(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(arguments);
}

pub fn value(out: &mut Vec<u8>, value: &Value) {
    let _ = serde_json::to_writer(out, value);
}

/// Writes items with commas between them.
pub fn list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// A v2 contact.
pub fn contact(
    out: &mut Vec<u8>,
    id: i64,
    row: &Row,
    version: &Version,
    fields: &Fields,
    style: &Style<'_>,
) {
    if let Some(instead) = style.knobs.malformed.get(&id) {
        return value(out, instead);
    }
    let person = version.person.unpack();
    out.push(b'{');
    let mut first = true;
    for name in &fields.0 {
        let start = out.len();
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        raw(out, format_args!("\"{name}\":"));
        let value_at = out.len();
        field(out, name, id, row, version, &person, style);
        if style.knobs.omit_nulls && &out[value_at..] == b"null" {
            out.truncate(start);
            first = start == 0 || out[start - 1] == b'{';
        }
    }
    if style.knobs.unknown_extra_fields {
        if !first {
            out.push(b',');
        }
        out.extend_from_slice(
            br#""brand_new_field":{"x":[1,null,"new"]},"another_new_field":"NEW_ENUM_VALUE""#,
        );
    }
    out.push(b'}');
}

fn field(
    out: &mut Vec<u8>,
    name: &str,
    id: i64,
    row: &Row,
    version: &Version,
    person: &Person,
    style: &Style<'_>,
) {
    let rounding = style.knobs.rounding;
    match name {
        "id" if style.numeric_ids => raw(out, format_args!("{id}")),
        "id" => raw(out, format_args!("\"{id}\"")),
        "given_name" => opt_text(out, person.given_name.as_deref()),
        "middle_name" => opt_text(out, person.middle_name.as_deref()),
        "family_name" => opt_text(out, person.family_name.as_deref()),
        "preferred_name" => opt_text(out, person.preferred_name.as_deref()),
        "job_title" => opt_text(out, person.job_title.as_deref()),
        "company" => company(out, person, style.numeric_ids),
        "email_addresses" => list(out, &person.emails, email),
        "phone_numbers" => list(out, &person.phones, |out, phone| {
            out.extend_from_slice(b"{\"number\":");
            opt_text(out, phone.number.as_deref());
            out.extend_from_slice(b",\"number_e164\":");
            opt_text(out, phone.e164.as_deref());
            raw(
                out,
                format_args!(
                    ",\"type\":\"Work\",\"field\":\"{}\",\"extension\":null}}",
                    phone.slot
                ),
            );
        }),
        "tag_ids" => list(out, &person.tag_ids, |out, tag| {
            raw(out, format_args!("\"{tag}\""))
        }),
        "create_time" => raw(
            out,
            format_args!("\"{}\"", stamps::v2(row.created_ms, rounding)),
        ),
        "update_time" => match version.stamp_ms {
            Some(stamp_ms) => raw(out, format_args!("\"{}\"", stamps::v2(stamp_ms, rounding))),
            None => out.extend_from_slice(b"null"),
        },
        _ if EMPTY_LISTS.contains(&name) => out.extend_from_slice(b"[]"),
        _ => out.extend_from_slice(b"null"),
    }
}

fn email(out: &mut Vec<u8>, (slot, address): &(String, String)) {
    out.extend_from_slice(b"{\"email\":");
    text(out, address);
    raw(
        out,
        format_args!(
            ",\"field\":\"{slot}\",\"is_opt_in\":true,\"email_opt_status\":\"SINGLE_OPT_IN\",\"opt_in_reason\":null}}"
        ),
    );
}

fn company(out: &mut Vec<u8>, person: &Person, numeric_ids: bool) {
    let Some(name) = &person.company_name else {
        return out.extend_from_slice(b"null");
    };
    let id = if numeric_ids { "77" } else { "\"77\"" };
    raw(out, format_args!("{{\"id\":{id},\"company_name\":"));
    text(out, name);
    out.push(b'}');
}

/// A v1 contact: number ids and `+0000` stamps.
pub fn contact_v1(out: &mut Vec<u8>, id: i64, row: &Row, version: &Version, knobs: &KeapKnobs) {
    if let Some(instead) = knobs.malformed.get(&id) {
        return value(out, instead);
    }
    let person = version.person.unpack();
    let stamp_ms = version.stamp_ms.unwrap_or(row.created_ms);
    raw(out, format_args!("{{\"id\":{id},\"given_name\":"));
    opt_text(out, person.given_name.as_deref());
    out.extend_from_slice(b",\"middle_name\":");
    opt_text(out, person.middle_name.as_deref());
    out.extend_from_slice(b",\"family_name\":");
    opt_text(out, person.family_name.as_deref());
    out.extend_from_slice(b",\"email_addresses\":");
    list(out, &person.emails, |out, (slot, address)| {
        out.extend_from_slice(b"{\"email\":");
        text(out, address);
        raw(out, format_args!(",\"field\":\"{slot}\"}}"));
    });
    out.extend_from_slice(b",\"phone_numbers\":");
    list(out, &person.phones, |out, phone| {
        out.extend_from_slice(b"{\"number\":");
        opt_text(out, phone.number.as_deref());
        raw(
            out,
            format_args!(
                ",\"extension\":null,\"field\":\"{}\",\"type\":\"Work\"}}",
                phone.slot
            ),
        );
    });
    out.extend_from_slice(b",\"company\":");
    company(out, &person, true);
    out.extend_from_slice(b",\"tag_ids\":");
    list(out, &person.tag_ids, |out, tag| {
        raw(out, format_args!("{tag}"))
    });
    raw(
        out,
        format_args!(
            ",\"addresses\":[],\"owner_id\":null,\"email_opted_in\":true,\"email_status\":\"SingleOptIn\",\
             \"ScoreValue\":null,\"date_created\":\"{}\",\"last_updated\":\"{}\",\"last_updated_utc_millis\":{stamp_ms}}}",
            stamps::v1(row.created_ms, knobs.rounding),
            stamps::v1(stamp_ms, knobs.rounding),
        ),
    );
}
