//! Makes custom fields, and asks whether the key may write (`docs/api/keap.md`, "Custom fields",
//! "Writing").

use reqwest::Method;

use super::client::{KeapClient, accepted};
use crate::remote::{Call, Failure, Kind, Lane};

const FIELDS: &[&str] = &["v2", "contacts", "model", "customFields"];

/// No account has so many contacts.
const NOBODY: &[&str] = &["v2", "contacts", "9223372036854775807"];

impl KeapClient {
    /// Makes a custom field of contacts.
    pub async fn create_field(&self, label: &str, kind: &str) -> Result<(), Failure> {
        let body = serde_json::json!({ "label": label, "field_type": kind });
        let call = Call {
            method: Method::POST,
            body: Some(body.to_string().into_bytes()),
            kind: Kind::Write,
            always_exists: true,
            understood: |reply| !reply.is_success() || reply.body.first() == Some(&b'{'),
            answers: &[403],
            ..Call::get(FIELDS)
        };
        let reply = self.remote.send(Lane::Urgent, &call).await?;
        if reply.status == 403 {
            return Err(Failure::never(
                "Keap does not allow this key to make custom fields (403); make them in Keap, or check the rights of the key's user",
            ));
        }
        accepted(reply).map(|_| ())
    }

    /// Whether the key may write contacts, as far as a write of nothing to nobody can tell.
    pub async fn may_write(&self) -> Result<bool, Failure> {
        let call = Call {
            method: Method::PATCH,
            body: Some(b"{}".to_vec()),
            kind: Kind::Write,
            answers: &[403],
            ..Call::get(NOBODY)
        };
        Ok(self.remote.send(Lane::Urgent, &call).await?.status != 403)
    }
}
