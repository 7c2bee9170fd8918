//! Reads JSON whose form may drift: what cannot be read counts as absent, and nothing else suffers.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

/// A single value as text. It never fails to be read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Text<'a> {
    /// Missing, or null.
    #[default]
    Absent,
    /// Something that is no text, for example a list.
    Unreadable,
    /// A text, or a number as it is written.
    Is(Cow<'a, str>),
}

impl<'a> Text<'a> {
    fn of(json: &'a RawValue) -> Self {
        let json = json.get();
        match json.as_bytes() {
            b"null" => Self::Absent,
            [b'"', inside @ .., b'"'] if !inside.contains(&b'\\') => {
                Self::Is(Cow::Borrowed(&json[1..json.len() - 1]))
            }
            // Half a surrogate pair is an escape that stands for no character.
            [b'"', ..] => serde_json::from_str(json)
                .map_or(Self::Unreadable, |text: String| Self::Is(Cow::Owned(text))),
            [b'-' | b'0'..=b'9', ..] => Self::Is(Cow::Borrowed(json)),
            _ => Self::Unreadable,
        }
    }

    /// The text, if there is one.
    pub fn get(&self) -> Option<&str> {
        match self {
            Self::Is(text) => Some(text),
            Self::Absent | Self::Unreadable => None,
        }
    }

    /// The point in time that the text or number says.
    pub fn instant(&self) -> Option<DateTime<Utc>> {
        self.get().and_then(instant)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let json: &'a RawValue = Deserialize::deserialize(input)?;
        Ok(Self::of(json))
    }
}

/// For `deserialize_with`: a text or a number as text.
pub fn text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let json = Box::<RawValue>::deserialize(input)?;
    Ok(Text::of(&json).get().map(str::to_owned))
}

/// For `deserialize_with`: a text or a number that must be there.
pub fn needed_text<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    text(input)?.ok_or_else(|| de::Error::custom("neither a text nor a number"))
}

/// For `deserialize_with`: a value that is absent if it cannot be read.
pub fn readable<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let json = Box::<RawValue>::deserialize(input)?;
    Ok(serde_json::from_str(json.get()).unwrap_or_default())
}

/// For `deserialize_with`: a list, without the nulls in it.
pub fn filled<'de, D, T>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Vec::<Option<T>>::deserialize(input)?.into_iter().flatten().collect())
}

/// The objects of a list that can be read.
#[derive(Debug)]
pub struct Objects<T> {
    pub readable: Vec<T>,
    /// Whether there was anything else than these objects and nulls.
    pub others: bool,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { readable: Vec::new(), others: false }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Objects<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(input)?.get();
        if json == "null" {
            return Ok(Self::default());
        }
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) else {
            return Ok(Self { readable: Vec::new(), others: true });
        };
        let mut objects = Self { readable: Vec::with_capacity(items.len()), others: false };
        for item in items.into_iter().map(RawValue::get).filter(|item| *item != "null") {
            // Serde would read a list as an object whose names are left out.
            match serde_json::from_str(item).ok().filter(|_| item.starts_with('{')) {
                Some(object) => objects.readable.push(object),
                None => objects.others = true,
            }
        }
        Ok(objects)
    }
}

/// Reads a time in any form that was seen, or that a program could choose: RFC 3339, an offset
/// without a colon or without minutes, no zone, or a count since 1970. A time without a zone is in
/// UTC, as all times of both remotes are. `None`: the text is no time.
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z"];
    let without_zone = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    let zoned = zoned.iter().find_map(|form| DateTime::parse_from_str(text, form).ok());
    if let Some(at) = zoned {
        return Some(at.to_utc());
    }
    let naive = without_zone.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    naive.map(|at| at.and_utc()).or_else(|| since_1970(text))
}

/// The counts since 1970 that are believed: from 1973, when neither remote existed, to 2128.
const PLAUSIBLE_SECONDS: std::ops::Range<f64> = 1e8..5e9;

