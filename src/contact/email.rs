//! E-mail addresses. We check a few rules; Intercom judges the rest.

use std::fmt;

use super::text::tidy_plain;

/// The longest address that is sent. Longer ones do not fit into the remotes' fields (RFC 5321
/// limits a path to this).
const MAX_CHARS: usize = 254;

/// A valid e-mail address: written as its side shows it, compared in lower case.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    written: String,
    /// `None` if it equals the written form.
    folded: Option<String>,
}

impl Email {
    /// Trims and composes the text, removes what is invisible in it, then checks it.
    pub fn new(text: &str) -> Option<Self> {
        Self::of_tidy(tidy_plain(text)?.into_owned())
    }

    /// Wants one `@`, something on both sides of it, a domain with a dot, and no blank or control
    /// character. `text` is the result of [`tidy_plain`].
    pub(super) fn of_tidy(text: String) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let dotted = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
        let valid = !local.is_empty()
            && !domain.contains('@')
            && dotted
            && text.chars().count() <= MAX_CHARS
            && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        valid.then(|| {
            let folded = Some(text.to_lowercase()).filter(|folded| *folded != text);
            Self { written: text, folded }
        })
    }

    /// The address as its side shows it: this form is written.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The domain, in lower case.
    pub fn domain(&self) -> &str {
        self.folded().rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The address in lower case: this form is compared and searched for.
    pub fn folded(&self) -> &str {
        self.folded.as_deref().unwrap_or(&self.written)
    }
}

/// An address is personal data: a debug print does not show it.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // F101
    #[test]
    fn a_debug_print_shows_no_address() {
        let email = Email::new("Ann@canary.example").unwrap();
        assert_eq!(format!("{email:?}"), "Email");
    }

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
    fn an_address_is_written_as_it_is_shown_and_compared_in_lower_case() {
        let email = Email::new(" Ann@Example.ORG ").expect("valid");
        assert_eq!(email.as_written(), "Ann@Example.ORG");
        assert_eq!(email.folded(), "ann@example.org");
        assert_eq!(Email::new("ann@example.org").expect("valid").folded(), "ann@example.org");
    }

    // Copied from web pages and letters, such characters come along unseen.
    #[test]
    fn an_address_with_invisible_characters_is_the_one_that_is_seen() {
        let seen = Email::new("ann@example.org").expect("valid");
        for shown in [
            "\u{feff}ann@example.org",
            "ann\u{200b}@example.org",
            "ann@exam\u{ad}ple.org",
            "\u{202a}ann@example.org\u{202c}",
            "ann@example\u{2060}.org\u{200e}",
            "an\u{200c}n@example.\u{200d}org",
            "\u{200b} ann@example.org\u{a0}\u{200b}",
        ] {
            assert!(Email::new(shown).as_ref() == Some(&seen), "{shown:?}");
        }
        assert!(Email::new("\u{200b}@example.org").is_none());
    }
}
