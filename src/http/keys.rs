//! The secrets that open routes, kept as digests and compared in constant time.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// A digest of a secret. All digests have one length, so a comparison shows nothing of the secret.
pub(super) type SecretDigest = [u8; 32];

pub(super) fn digest(secret: &[u8]) -> SecretDigest {
    Sha256::digest(secret).into()
}

/// The secrets that open routes, as digests.
#[derive(Default)]
pub struct Keys {
    api: Vec<SecretDigest>,
    webhook: Vec<SecretDigest>,
    /// What opens the operator's page besides the API token.
    ui: Vec<SecretDigest>,
}

impl Keys {
    pub fn new(api_token: Option<&SecretString>, webhook_secrets: &[SecretString]) -> Self {
        let of = |secret: &SecretString| digest(secret.expose_secret().as_bytes());
        Self {
            api: api_token.map(of).into_iter().collect(),
            webhook: webhook_secrets.iter().map(of).collect(),
            ui: Vec::new(),
        }
    }

    /// Also opens the operator's page with this password.
    pub fn with_ui_password(mut self, password: Option<&SecretString>) -> Self {
        self.ui = password
            .map(|password| digest(password.expose_secret().as_bytes()))
            .into_iter()
            .collect();
        self
    }

    /// Whether anything opens the operator's page.
    pub fn has_ui(&self) -> bool {
        !self.ui.is_empty() || self.has_api_token()
    }

    /// Whether a secret opens the operator's page. All secrets are compared, whichever fits.
    pub fn opens_ui(&self, presented: &[u8]) -> bool {
        is_one_of(presented, &self.ui) | self.is_api_token(presented)
    }

    pub fn has_api_token(&self) -> bool {
        !self.api.is_empty()
    }

    pub fn has_webhook_secret(&self) -> bool {
        !self.webhook.is_empty()
    }

    pub fn is_api_token(&self, presented: &[u8]) -> bool {
        is_one_of(presented, &self.api)
    }

    pub fn is_webhook_secret(&self, presented: &[u8]) -> bool {
        is_one_of(presented, &self.webhook)
    }
}

/// Whether a secret is one of the known ones. The time does not depend on where it differs.
fn is_one_of(presented: &[u8], known: &[SecretDigest]) -> bool {
    let presented = digest(presented);
    known.iter().fold(Choice::from(0), |found, one| found | one.ct_eq(&presented)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_when_it_is_whole() {
        let known = [digest(b"correct horse"), digest(b"battery staple")];
        assert!(is_one_of(b"correct horse", &known));
        assert!(is_one_of(b"battery staple", &known), "two are valid at once");
        for wrong in [&b""[..], b"correct hors", b"correct horse ", b"Correct horse", b"\xff\xfe"] {
            assert!(!is_one_of(wrong, &known));
        }
        assert!(!is_one_of(b"", &[]));
    }
}
