//! The table of all keys: their names, their forms, and the nearest one to a misspelt name.

use super::forms::{self, Form};

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    /// Its place in a settings file, `section.key`.
    pub path: &'static str,
    /// Its environment name, where that is not `SECTION__KEY`.
    fixed: Option<&'static str>,
    pub kind: Kind,
    /// Whether an empty environment variable counts as none.
    pub optional: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Int(i64, i64),
    Bool,
    Choice(&'static [&'static str]),
    Text(&'static Form),
    Secret(&'static Form),
}

impl Kind {
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Int(min, max) => format!("a whole number from {min} to {max}"),
            Self::Bool => "true or false".to_owned(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Text(form) | Self::Secret(form) => form.expected.to_owned(),
        }
    }
}

impl Key {
    const fn plain(path: &'static str, kind: Kind) -> Self {
        Self {
            path,
            fixed: None,
            kind,
            optional: false,
        }
    }

    const fn fixed(path: &'static str, env: &'static str, kind: Kind) -> Self {
        Self {
            path,
            fixed: Some(env),
            kind,
            optional: false,
        }
    }

    const fn optional(path: &'static str, env: &'static str, kind: Kind) -> Self {
        Self {
            path,
            fixed: Some(env),
            kind,
            optional: true,
        }
    }

    /// The environment name.
    pub(super) fn env(&self) -> String {
        self.fixed.map_or_else(|| self.long_env(), str::to_owned)
    }

    /// `SECTION__KEY`, also for keys that have another name, to recognise a near miss.
    fn long_env(&self) -> String {
        self.path.to_uppercase().replace('.', "__")
    }

    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret(_))
    }

    pub(super) fn at(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }

    pub(super) fn of_env(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.env() == name)
    }

    fn section(&self) -> Option<&'static str> {
        self.path.split_once('.').map(|(section, _)| section)
    }
}

const PERCENT: Kind = Kind::Int(0, 50);
const MILLISECONDS: Kind = Kind::Int(10, 600_000);
const DAY_IN_SECONDS: i64 = 86_400;

/// Every key, in the order of `config/default.toml`.
#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    Key::fixed("environment", "ENVIRONMENT", Kind::Text(&forms::NAME)),

    Key::optional("database.url", "DATABASE_URL", Kind::Secret(&forms::DATABASE_URL)),
    Key::plain("database.max_connections", Kind::Int(2, 100)),
    Key::plain("database.migrate", Kind::Choice(&["auto", "refuse"])),
    Key::plain("database.statement_timeout_ms", MILLISECONDS),
    Key::plain("database.connect_timeout_ms", MILLISECONDS),
    Key::plain("database.prepared_statements", Kind::Bool),

    Key::optional("keap.api_key", "KEAP_API_KEY", Kind::Secret(&forms::TOKEN)),
    Key::fixed("keap.base_url", "KEAP_BASE_URL", Kind::Text(&forms::BASE_URL)),
    Key::optional("keap.webhook_secret", "KEAP_WEBHOOK_SECRET", Kind::Secret(&forms::WEBHOOK_SECRET)),
    Key::plain("keap.webhook_calls_per_day", Kind::Int(10, 1_000_000)),
    Key::plain("keap.page_size", Kind::Int(1, 1000)),
    Key::plain("keap.ids_per_call", Kind::Int(1, 500)),
    Key::plain("keap.calls_per_second", Kind::Int(1, 1000)),
    Key::plain("keap.calls_per_minute", Kind::Int(1, 60_000)),
    Key::plain("keap.daily_reserve_percent", PERCENT),
    Key::plain("keap.connect_timeout_ms", MILLISECONDS),
    Key::plain("keap.request_timeout_ms", MILLISECONDS),

    Key::optional("intercom.access_token", "INTERCOM_ACCESS_TOKEN", Kind::Secret(&forms::TOKEN)),
    Key::fixed("intercom.region", "INTERCOM_REGION", Kind::Choice(&["us", "eu", "au"])),
    Key::optional("intercom.base_url", "INTERCOM_BASE_URL", Kind::Text(&forms::BASE_URL)),
    Key::fixed("intercom.version", "INTERCOM_VERSION", Kind::Text(&forms::VERSION)),
    Key::plain("intercom.calls_per_10_seconds", Kind::Int(1, 100_000)),
    Key::plain("intercom.emails_per_search", Kind::Int(1, 15)),
    Key::plain("intercom.connect_timeout_ms", MILLISECONDS),
    Key::plain("intercom.request_timeout_ms", MILLISECONDS),

    Key::fixed("http.listen", "HTTP_LISTEN", Kind::Text(&forms::LISTEN)),
    Key::optional("http.metrics_listen", "HTTP__METRICS_LISTEN", Kind::Text(&forms::LISTEN)),
    Key::optional("http.public_url", "HTTP_PUBLIC_URL", Kind::Text(&forms::BASE_URL)),
    Key::plain("http.max_connections", Kind::Int(16, 10_000)),
    Key::plain("http.ready_poll_age_seconds", Kind::Int(5, 31 * DAY_IN_SECONDS)),
    Key::optional("http.api_token", "API_TOKEN", Kind::Secret(&forms::API_TOKEN)),

    Key::plain("hooks.events", Kind::Text(&forms::EVENTS)),
    Key::plain("hooks.schedule", Kind::Text(&forms::SCHEDULE)),

    Key::plain("poll.schedule", Kind::Text(&forms::SCHEDULE)),
    Key::plain("poll.overlap_seconds", Kind::Int(0, DAY_IN_SECONDS)),
    Key::plain("poll.first_run", Kind::Choice(&["everything", "from_now"])),

    Key::plain("sweep.schedule", Kind::Text(&forms::SCHEDULE_OR_OFF)),
    Key::plain("sweep.deleted", Kind::Choice(&["archive", "unlink", "ignore"])),
    Key::plain("sweep.brake_contacts", Kind::Int(0, 1_000_000)),
    Key::plain("sweep.brake_percent", Kind::Int(0, 100)),

    Key::plain("sync.concurrency", Kind::Int(1, 512)),
    Key::plain("sync.promote_leads", Kind::Bool),
    Key::plain("sync.unarchive", Kind::Bool),
    Key::plain("sync.max_attempts", Kind::Int(1, 50)),
    Key::plain("sync.retry_base_ms", MILLISECONDS),
    Key::plain("sync.retry_cap_seconds", Kind::Int(1, DAY_IN_SECONDS)),
    Key::plain("sync.record_group", Kind::Int(1, 1000)),
    Key::plain("sync.record_after_ms", MILLISECONDS),
    Key::plain("sync.urgent_share_percent", PERCENT),
    Key::plain("sync.stop_recheck_seconds", Kind::Int(1, DAY_IN_SECONDS)),
    Key::plain("sync.idle_check_ms", MILLISECONDS),

    Key::plain("lease.ttl_seconds", Kind::Int(5, 300)),

    Key::plain("retention.schedule", Kind::Text(&forms::SCHEDULE)),
    Key::plain("retention.log_days", Kind::Int(0, 36_500)),
    Key::plain("retention.run_days", Kind::Int(0, 36_500)),

    Key::fixed("log.format", "LOG_FORMAT", Kind::Choice(&["text", "json"])),
    // Other programs read RUST_LOG too and take an empty one for none, hence optional.
    Key::optional("log.filter", "RUST_LOG", Kind::Text(&forms::FILTER)),
];

