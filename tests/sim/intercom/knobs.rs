//! The switches of the Intercom stand-in: whatever the fact sheet calls unknown, and the moods of a server.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EmailConflict {
    /// A create with a new external id and the e-mail of an existing user → 409.
    Conflict,
    /// … → a second user with that e-mail.
    Allow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowStart {
    /// Windows follow one another without a gap, shifted by this much against the epoch.
    Grid { offset_ms: i64 },
    /// A window starts with the first call after the last one ended.
    FirstCall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetRounding {
    Ceil,
    Floor,
}

/// What the three `X-RateLimit` headers say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateHeaders {
    Normal,
    Missing,
    /// This text in all three.
    Garbage(String),
    /// Reset in milliseconds instead of seconds.
    Millis,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntercomKnobs {
    /// How long search and list show the state before a create, update or archive.
    pub search_lag_ms: i64,
    pub email_conflict_with_new_external_id: EmailConflict,
    /// PUT of another user's e-mail → 409 instead of 200.
    pub put_email_conflict: bool,
    /// PUT of an archived user's external id → 409 instead of 200.
    pub put_archived_external_id_conflict: bool,
    /// PUT to a merged contact → 410, as a read; else 404.
    pub put_merged_is_gone: bool,
    /// 409 names no id.
    pub conflict_without_id: bool,
    /// The 409 for an archived, deleted or merged holder says so.
    pub conflict_archived_text: bool,
    pub email_case_sensitive: bool,
    /// Most values of an IN, and most filters of a group.
    pub max_in_values: usize,
    /// `false`: a group inside a group → 400.
    pub allow_nested_search: bool,
    /// Calls a window.
    pub limit: Option<u32>,
    pub window_secs: i64,
    pub window_start: WindowStart,
    pub reset_rounding: ResetRounding,
    /// `false`, as recorded: the first answer of a window says Remaining = Limit.
    pub remaining_counts_this_call: bool,
    pub rate_headers: RateHeaders,
    /// Somebody else's calls, evenly spread over each window.
    pub foreign_calls_per_window: u32,
    /// `Retry-After` on 429, in seconds.
    pub retry_after: Option<u64>,
    /// Writes of these e-mails → 400, quoting the e-mail.
    pub refuse_emails: HashSet<String>,
    /// Custom attributes that exist.
    pub attributes: HashSet<String>,
    /// Everything → 403 `api_plan_restricted`.
    pub plan_restricted: bool,
    /// Every version → 400 `intercom_version_invalid`.
    pub version_unknown: bool,
    /// Time that every answer takes at least.
    pub latency_ms: u64,
    /// The workspace's `app.timezone`, and how far east of UTC it is; date searches cut days there.
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
            attributes: HashSet::new(),
            plan_restricted: false,
            version_unknown: false,
            latency_ms: 0,
            timezone: "Etc/UTC".to_owned(),
            utc_offset_secs: 0,
        }
    }
}

impl IntercomKnobs {
    /// The default quota of 10,000 calls a minute, exactly.
    pub fn exact_limits(&mut self) {
        self.limit = Some(1667);
    }

    /// How an e-mail is compared.
    pub fn same_email(&self, one: &str, other: &str) -> bool {
        if self.email_case_sensitive {
            one == other
        } else {
            one.to_lowercase() == other.to_lowercase()
        }
    }
}
