//! Forms: how the value of a field is read and compared.

use std::borrow::Cow;
use std::fmt;

use chrono::NaiveDate;

use super::email::Email;
use super::text::{tidy, tidy_plain};

/// How the value of a field is read and compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Text,
    /// An address. Case matters when it is written, and not when it is compared.
    Email,
    /// A number, in the spelling that its side shows.
    Phone,
    Whole,
    Decimal,
    YesNo,
    /// A day without a time of day.
    Day,
    /// A point in time, in whole seconds since 1970.
    Time,
    /// Several options, sorted.
    List,
}

impl Form {
    /// Reads the text that a side shows. A text that shows nothing is an empty field.
    pub fn read(self, text: Option<&str>) -> Reading {
        let tidied = text.and_then(|text| match self {
            Self::Text | Self::List => tidy(text),
            _ => tidy_plain(text),
        });
        let Some(text) = tidied else {
            return Reading::Empty;
        };
        let typed = |canonical: Option<String>| {
            canonical.map_or(Reading::Invalid, |text| Reading::Is(Value::Typed(self, text)))
        };
        match self {
            Self::Text => Reading::Is(Value::Text(text.into_owned())),
            Self::Phone => Reading::Is(Value::Phone(text.into_owned())),
            Self::Email => Email::of_tidy(text.into_owned())
                .map_or(Reading::Invalid, |email| Reading::Is(Value::Email(email))),
            Self::Whole => typed(whole(&text)),
            Self::Decimal => typed(decimal(&text)),
            Self::YesNo => typed(yes_or_no(&text)),
            Self::Day => typed(day(&text)),
            Self::Time => typed(text.parse().ok().map(|seconds: i64| seconds.to_string())),
            Self::List => Self::read_list(text.split(',').map(Cow::Borrowed)),
        }
    }

    /// Reads the options of a list. They have no order and no double.
    pub fn read_list<'a>(options: impl Iterator<Item = Cow<'a, str>>) -> Reading {
        let mut options: Vec<String> =
            options.filter_map(|option| tidy(&option).map(Cow::into_owned)).collect();
        options.sort_unstable();
        options.dedup();
        match options.as_slice() {
            [] => Reading::Empty,
            options => Reading::Is(Value::Text(options.join(", "))),
        }
    }
}

/// The value of a field. It is never an empty text: an empty field is [`Reading::Empty`].
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Email(Email),
    /// A number as its side shows it. Only its digits count when it is compared.
    Phone(String),
    /// A value of any other form, in its one spelling: `-12`, `0.5`, `true`, `2026-01-31`, seconds
    /// since 1970.
    Typed(Form, String),
}

impl Value {
    /// The value as it is written to the other side.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) | Self::Phone(text) | Self::Typed(_, text) => text,
            Self::Email(email) => email.as_written(),
        }
    }

    /// The value in the one spelling of its form, by which both sides are compared.
    pub(super) fn canonical(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) | Self::Typed(_, text) => text.into(),
            Self::Email(email) => email.folded().into(),
            Self::Phone(text) => dialled(text),
        }
    }

    /// The first characters of a text. Any other value stays whole, because a part of it would be
    /// another value.
    pub(super) fn cut(self, limit: usize) -> Reading {
        match self {
            Self::Text(text) => {
                let first: String = text.chars().take(limit).collect();
                Form::Text.read(Some(&first))
            }
            value if value.as_str().chars().count() > limit => Reading::Invalid,
            value => Reading::Is(value),
        }
    }
}

/// Values are personal data: a debug print shows the kind alone.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Email(_) => f.write_str("Email"),
            Self::Phone(_) => f.write_str("Phone"),
            Self::Typed(form, _) => form.fmt(f),
        }
    }
}

/// What a side shows of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Nothing, or nothing that is visible. The other side's value is cleared.
    Empty,
    /// Something that the field's form does not accept, or that cannot be read. The other side
    /// keeps its value.
    Invalid,
    Is(Value),
}

impl Reading {
    /// Whether both are the same value, or both are empty. A value that cannot be read equals none.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Is(one), Self::Is(other)) => one.canonical() == other.canonical(),
            (Self::Empty, Self::Empty) => true,
            _ => false,
        }
    }
}

/// The digits of a phone number, with the plus sign before them. A text without a digit stays
/// whole.
fn dialled(text: &str) -> Cow<'_, str> {
    let digits = text.chars().filter(|c| c.is_numeric());
    let plus = text.starts_with('+').then_some('+');
    let dialled: String = plus.into_iter().chain(digits).collect();
    if dialled.chars().any(char::is_numeric) { dialled.into() } else { text.into() }
}

/// A whole number. Zeros may follow its point.
fn whole(text: &str) -> Option<String> {
    let (number, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number: i64 = number.parse().ok()?;
    fraction.bytes().all(|digit| digit == b'0').then(|| number.to_string())
}

/// A number with a point, in the shortest spelling. A currency sign before it, a per cent sign
/// after it and commas between thousands are left out. Any other comma could be a point, so such a
/// text is no number.
fn decimal(text: &str) -> Option<String> {
    let sign = text.starts_with('-');
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    let bare = bare.trim_start_matches(['$', '€', '£']).trim_end_matches('%').trim();
    let (whole, fraction) = bare.split_once('.').unwrap_or((bare, "0"));
    let groups: Vec<&str> = whole.split(',').collect();
    let is_grouped = groups.len() == 1
        || groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = if bare.contains(['e', 'E']) {
        bare.to_owned()
    } else if is_grouped && groups.iter().all(|group| is_digits(group)) && is_digits(fraction) {
        format!("{}.{fraction}", groups.concat())
    } else {
        return None;
    };
    let number: f64 = plain.parse().ok().filter(|number: &f64| number.is_finite())?;
    // Zero has no sign.
    Some(if sign && number != 0.0 { format!("-{number}") } else { number.to_string() })
}

fn yes_or_no(text: &str) -> Option<String> {
    let answer = match text.to_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" => true,
        "false" | "no" | "n" | "off" | "0" => false,
        _ => return None,
    };
    Some(answer.to_string())
}

