//! E-mail addresses: the few rules that are ours; the rest is Intercom's to judge.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// The longest address that is sent; longer ones break the remotes' fields (RFC 5321's path limit).
const MAX_CHARS: usize = 254;

/// A valid e-mail address: kept as Keap has it for writing, compared in lower case.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Trims and composes the text, then asks for one `@`, something on both sides, a dotted domain, no blank or control character.
    pub fn new(text: &str) -> Option<Self> {
        let text: String = text.nfc().collect();
        let text = text.trim();
        let (local, domain) = text.split_once('@')?;
        let dotted = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
        let valid = !local.is_empty()
            && !domain.contains('@')
            && dotted
            && text.chars().count() <= MAX_CHARS
            && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        valid.then(|| Self(text.to_owned()))
    }

    /// As Keap has it: the form that is written.
    pub fn as_written(&self) -> &str {
        &self.0
    }

    /// The form that is compared and searched for.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email")
    }
}

/// What Keap holds where an e-mail address belongs.
#[derive(Clone, PartialEq, Eq)]
pub enum EmailField {
    /// Nothing, or blanks: cleared in Intercom too.
    Absent,
    /// Something that is no address: Intercom keeps what it has.
    Invalid,
    Valid(Email),
}

impl EmailField {
    pub fn of(text: Option<&str>) -> Self {
        match text.map(str::trim) {
            None | Some("") => Self::Absent,
            Some(text) => Email::new(text).map_or(Self::Invalid, Self::Valid),
        }
    }

    pub fn valid(&self) -> Option<&Email> {
        match self {
            Self::Valid(email) => Some(email),
            Self::Absent | Self::Invalid => None,
        }
    }
}

impl fmt::Debug for EmailField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Invalid => "Invalid",
            Self::Valid(_) => "Valid",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_by_a_few_rules_only() {
        let longest = format!("{}@b.co", "a".repeat(249));
        for right in [
            "ann@example.org",
            " Ann.O+tag@Example.org ",
            "ön@bücher.example",
            "a@b.co",
            "'x'@y.z",
            longest.as_str(),
        ] {
            assert!(Email::new(right).is_some(), "{right:?} was refused");
        }
        let too_long = format!("a{longest}");
        for wrong in [
            "",
            "ann",
            "ann@",
            "@example.org",
            "ann@example",
            "ann@.org",
            "ann@example.",
            "ann@ex..org",
            "a b@example.org",
            "ann@exam ple.org",
            "ann@example.org, bob@example.org",
            "ann@@example.org",
            "ann\u{7}@example.org",
            "ann@example.org\nx",
            too_long.as_str(),
        ] {
            assert!(Email::new(wrong).is_none(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn an_address_is_written_as_keap_has_it_and_compared_in_lower_case() {
        let email = Email::new(" Ann@Example.ORG ").expect("valid");
        assert_eq!(email.as_written(), "Ann@Example.ORG");
        assert_eq!(email.folded(), "ann@example.org");
    }

    #[test]
    fn blank_is_absent_and_rubbish_is_invalid() {
        assert_eq!(EmailField::of(None), EmailField::Absent);
        assert_eq!(EmailField::of(Some("  ")), EmailField::Absent);
        assert_eq!(EmailField::of(Some("n/a")), EmailField::Invalid);
    }
}
