//! Keap's REST hooks, version 1 of the API only (`api/keap.md` 11.1).

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::KeapClient;
use crate::remote::{Call, Failure, Lane, Reply};

/// A subscription to an event.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// Keap's own key of it.
    pub key: String,
    pub event_key: String,
    /// Where events are delivered; ours hold a secret.
    pub url: String,
    pub state: HookState,
}

/// The address may hold a secret: a debug print leaves it out.
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
    key: Value,
    event_key: String,
    hook_url: String,
    #[serde(default)]
    status: Option<String>,
}

impl HookWire {
    /// `None` where the key could not stand in a path.
    fn hook(self) -> Option<Hook> {
        let key = match self.key {
            Value::String(key) => key,
            Value::Number(key) => key.to_string(),
            _ => return None,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=64).contains(&key.len()) || !key.chars().all(plain) {
            return None;
        }
        let is = |name: &str| {
            self.status
                .as_deref()
                .is_some_and(|status| status.eq_ignore_ascii_case(name))
        };
        let state = if is("verified") {
            HookState::Verified
        } else if is("inactive") {
            HookState::Inactive
        } else {
            HookState::Unverified
        };
        Some(Hook {
            key,
            event_key: self.event_key,
            url: self.hook_url,
            state,
        })
    }
}

const HOOKS: &[&str] = &["v1", "hooks"];

impl KeapClient {
    /// Every subscription of the account that this key may see.
    pub async fn hooks(&self) -> Result<Vec<Hook>, Failure> {
        let reply = self.hook_call(Method::GET, HOOKS, None).await?;
        let hooks: Vec<HookWire> = self.remote.parse(&reply)?;
        Ok(hooks.into_iter().filter_map(HookWire::hook).collect())
    }

    /// Subscribes an address to an event. Keap shakes hands with it during the call.
    pub async fn add_hook(&self, event_key: &str, url: &str) -> Result<Hook, Failure> {
        let body = json!({ "eventKey": event_key, "hookUrl": url }).to_string();
        let reply = self
            .hook_call(Method::POST, HOOKS, Some(body.into_bytes()))
            .await?;
        self.one_hook(&reply)
    }

    /// Asks Keap for another handshake, which also revives an inactive subscription.
    pub async fn verify_hook(&self, key: &str) -> Result<Hook, Failure> {
        let path = ["v1", "hooks", key, "verify"];
        let reply = self.hook_call(Method::POST, &path, None).await?;
        self.one_hook(&reply)
    }

    /// Ends a subscription; one that is gone already is no failure.
    pub async fn remove_hook(&self, key: &str) -> Result<(), Failure> {
        let path = ["v1", "hooks", key];
        match self.hook_call(Method::DELETE, &path, None).await {
            Err(Failure::Never { why }) if why.contains("(404)") => Ok(()),
            done => done.map(|_| ()),
        }
    }

    fn one_hook(&self, reply: &Reply) -> Result<Hook, Failure> {
        let hook: HookWire = self.remote.parse(reply)?;
        hook.hook().ok_or_else(|| {
            Failure::never("Keap gave the subscription a key that is not understood")
        })
    }

    /// Classes the statuses by themselves: a key that may not manage hooks may still read contacts.
    async fn hook_call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Vec<u8>>,
    ) -> Result<Reply, Failure> {
        let call = Call {
            method,
            body,
            ..Call::get(path)
        };
        let reply = self.remote.send(Lane::Urgent, &call).await?;
        match reply.status {
            200..=299 => Ok(reply),
            402 | 403 => Err(Failure::never(format!(
                "Keap does not allow this key to manage hooks ({}); check the rights of its user",
                reply.status
            ))),
            status => Err(Failure::never(format!(
                "Keap refuses a request about hooks ({status})"
            ))),
        }
    }
}