/// The day as it is written. A time of day behind it says nothing, whatever its zone.
fn day(text: &str) -> Option<String> {
    let day = text.get(..10)?;
    let rest = &text[10..];
    let is_alone = rest.is_empty() || rest.starts_with(['T', 't', ' ']);
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok().filter(|_| is_alone)?;
    Some(day.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Form; 9] = [
        Form::Text,
        Form::Email,
        Form::Phone,
        Form::Whole,
        Form::Decimal,
        Form::YesNo,
        Form::Day,
        Form::Time,
        Form::List,
    ];

    #[test]
    fn blank_is_empty_and_rubbish_is_invalid() {
        for form in ALL {
            for blank in [None, Some(""), Some(" \t\u{a0}"), Some(" \u{200b}\u{feff} ")] {
                assert_eq!(form.read(blank), Reading::Empty, "{form:?} {blank:?}");
            }
        }
        for form in [Form::Email, Form::Whole, Form::Decimal, Form::YesNo, Form::Day, Form::Time] {
            for rubbish in ["n/a", "twelve", "12 or 13", "\u{1f600}", "--1", "1.2.3"] {
                assert_eq!(form.read(Some(rubbish)), Reading::Invalid, "{form:?} {rubbish}");
            }
        }
        assert_eq!(Form::Text.read(Some(" n/a ")), Reading::Is(Value::Text("n/a".into())));
    }

    #[test]
    fn a_typed_value_has_one_spelling() {
        for (form, shown, canonical) in [
            (Form::Whole, "12", Some("12")),
            (Form::Whole, " 012 ", Some("12")),
            (Form::Whole, "+7", Some("7")),
            (Form::Whole, "-0", Some("0")),
            (Form::Whole, "12.00", Some("12")),
            (Form::Whole, "12.5", None),
            (Form::Whole, "9223372036854775808", None),
            (Form::Decimal, "12", Some("12")),
            (Form::Decimal, "012.50", Some("12.5")),
            (Form::Decimal, "-0.0", Some("0")),
            (Form::Decimal, "-0.5", Some("-0.5")),
            (Form::Decimal, "1e3", Some("1000")),
            (Form::Decimal, "1,234,567.50", Some("1234567.5")),
            (Form::Decimal, "$1,234.50", Some("1234.5")),
            (Form::Decimal, "12.5%", Some("12.5")),
            (Form::Decimal, "10,5", None),
            (Form::Decimal, "1,23,456", None),
            (Form::Decimal, "NaN", None),
            (Form::Decimal, "inf", None),
            (Form::Decimal, "1e999", None),
            (Form::Decimal, ".5", None),
            (Form::YesNo, "Yes", Some("true")),
            (Form::YesNo, "0", Some("false")),
            (Form::YesNo, "maybe", None),
            (Form::Day, "2026-01-31", Some("2026-01-31")),
            (Form::Day, "2026-01-31T23:30:00-05:00", Some("2026-01-31")),
            (Form::Day, "2026-02-30", None),
            (Form::Day, "0000-00-00", None),
            (Form::Day, "31/01/2026", None),
            (Form::Day, "2026-01-311", None),
            (Form::Day, "2026-01-3\u{e9}", None),
            (Form::Time, "1770092107", Some("1770092107")),
            (Form::Time, "-5", Some("-5")),
        ] {
            let expected = canonical
                .map_or(Reading::Invalid, |text| Reading::Is(Value::Typed(form, text.into())));
            assert!(form.read(Some(shown)) == expected, "{form:?} {shown}");
        }
    }

    #[test]
    fn options_have_no_order_and_no_double() {
        let read = |text| Form::List.read(Some(text));
        assert_eq!(read("b,a , b,,"), Reading::Is(Value::Text("a, b".into())));
        assert_eq!(read(" , "), Reading::Empty);
        let options = ["Tea, green", "Coffee"].map(Cow::Borrowed);
        assert_eq!(
            Form::read_list(options.into_iter()),
            Reading::Is(Value::Text("Coffee, Tea, green".into()))
        );
    }

    #[test]
    fn a_value_is_written_as_it_was_typed_without_what_is_invisible() {
        for (form, shown, written) in [
            (Form::Text, " Zoe\u{308} ", "Zo\u{eb}"),
            (Form::Text, "A  b", "A  b"),
            (
                Form::Text,
                "\u{202b}\u{645}\u{6cc}\u{200c}\u{62e}\u{202c}",
                "\u{645}\u{6cc}\u{200c}\u{62e}",
            ),
            (Form::Email, " Ann@Example.org\n", "Ann@Example.org"),
            (Form::Phone, "\u{202a}+1 602\u{200d}555\u{202c}", "+1 602555"),
        ] {
            let Reading::Is(value) = form.read(Some(shown)) else { panic!("{shown:?}") };
            assert_eq!(value.as_str(), written);
        }
    }
}
