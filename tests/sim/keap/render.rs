//! Writes Keap's contacts as JSON, directly from their rows.

use std::io::Write;

use serde_json::{Value, json};

use super::State;
use super::companies;
use super::consent::Consent;
use super::knobs::{IdsAsNumbers, KeapKnobs};
use super::model::Model;
use super::person::Person;
use super::rows::{Row, Version};
use super::stamps;

/// The names that `fields` accepts.
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

/// Lists that are empty on every contact here.
const EMPTY_LISTS: [&str; 3] = ["links", "groups", "utm_parameters"];

/// The names that v2 does not show unless a call asks for them.
pub(super) fn optional_properties() -> &'static [&'static str] {
    &NAMES[3..]
}

/// The fields that an answer shows.
pub(super) struct Fields(Vec<&'static str>);

impl Fields {
    /// The fields that v2 sends if a call names none.
    pub(super) fn minimal() -> Fields {
        Fields(NAMES[..3].to_vec())
    }

    pub(super) fn parse(text: Option<&str>) -> Result<Fields, String> {
        let Some(text) = text else {
            return Ok(Fields::minimal());
        };
        let mut fields = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
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

    /// Whether only ids and stamps are asked for.
    pub(super) fn are_stamps(&self) -> bool {
        self.0.iter().all(|name| matches!(*name, "id" | "update_time"))
    }
}

/// What shapes one answer.
pub(super) struct Style<'a> {
    pub knobs: &'a KeapKnobs,
    model: &'a Model,
    consent: &'a Consent,
    numeric_ids: bool,
}

impl Style<'_> {
    pub(super) fn new(state: &State) -> Style<'_> {
        let numeric_ids = match state.knobs.ids_as_numbers {
            IdsAsNumbers::Never => false,
            IdsAsNumbers::Always => true,
            IdsAsNumbers::Alternate => state.answers.is_multiple_of(2),
        };
        Style { knobs: &state.knobs, model: &state.model, consent: &state.consent, numeric_ids }
    }

    /// An id as JSON: a text, or a number by the knob.
    fn id(&self, out: &mut Vec<u8>, id: i64) {
        if self.numeric_ids {
            raw(out, format_args!("{id}"));
        } else {
            raw(out, format_args!("\"{id}\""));
        }
    }
}

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    // Writing a string to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn opt_text(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => text(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

pub(super) fn raw(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(arguments);
}

pub(super) fn value(out: &mut Vec<u8>, value: &Value) {
    let _ = serde_json::to_writer(out, value);
}

