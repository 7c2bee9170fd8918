//! The kinds of settings: what each accepts, and the type that it gives to the program.

use std::marker::PhantomData;
use std::time::Duration;

use config::ValueKind;
use secrecy::SecretString;

use super::forms::Form;
use super::values::Values;

/// One setting, as error texts and the documentation need it.
#[derive(Debug)]
pub(super) struct Key {
    /// Its place in a settings file, `section.key`.
    pub path: String,
    /// Its environment name.
    pub env: String,
    pub kind: Kind,
    /// Whether an empty environment variable counts as unset.
    pub optional: bool,
}

impl Key {
    pub(super) fn of<S: Setting>(
        section: Option<&str>,
        field: &str,
        env: Option<&'static str>,
    ) -> Self {
        let path = path::<S>(section, field);
        Self {
            env: env.map_or_else(|| long_env(&path), str::to_owned),
            path,
            kind: S::KIND,
            optional: S::OPTIONAL,
        }
    }

    /// `SECTION__KEY`, also for keys that have another name, to recognise a near miss.
    pub(super) fn long_env(&self) -> String {
        long_env(&self.path)
    }

    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret(_))
    }

    pub(super) fn section(&self) -> Option<&str> {
        self.path.split_once('.').map(|(section, _)| section)
    }
}

fn path<S: Setting>(section: Option<&str>, field: &str) -> String {
    match section {
        // `r#match` is how Rust spells the section `match`.
        Some(section) => format!("{}.{field}{}", section.trim_start_matches("r#"), S::UNIT),
        None => format!("{field}{}", S::UNIT),
    }
}

fn long_env(path: &str) -> String {
    path.to_uppercase().replace('.', "__")
}

/// What a key accepts.
#[derive(Debug)]
pub enum Kind {
    Int(i64, i64),
    Bool,
    Choice(&'static [&'static str]),
    Text(TextForm),
    /// A list of texts; in the environment, separated by commas.
    Texts,
    Secret(TextForm),
}

/// A [`Form`] without its type.
#[derive(Debug)]
pub struct TextForm {
    pub expected: &'static str,
    /// The same for a text that does not have the form.
    pub expected_instead_of: fn(&str) -> &'static str,
    pub holds: fn(&str) -> bool,
}

impl TextForm {
    const fn of<F: Form>() -> Self {
        Self {
            expected: F::EXPECTED,
            expected_instead_of: F::expected_instead_of,
            holds: |text| F::parse(text).is_some(),
        }
    }
}

impl Kind {
    pub fn expected(&self) -> String {
        match self {
            Self::Int(min, max) => format!("a whole number from {min} to {max}"),
            Self::Bool => "true or false".to_owned(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Text(form) | Self::Secret(form) => form.expected.to_owned(),
            Self::Texts => "a list of texts, such as [\"one\", \"two\"]".to_owned(),
        }
    }

    /// What is expected instead of a wrong value. It holds nothing of the value.
    pub fn expected_instead_of(&self, value: &ValueKind) -> String {
        match (self, value) {
            (Self::Text(form) | Self::Secret(form), ValueKind::String(text)) => {
                (form.expected_instead_of)(text).to_owned()
            }
            _ => self.expected(),
        }
    }
}

/// A kind of setting as a type: its bounds, and the value that its field has.
pub trait Setting {
    type Value;
    const KIND: Kind;
    /// The unit at the end of the key. The field's name leaves it out, because its type says it.
    const UNIT: &'static str = "";
    const OPTIONAL: bool = false;

    /// `None`: there is no value, which a default or an optional kind rules out.
    fn read(values: &Values, path: &str) -> Option<Self::Value>;
}

/// The value of a field; `Err` is the path of a key without a value.
pub(super) fn read<S: Setting>(
    values: &Values,
    section: Option<&str>,
    field: &str,
) -> Result<S::Value, String> {
    let path = path::<S>(section, field);
    S::read(values, &path).ok_or(path)
}

/// A whole number from `MIN` to `MAX`.
pub struct Whole<T, const MIN: i64, const MAX: i64>(PhantomData<T>);

impl<T: TryFrom<i64>, const MIN: i64, const MAX: i64> Setting for Whole<T, MIN, MAX> {
    type Value = T;
    const KIND: Kind = Kind::Int(MIN, MAX);

