//! The settings of the Keap stand-in: behaviour that is unknown (`docs/api/keap.md`, "Unknown
//! behaviour") and faults that last, unlike those of the queue.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Keap;
use crate::sim::message::Compression;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rounding {
    HalfUp,
    Floor,
    Ceil,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TokenStyle {
    /// The position in base64; `""` at the end.
    Opaque,
    /// The last row's id; `""` at the end.
    LastId,
    /// A full URL whose `page_token` is the last row's id; `""` at the end.
    FullUrl,
    /// As `Opaque`, with `null` at the end.
    Null,
    /// The last row's id as a number; 0 at the end.
    Number,
    /// The number of the rows before the page, in base64: a row that vanishes moves the others.
    Rows,
}

/// The form of `update_time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StampForm {
    /// `2026-08-19T16:20:31Z`
    Utc,
    /// `2026-08-19T09:20:31-07:00`
    Offset,
    /// `2026-08-19T16:20:31.000+0000`, as version 1 shows it.
    NoColon,
    /// `2026-08-19T16:20:31`
    NoZone,
    /// Seconds since 1970, as a number.
    Seconds,
    /// Milliseconds since 1970, as a number.
    Millis,
    /// The same as a text.
    MillisText,
    /// An object, from which no time can be read.
    Object,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IdsAsNumbers {
    Never,
    Always,
    /// Every second answer has numbers.
    Alternate,
}

/// What a filter with two clauses on one field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RepeatedField {
    BothCount,
    LastCounts,
    /// It gets a 400.
    Refused,
}

/// The form of 403, 429 and 500 bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ErrorBody {
    V2,
    Gateway,
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LimitWindows {
    Fixed,
    Sliding,
}

/// How the content of a custom field with a number is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NumberForm {
    AsStored,
    Number,
    /// A text of digits.
    Text,
}

/// How the content of a yes/no field is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum YesNoForm {
    AsStored,
    /// `true`
    Boolean,
    /// `1`
    Number,
    /// `"Yes"`
    Word,
}

/// How the content of a field with several choices is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ListForm {
    AsStored,
    List,
    /// A text with commas.
    Text,
}

/// Called before each list answer, with the number of that answer, while no lock is held.
pub(crate) type BetweenPages = Arc<dyn Fn(&Keap, u64) + Send + Sync>;

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeapKnobs {
    /// `start_update_time` (v1 `since`) includes its own instant.
    pub inclusive_start: bool,
    /// `end_update_time` (v1 `until`) includes its own instant.
    pub inclusive_end: bool,
    /// Time bounds compare the hidden milliseconds instead of the shown, rounded second.
    pub compare_millis: bool,
    /// How a stamp's milliseconds become the shown second.
    pub rounding: Rounding,
    pub stamp_form: StampForm,
    /// Times in filters must have milliseconds, as the contract says.
    pub times_need_millis: bool,
    pub token_style: TokenStyle,
    /// `false`: `contact_id` comparisons together with a time bound get a 400.
    pub combine_filters: bool,
    /// `false`: `order_by=update_time` gets a 400.
    pub order_by_update_time: bool,
    /// `contact_id` comparisons are accepted and have no effect.
    pub ignore_contact_id_filter: bool,
    /// What two clauses on one field mean.
    pub repeated_field: RepeatedField,
    /// `false`: `contact_id<` and `contact_id<=` get a 400.
    pub id_below: bool,
    /// A list of ids longer than this counts only as far as this, without a word.
    pub ids_cap: Option<usize>,
    /// The next n answers to lists of ids have only the first half of their rows, without a word.
    pub short_id_lists: u32,
    /// A page has at most this many rows and a next token, whatever `page_size` asks for.
    pub max_page_size_effective: Option<usize>,
    pub ids_as_numbers: IdsAsNumbers,
    /// Empty fields, parts of addresses and custom fields are left out of a v2 contact instead of
    /// being null.
    pub omit_nulls: bool,
    /// The model shows null instead of column names, record types and options, as an early version
    /// of v2 did.
    pub model_nulls: bool,
    pub custom_numbers: NumberForm,
    pub custom_yes_no: YesNoForm,
    pub custom_lists: ListForm,
    /// A PATCH that changes nothing moves the stamp.
    pub unchanged_write_bumps: bool,
    /// A PATCH keeps the entries of a list that it does not name, instead of removing them.
    pub patch_keeps_entries: bool,
    /// Applying or removing a tag moves the stamp of the contact.
    pub tags_bump_update_time: bool,
    /// A new status of an e-mail address moves the stamp of its contacts.
    pub opt_status_bumps: bool,
    /// E-mails show null instead of their status.
    pub opt_status_nulls: bool,
    /// A call that opts an address out answers 200 and changes nothing.
    pub ignore_opt_out: bool,
    /// A null stands before each e-mail and phone of a v2 contact.
    pub nulls_in_lists: bool,
    /// E-mails and phones of a v2 contact come in the reverse order.
    pub reverse_lists: bool,
    /// Bodies are compressed, whatever the client accepts.
    pub compression: Option<Compression>,
    /// Lists show a change this long after its stamp. Until then they show the old version, or
    /// nothing for a new contact. A read by id shows the change at once. Applies to changes made
    /// while it is set.
    pub visibility_delay_ms: i64,
    /// A list that is filtered by e-mail shows a contact this long after it was made. Other lists
    /// show it at once.
    pub email_index_lag_ms: i64,
    /// `duplicate_option` looks at the same index.
    pub duplicates_lag: bool,
    /// Lists leave out these contacts; a read by id shows them.
    pub unlisted: HashSet<i64>,
    /// A list page that would contain one of these contacts gets a 500.
    pub poison: HashSet<i64>,
    /// A read by id of a `poison` contact gets a 500, too.
    pub poison_by_id: bool,
    /// A list that asks for ids and stamps alone shows `poison` contacts.
    pub poison_shows_stamps: bool,
    /// A list page that would contain one of these contacts gets a 403, and so does a read by id.
    pub forbidden: HashSet<i64>,
    /// The next n lists answer without rows and with a token that continues at the same position.
    pub empty_page_with_token: u32,
    /// A page that is asked for with a token returns that same token, for ever.
    pub repeat_token: bool,
    /// Every page token gets a 400.
    pub expire_tokens: bool,
    /// The next n lists answer 200 without rows and without a token.
    pub glitch_empty: u32,
    /// These rows are sent as this JSON instead.
    pub malformed: HashMap<i64, Value>,
    /// Every contact and list has additional fields that are not in the contract.
    pub unknown_extra_fields: bool,
    /// `Retry-After` on 429, in seconds.
    pub retry_after: Option<u64>,
    pub error_body: ErrorBody,
    /// The spike arrest. No header shows it.
    pub per_second: Option<u32>,
    /// The product throttle.
    pub per_minute: Option<u32>,
    /// The product quota. It resets at 00:00 UTC of this stand-in's clock.
    pub per_day: Option<u32>,
    /// The windows of the second and the minute. The window of the day is always fixed.
    pub limit_windows: LimitWindows,
    /// Refused calls count against the limits as well.
    pub rejected_calls_count: bool,
    /// Calls of other programs, spread evenly, that use up the minute and the day.
    pub foreign_calls_per_minute: u32,
    /// Calls that other programs have already made today.
    pub foreign_calls_today: u32,
    /// Answers have the tenant's limit headers, pairs separated by `|`.
    pub tenant_headers: bool,
    pub tenant_per_minute: u32,
    pub tenant_per_day: u32,
    /// The key is accepted in `X-Keap-API-Key` as well.
    pub accept_api_key_header: bool,
    /// The least time that an answer takes.
    pub latency_ms: u64,
    /// Whether hooks are delivered at all.
    pub hook_deliveries: bool,
    /// A factor on all waits of the delivery schedule; 1.0 is Keap's own pace.
    pub hook_time_scale: f64,
    /// Every delivery is made twice.
    pub hook_duplicate: bool,
    /// Events are delivered in random order.
    pub hook_shuffle: bool,
    /// Deliveries leave out `apiUrl`.
    pub hook_drop_api_url: bool,
    /// The loser of a merge raises `contact.delete`.
    pub hook_delete_on_merge: bool,
    #[serde(skip)]
    pub between_pages: Option<BetweenPages>,
}

