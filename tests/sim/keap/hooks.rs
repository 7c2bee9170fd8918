//! REST hooks, which only v1 has: subscriptions, the handshake and the events
//! (`docs/api/keap.md`, "Hooks: subscriptions").

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Keap, State, delivery, errors};
use crate::sim::message::{Answer, Request};

/// The events of contacts and their tags in Keap's list of 2018, and a few others that a client
/// must ignore.
const EVENT_KEYS: [&str; 12] = [
    "contact.add",
    "contact.edit",
    "contact.delete",
    "contact.redact",
    "contactGroup.add",
    "contactGroup.edit",
    "contactGroup.delete",
    "contactGroup.applied",
    "contactGroup.removed",
    "company.add",
    "company.edit",
    "company.delete",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookStatus {
    Unverified,
    Verified,
    Inactive,
}

/// A subscription as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    pub key: String,
    pub event_key: String,
    pub hook_url: String,
    pub status: HookStatus,
}

impl Hook {
    fn json(&self) -> Value {
        let status = format!("{:?}", self.status);
        json!({"key": self.key, "eventKey": self.event_key, "hookUrl": self.hook_url, "status": status})
    }
}

pub(crate) struct Subscription {
    pub hook: Hook,
    /// The secret of the last handshake, which `delayedVerify` must repeat.
    secret: String,
    /// Events that no delivery has taken yet: contact id and time.
    pub waiting: Vec<(i64, i64)>,
    /// Whether a task is already waiting to deliver them.
    pub collecting: bool,
}

#[derive(Default)]
pub(crate) struct Hooks {
    by_key: BTreeMap<String, Subscription>,
    created: u64,
}

impl Hooks {
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Subscription> {
        self.by_key.get_mut(key)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Hook> {
        self.by_key.values().map(|subscription| &subscription.hook)
    }
}

impl Keap {
    /// All subscriptions, whoever created them.
    pub(crate) fn hooks(&self) -> Vec<Hook> {
        self.state().hooks.all().cloned().collect()
    }

    pub(crate) fn set_hook_status(&self, key: &str, status: HookStatus) {
        if let Some(subscription) = self.state().hooks.get_mut(key) {
            subscription.hook.status = status;
        }
    }

    /// Hands an event to its verified subscriptions. Each delivers it on its own schedule.
    pub(super) fn raise(&self, state: &mut State, event_key: &str, ids: &[i64], stamp_ms: i64) {
        if !state.knobs.hook_deliveries {
            return;
        }
        for subscription in state.hooks.by_key.values_mut() {
            if subscription.hook.status != HookStatus::Verified
                || subscription.hook.event_key != event_key
            {
                continue;
            }
            subscription.waiting.extend(ids.iter().map(|id| (*id, stamp_ms)));
            if !std::mem::replace(&mut subscription.collecting, true) {
                self.shared
                    .runtime
                    .spawn(delivery::collect(self.clone(), subscription.hook.key.clone()));
            }
        }
    }

    pub(super) fn hook_call(&self, path: &[String], request: &Request) -> Answer {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["event_keys"]) => ok(&json!(EVENT_KEYS)),
            ("GET", []) => ok(&self.hooks().iter().map(Hook::json).collect()),
            ("POST", []) => self.subscribe(None, request),
            ("GET", [key]) => self.with_hook(key, |subscription| ok(&subscription.hook.json())),
            ("PUT", [key]) => self.subscribe(Some(key), request),
            ("DELETE", [key]) => match self.state().hooks.by_key.remove(*key) {
                Some(_) => Answer::empty(204).applied(),
                None => unknown_hook(),
            },
            ("POST", [key, "verify"]) => self.verify(key),
            ("POST", [key, "delayedVerify"]) => self.delayed_verify(key, request),
            _ => errors::page_not_found(),
        }
    }

    fn with_hook(&self, key: &str, run: impl FnOnce(&mut Subscription) -> Answer) -> Answer {
        self.state().hooks.get_mut(key).map_or_else(unknown_hook, run)
    }

    /// Creates or changes a subscription and tries to verify it before the call is answered.
    fn subscribe(&self, key: Option<&str>, request: &Request) -> Answer {
        let text = |name: &str| Some(request.json()?.get(name)?.as_str()?.to_owned());
        let (Some(event_key), Some(hook_url)) = (text("eventKey"), text("hookUrl")) else {
            return errors::v1(400, "Input could not be converted to a valid request");
        };
        if !EVENT_KEYS.contains(&event_key.as_str()) {
            return errors::v1(400, "Invalid eventKey");
        }
        let key = {
            let hooks = &mut self.state().hooks;
            let key = match key {
                Some(key) if !hooks.by_key.contains_key(key) => return unknown_hook(),
                Some(key) => key.to_owned(),
                None => {
                    hooks.created += 1;
                    hooks.created.to_string()
                }
            };
            let hook =
                Hook { key: key.clone(), event_key, hook_url, status: HookStatus::Unverified };
            let subscription = Subscription {
                hook,
                secret: String::new(),
                waiting: Vec::new(),
                collecting: false,
            };
            hooks.by_key.insert(key.clone(), subscription);
            key
        };
        self.verify(&key)
    }

    /// Sends a new secret to the receiver. The answer waits for the receiver and shows whether it
    /// echoed the secret.
    fn verify(&self, key: &str) -> Answer {
        let secret = Uuid::new_v4().simple().to_string();
        let mut state = self.state();
        let time_scale = state.knobs.hook_time_scale;
        let Some(subscription) = state.hooks.get_mut(key) else {
            return unknown_hook();
        };
        subscription.secret.clone_from(&secret);
        let hook_url = subscription.hook.hook_url.clone();
        drop(state);

        let (keap, key) = (self.clone(), key.to_owned());
        let handshake = async move {
            let verified = delivery::echoes_secret(&hook_url, &secret, time_scale).await;
            let answer = keap.with_hook(&key, |subscription| {
                if verified {
                    subscription.hook.status = HookStatus::Verified;
                }
                ok(&subscription.hook.json())
            });
            (answer.status, answer.body)
        };
        Answer::later(handshake).applied()
    }

    /// Verifies a subscription by a call that repeats the secret of its last handshake.
    fn delayed_verify(&self, key: &str, request: &Request) -> Answer {
        self.with_hook(key, |subscription| {
            if subscription.secret.is_empty()
                || request.header("x-hook-secret") != Some(&subscription.secret)
            {
                return errors::v1(400, "Invalid X-Hook-Secret");
            }
            subscription.hook.status = HookStatus::Verified;
            ok(&subscription.hook.json()).applied()
        })
    }
}

fn ok(body: &Value) -> Answer {
    Answer::json(200, body.to_string())
}

fn unknown_hook() -> Answer {
    errors::v1(404, "Unable to find this REST hook")
}
