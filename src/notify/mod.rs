//! Alarms: who is told of what is wrong, by webhook and by mail. `watch.rs` looks whether something
//! is wrong; each other file is a part of how that is told.

mod forms;
mod mail;
mod message;
mod target;
mod undelivered;
mod watch;
mod webhook;

pub use message::Message;
pub use target::Target;
pub use undelivered::Undelivered;
pub use watch::{FindLease, TakeStatus, Watch};

use std::time::Duration;

use futures_util::future::join_all;
use url::Url;

use self::mail::Mail;
use self::webhook::Webhook;
use crate::config::Settings;
use crate::remote::Proxy;
use crate::report::AlarmRules;

/// The names of all kinds of targets. They are labels of the metrics.
pub const KINDS: [&str; 5] = ["json", "slack", "teams", "discord", "mail"];

/// Who is told of troubles, and of which.
pub struct Notifier {
    targets: Vec<Target>,
    rules: AlarmRules,
    /// A trouble is told when it has lasted this long, and so is its end.
    after: Duration,
    environment: String,
    /// The operator's page.
    page: Option<Url>,
}

/// What a target has answered to a message.
#[derive(Debug)]
pub struct Answer {
    pub name: &'static str,
    /// Where it is, without a token.
    pub place: String,
    /// In words; `Err` where the message did not arrive.
    pub said: Result<String, String>,
}

impl Notifier {
    /// The targets of the settings; nothing is called yet. `proxy_to`: the proxy on the way to an
    /// address. An error names the setting, and holds no secret.
    pub fn new(
        settings: &Settings,
        proxy_to: impl Fn(&Url) -> Option<Proxy>,
    ) -> Result<Self, String> {
        let notify = &settings.notify;
        let mut targets = Vec::new();
        for hook in notify.hooks() {
            let setting = format!("NOTIFY__{}_URL", hook.name.to_uppercase());
            let address = hook.address().ok_or_else(|| format!("{setting} is not understood"))?;
            let proxy = proxy_to(&address);
            let webhook = Webhook::new(hook.name, address, proxy, notify.timeout);
            let webhook = webhook.map_err(|why| format!("{setting}: {why}"))?;
            targets.push(Target::Webhook(webhook));
        }
        targets.extend(Mail::new(notify)?.map(Target::Mail));
        let page = notify.page_url.clone().or_else(|| {
            let mut page = settings.http.public_url.clone()?;
            page.path_segments_mut().ok()?.pop_if_empty().push("ui");
            Some(page)
        });
        let rules = AlarmRules { held_above: notify.held_above, paused_after: notify.paused_after };
        let environment = settings.environment.clone();
        Ok(Self { targets, rules, after: notify.after, environment, page })
    }

    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The page that messages lead to.
    pub fn page(&self) -> Option<&Url> {
        self.page.as_ref()
    }

    /// Sends each target a test message, all at the same time.
    pub async fn test(&self) -> Vec<Answer> {
        let message = &Message::test(&self.environment, self.page.as_ref());
        let tested = self.targets.iter().map(|target| async move {
            Answer {
                name: target.name(),
                place: target.place(),
                said: target.send(message).await.map_err(|undelivered| undelivered.why),
            }
        });
        join_all(tested).await
    }
}
