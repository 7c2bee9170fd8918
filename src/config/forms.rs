//! The forms that text settings must have: each reads a text into the type that the program uses.

use std::net::SocketAddr;

use tokio_cron_scheduler::Job;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use super::database_url;

/// The form of a text.
pub trait Form {
    type Value;
    /// Completes "expected …".
    const EXPECTED: &'static str;
    /// Whether an empty environment variable counts as unset although the key has a default.
    const EMPTY_IS_UNSET: bool = false;

    /// `None`: the text does not have this form.
    fn parse(text: &str) -> Option<Self::Value>;

    /// Completes "expected …" for a text that does not have this form. It holds nothing of the
    /// text.
    fn expected_instead_of(_: &str) -> &'static str {
        Self::EXPECTED
    }
}

pub enum Name {}

impl Form for Name {
    type Value = String;
    const EXPECTED: &'static str =
        "1 to 64 letters, digits, '-', '_' or '.', for example production";

    fn parse(text: &str) -> Option<String> {
        let is_name = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        is_name.then(|| text.to_owned())
    }
}

/// The name of a tag.
pub enum TagName {}

impl Form for TagName {
    type Value = String;
    const EXPECTED: &'static str = "the name of a tag, of 1 to 255 characters";

    fn parse(text: &str) -> Option<String> {
        let text = text.trim();
        let is_name =
            (1..=255).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        is_name.then(|| text.to_owned())
    }
}

pub enum PostgresUrl {}

impl Form for PostgresUrl {
    type Value = String;
    const EXPECTED: &'static str = database_url::EXPECTED;

    fn parse(text: &str) -> Option<String> {
        database_url::read(text).is_ok().then(|| text.to_owned())
    }

    fn expected_instead_of(text: &str) -> &'static str {
        database_url::read(text).err().unwrap_or(Self::EXPECTED)
    }
}

/// Fit for an HTTP header, and not a placeholder such as `…`.
pub enum Token {}

impl Form for Token {
    type Value = String;
    const EXPECTED: &'static str = "the token alone: printable ASCII without spaces, without quotes around it, and without the word Bearer";

    fn parse(text: &str) -> Option<String> {
        // A quote at one end only is a mistake of copying.
        let is_token = !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_graphic())
            && !text.starts_with(['"', '\''])
            && !text.ends_with(['"', '\'']);
        is_token.then(|| text.to_owned())
    }
}

pub enum ApiToken {}

impl Form for ApiToken {
    type Value = String;
    const EXPECTED: &'static str =
        "at least 16 characters of printable ASCII without spaces or quotes around them";

    fn parse(text: &str) -> Option<String> {
        Token::parse(text).filter(|token| token.len() >= 16)
    }
}

/// What a person types to sign in to the page. Blanks inside are fine, so that it can be a
/// sentence.
pub enum UiPassword {}

impl Form for UiPassword {
    type Value = String;
    const EXPECTED: &'static str =
        "12 to 256 characters, without spaces or quotes around them and without control characters";

    fn parse(text: &str) -> Option<String> {
        let is_password = (12..=256).contains(&text.chars().count())
            && text.trim() == text
            && !text.chars().any(char::is_control)
            && !text.starts_with(['"', '\''])
            && !text.ends_with(['"', '\'']);
        is_password.then(|| text.to_owned())
    }
}

/// One secret, or two separated by a comma while one replaces the other.
pub enum WebhookSecrets {}

impl Form for WebhookSecrets {
    type Value = String;
    const EXPECTED: &'static str = "one secret, or two separated by a comma, of at least 128 bits each: \
         22 or more characters of base64 or 32 or more of hex, \
         for example from `openssl rand -hex 32`";

    fn parse(text: &str) -> Option<String> {
        let all_strong =
            text.split(',').count() <= 2 && text.split(',').all(|one| is_strong(one.trim()));
        all_strong.then(|| text.to_owned())
    }
}

/// Whether a secret of these characters can hold 128 bits.
fn is_strong(secret: &str) -> bool {
    let body = secret.trim_end_matches('=');
    let hex = body.bytes().all(|b| b.is_ascii_hexdigit());
    let known = body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_".contains(&b));
    // A hex digit carries 4 bits, a base64 character 6.
    known && body.len() >= if hex { 32 } else { 22 }
}

