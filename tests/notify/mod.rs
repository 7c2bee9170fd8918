//! Alarms: who is told of what is wrong, once, and once when it is over.

mod form;
mod mail;
mod outage;
mod smtp;
mod surfaces;
mod told;

use serde_json::Value;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::world::World;

/// A service that takes webhooks, and remembers them.
pub(crate) struct Hook {
    pub server: MockServer,
}

impl Hook {
    /// A service that answers with this status.
    pub(crate) async fn start(status: u16) -> Self {
        let server = MockServer::start().await;
        let hook = Self { server };
        hook.answer(ResponseTemplate::new(status)).await;
        hook
    }

    /// From now on, this is the answer.
    pub(crate) async fn answer(&self, template: ResponseTemplate) {
        // The newest one with the highest priority counts.
        self.server.reset().await;
        Mock::given(method("POST")).respond_with(template).mount(&self.server).await;
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/canary-hook-token?sig=canary-signature", self.server.uri())
    }

    /// The bodies that have come.
    pub(crate) async fn bodies(&self) -> Vec<Value> {
        let requests = self.server.received_requests().await.unwrap();
        requests.iter().map(|one| serde_json::from_slice(&one.body).unwrap()).collect()
    }

    /// What was told of these troubles, in order: the state and the code, without the id of a plan.
    ///
    /// A daemon that tells everything at once also tells what a busy machine causes, such as a poll
    /// that is late.
    pub(crate) async fn told_of(&self, codes: &[&str]) -> Vec<String> {
        let troubles = self.troubles().await.into_iter();
        let told = troubles.map(|(_, one)| (word(&one["state"]), word(&one["code"])));
        let told = told.map(|(state, code)| match code.starts_with("plan:") {
            true => (state, "plan".to_owned()),
            false => (state, code),
        });
        let is_meant = |(_, code): &(String, String)| codes.contains(&code.as_str());
        told.filter(is_meant).map(|(state, code)| format!("{state} {code}")).collect()
    }

    /// The first message about a trouble in this state, and what it says of the trouble.
    pub(crate) async fn message(&self, state: &str, code: &str) -> (Value, Value) {
        let is_meant = |(_, one): &(Value, Value)| one["state"] == state && one["code"] == code;
        self.troubles().await.into_iter().find(is_meant).unwrap()
    }

    /// Each trouble that was told, with its message.
    async fn troubles(&self) -> Vec<(Value, Value)> {
        let mut troubles = Vec::new();
        for body in self.bodies().await {
            for one in body["troubles"].as_array().unwrap() {
                troubles.push((body.clone(), one.clone()));
            }
        }
        troubles
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A world whose daemon tells everything at once.
pub(crate) fn telling(world: &mut World) -> &mut World {
    world.set("NOTIFY__AFTER_SECONDS", 0).set("NOTIFY__PAGE_URL", "https://sync.example.com/ui")
}
