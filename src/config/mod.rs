//! Reads, checks and hands out every setting of the daemon.
//!
//! Four layers, the later one wins: the built-in `config/default.toml`, the file named by
//! `--config`, systemd credentials, the environment (a value itself or `NAME_FILE`).

mod changes;
mod error;
mod forms;
mod keys;
mod layers;
mod needed;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ::config::ValueKind;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

pub use error::{EXIT_STATUS, SettingsError};
pub use layers::{DEFAULTS, load};
pub use needed::Needed;
pub use sources::Sources;

/// Every setting, checked. Its `Debug` text holds no secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name of this deployment, such as `production` or `staging`.
    pub environment: String,
    /// The Postgres URL; may hold a password. Read it with [`Settings::database_url`].
    #[serde(skip)]
    pub database_url: Option<SecretString>,
    pub database: Database,
    pub keap: Keap,
    pub intercom: Intercom,
    pub http: Http,
    pub hooks: Hooks,
    pub poll: Poll,
    pub sweep: Sweep,
    pub sync: Sync,
    pub lease: Lease,
    pub retention: Retention,
    pub log: Log,
    /// What the caller should log once logging works; never holds a secret.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// Every value that is no secret, by its key: to tell what a reload changes.
    #[serde(skip)]
    values: BTreeMap<&'static str, ValueKind>,
}

/// The Postgres pool.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Connections the pool may hold.
    pub max_connections: u32,
    /// What to do at start when the schema is behind.
    pub migrate: Migrate,
    /// Milliseconds one statement may run.
    pub statement_timeout_ms: u64,
    /// Milliseconds to wait for a connection.
    pub connect_timeout_ms: u64,
    /// False behind a transaction-mode pooler that cannot keep prepared statements.
    pub prepared_statements: bool,
}

/// The Keap side.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keap {
    /// Read it with [`Settings::keap_api_key`].
    #[serde(skip)]
    pub api_key: Option<SecretString>,
    /// The address paths are appended to; its path has no trailing slash.
    #[serde(deserialize_with = "base_url")]
    pub base_url: Url,
    /// One or two comma-separated secrets; read them with [`Keap::webhook_secrets`].
    #[serde(skip)]
    pub webhook_secret: Option<SecretString>,
    /// Calls to Keap that webhooks may cause in a day.
    pub webhook_calls_per_day: u32,
    /// Contacts per list call.
    pub page_size: u32,
    /// Contact ids per call that reads contacts by id.
    pub ids_per_call: u32,
    /// Calls started in any one second.
    pub calls_per_second: u32,
    /// Calls started in any one minute.
    pub calls_per_minute: u32,
    /// Percent of the daily quota that is left to other users of the account.
    pub daily_reserve_percent: u32,
    /// Milliseconds to wait for a connection.
    pub connect_timeout_ms: u64,
    /// Milliseconds to wait for a whole answer.
    pub request_timeout_ms: u64,
}

/// The Intercom side.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intercom {
    /// Read it with [`Settings::intercom_access_token`].
    #[serde(skip)]
    pub access_token: Option<SecretString>,
    /// Where the workspace is hosted.
    pub region: Region,
    /// Overrides the address of the region; read it with [`Intercom::base_url`].
    #[serde(default, deserialize_with = "optional_base_url")]
    pub base_url: Option<Url>,
    /// The value of the `Intercom-Version` header.
    pub version: String,
    /// Calls started in any ten seconds, until Intercom's headers tell the true limit.
    pub calls_per_10_seconds: u32,
    /// E-mail addresses looked up by one search call.
    pub emails_per_search: u32,
    /// Milliseconds to wait for a connection.
    pub connect_timeout_ms: u64,
    /// Milliseconds to wait for a whole answer.
    pub request_timeout_ms: u64,
}

/// The daemon's own HTTP surface.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The address and port to listen on.
    pub listen: SocketAddr,
    /// A second address, where numbers need no token.
    #[serde(default)]
    pub metrics_listen: Option<SocketAddr>,
    /// The address Keap reaches this daemon at.
    #[serde(default, deserialize_with = "optional_base_url")]
    pub public_url: Option<Url>,
    /// Connections open at once; then idle ones give way.
    pub max_connections: usize,
    /// Seconds after which the last whole poll is too old to be ready.
    pub ready_poll_age_seconds: u64,
    /// The bearer token of the API; without one the API is closed.
    #[serde(skip)]
    pub api_token: Option<SecretString>,
}

/// Our subscriptions to Keap's events.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Event keys, separated by commas; read them with [`Hooks::events`].
    pub events: String,
    /// When the subscriptions are looked after: a cron line.
    pub schedule: String,
}

/// When Keap is asked for changes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// A cron line in UTC: six fields, seconds first, and an optional year.
    pub schedule: String,
    /// Seconds each poll looks back before the end of the last one.
    pub overlap_seconds: u64,
    /// What the very first poll takes.
    pub first_run: FirstRun,
}

/// How deletions and merges in Keap are noticed, and what comes of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// A cron line in UTC, or `off`; read it with [`Sweep::schedule`].
    schedule: String,
    /// What becomes of the Intercom contact.
    pub deleted: Deleted,
    /// More contacts gone than this stop a sweep.
    pub brake_contacts: u32,
    /// A larger share of the linked contacts stops it, too.
    pub brake_percent: u32,
}