/// An address to which paths are appended. The URL has no slash at its end.
pub enum BaseUrl {}

impl Form for BaseUrl {
    type Value = Url;
    const EXPECTED: &'static str = "an https:// URL without user, query or fragment \
         (http:// only to localhost, 127.0.0.0/8 or [::1])";

    fn parse(text: &str) -> Option<Url> {
        let mut url = Url::parse(text).ok()?;
        let loopback = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        };
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        // The parser forgives blanks and line ends; a person who wrote one made a mistake.
        let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let safe = url.scheme() == "https" || url.scheme() == "http" && loopback;
        if !(bare && clean && safe) {
            return None;
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Some(url)
    }
}

/// A proxy, or `off`.
pub enum ProxyUrl {}

impl Form for ProxyUrl {
    type Value = String;
    const EXPECTED: &'static str = "off, or the URL of a proxy such as http://proxy.example.com:3128 \
         (http, https, socks5 or socks5h; user:password@ may stand before the host)";

    fn parse(text: &str) -> Option<String> {
        if text == "off" {
            return Some(text.to_owned());
        }
        // Other programs take a bare host and port too.
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).ok()?;
        let known =
            matches!(url.scheme(), "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h");
        let named = url.host_str().is_some_and(|host| !host.is_empty());
        let bare =
            matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        (known && named && bare && clean).then(|| url.into())
    }
}

pub enum IntercomVersion {}

impl Form for IntercomVersion {
    type Value = String;
    const EXPECTED: &'static str =
        "a version of the Intercom API such as 2.16 (quoted in a file), or Preview";

    fn parse(text: &str) -> Option<String> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let numbered = text.split_once('.').is_some_and(|(a, b)| digits(a) && digits(b));
        (numbered || matches!(text, "Preview" | "Unstable")).then(|| text.to_owned())
    }
}

pub enum Listen {}

impl Form for Listen {
    type Value = SocketAddr;
    const EXPECTED: &'static str =
        "an IP address and a port, for example 127.0.0.1:8080 or [::]:8080";

    fn parse(text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }
}

/// A cron line in UTC.
pub enum Schedule {}

impl Form for Schedule {
    type Value = String;
    const EXPECTED: &'static str = "six fields, seconds first, for example \"0 * * * * *\" for every minute (UTC); \
         a year may follow as the seventh";

    fn parse(text: &str) -> Option<String> {
        // The library that runs the line checks it too, but accepts lines without seconds.
        let is_line =
            (6..=7).contains(&text.split_whitespace().count()) && Job::new(text, |_, _| {}).is_ok();
        is_line.then(|| text.to_owned())
    }
}

/// A cron line in UTC; `None` is `off`.
pub enum ScheduleOrOff {}

impl Form for ScheduleOrOff {
    type Value = Option<String>;
    const EXPECTED: &'static str =
        "off, or six fields, seconds first, for example \"0 17 3 * * *\" for 03:17 (UTC) every day";

    fn parse(text: &str) -> Option<Option<String>> {
        if text == "off" { Some(None) } else { Schedule::parse(text).map(Some) }
    }
}

/// Event keys of Keap, each once.
pub enum Events {}

impl Form for Events {
    type Value = Vec<String>;
    const EXPECTED: &'static str =
        "event keys of Keap separated by commas, for example contact.add,contact.edit";

    fn parse(text: &str) -> Option<Vec<String>> {
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
        };
        let is_event = |key: &str| key.len() <= 64 && key.contains('.') && key.split('.').all(word);
        if text.split(',').count() > 20 {
            return None;
        }
        let mut events: Vec<String> = Vec::new();
        for event in text.split(',').map(str::trim) {
            if !is_event(event) {
                return None;
            }
            if !events.iter().any(|known| known == event) {
                events.push(event.to_owned());
            }
        }
        Some(events)
    }
}

pub enum LogFilter {}

impl Form for LogFilter {
    type Value = String;
    const EXPECTED: &'static str = "a log filter such as info or info,sqlx=warn";
    // Other programs read RUST_LOG too, and take an empty one for none.
    const EMPTY_IS_UNSET: bool = true;

    fn parse(text: &str) -> Option<String> {
        let plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
        (plain && EnvFilter::try_new(text).is_ok()).then(|| text.to_owned())
    }
}
