//! The secrets that open routes, kept as digests and compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
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
    /// The key of Intercom's signatures.
    client: Option<Hmac<Sha1>>,
    /// What opens the operator's page besides the API token.
    ui: Vec<SecretDigest>,
}

impl Keys {
    pub fn new(api_token: Option<&SecretString>, webhook_secrets: &[SecretString]) -> Self {
        let of = |secret: &SecretString| digest(secret.expose_secret().as_bytes());
        Self {
            api: api_token.map(of).into_iter().collect(),
            webhook: webhook_secrets.iter().map(of).collect(),
            client: None,
            ui: Vec::new(),
        }
    }

    /// The same, with the secret by which Intercom signs.
    #[must_use]
    pub fn with_client_secret(self, secret: Option<&SecretString>) -> Self {
        let key = |secret: &SecretString| {
            Hmac::new_from_slice(secret.expose_secret().as_bytes())
                .expect("HMAC takes a key of any length")
        };
        Self { client: secret.map(key), ..self }
    }

    pub fn has_client_secret(&self) -> bool {
        self.client.is_some()
    }

    /// Whether a header is `sha1=` and the signature of the body, in hexadecimal digits.
    pub fn is_signed(&self, header: &[u8], body: &[u8]) -> bool {
        let signature = header.strip_prefix(b"sha1=").and_then(bytes_of_hex);
        let (Some(mac), Some(signature)) = (&self.client, signature) else {
            return false;
        };
        mac.clone().chain_update(body).verify_slice(&signature).is_ok()
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

/// `None`: these are no pairs of hexadecimal digits.
fn bytes_of_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let value =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(value(*high)? << 4 | value(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
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
    fn only_the_signature_of_the_very_body_is_right() {
        // RFC 2202, test case 2.
        let keys = Keys::default().with_client_secret(Some(&SecretString::from("Jefe")));
        let body = b"what do ya want for nothing?";
        let right = "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        assert!(keys.is_signed(right.as_bytes(), body));
        assert!(keys.is_signed(right.to_uppercase().replace("SHA1", "sha1").as_bytes(), body));
        assert!(!keys.is_signed(right.as_bytes(), b"what do ya want for nothing!"));
        for wrong in ["", "sha1=", &right[5..], &right[..44], &format!("{right}0"), "sha1=zz"] {
            assert!(!keys.is_signed(wrong.as_bytes(), body), "{wrong}");
        }
        assert!(!Keys::default().is_signed(right.as_bytes(), body), "without a secret");
    }

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