/// How contacts are written to Intercom.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// Contacts in work at the same time.
    pub concurrency: usize,
    /// Whether an Intercom lead with the same e-mail address becomes a user.
    pub promote_leads: bool,
    /// Whether an archived Intercom contact is brought back.
    pub unarchive: bool,
    /// Attempts before a contact is set aside.
    pub max_attempts: u32,
    /// Milliseconds before the second attempt; doubles with each further one.
    pub retry_base_ms: u64,
    /// Seconds no wait between attempts exceeds.
    pub retry_cap_seconds: u64,
    /// Outcomes written to the database together.
    pub record_group: usize,
    /// Milliseconds after which a smaller group is written as well.
    pub record_after_ms: u64,
    /// Percent of the call budget kept for urgent contacts.
    pub urgent_share_percent: u32,
    /// Seconds between looks at whether a stop has been lifted.
    pub stop_recheck_seconds: u64,
    /// Milliseconds between looks at an empty queue.
    pub idle_check_ms: u64,
}

/// The lease that lets one instance work at a time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Seconds a lease holds without renewal.
    pub ttl_seconds: u64,
}

/// How long rows are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// When it is looked for rows that are older: a cron line.
    pub schedule: String,
    /// Days for rows of the log; 0 for ever.
    pub log_days: u64,
    /// Days for runs that have ended; 0 for ever.
    pub run_days: u64,
}

/// What is logged, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The form of a log line.
    pub format: LogFormat,
    /// Directives of the filter, as in `RUST_LOG`.
    pub filter: String,
}

/// What to do when the database schema is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Migrate {
    /// Migrate, then start.
    Auto,
    /// Refuse to start.
    Refuse,
}

/// Where the Intercom workspace is hosted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    Us,
    Eu,
    Au,
}

/// What the very first poll takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstRun {
    /// Every contact of the account.
    Everything,
    /// Only contacts changed after the first start.
    FromNow,
}

/// What becomes of the Intercom contact of a contact that Keap does not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deleted {
    /// It is archived.
    Archive,
    /// It stays, and only the link goes.
    Unlink,
    /// Nothing.
    Ignore,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Database {
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}

impl Keap {
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// The accepted webhook secrets: none, one, or two while one replaces the other.
    pub fn webhook_secrets(&self) -> Vec<SecretString> {
        self.webhook_secret.as_ref().map_or_else(Vec::new, |both| {
            both.expose_secret()
                .split(',')
                .map(|one| SecretString::from(one.trim()))
                .collect()
        })
    }
}

impl Http {
    pub fn ready_poll_age(&self) -> Duration {
        Duration::from_secs(self.ready_poll_age_seconds)
    }
}

impl Hooks {
    /// The events to subscribe to, each once.
    pub fn events(&self) -> Vec<String> {
        let mut events: Vec<String> = Vec::new();
        for event in self.events.split(',').map(str::trim) {
            if !events.iter().any(|known| known == event) {
                events.push(event.to_owned());
            }
        }
        events
    }
}

impl Intercom {
    /// The address to call: the one set, else that of the region.
    pub fn base_url(&self) -> Url {
        self.base_url.clone().unwrap_or_else(|| self.region.url())
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

impl Region {
    /// The API address of the region.
    pub fn url(self) -> Url {
        let address = match self {
            Self::Us => "https://api.intercom.io",
            Self::Eu => "https://api.eu.intercom.io",
            Self::Au => "https://api.au.intercom.io",
        };
        Url::parse(address).expect("the three addresses above are URLs")
    }
}

impl Poll {
    pub fn overlap(&self) -> Duration {
        Duration::from_secs(self.overlap_seconds)
    }
}

impl Sweep {
    /// The cron line, unless no sweep comes by itself.
    pub fn schedule(&self) -> Option<&str> {
        Some(self.schedule.as_str()).filter(|line| *line != "off")
    }
}

impl Sync {
    pub fn retry_base(&self) -> Duration {
        Duration::from_millis(self.retry_base_ms)
    }

    pub fn retry_cap(&self) -> Duration {
        Duration::from_secs(self.retry_cap_seconds)
    }

    pub fn record_after(&self) -> Duration {
        Duration::from_millis(self.record_after_ms)
    }

    pub fn stop_recheck(&self) -> Duration {
        Duration::from_secs(self.stop_recheck_seconds)
    }

    pub fn idle_check(&self) -> Duration {
        Duration::from_millis(self.idle_check_ms)
    }
}

impl Retention {
    pub fn log_rows(&self) -> Option<Duration> {
        days(self.log_days)
    }

    pub fn runs(&self) -> Option<Duration> {
        days(self.run_days)
    }
}

fn days(days: u64) -> Option<Duration> {
    (days > 0).then(|| Duration::from_secs(days.saturating_mul(86_400)))
}

impl Lease {
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds)
    }
}

fn base_url<'de, D: Deserializer<'de>>(input: D) -> Result<Url, D::Error> {
    let text = String::deserialize(input)?;
    forms::base_url(&text).ok_or_else(|| D::Error::custom("not a base URL"))
}

fn optional_base_url<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Url>, D::Error> {
    base_url(input).map(Some)
}
