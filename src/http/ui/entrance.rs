//! Who comes in: the cookies, and what the password check needs to know of a sender.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use uuid::Uuid;

use super::attempts::{Attempts, Verdict};
use super::sessions::{LIFE, Session, Sessions};
use crate::http::keys::Keys;

/// The cookie of a session.
const SESSION_COOKIE: &str = "keap_intercom_sync_session";
/// The cookie of a browser with which somebody has signed in before. It opens nothing.
const BROWSER_COOKIE: &str = "keap_intercom_sync_browser";
/// How long a browser is known.
const BROWSER_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where a request comes from: the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Peer(pub(in crate::http) IpAddr);

/// The door of the page.
pub(in crate::http) struct Entrance {
    pub(super) sessions: Sessions,
    strangers: Attempts,
    /// Browsers with which somebody has signed in: a flood of strangers never closes their lanes.
    known: Attempts,
    /// Whether cookies travel over HTTPS only.
    secure: bool,
}

impl Entrance {
    /// `secure`: people reach the page over HTTPS.
    pub(in crate::http) fn new(secure: bool) -> Self {
        Self {
            sessions: Sessions::new(),
            strangers: Attempts::new(),
            known: Attempts::new(),
            secure,
        }
    }

    /// The session of a request.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<Session> {
        self.sessions.of_cookie(cookie(headers, SESSION_COOKIE)?, Instant::now())
    }

    /// Checks a password, unless its sender must wait.
    pub(super) fn check(
        &self,
        keys: &Keys,
        headers: &HeaderMap,
        peer: Peer,
        password: &str,
    ) -> Verdict {
        let is_right = || keys.opens_ui(password.as_bytes());
        let now = Instant::now();
        match self.browser(headers) {
            Some(browser) => self.known.attempt(browser, now, is_right),
            None => self.strangers.attempt(sender(headers, peer), now, is_right),
        }
    }

    /// The cookies of a new session.
    pub(super) fn welcome(&self, headers: &HeaderMap) -> [(HeaderName, HeaderValue); 2] {
        let session = self.sessions.begin(Instant::now());
        let browser = self.browser(headers).unwrap_or_else(Uuid::new_v4);
        [
            self.set(SESSION_COOKIE, &self.sessions.cookie(session), LIFE),
            self.set(BROWSER_COOKIE, &self.sessions.browser_cookie(browser), BROWSER_LIFE),
        ]
    }

    /// Ends a session, and removes its cookie.
    pub(super) fn farewell(&self, session: Session) -> (HeaderName, HeaderValue) {
        self.sessions.end(session);
        self.set(SESSION_COOKIE, "", Duration::ZERO)
    }

    fn browser(&self, headers: &HeaderMap) -> Option<Uuid> {
        self.sessions.browser(cookie(headers, BROWSER_COOKIE)?)
    }

    fn set(&self, name: &str, value: &str, life: Duration) -> (HeaderName, HeaderValue) {
        let secure = if self.secure { "; Secure" } else { "" };
        let life = life.as_secs();
        let cookie =
            format!("{name}={value}; Path=/ui; Max-Age={life}; HttpOnly; SameSite=Strict{secure}");
        let cookie = HeaderValue::from_str(&cookie).expect("names and hex digits fit a header");
        (SET_COOKIE, cookie)
    }
}

/// The value of a cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The address of a sender. Behind a proxy on this machine, it is the one that the proxy names
/// last. An IPv6 network has one lane, because its owner has all addresses of it.
fn sender(headers: &HeaderMap, Peer(peer): Peer) -> IpAddr {
    let named = || {
        let lines = headers.get_all("x-forwarded-for").iter().next_back()?;
        lines.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    };
    let address = if peer.is_loopback() { named().unwrap_or(peer) } else { peer };
    let address = address.to_canonical();
    match address {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(network.into())
        }
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; b=2;c=3"));
        headers.append(COOKIE, HeaderValue::from_static("d=4=5"));
        let values = ["a", "b", "c", "d", "e", ""].map(|name| cookie(&headers, name));
        assert_eq!(values, [Some("1"), Some("2"), Some("3"), Some("4=5"), None, None]);
    }

    #[test]
    fn only_a_proxy_on_this_machine_names_the_sender() {
        let of = |peer: &str, named: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_static(named));
            sender(&headers, Peer(peer.parse().unwrap())).to_string()
        };
        assert_eq!(of("127.0.0.1", "1.1.1.1, 192.0.2.7"), "192.0.2.7");
        assert_eq!(of("127.0.0.1", "nonsense"), "127.0.0.1");
        assert_eq!(of("198.51.100.1", "192.0.2.7"), "198.51.100.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6", ""), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.7", ""), "192.0.2.7");
    }
}