/// Reads a count of seconds, or of their thousandths, millionths or billionths: its size says
/// which.
fn since_1970(text: &str) -> Option<DateTime<Utc>> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let count: f64 = text.parse().ok()?;
    let units = [1.0, 1e3, 1e6, 1e9];
    let seconds =
        units.iter().map(|unit| count / unit).find(|at| PLAUSIBLE_SECONDS.contains(at))?;
    #[expect(clippy::cast_possible_truncation, reason = "it is at most 5e12")]
    let milliseconds = (seconds * 1e3).round() as i64;
    DateTime::from_timestamp_millis(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow, default)]
        text: Text<'a>,
        #[serde(borrow, default)]
        list: Objects<Inner<'a>>,
        #[serde(default, deserialize_with = "text")]
        owned: Option<String>,
        #[serde(default, deserialize_with = "readable")]
        object: Option<OwnedInner>,
    }

    #[derive(Deserialize)]
    struct Inner<'a> {
        #[serde(borrow, default)]
        text: Text<'a>,
    }

    #[derive(Deserialize)]
    struct OwnedInner {
        text: String,
    }

    #[test]
    fn a_text_is_a_text_or_a_number_and_nothing_fails() {
        let is = |text: &str| Text::Is(text.to_owned().into());
        for (json, expected) in [
            (r#""a b""#, is("a b")),
            (r#""a \"b\" \u00e9""#, is("a \"b\" \u{e9}")),
            (r#""""#, is("")),
            ("5550144", is("5550144")),
            ("-1.50", is("-1.50")),
            ("1e400", is("1e400")),
            ("null", Text::Absent),
            (r#""\ud800""#, Text::Unreadable),
            ("true", Text::Unreadable),
            ("[1]", Text::Unreadable),
            (r#"{"a":1}"#, Text::Unreadable),
        ] {
            let json = format!(r#"{{"text": {json} , "owned": {json}}}"#);
            let wire: Wire<'_> = serde_json::from_str(&json).unwrap();
            assert_eq!(wire.owned.as_deref(), expected.get(), "{json}");
            assert_eq!(wire.text, expected, "{json}");
        }
        assert_eq!(serde_json::from_str::<Wire<'_>>("{}").unwrap().text, Text::Absent);
    }

    #[test]
    fn a_list_loses_only_what_cannot_be_read() {
        for (json, texts, others) in [
            (r#"[null, {"text": "a"}, null, {"text": 2}]"#, vec!["a", "2"], false),
            (r#"[{"text": "a"}, 5, ["b"], "c"]"#, vec!["a"], true),
            ("[null]", vec![], false),
            ("null", vec![], false),
            (r#"{"text": "a"}"#, vec![], true),
            (r#""a""#, vec![], true),
        ] {
            let json = format!(r#"{{"list": {json}}}"#);
            let list = serde_json::from_str::<Wire<'_>>(&json).unwrap().list;
            let read: Vec<_> = list.readable.iter().filter_map(|inner| inner.text.get()).collect();
            assert_eq!((read, list.others), (texts, others), "{json}");
        }
    }

    #[test]
    fn an_object_that_cannot_be_read_is_absent() {
        let read = |object: Value| {
            let wire = json!({ "object": object }).to_string();
            serde_json::from_str::<Wire<'_>>(&wire).unwrap().object.map(|inner| inner.text)
        };
        assert_eq!(read(json!({ "text": "a" })).as_deref(), Some("a"));
        for absent in [json!(null), json!({ "text": 1 }), json!("a"), json!(7)] {
            assert_eq!(read(absent.clone()), None, "{absent}");
        }
    }

    // F17
    #[test]
    fn times_are_read_in_every_form_that_was_seen_or_may_come() {
        let expected = instant("2024-11-20T18:34:12Z");
        assert!(expected.is_some());
        for same in [
            "2024-11-20T18:34:12.000+0000",
            "2024-11-20T18:34:12.000000000Z",
            "2024-11-20T18:34:12+00:00",
            "2024-11-20T11:34:12-0700",
            "2024-11-20T19:34:12+01",
            " 2024-11-20T18:34:12.0Z",
            "2024-11-20 18:34:12+00:00",
            "2024-11-20 18:34:12 +0000",
            "2024-11-20T18:34:12",
            "2024-11-20T18:34:12.000",
            "2024-11-20 18:34:12",
            "1732127652",
            "1732127652.0",
            "1732127652000",
            "1.732127652E12",
            "1732127652000000",
            "1732127652000000000",
        ] {
            assert_eq!(instant(same), expected, "{same}");
        }
        assert_eq!(instant("1732127652.341"), instant("2024-11-20T18:34:12.341Z"));
        assert!(instant("2016-12-31T23:59:60Z").is_some());
        for wrong in [
            "",
            "yesterday",
            "2024-11-20",
            "2024-13-20T18:34:12Z",
            "18:34:12",
            "0",
            "-1732127652",
            "20241120",
            "20241120183412",
            "1e400",
            "inf",
            "NaN",
        ] {
            assert_eq!(instant(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in ".{0,40}") {
            let _ = instant(&text);
        }

        #[test]
        fn a_count_is_read_by_its_size(seconds in 100_000_000_i64..4_999_999_999) {
            let expected = DateTime::from_timestamp(seconds, 0);
            for zeros in ["", "000", "000000", "000000000"] {
                prop_assert_eq!(instant(&format!("{seconds}{zeros}")), expected);
            }
        }
    }
}
