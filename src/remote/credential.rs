//! The credential of a remote: asked for by every call, and replaced while its client lives.

use std::sync::{Arc, PoisonError, RwLock};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::failure::BuildError;

/// A bearer token that its clients share. Clones share the value too, so each holder can
/// replace the token for all of them.
#[derive(Debug, Clone)]
pub struct Credential {
    setting: &'static str,
    /// Marked sensitive, so that no debug text shows it.
    header: Arc<RwLock<HeaderValue>>,
}

impl Credential {
    /// `setting` names the environment variable in the text of an error.
    pub fn new(secret: &SecretString, setting: &'static str) -> Result<Self, BuildError> {
        let header = bearer(secret, setting)?;
        Ok(Self { setting, header: Arc::new(RwLock::new(header)) })
    }

    /// The next call carries this token. A token that no header can carry changes nothing.
    pub fn replace(&self, secret: &SecretString) -> Result<(), BuildError> {
        let header = bearer(secret, self.setting)?;
        *self.header.write().unwrap_or_else(PoisonError::into_inner) = header;
        Ok(())
    }

    /// The value of the `Authorization` header for the next call.
    pub fn header(&self) -> HeaderValue {
        self.header.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

fn bearer(secret: &SecretString, setting: &'static str) -> Result<HeaderValue, BuildError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret()))
        .map_err(|_| BuildError::Header(setting))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_no_header_can_carry_names_its_setting_and_leaves_the_former_one() {
        let credential = Credential::new(&"canary-one".into(), "KEAP_API_KEY").unwrap();

        let refused = credential.replace(&"canary\ntwo".into()).unwrap_err();

        assert_eq!(
            refused.to_string(),
            "KEAP_API_KEY holds characters that no HTTP header can carry"
        );
        assert_eq!(credential.header(), "Bearer canary-one");
        assert!(Credential::new(&"canary\ntwo".into(), "KEAP_API_KEY").is_err());
    }

    #[test]
    fn no_debug_text_shows_the_token() {
        let credential = Credential::new(&"canary-one".into(), "KEAP_API_KEY").unwrap();
        credential.replace(&"canary-two".into()).unwrap();

        assert!(!format!("{credential:?} {:?}", credential.header()).contains("canary"));
    }
}
