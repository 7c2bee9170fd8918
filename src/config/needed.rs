//! Settings that a command may need and that have no default.

use secrecy::SecretString;

use super::Settings;
use super::error::{self, SettingsError};

/// A setting without a default that a command may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    DatabaseUrl,
    KeapApiKey,
    KeapWebhookSecret,
    IntercomAccessToken,
    HttpPublicUrl,
    ApiToken,
}

impl Needed {
    fn path(self) -> &'static str {
        match self {
            Self::DatabaseUrl => "database.url",
            Self::KeapApiKey => "keap.api_key",
            Self::KeapWebhookSecret => "keap.webhook_secret",
            Self::IntercomAccessToken => "intercom.access_token",
            Self::HttpPublicUrl => "http.public_url",
            Self::ApiToken => "http.api_token",
        }
    }
}

impl Settings {
    /// Checks that all of `needed` are set; the error names every one that is missing.
    pub fn require(&self, needed: &[Needed]) -> Result<(), SettingsError> {
        let missing = needed.iter().filter(|item| match item {
            Needed::DatabaseUrl => self.database_url.is_none(),
            Needed::KeapApiKey => self.keap.api_key.is_none(),
            Needed::KeapWebhookSecret => self.keap.webhook_secret.is_none(),
            Needed::IntercomAccessToken => self.intercom.access_token.is_none(),
            Needed::HttpPublicUrl => self.http.public_url.is_none(),
            Needed::ApiToken => self.http.api_token.is_none(),
        });
        SettingsError::unless_empty(missing.map(|item| error::missing(item.path())).collect())
    }

    /// The Postgres URL, or the error that says how to give it.
    pub fn database_url(&self) -> Result<&SecretString, SettingsError> {
        needed(self.database_url.as_ref(), Needed::DatabaseUrl)
    }

    /// The Keap API key, or the error that says how to give it.
    pub fn keap_api_key(&self) -> Result<&SecretString, SettingsError> {
        needed(self.keap.api_key.as_ref(), Needed::KeapApiKey)
    }

    /// The Intercom access token, or the error that says how to give it.
    pub fn intercom_access_token(&self) -> Result<&SecretString, SettingsError> {
        needed(
            self.intercom.access_token.as_ref(),
            Needed::IntercomAccessToken,
        )
    }
}

fn needed(value: Option<&SecretString>, what: Needed) -> Result<&SecretString, SettingsError> {
    value.ok_or_else(|| SettingsError::one(error::missing(what.path())))
}
