//! Sessions of the page. A signed cookie names a session, and a list says which ones are open, so
//! that signing out ends a session for whoever has its cookie.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use uuid::Uuid;

/// A session ends after this time.
pub(super) const LIFE: Duration = Duration::from_secs(24 * 3600);
/// A further session closes the oldest one. Only who knows the password opens one.
const MOST_OPEN: usize = 256;

/// A person who is signed in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Session(Uuid);

/// What a signature is for: one for a cookie is worth nothing as a token of a form.
#[derive(Clone, Copy)]
enum Purpose {
    Session,
    Form,
    Browser,
}

impl Purpose {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::Form => b"form",
            Self::Browser => b"browser",
        }
    }
}

/// The key of the signatures, and the sessions that are open.
pub(super) struct Sessions {
    key: [u8; 32],
    /// When each one ends.
    open: Mutex<HashMap<Uuid, Instant>>,
}

impl Sessions {
    /// With a new key: no cookie of an earlier process, or of earlier settings, is valid.
    pub(super) fn new() -> Self {
        Self { key: rand::random(), open: Mutex::default() }
    }

    /// Opens a session.
    pub(super) fn begin(&self, now: Instant) -> Session {
        let mut open = self.open();
        open.retain(|_, ends| *ends > now);
        if open.len() >= MOST_OPEN
            && let Some(oldest) = open.iter().min_by_key(|(_, ends)| **ends).map(|(id, _)| *id)
        {
            open.remove(&oldest);
        }
        let id = Uuid::new_v4();
        open.insert(id, now + LIFE);
        Session(id)
    }

    /// The open session of a cookie.
    pub(super) fn of_cookie(&self, value: &str, now: Instant) -> Option<Session> {
        let id = self.signed(Purpose::Session, value)?;
        self.open().get(&id).is_some_and(|ends| *ends > now).then_some(Session(id))
    }

    /// Ends a session before its time.
    pub(super) fn end(&self, session: Session) {
        self.open().remove(&session.0);
    }

    /// The value of the session's cookie.
    pub(super) fn cookie(&self, session: Session) -> String {
        self.sign(Purpose::Session, session.0)
    }

    /// The token that each form of the session carries.
    pub(super) fn token(&self, session: Session) -> String {
        self.signature(Purpose::Form, session.0)
    }

    /// Whether this is the token of the session. The time does not depend on where it differs.
    pub(super) fn is_token(&self, session: Session, presented: &str) -> bool {
        self.token(session).as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// The value of a cookie that only says that somebody has signed in with this browser.
    pub(super) fn browser_cookie(&self, browser: Uuid) -> String {
        self.sign(Purpose::Browser, browser)
    }

    /// The browser of such a cookie.
    pub(super) fn browser(&self, value: &str) -> Option<Uuid> {
        self.signed(Purpose::Browser, value)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Uuid, Instant>> {
        // No code that can panic runs under this lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sign(&self, purpose: Purpose, id: Uuid) -> String {
        format!("{}.{}", id.simple(), self.signature(purpose, id))
    }

    /// The id of a value that this process has signed.
    fn signed(&self, purpose: Purpose, value: &str) -> Option<Uuid> {
        let (id, signature) = value.split_once('.')?;
        let id = Uuid::try_parse(id).ok()?;
        let right = self.signature(purpose, id);
        bool::from(right.as_bytes().ct_eq(signature.as_bytes())).then_some(id)
    }

    fn signature(&self, purpose: Purpose, id: Uuid) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)
            .expect("a key of an HMAC may have any length");
        mac.update(purpose.as_bytes());
        mac.update(id.as_bytes());
        let bytes = mac.finalize().into_bytes();
        bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_valid_until_its_session_ends() {
        let sessions = Sessions::new();
        let now = Instant::now();
        let session = sessions.begin(now);
        let cookie = sessions.cookie(session);

        let is_open = |at: Instant| sessions.of_cookie(&cookie, at) == Some(session);
        assert!(is_open(now) && is_open(now + LIFE - Duration::from_secs(1)));
        assert!(!is_open(now + LIFE));
        sessions.end(session);
        assert!(!is_open(now));
    }

    #[test]
    fn a_cookie_that_was_changed_or_signed_elsewhere_or_for_something_else_opens_nothing() {
        let sessions = Sessions::new();
        let now = Instant::now();
        let session = sessions.begin(now);
        let cookie = sessions.cookie(session);
        let (id, signature) = cookie.split_once('.').unwrap();

        let other = Uuid::new_v4().simple();
        for wrong in [
            String::new(),
            id.to_owned(),
            format!("{id}."),
            format!("{id}.{}", &signature[1..]),
            format!("{other}.{signature}"),
            format!("{id}.{}", sessions.token(session)),
            sessions.browser_cookie(session.0),
            Sessions::new().cookie(session),
        ] {
            assert!(sessions.of_cookie(&wrong, now).is_none(), "{wrong}");
        }
        let browser = sessions.browser_cookie(session.0);
        assert_eq!(sessions.browser(&browser), Some(session.0));
        assert!(sessions.browser(&cookie).is_none() && Sessions::new().browser(&browser).is_none());
        assert!(sessions.is_token(session, &sessions.token(session)));
        assert!(!sessions.is_token(sessions.begin(now), &sessions.token(session)));
        assert!(!sessions.is_token(session, ""));
    }

    #[test]
    fn however_many_sign_in_the_list_stays_short() {
        let sessions = Sessions::new();
        let now = Instant::now();
        let all: Vec<_> = (0..MOST_OPEN + 5)
            .map(|n| sessions.begin(now + Duration::from_secs(n as u64)))
            .collect();

        assert_eq!(sessions.open().len(), MOST_OPEN);
        let later = now + Duration::from_secs(600);
        assert!(sessions.of_cookie(&sessions.cookie(all[0]), later).is_none());
        assert!(sessions.of_cookie(&sessions.cookie(all[MOST_OPEN + 4]), later).is_some());
    }
}
