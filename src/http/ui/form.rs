//! The fields of a form or of a query.

use axum::http::HeaderMap;

use super::entrance::Entrance;
use super::sessions::Session;
use crate::contact::KeapId;
use crate::http::code::Code;
use crate::http::list;
use crate::http::problem::Problem;

/// Fields in their order. Empty ones count as missing, because a browser sends every field.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn read(encoded: &[u8]) -> Self {
        let fields = url::form_urlencoded::parse(encoded).into_owned();
        Self(fields.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The fields of a form that changes something: it must carry the token of its session.
    pub(super) fn of_session(
        entrance: &Entrance,
        session: Session,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let fields = Self::read(body);
        let token = fields.get("token").unwrap_or_default();
        if entrance.sessions.is_token(session, token) {
            Ok(fields)
        } else {
            let why = "this form belongs to an earlier sign-in; go back to the page, load it again and repeat what you did";
            Err(Problem::new(Code::ForgedForm, why))
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        fields.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A code: the name of a feed, an action or a reason.
    pub(super) fn word(&self, name: &str) -> Result<Option<&str>, Problem> {
        let word = self.get(name).map(str::trim);
        match word {
            Some(word) if !list::is_word(word) => Err(wrong(name)),
            word => Ok(word),
        }
    }

    /// A value that has a form.
    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.get(name).map(|text| text.trim().parse().map_err(|_| wrong(name))).transpose()
    }

    /// The contact that an address names.
    pub(super) fn contact_of_address(&self) -> Result<KeapId, Problem> {
        let why = "the address names no contact";
        self.parsed("id")?.ok_or_else(|| Problem::new(Code::InvalidQuery, why))
    }

    /// The contact that a form names.
    pub(super) fn contact_of_form(&self) -> Result<KeapId, Problem> {
        let why = "the form names no contact";
        self.parsed("id")?.ok_or_else(|| Problem::new(Code::InvalidBody, why))
    }
}

/// The answer to a field that is not understood. It holds nothing of the field.
fn wrong(name: &str) -> Problem {
    Problem::new(Code::InvalidQuery, format!("the field {name} of the address is not understood"))
}

/// Whether a request may come from one of our pages. Browsers say it in these headers, which no
/// page can set. The policy for referrers makes the origin of our own forms `null`.
pub(super) fn is_own(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let named = |origin: &str| origin.split_once("://").map(|(_, host)| host.to_owned());
    text("origin").is_none_or(|origin| origin == "null" || named(origin).as_deref() == text("host"))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn empty_fields_are_missing_and_odd_words_are_refused() {
        let fields = Fields::read(b"a=+held+&b=&c=%3Cimg%3E&d=12&a=again");
        assert_eq!(fields.word("a").unwrap(), Some("held"));
        assert_eq!((fields.get("b"), fields.get("e")), (None, None));
        assert!(fields.word("c").is_err());
        assert_eq!(fields.parsed::<i64>("d").unwrap(), Some(12));
        assert!(fields.parsed::<i64>("c").is_err());
    }

    #[test]
    fn a_form_of_another_site_is_not_ours() {
        let is_own = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().chain(&[("host", "sync.example.com:8080")]);
            is_own(
                &pairs
                    .map(|&(name, value)| {
                        (HeaderName::from_static(name), HeaderValue::from_static(value))
                    })
                    .collect(),
            )
        };
        assert!(is_own(&[]));
        assert!(is_own(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(is_own(&[("origin", "https://sync.example.com:8080")]));
        for wrong in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "https://sync.example.com"),
        ] {
            assert!(!is_own(&[wrong]), "{wrong:?}");
        }
    }
}
