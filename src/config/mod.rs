//! Reads, checks and hands out every setting of the daemon.
//!
//! Four layers, the later one wins: the built-in `config/default.toml`, the file given with
//! `--config`, systemd credentials, the environment (a value itself or `NAME_FILE`).
//!
//! A new setting stands in three places: `config/default.toml` (default and documentation),
//! `settings.rs` (key, type and bounds), and where it is used.

mod changes;
mod check;
mod database_url;
mod declare;
mod error;
mod forms;
mod in_force;
mod keys;
mod kinds;
mod layers;
mod mapped;
mod needed;
mod notify;
mod notify_forms;
mod origin;
mod proxy;
mod settings;
mod sources;
mod tables;
#[cfg(test)]
mod tests;
mod values;

pub use error::{EXIT_STATUS, SettingsError};
pub use in_force::InForce;
pub use layers::{DEFAULTS, load};
pub use mapped::{FieldClears, FieldOwner, FieldTable, FieldTooLong, TagTable};
pub use notify::Hook;
pub use notify_forms::MailServer;
pub use proxy::ProxySetting;
pub use settings::{
    Archived, Company, Consent, CreateInKeap, Database, Deleted, Erase, EraseMode, Filter,
    FirstRun, Hooks, Http, Intercom, IntercomToKeap, Keap, Lease, Left, Log, LogFormat, Mapping,
    Match, Migrate, Needed, Network, Notify, OptOut, Poll, Region, Retention, Settings, SmtpTls,
    Sweep, Sync,
};
pub use sources::Sources;