    fn read(values: &Values, path: &str) -> Option<T> {
        values.number(path)?.try_into().ok()
    }
}

pub enum Milliseconds<const MIN: i64, const MAX: i64> {}

impl<const MIN: i64, const MAX: i64> Setting for Milliseconds<MIN, MAX> {
    type Value = Duration;
    const KIND: Kind = Kind::Int(MIN, MAX);
    const UNIT: &'static str = "_ms";

    fn read(values: &Values, path: &str) -> Option<Duration> {
        values.number(path)?.try_into().ok().map(Duration::from_millis)
    }
}

pub enum Seconds<const MIN: i64, const MAX: i64> {}

impl<const MIN: i64, const MAX: i64> Setting for Seconds<MIN, MAX> {
    type Value = Duration;
    const KIND: Kind = Kind::Int(MIN, MAX);
    const UNIT: &'static str = "_seconds";

    fn read(values: &Values, path: &str) -> Option<Duration> {
        values.number(path)?.try_into().ok().map(Duration::from_secs)
    }
}

/// Up to `MAX` days; 0 is no end, `None`.
pub enum DaysOrForever<const MAX: i64> {}

impl<const MAX: i64> Setting for DaysOrForever<MAX> {
    type Value = Option<Duration>;
    const KIND: Kind = Kind::Int(0, MAX);
    const UNIT: &'static str = "_days";

    fn read(values: &Values, path: &str) -> Option<Option<Duration>> {
        let days = u64::try_from(values.number(path)?).ok()?;
        Some((days > 0).then(|| Duration::from_secs(days.saturating_mul(86_400))))
    }
}

pub enum Flag {}

impl Setting for Flag {
    type Value = bool;
    const KIND: Kind = Kind::Bool;

    fn read(values: &Values, path: &str) -> Option<bool> {
        values.flag(path)
    }
}

/// An enum whose variants have names in a settings file.
pub trait Named: Sized {
    const NAMES: &'static [&'static str];

    fn named(name: &str) -> Option<Self>;
}

pub struct Choice<T>(PhantomData<T>);

impl<T: Named> Setting for Choice<T> {
    type Value = T;
    const KIND: Kind = Kind::Choice(T::NAMES);

    fn read(values: &Values, path: &str) -> Option<T> {
        T::named(values.text(path)?)
    }
}

pub struct Text<F>(PhantomData<F>);

impl<F: Form> Setting for Text<F> {
    type Value = F::Value;
    const KIND: Kind = Kind::Text(TextForm::of::<F>());
    const OPTIONAL: bool = F::EMPTY_IS_UNSET;

    fn read(values: &Values, path: &str) -> Option<F::Value> {
        F::parse(values.text(path)?)
    }
}

/// A text without a default.
pub struct OptionalText<F>(PhantomData<F>);

impl<F: Form> Setting for OptionalText<F> {
    type Value = Option<F::Value>;
    const KIND: Kind = Kind::Text(TextForm::of::<F>());
    const OPTIONAL: bool = true;

    fn read(values: &Values, path: &str) -> Option<Option<F::Value>> {
        Some(values.text(path).and_then(F::parse))
    }
}

/// A list of texts, which may be empty.
pub enum Texts {}

impl Setting for Texts {
    type Value = Vec<String>;
    const KIND: Kind = Kind::Texts;

    fn read(values: &Values, path: &str) -> Option<Vec<String>> {
        values.texts(path)
    }
}

/// A text that is never shown and has no default.
pub struct Secret<F>(PhantomData<F>);

impl<F: Form> Setting for Secret<F> {
    type Value = Option<SecretString>;
    const KIND: Kind = Kind::Secret(TextForm::of::<F>());
    const OPTIONAL: bool = true;

    fn read(values: &Values, path: &str) -> Option<Option<SecretString>> {
        Some(values.secret(path).cloned())
    }
}
