//! The forms of the settings of alarms.

use std::net::{IpAddr, Ipv6Addr};

use url::{Host, Url};

use super::forms::Form;

/// The address of a webhook. It may hold a token, so its key is a secret.
pub enum HookUrl {}

impl Form for HookUrl {
    type Value = Url;
    const EXPECTED: &'static str =
        "an https:// URL (http:// only with allow_plain, or to this machine)";

    fn parse(text: &str) -> Option<Url> {
        web_address(text)
    }
}

/// The address of the operator's page.
pub enum PageUrl {}

impl Form for PageUrl {
    type Value = Url;
    const EXPECTED: &'static str = "an http:// or https:// URL without user, query or fragment";

    fn parse(text: &str) -> Option<Url> {
        web_address(text).filter(|url| url.query().is_none())
    }
}

fn web_address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let known = matches!(url.scheme(), "https" | "http");
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    // The parser forgives blanks and line ends; a person who wrote one made a mistake.
    let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control() || "\"'".contains(c));
    (known && bare && clean && url.host().is_some()).then_some(url)
}

/// A mail server: its host, and its port if that is not the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    pub host: String,
    pub port: Option<u16>,
}

impl Form for MailServer {
    type Value = Self;
    const EXPECTED: &'static str =
        "a host, or a host and a port, for example smtp.example.com or smtp.example.com:587";

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => {
                (host, Some(port.parse().ok().filter(|port| *port > 0)?))
            }
            _ => (text, None),
        };
        // A name of digits and dots alone is a misspelt address.
        let host = match Host::parse(host).ok()? {
            Host::Domain(name) if !name.is_empty() && !name.contains('_') => name,
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
            Host::Domain(_) => return None,
        };
        Some(Self { host, port })
    }
}

impl MailServer {
    /// Whether it runs on this machine.
    pub fn is_here(&self) -> bool {
        let ip = self.host.parse::<IpAddr>();
        ip.map_or(self.host == "localhost", |ip| ip.is_loopback())
    }

    /// The host as it stands in an address.
    pub fn shown_host(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_) => self.host.clone(),
        }
    }
}

/// The name of an account at a mail server.
pub enum MailUser {}

impl Form for MailUser {
    type Value = String;
    const EXPECTED: &'static str = "the name of the account, in one line";

    fn parse(text: &str) -> Option<String> {
        one_line(text)
    }
}

pub enum MailPassword {}

impl Form for MailPassword {
    type Value = String;
    const EXPECTED: &'static str =
        "the password alone, in one line, without blanks or quotes around it";

    fn parse(text: &str) -> Option<String> {
        // A quote at one end only is a mistake of copying.
        let is_quoted = text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']);
        one_line(text).filter(|text| text != "…" && !is_quoted)
    }
}

fn one_line(text: &str) -> Option<String> {
    let fits = (1..=256).contains(&text.chars().count())
        && text.trim() == text
        && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// A bare address of mail.
pub enum MailAddress {}

impl Form for MailAddress {
    type Value = String;
    const EXPECTED: &'static str = "one e-mail address without a name, such as alarms@example.com";

    fn parse(text: &str) -> Option<String> {
        let (before, domain) = text.rsplit_once('@')?;
        let plain = |part: &str| {
            let odd = |c: char| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"@".contains(c);
            !part.is_empty() && !part.chars().any(odd)
        };
        (plain(before) && plain(domain) && text.len() <= 254).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_is_a_host_with_or_without_a_port() {
        for (text, host, port) in [
            ("smtp.example.com", "smtp.example.com", None),
            ("smtp.example.com:587", "smtp.example.com", Some(587)),
            ("127.0.0.1:25", "127.0.0.1", Some(25)),
            ("[::1]:2525", "::1", Some(2525)),
            ("[::1]", "::1", None),
            ("localhost", "localhost", None),
        ] {
            let expected = MailServer { host: host.into(), port };
            assert_eq!(MailServer::parse(text), Some(expected), "{text}");
        }
        for wrong in
            ["", "smtp://example.com", "a b", "example.com:0", "example.com:x", ":25", "x@y"]
        {
            assert_eq!(MailServer::parse(wrong), None, "{wrong}");
        }
        assert!(MailServer::parse("[::1]").unwrap().is_here());
        assert!(!MailServer::parse("10.0.0.1").unwrap().is_here());
        assert_eq!(MailServer::parse("[::1]:25").unwrap().shown_host(), "[::1]");
    }

    #[test]
    fn addresses_are_bare() {
        for right in ["a@example.com", "a.b+c@mail.example.com", "alarms@localhost"] {
            assert!(MailAddress::parse(right).is_some(), "{right}");
        }
        for wrong in ["", "a", "@example.com", "a@", "Ann <a@example.com>", "a@b,c@d", "a b@c"] {
            assert_eq!(MailAddress::parse(wrong), None, "{wrong}");
        }
        assert!(HookUrl::parse("https://example.com/a?sig=b").is_some());
        for wrong in ["example.com", "ftp://example.com", "https://u:p@example.com", "https://a /"]
        {
            assert_eq!(HookUrl::parse(wrong), None, "{wrong}");
        }
    }
}
