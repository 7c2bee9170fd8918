//! Finds requests that could have subscribed somebody.

use serde_json::Value;

use super::Intercom;
use crate::sim::ledger::Call;

impl Intercom {
    /// Requests that could have subscribed somebody, whatever their answers: those whose
    /// `unsubscribed_from_emails` is not true, those that opt in to a subscription, and those that
    /// take a subscription away, which may end an opt-out.
    pub(crate) fn could_subscribe(&self) -> Vec<String> {
        self.shared.ledger.suspects(subscribing)
    }
}

pub(super) fn subscribing(call: &Call) -> Option<String> {
    let Call { method, path, body, .. } = call;
    let why = if let Some(why) = body.as_ref().and_then(subscribing_property) {
        why
    } else if method == "DELETE" && path.contains("/subscriptions/") {
        "takes a subscription away".to_owned()
    } else {
        return None;
    };
    Some(format!("{method} {path}: {why}"))
}

fn subscribing_property(body: &Value) -> Option<String> {
    match body {
        Value::Array(items) => items.iter().find_map(subscribing_property),
        Value::Object(entries) => entries.iter().find_map(|(name, value)| match name.as_str() {
            "unsubscribed_from_emails" if *value != Value::Bool(true) => {
                Some(format!("{name} {value}"))
            }
            "consent_type" if *value != "opt_out" => Some(format!("{name} {value}")),
            _ => subscribing_property(value),
        }),
        _ => None,
    }
}
