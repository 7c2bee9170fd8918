//! Finds keys by their names, and the nearest one to a misspelt name.

use std::sync::LazyLock;

use strsim::levenshtein;

use super::kinds::Key;
use super::settings::Settings;

/// Every key, in the order of `config/default.toml`.
pub(super) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(Settings::keys);

/// The key at this place of a settings file.
pub(super) fn at(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key with this environment name.
pub(super) fn of_env(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.env == name)
}

/// The names of the sections.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = None;
    KEYS.iter()
        .filter_map(Key::section)
        .filter(move |section| last.replace(*section) != Some(*section))
}

/// What an environment name means to this program.
pub(super) enum EnvName {
    Value(&'static Key),
    /// `NAME_FILE` of a secret.
    File(&'static Key),
    /// Meant for this program, but unknown; the text suggests what may be meant.
    Unknown(String),
    Foreign,
}

pub(super) fn env_name(name: &str) -> EnvName {
    if let Some(key) = of_env(name) {
        return EnvName::Value(key);
    }
    if let Some(key) = name.strip_suffix("_FILE").and_then(of_env)
        && key.is_secret()
    {
        return EnvName::File(key);
    }
    let upper = name.to_uppercase();
    let one_underscore = |key: &&Key| key.long_env().replace("__", "_") == upper;
    let ours =
        sections().any(|section| upper.starts_with(&format!("{}__", section.to_uppercase())));
    match KEYS.iter().find(one_underscore) {
        // A single word such as `environment` is too common: other programs may use it.
        Some(key) if name == upper && key.section().is_some() => {
            EnvName::Unknown(did_you_mean(&key.env))
        }
        _ if ours => EnvName::Unknown(env_hint(&upper)),
        _ => EnvName::Foreign,
    }
}

fn env_hint(upper: &str) -> String {
    let near = nearest(upper, |key| vec![key.env.clone(), key.long_env()]);
    near.map_or_else(
        || {
            let section = upper.split("__").next().unwrap_or_default().to_lowercase();
            let names = KEYS.iter().filter(|key| key.section() == Some(&section));
            let names: Vec<_> = names.map(|key| key.env.as_str()).collect();
            format!("the names of its section are {}", names.join(", "))
        },
        |key| did_you_mean(&key.env),
    )
}

/// A hint for the name of a credential that is similar to a known name.
pub(super) fn credential_hint(upper: &str) -> Option<String> {
    nearest(upper, |key| vec![key.env.clone()]).map(|key| did_you_mean(&key.env))
}

/// A hint for an unknown `section.key` of a settings file.
pub(super) fn path_hint(path: &str) -> String {
    let near = nearest(&path.to_lowercase().replace('-', "_"), |key| {
        vec![key.path.clone(), key.env.to_lowercase()]
    });
    if let Some(key) = near {
        return did_you_mean(&key.path);
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
    let near = sections().find(|section| levenshtein(section, name) <= 2);
    near.map_or_else(
        || format!("the sections are {}", sections().collect::<Vec<_>>().join(", ")),
        |section| did_you_mean(&format!("[{section}]")),
    )
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean {name}?")
}

/// The key with a name closest to `wrong`, if it is close enough to be what was meant.
fn nearest(wrong: &str, names: impl Fn(&Key) -> Vec<String>) -> Option<&'static Key> {
    let far = |key: &Key| names(key).iter().map(|name| levenshtein(name, wrong)).min();
    KEYS.iter()
        .filter_map(|key| far(key).map(|far| (far, key)))
        .filter(|(far, _)| *far <= 3 && far * 4 <= wrong.len())
        .min_by_key(|(far, _)| *far)
        .map(|(_, key)| key)
}

/// A hint for a name that is none of these.
pub(super) fn hint_among(wrong: &str, known: &[&str]) -> String {
    let far = known.iter().map(|name| (levenshtein(name, wrong), *name));
    match far.filter(|(far, name)| *far <= 2 || far * 3 <= name.len()).min() {
        Some((_, name)) => did_you_mean(name),
        None => format!("the keys are {}", known.join(", ")),
    }
}