/// The names of the sections.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = None;
    KEYS.iter()
        .filter_map(Key::section)
        .filter(move |section| last.replace(*section) != Some(*section))
}

/// What an environment name is to this program.
pub(super) enum EnvName {
    Value(&'static Key),
    /// `NAME_FILE` of a secret.
    File(&'static Key),
    /// Meant for this program, but no name it knows; the text says what may be meant.
    Unknown(String),
    Foreign,
}

pub(super) fn env_name(name: &str) -> EnvName {
    if let Some(key) = Key::of_env(name) {
        return EnvName::Value(key);
    }
    if let Some(key) = name.strip_suffix("_FILE").and_then(Key::of_env)
        && key.is_secret()
    {
        return EnvName::File(key);
    }
    let upper = name.to_uppercase();
    let one_underscore = |key: &&Key| key.long_env().replace("__", "_") == upper;
    let ours =
        sections().any(|section| upper.starts_with(&format!("{}__", section.to_uppercase())));
    match KEYS.iter().find(one_underscore) {
        // A single word such as `environment` is too common a name to claim in other cases.
        Some(key) if name == upper && key.section().is_some() => {
            EnvName::Unknown(did_you_mean(&key.env()))
        }
        _ if ours => EnvName::Unknown(env_hint(&upper)),
        _ => EnvName::Foreign,
    }
}

fn env_hint(upper: &str) -> String {
    let near = nearest(upper, |key| vec![key.env(), key.long_env()]);
    near.map_or_else(
        || {
            let section = upper.split("__").next().unwrap_or_default().to_lowercase();
            let names = KEYS.iter().filter(|key| key.section() == Some(&section));
            let names: Vec<_> = names.map(Key::env).collect();
            format!("the names of its section are {}", names.join(", "))
        },
        |key| did_you_mean(&key.env()),
    )
}

/// A hint for the name of a credential that is neither known nor plainly foreign.
pub(super) fn credential_hint(upper: &str) -> Option<String> {
    nearest(upper, |key| vec![key.env()]).map(|key| did_you_mean(&key.env()))
}

/// A hint for an unknown `section.key` of a settings file.
pub(super) fn path_hint(path: &str) -> String {
    let near = nearest(&path.to_lowercase().replace('-', "_"), |key| {
        vec![key.path.to_owned(), key.env().to_lowercase()]
    });
    if let Some(key) = near {
        return did_you_mean(key.path);
    }
    let section = path.split_once('.').map(|(section, _)| section);
    let prefix = section.map_or(0, |section| section.len() + 1);
    let names = KEYS.iter().filter(|key| key.section() == section);
    let names: Vec<_> = names.map(|key| &key.path[prefix..]).collect();
    match section {
        Some(section) => format!("the keys of [{section}] are {}", names.join(", ")),
        None => section_hint(path),
    }
}

/// A hint for an unknown section of a settings file.
pub(super) fn section_hint(name: &str) -> String {
    let near = sections().find(|section| distance(section, name) <= 2);
    near.map_or_else(
        || {
            format!(
                "the sections are {}",
                sections().collect::<Vec<_>>().join(", ")
            )
        },
        |section| did_you_mean(&format!("[{section}]")),
    )
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean {name}?")
}

/// The key with a name closest to `wrong`, if it is close enough to be what was meant.
fn nearest(wrong: &str, names: impl Fn(&Key) -> Vec<String>) -> Option<&'static Key> {
    let far = |key: &Key| names(key).iter().map(|name| distance(name, wrong)).min();
    KEYS.iter()
        .filter_map(|key| far(key).map(|far| (far, key)))
        .filter(|(far, _)| *far <= 3 && far * 4 <= wrong.len())
        .min_by_key(|(far, _)| *far)
        .map(|(_, key)| key)
}

/// The Levenshtein distance in bytes; names are ASCII.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
