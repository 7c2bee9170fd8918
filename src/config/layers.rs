//! Gathers the values of all layers, refuses what is wrong, and keeps the last of each key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use config::{Config, FileFormat, Source, Value, ValueKind};
use secrecy::SecretString;

use super::error::{Origin, Problem, SettingsError, unreadable};
use super::keys::{self, EnvName, Key};
use super::values::{checked, is_blank, is_open_to_all, read_small, shown, without_source};
use super::{Settings, Sources};

/// The text of the built-in settings, with the documentation of every key.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Reads all sources and returns the settings, or an error that names everything wrong in them.
///
/// A missing secret is no error here, since not every command needs all of them; a command asks
/// with [`Settings::require`].
pub fn load(sources: &Sources) -> Result<Settings, SettingsError> {
    let mut layers = Layers::default();
    layers.add_toml(DEFAULTS, &Origin::Defaults);
    if let Some(path) = &sources.file {
        layers.add_file(path);
    }
    if let Some(dir) = &sources.credentials_dir {
        layers.add_credentials(dir);
    }
    layers.add_environment(&sources.env);
    layers.finish()
}

/// The values read so far; a later layer replaces those of an earlier one.
#[derive(Default)]
struct Layers {
    values: BTreeMap<&'static str, ValueKind>,
    /// Kept apart, so that no error of another crate can print one.
    secrets: BTreeMap<&'static str, SecretString>,
    origins: BTreeMap<&'static str, Origin>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Layers {
    fn add_file(&mut self, path: &Path) {
        let name = || "--config".to_owned();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return self.problems.push(unreadable(
                    name(),
                    path,
                    format!("cannot be read: {error}"),
                ));
            }
        };
        let origin = Origin::File(path.to_owned());
        self.add_toml(&text, &origin);
        let holds_secret = self
            .secrets
            .keys()
            .any(|key| matches!(self.origins.get(key), Some(Origin::File(_))));
        if holds_secret && fs::metadata(path).is_ok_and(|meta| is_open_to_all(&meta)) {
            self.warn_open("it holds a secret", path);
        }
    }

    fn add_toml(&mut self, text: &str, origin: &Origin) {
        let table = match config::File::from_str(text, FileFormat::Toml).collect() {
            Ok(table) => table,
            Err(error) => {
                let name = origin.path_name("the TOML");
                let text = error.to_string();
                return self.problems.push(Problem::Other(format!(
                    "{name} cannot be read: {}",
                    without_source(&text)
                )));
            }
        };
        let mut top: Vec<_> = table.into_iter().collect();
        top.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in top {
            self.add_top(&name, value, origin);
        }
    }

    fn add_top(&mut self, name: &str, value: Value, origin: &Origin) {
        let is_section = keys::sections().any(|section| section == name);
        match value.kind {
            ValueKind::Table(table) if is_section => {
                let mut inner: Vec<_> = table.into_iter().collect();
                inner.sort_by(|a, b| a.0.cmp(&b.0));
                for (key, value) in inner {
                    self.add_path(&format!("{name}.{key}"), value.kind, origin);
                }
            }
            ValueKind::Table(_) if Key::at(name).is_none() => {
                let hint = keys::section_hint(name);
                let name = origin.path_name(&format!("[{name}]"));
                self.problems.push(Problem::Unknown { name, hint });
            }
            _ if is_section => self.problems.push(Problem::Wrong {
                name: origin.path_name(name),
                shown: "a single value".to_owned(),
                expected: format!("a section [{name}] with keys"),
            }),
            // TOML takes a quoted dot as part of a name, while this table would take it as a path.
            _ if name.contains('.') => self.problems.push(Problem::Unknown {
                name: origin.path_name(&format!("{name:?}")),
                hint: "a dotted key is written without quotes".to_owned(),
            }),
            kind => self.add_path(name, kind, origin),
        }
    }

    fn add_path(&mut self, path: &str, value: ValueKind, origin: &Origin) {
        match Key::at(path) {
            Some(key) => self.add(key, value, origin),
            None => self.problems.push(Problem::Unknown {
                name: origin.path_name(path),
                hint: keys::path_hint(path),
            }),
        }
    }

    fn add_credentials(&mut self, dir: &Path) {
        let name = || "CREDENTIALS_DIRECTORY".to_owned();
        let listing = fs::read_dir(dir).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<BTreeSet<_>, _>>()
        });
        let paths = match listing {
            Ok(paths) => paths,
            Err(error) => {
                return self.problems.push(unreadable(
                    name(),
                    dir,
                    format!("cannot be listed: {error}"),
                ));
            }
        };
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        for path in paths {
            let file = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            // Names with a dot first belong to whoever mounted the directory.
            if file.starts_with('.') || path.is_dir() {
                continue;
            }
            let Some(key) = self.credential_key(&file, &path) else {
                continue;
            };
            if let Some(one) = seen.insert(key.path, file.clone()) {
                let of = |file: &str| format!("credential {file}");
                self.problems.push(Problem::Both {
                    one: of(&one),
                    other: of(&file),
                });
            }
            // A unit names every secret and gives an empty one for those that are not there.
            if key.optional && is_blank(&path) {
                continue;
            }
            let name = format!("credential {file}");
            if let Some(text) = self.read_secret(&name, &path) {
                self.add(key, ValueKind::String(text), &Origin::Credential(path));
            }
        }
    }

    /// The key a credential is named for. A name that is nowhere near one, such as that of a
    /// certificate, may well be meant for another program or library, and earns a warning only.
    fn credential_key(&mut self, file: &str, path: &Path) -> Option<&'static Key> {
        let upper = file.to_uppercase().replace('-', "_");
        // A name in both cases is neither of the two accepted forms.
        let even = file.to_uppercase() == file || file.to_lowercase() == file;
        let hint = match keys::env_name(&upper) {
            EnvName::Value(key) if even => return Some(key),
            EnvName::Value(key) => Some(format!("did you mean {}?", key.env())),
            EnvName::File(key) => Some(format!(
                "a credential holds the value itself; did you mean {}?",
                key.env()
            )),
            EnvName::Unknown(hint) => Some(hint),
            EnvName::Foreign => keys::credential_hint(&upper),
        };
        match hint {
            Some(hint) => self.problems.push(Problem::Unknown {
                name: format!("credential {}", path.display()),
                hint,
            }),
            None => self.warnings.push(format!(
                "credential {} is not a setting and was not read",
                path.display()
            )),
        }
        None
    }

    fn add_environment(&mut self, env: &BTreeMap<String, String>) {
        for (name, text) in env {
            match keys::env_name(name) {
                EnvName::Foreign => {}
                EnvName::Unknown(hint) => {
                    self.problems.push(Problem::Unknown {
                        name: name.clone(),
                        hint,
                    });
                }
                EnvName::Value(key) if text.is_empty() && key.optional => {}
                EnvName::Value(key) => {
                    self.add(key, ValueKind::String(text.clone()), &Origin::Environment)
                }
                EnvName::File(_) if text.is_empty() => {}
                EnvName::File(key) => {
                    if env.get(&key.env()).is_some_and(|value| !value.is_empty()) {
                        let (one, other) = (key.env(), name.clone());
                        self.problems.push(Problem::Both { one, other });
                        continue;
                    }
                    let path = PathBuf::from(text);
                    if let Some(text) = self.read_secret(name, &path) {
                        self.add(key, ValueKind::String(text), &Origin::SecretFile(path));
                    }
                }
            }
        }
    }

    /// The text of a file without its line end; what is wrong with it is noted under `name`.
    fn read_secret(&mut self, name: &str, path: &Path) -> Option<String> {
        match read_small(path) {
            Ok((text, meta)) => {
                if is_open_to_all(&meta) {
                    self.warn_open(name, path);
                }
                Some(text)
            }
            Err(trouble) => {
                self.problems
                    .push(unreadable(name.to_owned(), path, trouble));
                None
            }
        }
    }

    fn warn_open(&mut self, name: &str, path: &Path) {
        let path = path.display();
        self.warnings.push(format!(
            "{path} can be read by every user of this machine ({name}); chmod 600 closes it"
        ));
    }

    /// Checks one value and keeps it. A wrong value is refused even where a later layer would
    /// hide it: the file that holds it is broken all the same.
    fn add(&mut self, key: &'static Key, value: ValueKind, origin: &Origin) {
        match checked(key, &value, origin.is_text()) {
            Some(ValueKind::String(text)) if key.is_secret() => {
                self.secrets.insert(key.path, SecretString::from(text));
            }
            Some(value) => {
                self.values.insert(key.path, value);
            }
            None => self.problems.push(Problem::Wrong {
                name: origin.name(key),
                shown: shown(key, &value),
                expected: key.kind.expected(),
            }),
        }
        self.origins.insert(key.path, origin.clone());
    }

    fn finish(mut self) -> Result<Settings, SettingsError> {
        SettingsError::unless_empty(std::mem::take(&mut self.problems))?;
        let internal = |error: config::ConfigError| {
            SettingsError::one(Problem::Other(format!(
                "the settings do not fit together: {error}"
            )))
        };
        let mut builder = Config::builder();
        for (path, value) in &self.values {
            builder = builder
                .set_override(*path, value.clone())
                .map_err(internal)?;
        }
        let built = builder.build().map_err(internal)?;
        let mut settings: Settings = built.try_deserialize().map_err(internal)?;
        settings.database_url = self.secrets.remove("database.url");
        settings.keap.api_key = self.secrets.remove("keap.api_key");
        settings.keap.webhook_secret = self.secrets.remove("keap.webhook_secret");
        settings.intercom.access_token = self.secrets.remove("intercom.access_token");
        settings.http.api_token = self.secrets.remove("http.api_token");
        settings.warnings = self.warnings;
        settings.values = self.values;
        check_together(&settings, &self.origins)?;
        Ok(settings)
    }
}

/// What no key can say of itself alone.
fn check_together(
    settings: &Settings,
    origins: &BTreeMap<&str, Origin>,
) -> Result<(), SettingsError> {
    let mut problems = Vec::new();
    let name = |path: &str| {
        let key = Key::at(path)?;
        Some(origins.get(path).unwrap_or(&Origin::Defaults).name(key))
    };
    let sync = &settings.sync;
    if sync.retry_cap() < sync.retry_base() {
        problems.push(Problem::Wrong {
            name: name("sync.retry_cap_seconds").unwrap_or_default(),
            shown: format!("{} s", sync.retry_cap_seconds),
            expected: format!(
                "no less than {} ms, which is {}",
                sync.retry_base_ms,
                name("sync.retry_base_ms").unwrap_or_default(),
            ),
        });
    }
    SettingsError::unless_empty(problems)
}
