//! The settings of the Intercom stand-in: behaviour that is unknown (`docs/api/intercom.md`,
//! "Unknown behaviour") and faults that last, unlike those of the queue.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::sim::message::Compression;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EmailConflict {
    /// A create with a new external id and the e-mail of an existing user gets a 409.
    Conflict,
    /// Such a create makes a second user with that e-mail.
    Allow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WindowStart {
    /// Windows follow one another without a gap. They are shifted by this much from the epoch.
    Grid { offset_ms: i64 },
    /// A window starts with the first call after the end of the last window.
    FirstCall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ResetRounding {
    Ceil,
    Floor,
}

/// The content of the three `X-RateLimit` headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RateHeaders {
    Normal,
    Missing,
    /// All three have this text.
    Garbage(String),
    /// The reset time is in milliseconds instead of seconds.
    Millis,
}

/// How a write is refused because of its e-mail. Nobody has documented it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RefusalForm {
    /// 400, and the text alone says that it is the e-mail.
    Text,
    /// 400, and `field` names it.
    Field,
    /// 422 with a code alone.
    Bare,
}

/// What happens to a value that does not suit its custom attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unfit {
    /// The write gets a 400.
    Refuse,
    Take,
}

/// What happens to a text of more than 255 characters in a custom attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LongString {
    /// The write gets a 400.
    Refuse,
    Cut,
    Take,
}

/// How a text is changed before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rewrite {
    /// Blanks go at both ends of an e-mail, a name, a phone and a custom attribute.
    Trim,
    /// An e-mail gets lower case.
    EmailLower,
    /// A phone keeps only its digits and its plus signs.
    PhoneDigits,
}

/// The form of `created_at` and `updated_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TimeForm {
    /// Unix seconds, as a number.
    Seconds,
    /// The same as a text.
    Text,
    /// The same with a fraction.
    Float,
    /// Unix milliseconds, as a number.
    Millis,
    /// As webhooks show it.
    Iso,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IntercomKnobs {
    /// How long search and list show the state before a create, an update or an archive.
    pub search_lag_ms: i64,
    pub email_conflict_with_new_external_id: EmailConflict,
    /// A PUT of another user's e-mail gets a 409 instead of a 200.
    pub put_email_conflict: bool,
    /// A PUT of an archived user's external id gets a 409 instead of a 200.
    pub put_archived_external_id_conflict: bool,
    /// A PUT to a merged contact gets a 410, as a read does. Else it gets a 404.
    pub put_merged_is_gone: bool,
    /// A 409 names no id.
    pub conflict_without_id: bool,
    /// A DELETE takes archived contacts as well. Else it gets a 404 for them.
    pub delete_archived: bool,
    /// A DELETE of a contact that is being deleted is answered as the first one. Else it gets a
    /// 404.
    pub delete_again: bool,
    /// A 409 says that the holder is archived, if it is archived, deleted or merged.
    pub conflict_archived_text: bool,
    pub email_case_sensitive: bool,
    /// Most values of an IN, and most filters in a group.
    pub max_in_values: usize,
    /// `false`: a group inside a group gets a 400.
    pub allow_nested_search: bool,
    /// Calls in a window.
    pub limit: Option<u32>,
    pub window_secs: i64,
    pub window_start: WindowStart,
    pub reset_rounding: ResetRounding,
    /// `false`, as the real service was seen to do: in a window's first answer, Remaining is Limit.
    pub remaining_counts_this_call: bool,
    pub rate_headers: RateHeaders,
    /// Calls of other programs, spread evenly over each window.
    pub foreign_calls_per_window: u32,
    /// `Retry-After` on 429, in seconds.
    pub retry_after: Option<u64>,
    /// A write of one of these e-mails is refused.
    pub refuse_emails: HashSet<String>,
    /// A search for one of these e-mails gets a 400.
    pub unsearchable_emails: HashSet<String>,
    /// A write of `email: null` is refused.
    pub refuse_null_email: bool,
    /// How these two writes are refused.
    pub refusal_form: RefusalForm,
    /// A write of one of these phones gets a 400 that names the field.
    pub refuse_phones: HashSet<String>,
    pub time_form: TimeForm,
    /// A null stands before the contacts that search finds.
    pub null_in_data: bool,
    /// Bodies are compressed, whatever the client accepts.
    pub compression: Option<Compression>,
    /// Custom attributes that exist, and that take a value of any type. A test that needs types
    /// calls `add_attribute`.
    pub attributes: HashSet<String>,
    /// A PUT that archives one of these attributes gets a 422.
    pub attributes_in_use: HashSet<String>,
    /// A value of the wrong type.
    pub attribute_types: Unfit,
    /// A value that is not in the list of its attribute.
    pub option_values: Unfit,
    pub long_string: LongString,
    /// How texts are changed, in this order.
    pub rewrites: Vec<Rewrite>,
    /// The most contacts that one `POST /tags` tags.
    pub max_tagged: Option<usize>,
    /// `updated_at` moves on a PUT that changes nothing.
    pub unchanged_put_bumps: bool,
    /// `updated_at` moves when a contact visits the site.
    pub seen_bumps_updated_at: bool,
    /// `updated_at` moves when a contact joins or leaves a company.
    pub company_bumps_updated_at: bool,
    /// Every call gets a 403 `api_plan_restricted`.
    pub plan_restricted: bool,
    /// Every call gets a 400 `intercom_version_invalid`.
    pub version_unknown: bool,
    /// The least time that an answer takes.
    pub latency_ms: u64,
    /// Where the workspace is hosted, as `GET /me` says.
    pub region: String,
    /// The `app.timezone` of the workspace, and its offset east of UTC. Date searches use the days
    /// of this zone.
    pub timezone: String,
    pub utc_offset_secs: i64,
}