/// Writes items with commas between them.
pub(super) fn list<T>(
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
pub(super) fn contact(
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
    let shown = Shown { id, row, version, person: &version.person.unpack() };
    out.push(b'{');
    let mut first = true;
    for name in &fields.0 {
        let start = out.len();
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        raw(out, format_args!("\"{name}\":"));
        let value_at = out.len();
        field(out, name, &shown, style);
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

/// A contact at one version.
struct Shown<'a> {
    id: i64,
    row: &'a Row,
    version: &'a Version,
    person: &'a Person,
}

fn field(out: &mut Vec<u8>, name: &str, shown: &Shown<'_>, style: &Style<'_>) {
    let Shown { id, row, version, person } = *shown;
    let rounding = style.knobs.rounding;
    match name {
        "id" => style.id(out, id),
        "company" => company(out, person, style.numeric_ids),
        "owner_id" => match person.details.owner_id {
            Some(owner) => style.id(out, owner),
            None => out.extend_from_slice(b"null"),
        },
        "email_addresses" => {
            drifting_list(out, &person.emails, style.knobs, |out, item| email(out, item, style));
        }
        "phone_numbers" => drifting_list(out, &person.phones, style.knobs, |out, phone| {
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
        "tag_ids" => list(out, &person.tag_ids, |out, tag| raw(out, format_args!("\"{tag}\""))),
        "create_time" => raw(out, format_args!("\"{}\"", stamps::v2(row.created_ms, rounding))),
        "update_time" => match version.stamp_ms {
            Some(stamp_ms) => {
                raw(out, format_args!("{}", stamps::update_time(stamp_ms, style.knobs)));
            }
            None => out.extend_from_slice(b"null"),
        },
        _ if EMPTY_LISTS.contains(&name) => out.extend_from_slice(b"[]"),
        _ => {
            if !detail_list(out, name, person, style) {
                opt_text(out, person.text(name));
            }
        }
    }
}

/// Writes one of the lists that few people have. `false` if this is no such list.
fn detail_list(out: &mut Vec<u8>, name: &str, person: &Person, style: &Style<'_>) -> bool {
    let details = &person.details;
    match name {
        "addresses" => list(out, &details.addresses, |out, address| {
            value(out, &address.json(style.knobs.omit_nulls));
        }),
        "fax_numbers" => list(out, &details.fax_numbers, |out, (slot, number)| {
            value(out, &json!({"number": number, "type": "Work", "field": slot}));
        }),
        "social_accounts" => list(out, &details.social_accounts, |out, (kind, name)| {
            value(out, &json!({"name": name, "type": kind}));
        }),
        "custom_fields" => {
            list(out, style.model.shown(person, style.knobs), |out, (id, content)| {
                out.extend_from_slice(b"{\"id\":");
                style.id(out, id);
                out.extend_from_slice(b",\"content\":");
                value(out, &content);
                out.push(b'}');
            });
        }
        _ => return false,
    }
    true
}

/// A list whose order and form the knobs may change.
fn drifting_list<T>(
    out: &mut Vec<u8>,
    items: &[T],
    knobs: &KeapKnobs,
    mut write: impl FnMut(&mut Vec<u8>, &T),
) {
    let mut items: Vec<&T> = items.iter().collect();
    if knobs.reverse_lists {
        items.reverse();
    }
    let nulls = if knobs.nulls_in_lists { items.len() } else { 0 };
    let nulls = std::iter::repeat_n(None, nulls);
    list(out, nulls.chain(items.into_iter().map(Some)), |out, item| match item {
        Some(item) => write(out, item),
        None => out.extend_from_slice(b"null"),
    });
}

fn email(out: &mut Vec<u8>, (slot, address): &(String, String), style: &Style<'_>) {
    out.extend_from_slice(b"{\"email\":");
    text(out, address);
    raw(out, format_args!(",\"field\":\"{slot}\""));
    if style.knobs.opt_status_nulls {
        out.extend_from_slice(b",\"is_opt_in\":null,\"email_opt_status\":null");
    } else {
        let status = style.consent.status(address);
        let (is_opt_in, word) = (status.is_opt_in(), status.word());
        raw(out, format_args!(",\"is_opt_in\":{is_opt_in},\"email_opt_status\":\"{word}\""));
    }
    out.extend_from_slice(b",\"opt_in_reason\":null}");
}

fn company(out: &mut Vec<u8>, person: &Person, numeric_ids: bool) {
    let Some(name) = &person.company_name else {
        return out.extend_from_slice(b"null");
    };
    let id = person.details.company_id.unwrap_or(companies::OF_NAME_ALONE);
    let quote = if numeric_ids { "" } else { "\"" };
    raw(out, format_args!("{{\"id\":{quote}{id}{quote},\"company_name\":"));
    text(out, name);
    out.push(b'}');
}

/// A v1 contact: number ids and `+0000` stamps.
pub(super) fn contact_v1(out: &mut Vec<u8>, id: i64, row: &Row, version: &Version, state: &State) {
    let knobs = &state.knobs;
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
            format_args!(",\"extension\":null,\"field\":\"{}\",\"type\":\"Work\"}}", phone.slot),
        );
    });
    out.extend_from_slice(b",\"company\":");
    company(out, &person, true);
    out.extend_from_slice(b",\"tag_ids\":");
    list(out, &person.tag_ids, |out, tag| raw(out, format_args!("{tag}")));
    out.extend_from_slice(b",\"addresses\":");
    list(out, &person.details.addresses, |out, address| value(out, &address.json(false)));
    out.extend_from_slice(b",\"owner_id\":");
    value(out, &json!(person.details.owner_id));
    out.extend_from_slice(b",\"ScoreValue\":");
    opt_text(out, person.text("score_value"));
    let status = state.consent.status(person.first_email().unwrap_or_default());
    raw(
        out,
        format_args!(
            ",\"email_opted_in\":{},\"email_status\":\"{}\",\"date_created\":\"{}\",\
             \"last_updated\":\"{}\",\"last_updated_utc_millis\":{stamp_ms}}}",
            status.is_opt_in(),
            status.v1_word(),
            stamps::v1(row.created_ms, knobs.rounding),
            stamps::v1(stamp_ms, knobs.rounding),
        ),
    );
}
