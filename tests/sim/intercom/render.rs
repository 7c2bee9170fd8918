//! Intercom's contacts as JSON: a constant template around the few things that differ.

use std::io::Write;

use super::contact::{Facts, Slot, id_of};

pub const WORKSPACE: &str = "abc123";

/// Null or false on every contact here.
const CONSTANTS: &str = concat!(
    r#","avatar":null,"social_profiles":{"type":"list","data":[]},"has_hard_bounced":false,"#,
    r#""marked_email_as_spam":false,"last_replied_at":null,"last_contacted_at":null,"last_email_opened_at":null,"#,
    r#""last_email_clicked_at":null,"language_override":null,"browser":null,"browser_version":null,"#,
    r#""browser_language":null,"os":null,"location":{"type":"location","country":null,"region":null,"city":null,"#,
    r#""country_code":null,"continent_code":null},"android_app_name":null,"android_app_version":null,"#,
    r#""android_device":null,"android_os_version":null,"android_sdk_version":null,"android_last_seen_at":null,"#,
    r#""ios_app_name":null,"ios_app_version":null,"ios_device":null,"ios_os_version":null,"ios_sdk_version":null,"#,
    r#""ios_last_seen_at":null,"utm_campaign":null,"utm_content":null,"utm_medium":null,"utm_source":null,"#,
    r#""utm_term":null,"referrer":null,"enabled_push_messaging":null"#,
);

/// The lists that hang on a contact, and where the whole of each is found.
const LISTS: [(&str, &str); 5] = [
    ("tags", "tags"),
    ("notes", "notes"),
    ("companies", "companies"),
    ("opted_out_subscription_types", "subscriptions"),
    ("opted_in_subscription_types", "subscriptions"),
];

pub fn contact(slot: Slot, facts: &Facts) -> Vec<u8> {
    let mut out = Vec::with_capacity(2600);
    write_contact(&mut out, slot, facts);
    out
}

pub fn write_contact(out: &mut Vec<u8>, slot: Slot, facts: &Facts) {
    let id = id_of(slot);
    raw(
        out,
        format_args!(
            r#"{{"type":"contact","id":"{id}","workspace_id":"{WORKSPACE}","external_id":"#
        ),
    );
    text(out, facts.external_id.as_deref());
    raw(
        out,
        format_args!(r#","role":"{}","email":"#, facts.role.word()),
    );
    text(out, facts.email.as_deref());
    out.extend_from_slice(br#","email_domain":"#);
    text(out, domain(facts));
    out.extend_from_slice(br#","phone":"#);
    text(out, facts.phone.as_deref());
    out.extend_from_slice(br#","name":"#);
    text(out, facts.name.as_deref());
    raw(
        out,
        format_args!(
            r#","created_at":{},"updated_at":{}"#,
            facts.created_at, facts.updated_at
        ),
    );
    write_extras(out, facts);
    out.extend_from_slice(CONSTANTS.as_bytes());
    for (name, place) in LISTS {
        raw(
            out,
            format_args!(
                r#","{name}":{{"type":"list","data":[],"url":"/contacts/{id}/{place}","total_count":0,"has_more":false}}"#
            ),
        );
    }
    out.push(b'}');
}

fn write_extras(out: &mut Vec<u8>, facts: &Facts) {
    let Some(extras) = &facts.extras else {
        let none = concat!(
            r#","owner_id":null,"unsubscribed_from_emails":false,"email_verified":false,"signed_up_at":null,"#,
            r#""last_seen_at":null,"custom_attributes":{}"#,
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
            r#","unsubscribed_from_emails":{},"email_verified":{},"signed_up_at":{},"last_seen_at":{},"custom_attributes":"#,
            extras.unsubscribed_from_emails,
            extras.email_verified,
            number(extras.signed_up_at),
            number(extras.last_seen_at),
        ),
    );
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, &extras.custom_attributes);
}

/// What archive, unarchive and delete answer.
pub fn short(slot: Slot, facts: &Facts, what: &str, is: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    raw(
        &mut out,
        format_args!(
            r#"{{"type":"contact","id":"{}","external_id":"#,
            id_of(slot)
        ),
    );
    text(&mut out, facts.external_id.as_deref());
    raw(&mut out, format_args!(r#","{what}":{is}}}"#));
    out
}

pub fn domain(facts: &Facts) -> Option<&str> {
    facts
        .email
        .as_deref()?
        .rsplit_once('@')
        .map(|(_, domain)| domain)
}

fn text(out: &mut Vec<u8>, text: Option<&str>) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, &text);
}

pub fn raw(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(arguments);
}
