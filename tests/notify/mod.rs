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

    /// What was told, in order: the state and the code of each trouble, without the id of a plan.
    pub(crate) async fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        for body in self.bodies().await {
            for one in body["troubles"].as_array().unwrap() {
                let code = one["code"].as_str().unwrap();
                let code = if code.starts_with("plan:") { "plan" } else { code };
                told.push(format!("{} {code}", one["state"].as_str().unwrap()));
            }
        }
        told
    }
}

/// A world whose daemon tells everything at once.
pub(crate) fn telling(world: &mut World) -> &mut World {
    world.set("NOTIFY__AFTER_SECONDS", 0).set("NOTIFY__PAGE_URL", "https://sync.example.com/ui")
}
