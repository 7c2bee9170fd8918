//! Keap's REST hooks, which only version 1 of the API has (`docs/api/keap.md`, "Hooks:
//! subscriptions").

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::KeapClient;
use crate::remote::{Call, Failure, Lane, Reply, lenient};

/// A subscription to an event.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its key in Keap.
    pub key: String,
    pub event_key: String,
    /// Where Keap delivers events; our addresses hold a secret.
    pub url: String,
    pub state: HookState,
}

/// Leaves out the address, because it may hold a secret.
impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hook({} {} {:?})", self.key, self.event_key, self.state)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookState {
    Unverified,
    Verified,
    Inactive,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HookWire {
    #[serde(default, deserialize_with = "lenient::text")]
    key: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    event_key: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    hook_url: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    status: Option<String>,
}

impl HookWire {
    /// `None`: it is not understood, or the key is not safe in a URL path.
    fn hook(self) -> Option<Hook> {
        let (key, event_key, url) = (self.key?, self.event_key?, self.hook_url?);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=64).contains(&key.len()) || !key.chars().all(plain) {
            return None;
        }
        let is = |name: &str| {
            self.status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case(name))
        };
        let state = if is("verified") {
            HookState::Verified
        } else if is("inactive") {
            HookState::Inactive
        } else {
            HookState::Unverified
        };
        Some(Hook { key, event_key, url, state })
    }
}

const HOOKS: &[&str] = &["v1", "hooks"];

impl KeapClient {
    /// Every subscription of the account that this key may see.
    pub async fn hooks(&self) -> Result<Vec<Hook>, Failure> {
        let reply = accepted(self.hook_call(Method::GET, HOOKS, None).await?)?;
        let hooks: Vec<Option<HookWire>> = self.remote.parse(&reply)?;
        Ok(hooks.into_iter().flatten().filter_map(HookWire::hook).collect())
    }

    /// Subscribes an address to an event. During the call, Keap makes its handshake with the
    /// address.
    pub async fn add_hook(&self, event_key: &str, url: &str) -> Result<Hook, Failure> {
        let body = json!({ "eventKey": event_key, "hookUrl": url }).to_string();
        let reply = accepted(self.hook_call(Method::POST, HOOKS, Some(body.into_bytes())).await?)?;
        self.one_hook(&reply)
    }

    /// Asks Keap for another handshake, which also makes an inactive subscription active again.
    pub async fn verify_hook(&self, key: &str) -> Result<Hook, Failure> {
        let path = ["v1", "hooks", key, "verify"];
        let reply = accepted(self.hook_call(Method::POST, &path, None).await?)?;
        self.one_hook(&reply)
    }

    /// Ends a subscription. If it no longer exists, that is not a failure.
    pub async fn remove_hook(&self, key: &str) -> Result<(), Failure> {
        let path = ["v1", "hooks", key];
        let reply = self.hook_call(Method::DELETE, &path, None).await?;
        if reply.status == 404 { Ok(()) } else { accepted(reply).map(|_| ()) }
    }

    fn one_hook(&self, reply: &Reply) -> Result<Hook, Failure> {
        let hook: HookWire = self.remote.parse(reply)?;
        hook.hook().ok_or_else(|| {
            Failure::never("Keap shows the subscription in a form that is not understood")
        })
    }

    async fn hook_call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Vec<u8>>,
    ) -> Result<Reply, Failure> {
        let call = Call { method, body, answers: &[402, 403, 404], ..Call::get(path) };
        self.remote.send(Lane::Urgent, &call).await
    }
}

/// Classes the statuses of calls about hooks. None of them stops the side: a key that may not
/// manage hooks may still read contacts.
fn accepted(reply: Reply) -> Result<Reply, Failure> {
    match reply.status {
        200..=299 => Ok(reply),
        402 | 403 => Err(Failure::never(format!(
            "Keap does not allow this key to manage hooks ({}); check the rights of its user",
            reply.status
        ))),
        status => Err(Failure::never(format!("Keap refuses a request about hooks ({status})"))),
    }
}