impl Default for KeapKnobs {
    fn default() -> KeapKnobs {
        KeapKnobs {
            inclusive_start: true,
            inclusive_end: true,
            compare_millis: false,
            rounding: Rounding::HalfUp,
            stamp_form: StampForm::Utc,
            times_need_millis: true,
            token_style: TokenStyle::Opaque,
            combine_filters: true,
            order_by_update_time: true,
            ignore_contact_id_filter: false,
            repeated_field: RepeatedField::BothCount,
            id_below: true,
            ids_cap: None,
            short_id_lists: 0,
            max_page_size_effective: None,
            ids_as_numbers: IdsAsNumbers::Never,
            omit_nulls: false,
            model_nulls: false,
            custom_numbers: NumberForm::AsStored,
            custom_yes_no: YesNoForm::AsStored,
            custom_lists: ListForm::AsStored,
            unchanged_write_bumps: true,
            patch_keeps_entries: false,
            tags_bump_update_time: false,
            opt_status_bumps: false,
            opt_status_nulls: false,
            ignore_opt_out: false,
            nulls_in_lists: false,
            reverse_lists: false,
            compression: None,
            visibility_delay_ms: 0,
            email_index_lag_ms: 0,
            duplicates_lag: false,
            unlisted: HashSet::new(),
            poison: HashSet::new(),
            poison_by_id: false,
            poison_shows_stamps: false,
            forbidden: HashSet::new(),
            empty_page_with_token: 0,
            repeat_token: false,
            expire_tokens: false,
            glitch_empty: 0,
            malformed: HashMap::new(),
            unknown_extra_fields: false,
            retry_after: None,
            error_body: ErrorBody::V2,
            per_second: None,
            per_minute: None,
            per_day: None,
            limit_windows: LimitWindows::Fixed,
            rejected_calls_count: false,
            foreign_calls_per_minute: 0,
            foreign_calls_today: 0,
            tenant_headers: false,
            tenant_per_minute: 10_000,
            tenant_per_day: 250_000,
            accept_api_key_header: false,
            latency_ms: 0,
            hook_deliveries: true,
            hook_time_scale: 1.0,
            hook_duplicate: false,
            hook_shuffle: false,
            hook_drop_api_url: false,
            hook_delete_on_merge: false,
            between_pages: None,
        }
    }
}

impl KeapKnobs {
    /// The limits of a Personal Access Token or Service Account Key, exactly.
    pub(crate) fn exact_limits(&mut self) {
        self.per_second = Some(10);
        self.per_minute = Some(240);
        self.per_day = Some(30_000);
        self.tenant_headers = true;
    }
}
