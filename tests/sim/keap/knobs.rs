//! The switches of the Keap stand-in: whatever the fact sheet calls unknown, and the faults that are states of a server.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Keap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    HalfUp,
    Floor,
    Ceil,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenStyle {
    /// Base64 of the place; `""` at the end.
    Opaque,
    /// The last row's id; `""` at the end.
    LastId,
    /// A full URL whose `page_token` is the last row's id; `""` at the end.
    FullUrl,
    /// As `Opaque`, with `null` at the end.
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdsAsNumbers {
    Never,
    Always,
    /// Numbers in every second answer.
    Alternate,
}

/// The form of 429 and 500 bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorBody {
    V2,
    Gateway,
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitWindows {
    Fixed,
    Sliding,
}

/// Called before each list answer with the number of that answer, outside of any lock.
pub type BetweenPages = Arc<dyn Fn(&Keap, u64) + Send + Sync>;

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeapKnobs {
    /// `start_update_time` (v1 `since`) includes its own instant.
    pub inclusive_start: bool,
    /// `end_update_time` (v1 `until`) includes its own instant.
    pub inclusive_end: bool,
    /// Time bounds compare the hidden milliseconds instead of the shown, rounded second.
    pub compare_millis: bool,
    /// How a stamp's milliseconds become the shown second.
    pub rounding: Rounding,
    /// Time values in filters must carry milliseconds, as the contract words it.
    pub times_need_millis: bool,
    pub token_style: TokenStyle,
    /// `false`: `contact_id` comparisons together with a time bound → 400.
    pub combine_filters: bool,
    /// `false`: `order_by=update_time` → 400.
    pub order_by_update_time: bool,
    /// `contact_id` comparisons are accepted and have no effect.
    pub ignore_contact_id_filter: bool,
    /// The server returns at most this many rows a page, with a next token, whatever was asked for.
    pub max_page_size_effective: Option<usize>,
    pub ids_as_numbers: IdsAsNumbers,
    /// Empty fields are left out of a v2 contact instead of being null.
    pub omit_nulls: bool,
    /// A change shows in lists only so long after its stamp (the old version, or nothing for a new contact, till
    /// then); a read by id shows it at once. Takes effect for changes made while it is set.
    pub visibility_delay_ms: i64,
    /// No list shows these contacts; a read by id does.
    pub unlisted: HashSet<i64>,
    /// 500 for every list page that would hold one of these contacts.
    pub poison: HashSet<i64>,
    /// 500 for a read of a poisoned contact by id, too.
    pub poison_by_id: bool,
    /// The next n lists answer no rows and a token that leads on from the same place.
    pub empty_page_with_token: u32,
    /// A page asked for with a token gives that same token again, for ever.
    pub repeat_token: bool,
    /// Every page token is answered with 400.
    pub expire_tokens: bool,
    /// The next n lists answer 200 with no rows and no token.
    pub glitch_empty: u32,
    /// These rows are sent as this JSON instead.
    pub malformed: HashMap<i64, Value>,
    /// Fields that no contract knows are added to every contact and list.
    pub unknown_extra_fields: bool,
    /// `Retry-After` on 429, in seconds.
    pub retry_after: Option<u64>,
    pub error_body: ErrorBody,
    /// Spike arrest; shows in no header.
    pub per_second: Option<u32>,
    /// Product throttle.
    pub per_minute: Option<u32>,
    /// Product quota; resets at 00:00 UTC of this stand-in's clock.
    pub per_day: Option<u32>,
    /// Of the second and the minute; the day is always fixed.
    pub limit_windows: LimitWindows,
    /// Refused calls use up the limits as well.
    pub rejected_calls_count: bool,
    /// Somebody else's calls, spread evenly, eat the minute's and the day's quota.
    pub foreign_calls_per_minute: u32,
    /// Calls that somebody else has already made today.
    pub foreign_calls_today: u32,
    /// The tenant's limit headers, as pipe-delimited pairs.
    pub tenant_headers: bool,
    pub tenant_per_minute: u32,
    pub tenant_per_day: u32,
    /// The key is accepted in `X-Keap-API-Key` as well.
    pub accept_api_key_header: bool,
    /// Time that every answer takes at least.
    pub latency_ms: u64,
    /// Hook deliveries happen at all.
    pub hook_deliveries: bool,
    /// All waits of the delivery schedule are multiplied by it; 1.0 is Keap's own pace.
    pub hook_time_scale: f64,
    /// Every delivery is made twice.
    pub hook_duplicate: bool,
    /// Events leave in random order.
    pub hook_shuffle: bool,
    /// `apiUrl` is left out.
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
            times_need_millis: true,
            token_style: TokenStyle::Opaque,
            combine_filters: true,
            order_by_update_time: true,
            ignore_contact_id_filter: false,
            max_page_size_effective: None,
            ids_as_numbers: IdsAsNumbers::Never,
            omit_nulls: false,
            visibility_delay_ms: 0,
            unlisted: HashSet::new(),
            poison: HashSet::new(),
            poison_by_id: false,
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
    pub fn exact_limits(&mut self) {
        self.per_second = Some(10);
        self.per_minute = Some(240);
        self.per_day = Some(30_000);
        self.tenant_headers = true;
    }
}
