//! Gathers the values of all layers, refuses what is wrong, and keeps the last of each key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use config::{FileFormat, Source, Value, ValueKind};
use secrecy::SecretString;

use super::check::{checked, is_blank, is_open_to_all, read_small, shown, without_source};
use super::error::{Problem, SettingsError, missing, unreadable};
use super::keys::{self, EnvName};
use super::kinds::Key;
use super::mapped::{FieldTable, TagTable};
use super::origin::Origin;
use super::proxy;
use super::settings::{Archived, Left, Settings};
use super::sources::Sources;
use super::tables;
use super::values::Values;

/// The text of the built-in settings, with the documentation of every key.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Reads all sources and returns the settings, or an error that names everything wrong in them.
///
/// A missing secret is not an error here, because not every command needs all of them. A command
/// checks its own with [`Settings::require`].
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
    values: Values,
    origins: BTreeMap<&'static str, Origin>,
    fields: Vec<FieldTable>,
    tags: Vec<TagTable>,
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
            .values
            .secret_paths()
            .any(|path| matches!(self.origins.get(path), Some(Origin::File(_))));
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
            ValueKind::Array(list) if name == tables::FIELD => {
                self.fields = tables::fields(&list, origin, &mut self.problems);
                // A reload sees the difference by this value.
                self.values.put(tables::FIELD, ValueKind::Array(list));
            }
            ValueKind::Array(list) if name == tables::TAG => {
                self.tags = tables::tags(&list, origin, &mut self.problems);
                self.values.put(tables::TAG, ValueKind::Array(list));
            }
            _ if name == tables::FIELD || name == tables::TAG => {
                self.problems.push(Problem::Wrong {
                    name: origin.path_name(name),
                    shown: "a single table".to_owned(),
                    expected: format!("[[{name}]] in double brackets, once for each {name}"),
                });
            }
            ValueKind::Table(table) if is_section => {
                let mut inner: Vec<_> = table.into_iter().collect();
                inner.sort_by(|a, b| a.0.cmp(&b.0));
                for (key, value) in inner {
                    self.add_path(&format!("{name}.{key}"), value.kind, origin);
                }
            }
            ValueKind::Table(_) if keys::at(name).is_none() => {
                let hint = keys::section_hint(name);
                let name = origin.path_name(&format!("[{name}]"));
                self.problems.push(Problem::Unknown { name, hint });
            }
            _ if is_section => self.problems.push(Problem::Wrong {
                name: origin.path_name(name),
                shown: "a single value".to_owned(),
                expected: format!("a section [{name}] with keys"),
            }),
            // In TOML a quoted dot is part of a name; here it would separate section and key.
            _ if name.contains('.') => self.problems.push(Problem::Unknown {
                name: origin.path_name(&format!("{name:?}")),
                hint: "a dotted key is written without quotes".to_owned(),
            }),
            kind => self.add_path(name, kind, origin),
        }
    }

    fn add_path(&mut self, path: &str, value: ValueKind, origin: &Origin) {
        match keys::at(path) {
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
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<BTreeSet<_>, _>>()
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
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Names that begin with a dot come from the mount of the directory. They are no
            // credentials.
            if file.starts_with('.') || path.is_dir() {
                continue;
            }
            let Some(key) = self.credential_key(&file, &path) else {
                continue;
            };
            if let Some(one) = seen.insert(&key.path, file.clone()) {
                let of = |file: &str| format!("credential {file}");
                self.problems.push(Problem::Both { one: of(&one), other: of(&file) });
            }
            // A unit names every secret and passes an empty file for one that does not exist.
            if key.optional && is_blank(&path) {
                continue;
            }
            let name = format!("credential {file}");
            if let Some(text) = self.read_secret(&name, &path) {
                self.add(key, ValueKind::String(text), &Origin::Credential(path));
            }
        }
    }

    /// The key that a credential is named for. A name unlike all keys, such as that of a
    /// certificate, may be meant for another program or library, so it only causes a warning.
    fn credential_key(&mut self, file: &str, path: &Path) -> Option<&'static Key> {
        let upper = file.to_uppercase().replace('-', "_");
        // A name with capital and small letters is neither of the two accepted forms.
        let even = file.to_uppercase() == file || file.to_lowercase() == file;
        let hint = match keys::env_name(&upper) {
            EnvName::Value(key) if even => return Some(key),
            EnvName::Value(key) => Some(format!("did you mean {}?", key.env)),
            EnvName::File(key) => {
                Some(format!("a credential holds the value itself; did you mean {}?", key.env))
            }
            EnvName::Unknown(hint) => Some(hint),
            EnvName::Foreign => keys::credential_hint(&upper),
        };
        match hint {
            Some(hint) => self
                .problems
                .push(Problem::Unknown { name: format!("credential {}", path.display()), hint }),
            None => self
                .warnings
                .push(format!("credential {} is not a setting and was not read", path.display())),
        }
        None
    }

    fn add_environment(&mut self, env: &BTreeMap<String, String>) {
        for (name, text) in env {
            let text = unquoted(text);
            match keys::env_name(name) {
                EnvName::Foreign => {}
                EnvName::Unknown(hint) => {
                    self.problems.push(Problem::Unknown { name: name.clone(), hint });
                }
                EnvName::Value(key) if text.is_empty() && key.optional => {}
                EnvName::Value(key) => {
                    self.add(key, ValueKind::String(text.to_owned()), &Origin::Environment);
                }
                EnvName::File(_) if text.is_empty() => {}
                EnvName::File(key) => {
                    if env.get(&key.env).is_some_and(|value| !unquoted(value).is_empty()) {
                        let (one, other) = (key.env.clone(), name.clone());
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
        self.problems.extend(proxy::add_variables(&mut self.values, env));
    }

    /// The text of a file without its line end and quotes around it. What is wrong with it is
    /// recorded under `name`.
    fn read_secret(&mut self, name: &str, path: &Path) -> Option<String> {
        match read_small(path) {
            Ok((text, meta)) => {
                if is_open_to_all(&meta) {
                    self.warn_open(name, path);
                }
                Some(unquoted(&text).to_owned())
            }
            Err(trouble) => {
                self.problems.push(unreadable(name.to_owned(), path, trouble));
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

    /// Checks one value and keeps it. A wrong value is refused even if a later layer would replace
    /// it, because the file that holds it is wrong anyway.
    fn add(&mut self, key: &'static Key, value: ValueKind, origin: &Origin) {
        match checked(key, &value, origin.is_text()) {
            Some(ValueKind::String(text)) if key.is_secret() => {
                self.values.put_secret(&key.path, SecretString::from(text));
            }
            Some(value) => {
                self.values.put(&key.path, value);
            }
            None => self.problems.push(Problem::Wrong {
                name: origin.name(key),
                shown: shown(key, &value),
                expected: key.kind.expected_instead_of(&value),
            }),
        }
        self.origins.insert(&key.path, origin.clone());
    }

    fn finish(mut self) -> Result<Settings, SettingsError> {
        SettingsError::unless_empty(std::mem::take(&mut self.problems))?;
        let mut settings = Settings::read(self.values, (self.fields, self.tags), self.warnings)
            .map_err(|path| {
                SettingsError::one(Problem::Other(format!(
                    "{path} has neither a value nor a default"
                )))
            })?;
        check_together(&settings, &self.origins)?;
        settings.origins = self.origins;
        let ignored = settings.database.ignored_parameters();
        settings.warnings.extend(ignored.iter().map(|name| {
            format!("{name} in DATABASE_URL means nothing to this program and is ignored")
        }));
        Ok(settings)
    }
}

/// A value without the quotes around it. Some tools, such as `docker --env-file`, pass the quotes
/// of a file on, and a shell does not. No setting needs quotes.
fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

/// Checks that need more than one key.
fn check_together(
    settings: &Settings,
    origins: &BTreeMap<&str, Origin>,
) -> Result<(), SettingsError> {
    let mut problems = Vec::new();
    let name = |path: &str| {
        let key = keys::at(path)?;
        Some(origins.get(path).unwrap_or(&Origin::Defaults).name(key))
    };
    let sync = &settings.sync;
    if sync.retry_cap < sync.retry_base {
        problems.push(Problem::Wrong {
            name: name("sync.retry_cap_seconds").unwrap_or_default(),
            shown: format!("{} s", sync.retry_cap.as_secs()),
            expected: format!(
                "no less than {} ms, which is {}",
                sync.retry_base.as_millis(),
                name("sync.retry_base_ms").unwrap_or_default(),
            ),
        });
    }
    let filter = &settings.filter;
    if filter.left == Left::Tag && filter.left_tag.is_none() {
        problems.push(missing("filter.left_tag"));
    }
    let to_keap = &settings.intercom_to_keap;
    if to_keap.archived == Archived::Tag && to_keap.archived_tag.is_none() {
        problems.push(missing("intercom_to_keap.archived_tag"));
    }
    SettingsError::unless_empty(problems)
}