impl Default for IntercomKnobs {
    fn default() -> IntercomKnobs {
        IntercomKnobs {
            search_lag_ms: 60_000,
            email_conflict_with_new_external_id: EmailConflict::Conflict,
            put_email_conflict: false,
            put_archived_external_id_conflict: false,
            put_merged_is_gone: true,
            delete_archived: true,
            delete_again: false,
            conflict_without_id: false,
            conflict_archived_text: true,
            email_case_sensitive: false,
            max_in_values: 15,
            allow_nested_search: true,
            limit: None,
            window_secs: 10,
            window_start: WindowStart::FirstCall,
            reset_rounding: ResetRounding::Ceil,
            remaining_counts_this_call: false,
            rate_headers: RateHeaders::Normal,
            foreign_calls_per_window: 0,
            retry_after: None,
            refuse_emails: HashSet::new(),
            unsearchable_emails: HashSet::new(),
            refuse_null_email: false,
            refusal_form: RefusalForm::Text,
            refuse_phones: HashSet::new(),
            time_form: TimeForm::Seconds,
            null_in_data: false,
            compression: None,
            attributes: HashSet::new(),
            attributes_in_use: HashSet::new(),
            attribute_types: Unfit::Refuse,
            option_values: Unfit::Refuse,
            long_string: LongString::Refuse,
            rewrites: Vec::new(),
            max_tagged: None,
            unchanged_put_bumps: false,
            seen_bumps_updated_at: false,
            company_bumps_updated_at: false,
            plan_restricted: false,
            version_unknown: false,
            latency_ms: 0,
            region: "US".into(),
            timezone: "Etc/UTC".to_owned(),
            utc_offset_secs: 0,
        }
    }
}

impl IntercomKnobs {
    /// The default quota of 10,000 calls a minute, exactly.
    pub(crate) fn exact_limits(&mut self) {
        self.limit = Some(1667);
    }

    /// Whether two e-mails are the same to Intercom.
    pub(crate) fn same_email(&self, one: &str, other: &str) -> bool {
        if self.email_case_sensitive {
            one == other
        } else {
            one.to_lowercase() == other.to_lowercase()
        }
    }
}
