//! The forms that each service takes. What is known of them stands in `docs/notify.md`.

use serde_json::{Value, json};
use url::Url;

use super::message::{LONGEST_CHARS, Message, rfc3339, shortened};

/// Slack advises at most 4,000 characters in a text.
const SLACK_CHARS: usize = 4000;
/// Discord refuses a longer content.
const DISCORD_CHARS: usize = 2000;

/// The body of a message for a kind of webhook.
pub(super) fn body(kind: &str, message: &Message) -> Value {
    match kind {
        "slack" => slack(message),
        "teams" => teams(message),
        "discord" => discord(message),
        _ => own(message),
    }
}

/// Our own form.
fn own(message: &Message) -> Value {
    let troubles = message.news.iter().map(|one| {
        json!({
            "code": one.code, "state": if one.over_at.is_some() { "over" } else { "begun" },
            "what": shortened(&one.what, LONGEST_CHARS), "todo": shortened(&one.todo, LONGEST_CHARS), "stops": one.stops,
            "since": rfc3339(one.since), "until": one.over_at.map(rfc3339),
        })
    });
    json!({
        "program": "keap-intercom-sync", "version": env!("CARGO_PKG_VERSION"), "environment": message.environment,
        "event": if message.news.is_empty() { "test" } else { "troubles" },
        "title": message.title(), "link": message.page.as_ref().map(Url::as_str), "troubles": troubles.collect::<Vec<_>>(),
    })
}

/// An incoming webhook: a text, in which three characters are escaped.
fn slack(message: &Message) -> Value {
    let text = message.text(SLACK_CHARS);
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({ "text": text })
}

/// A workflow with a webhook: it takes adaptive cards alone.
fn teams(message: &Message) -> Value {
    let block = |text: String| json!({ "type": "TextBlock", "text": text, "wrap": true });
    let mut title = block(message.title());
    title["weight"] = json!("Bolder");
    title["size"] = json!("Medium");
    let body: Vec<Value> =
        [vec![title], message.paragraphs().into_iter().map(block).collect()].concat();
    let actions: Vec<Value> = message
        .page
        .iter()
        .map(|page| json!({ "type": "Action.OpenUrl", "title": "Open the page", "url": page.as_str() }))
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
                "body": body, "actions": actions,
            },
        }],
    })
}

/// A webhook of a channel. Nobody is mentioned, whatever a text says.
fn discord(message: &Message) -> Value {
    json!({ "content": message.text(DISCORD_CHARS), "allowed_mentions": { "parse": [] } })
}
