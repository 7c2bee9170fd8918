//! The forms that text settings must have.

use std::net::SocketAddr;

use tokio_cron_scheduler::Job;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

/// A form: how to tell it, and how to say it.
#[derive(Debug)]
pub(super) struct Form {
    /// Completes "expected …".
    pub expected: &'static str,
    pub holds: fn(&str) -> bool,
}

pub(super) static NAME: Form = Form {
    expected: "1 to 64 letters, digits, '-', '_' or '.', for example production",
    holds: |text| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    },
};

pub(super) static DATABASE_URL: Form = Form {
    expected: "a URL such as postgres://user:password@host:5432/database",
    holds: |text| {
        Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"))
    },
};

pub(super) static TOKEN: Form = Form {
    expected: "the token alone: printable ASCII without spaces, and without the word Bearer",
    holds: is_token,
};

pub(super) static API_TOKEN: Form = Form {
    expected: "at least 16 characters of printable ASCII without spaces",
    holds: |text| text.len() >= 16 && is_token(text),
};

pub(super) static WEBHOOK_SECRET: Form = Form {
    expected: "one secret, or two separated by a comma, of at least 128 bits each: \
               22 or more characters of base64 or 32 or more of hex, \
               for example from `openssl rand -hex 32`",
    holds: |text| text.split(',').count() <= 2 && text.split(',').all(|one| is_strong(one.trim())),
};

pub(super) static BASE_URL: Form = Form {
    expected: "an https:// URL without user, query or fragment \
               (http:// only to localhost, 127.0.0.0/8 or [::1])",
    holds: |text| base_url(text).is_some(),
};

pub(super) static VERSION: Form = Form {
    expected: "a version of the Intercom API such as 2.16 (quoted in a file), or Preview",
    holds: |text| {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let numbered = text
            .split_once('.')
            .is_some_and(|(a, b)| digits(a) && digits(b));
        numbered || matches!(text, "Preview" | "Unstable")
    },
};

pub(super) static LISTEN: Form = Form {
    expected: "an IP address and a port, for example 127.0.0.1:8080 or [::]:8080",
    holds: |text| text.parse::<SocketAddr>().is_ok(),
};

pub(super) static SCHEDULE: Form = Form {
    expected: "six fields, seconds first, for example \"0 * * * * *\" for every minute (UTC); \
               a year may follow as the seventh",
    holds: is_schedule,
};

pub(super) static EVENTS: Form = Form {
    expected: "event keys of Keap separated by commas, for example contact.add,contact.edit",
    holds: |text| {
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
        };
        let event = |key: &str| key.len() <= 64 && key.contains('.') && key.split('.').all(word);
        text.split(',').count() <= 20 && text.split(',').all(|key| event(key.trim()))
    },
};

pub(super) static FILTER: Form = Form {
    expected: "a log filter such as info or info,sqlx=warn",
    holds: |text| {
        let plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
        plain && EnvFilter::try_new(text).is_ok()
    },
};

/// The URL with no slash at its end, or none if `text` is no base URL.
pub(super) fn base_url(text: &str) -> Option<Url> {
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
    if !(bare && clean && (url.scheme() == "https" || url.scheme() == "http" && loopback)) {
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url)
}

/// Fit for an HTTP header, and no form for a placeholder such as `…`.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether a secret of these characters can hold 128 bits.
fn is_strong(secret: &str) -> bool {
    let body = secret.trim_end_matches('=');
    let hex = body.bytes().all(|b| b.is_ascii_hexdigit());
    let known = body
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+/-_".contains(&b));
    // A hex digit carries 4 bits, a base64 one 6.
    known && body.len() >= if hex { 32 } else { 22 }
}

/// Judged by the library that will run it, which also takes lines without seconds.
fn is_schedule(text: &str) -> bool {
    (6..=7).contains(&text.split_whitespace().count()) && Job::new(text, |_, _| {}).is_ok()
}
