//! Writes Intercom's contacts as JSON. Few fields differ; the rest is a constant text.

use std::io::Write;

use super::companies;
use super::contact::{Extras, Facts, Slot, id_of};

pub(super) const WORKSPACE: &str = "abc123";

/// Fields that are the same on every contact here.
const CONSTANTS: &str = concat!(
    r#","social_profiles":{"type":"list","data":[]},"has_hard_bounced":false,"#,
    r#""marked_email_as_spam":false,"last_replied_at":null,"last_contacted_at":null,"last_email_opened_at":null,"#,
    r#""last_email_clicked_at":null,"browser":null,"browser_version":null,"#,
    r#""browser_language":null,"os":null,"location":{"type":"location","country":null,"region":null,"city":null,"#,
    r#""country_code":null,"continent_code":null},"android_app_name":null,"android_app_version":null,"#,
    r#""android_device":null,"android_os_version":null,"android_sdk_version":null,"android_last_seen_at":null,"#,
    r#""ios_app_name":null,"ios_app_version":null,"ios_device":null,"ios_os_version":null,"ios_sdk_version":null,"#,
    r#""ios_last_seen_at":null,"utm_campaign":null,"utm_content":null,"utm_medium":null,"utm_source":null,"#,
    r#""utm_term":null,"referrer":null,"enabled_push_messaging":null"#,
);

/// The most entries of a list that a contact shows.
const MOST_SHOWN: usize = 10;

/// The lists that are empty on every contact here, each with the path of its whole content.
const EMPTY_LISTS: [(&str, &str); 3] = [
    ("notes", "notes"),
    ("opted_out_subscription_types", "subscriptions"),
    ("opted_in_subscription_types", "subscriptions"),
];

pub(super) fn contact(slot: Slot, facts: &Facts) -> Vec<u8> {
    let mut out = Vec::with_capacity(2600);
    write_contact(&mut out, slot, facts);
    out
}

pub(super) fn write_contact(out: &mut Vec<u8>, slot: Slot, facts: &Facts) {
    let id = id_of(slot);
    raw(
        out,
        format_args!(
            r#"{{"type":"contact","id":"{id}","workspace_id":"{WORKSPACE}","external_id":"#
        ),
    );
    text(out, facts.external_id.as_deref());
    raw(out, format_args!(r#","role":"{}","email":"#, facts.role.word()));
    text(out, facts.email.as_deref());
    out.extend_from_slice(br#","email_domain":"#);
    text(out, domain(facts));
    out.extend_from_slice(br#","phone":"#);
    text(out, facts.phone.as_deref());
    out.extend_from_slice(br#","name":"#);
    text(out, facts.name.as_deref());
    raw(
        out,
        format_args!(r#","created_at":{},"updated_at":{}"#, facts.created_at, facts.updated_at),
    );
    write_extras(out, facts);
    out.extend_from_slice(CONSTANTS.as_bytes());
    let extras = facts.extras.as_deref();
    let tags = extras.map_or(&[][..], |extras| &extras.tags);
    write_list(out, &id, "tags", "tags", tags.iter().map(|(tag, _)| ("tag", tag.to_string())));
    let companies = extras.map_or(&[][..], |extras| &extras.companies);
    let companies = companies.iter().map(|number| ("company", companies::id_of(*number)));
    write_list(out, &id, "companies", "companies", companies);
    for (name, place) in EMPTY_LISTS {
        write_list(out, &id, name, place, std::iter::empty());
    }
    out.push(b'}');
}

/// A list of a contact. Its items are the type and the id of what they refer to.
fn write_list(
    out: &mut Vec<u8>,
    id: &str,
    name: &str,
    place: &str,
    items: impl ExactSizeIterator<Item = (&'static str, String)>,
) {
    let total = items.len();
    raw(out, format_args!(r#","{name}":{{"type":"list","data":["#));
    for (at, (kind, item)) in items.take(MOST_SHOWN).enumerate() {
        let comma = if at > 0 { "," } else { "" };
        raw(
            out,
            format_args!(r#"{comma}{{"id":"{item}","type":"{kind}","url":"/{name}/{item}"}}"#),
        );
    }
    let more = total > MOST_SHOWN;
    raw(
        out,
        format_args!(
            r#"],"url":"/contacts/{id}/{place}","total_count":{total},"has_more":{more}}}"#
        ),
    );
}

fn write_extras(out: &mut Vec<u8>, facts: &Facts) {
    let Some(extras) = &facts.extras else {
        let none = concat!(
            r#","owner_id":null,"unsubscribed_from_emails":false,"email_verified":false,"signed_up_at":null,"#,
            r#""last_seen_at":null,"language_override":null,"avatar":null,"custom_attributes":{}"#,
        );
        return out.extend_from_slice(none.as_bytes());
    };
    let number =
        |value: Option<i64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
    out.extend_from_slice(br#","owner_id":"#);
    text(out, extras.owner_id.as_deref());
    raw(
        out,
        format_args!(
            r#","unsubscribed_from_emails":{},"email_verified":{},"signed_up_at":{},"last_seen_at":{}"#,
            extras.unsubscribed_from_emails,
            extras.email_verified,
            number(extras.signed_up_at),
            number(extras.last_seen_at),
        ),
    );
    out.extend_from_slice(br#","language_override":"#);
    text(out, extras.language_override.as_deref());
    out.extend_from_slice(br#","avatar":"#);
    write_avatar(out, extras);
    out.extend_from_slice(br#","custom_attributes":"#);
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, &extras.custom_attributes);
}

fn write_avatar(out: &mut Vec<u8>, extras: &Extras) {
    if extras.avatar.is_none() {
        return out.extend_from_slice(b"null");
    }
    out.extend_from_slice(br#"{"type":"avatar","image_url":"#);
    text(out, extras.avatar.as_deref());
    out.push(b'}');
}

/// The body of an answer to archive, unarchive and delete.
pub(super) fn short(slot: Slot, facts: &Facts, what: &str, is: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    raw(&mut out, format_args!(r#"{{"type":"contact","id":"{}","external_id":"#, id_of(slot)));
    text(&mut out, facts.external_id.as_deref());
    raw(&mut out, format_args!(r#","{what}":{is}}}"#));
    out
}

pub(super) fn domain(facts: &Facts) -> Option<&str> {
    facts.email.as_deref()?.rsplit_once('@').map(|(_, domain)| domain)
}

fn text(out: &mut Vec<u8>, text: Option<&str>) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, &text);
}

pub(super) fn raw(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(arguments);
}
