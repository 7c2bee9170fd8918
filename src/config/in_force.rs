//! The settings in force, for people: each with its value and where it comes from. A secret is only
//! said to be set.

use super::keys::KEYS;
use super::kinds::Key;
use super::origin::Origin;
use super::settings::Settings;

/// A setting as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Its place in a settings file, `section.key`.
    pub key: &'static str,
    /// Its environment name.
    pub env: &'static str,
    /// Its value; `None` for a secret, and where there is none.
    pub value: Option<String>,
    pub is_secret: bool,
    pub is_set: bool,
    /// It is not set anywhere but in the built-in defaults.
    pub is_default: bool,
    /// Where its value comes from, in words.
    pub from: String,
}

impl InForce {
    /// The value, as people see it.
    pub fn in_words(&self) -> String {
        match (&self.value, self.is_set) {
            (Some(value), _) => value.clone(),
            (None, true) => "(set)".to_owned(),
            (None, false) => "(not set)".to_owned(),
        }
    }
}

impl Settings {
    /// Every setting, in the order of `config/default.toml`.
    pub fn in_force(&self) -> Vec<InForce> {
        let one = |key: &'static Key| {
            let origin = self.origins.get(key.path.as_str()).unwrap_or(&Origin::Defaults);
            let is_set = self.values.has(&key.path);
            InForce {
                key: &key.path,
                env: &key.env,
                value: self.values.shown(&key.path),
                is_secret: key.is_secret(),
                is_set,
                is_default: matches!(origin, Origin::Defaults) && !key.is_secret(),
                from: if is_set { in_words(origin, &key.env) } else { String::new() },
            }
        };
        KEYS.iter().map(one).collect()
    }
}

fn in_words(origin: &Origin, env: &str) -> String {
    match origin {
        Origin::Defaults => "default".to_owned(),
        Origin::File(path) => path.display().to_string(),
        Origin::Credential(path) => format!("credential {}", path.display()),
        Origin::Environment => format!("environment ({env})"),
        Origin::SecretFile(path) => format!("{} ({env}_FILE)", path.display()),
    }
}
