//! One target of alarms: a webhook or a mailbox.

use super::mail::Mail;
use super::message::Message;
use super::undelivered::Undelivered;
use super::webhook::Webhook;

/// Who is told.
pub enum Target {
    Webhook(Webhook),
    Mail(Mail),
}

impl Target {
    /// Its kind, which is its name too: there is one of each.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Webhook(webhook) => webhook.name(),
            Self::Mail(_) => "mail",
        }
    }

    /// Where it is, without a token.
    pub fn place(&self) -> String {
        match self {
            Self::Webhook(webhook) => webhook.place(),
            Self::Mail(mail) => mail.place(),
        }
    }

    /// Sends a message, once. Says what the target has answered.
    pub async fn send(&self, message: &Message) -> Result<String, Undelivered> {
        let sent = match self {
            Self::Webhook(webhook) => webhook.send(message).await,
            Self::Mail(mail) => mail.send(message).await,
        };
        let class = if sent.is_ok() { "sent" } else { "failed" };
        metrics::counter!("keap_intercom_sync_alarms_total", "target" => self.name(), "class" => class)
            .increment(1);
        sent
    }
}
