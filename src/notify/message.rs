//! A message before it has the form of its target: what has begun, what is over, and a link.

use chrono::{DateTime, SecondsFormat, Utc};
use url::Url;

use crate::store::AlarmMessage;

/// Troubles that one message names. The page shows the others.
const MOST_NAMED: usize = 10;
/// The longest text of one trouble.
pub(super) const LONGEST_CHARS: usize = 500;

/// What a target is told at once.
#[derive(Debug, Clone)]
pub struct Message {
    pub(super) environment: String,
    pub(super) page: Option<Url>,
    /// Empty: it is a test.
    pub(super) news: Vec<AlarmMessage>,
}

impl Message {
    pub fn new(environment: &str, page: Option<&Url>, news: Vec<AlarmMessage>) -> Self {
        Self { environment: environment.to_owned(), page: page.cloned(), news }
    }

    /// A message that says only that it has arrived.
    pub fn test(environment: &str, page: Option<&Url>) -> Self {
        Self::new(environment, page, Vec::new())
    }

    /// One line: the deployment and the worst of it.
    pub(super) fn title(&self) -> String {
        let over = self.news.iter().filter(|one| one.over_at.is_some()).count();
        let begun = self.news.len() - over;
        let what = match (begun, over, self.news.first()) {
            (_, _, None) => "this is a test: alarms arrive here".to_owned(),
            (1, 0, Some(one)) => one.what.clone(),
            (0, 1, Some(one)) => format!("over: {}", one.what),
            (begun, 0, _) => format!("{begun} troubles"),
            (0, over, _) => format!("{over} troubles are over"),
            (begun, over, _) => {
                let troubles = if begun == 1 { "trouble" } else { "troubles" };
                let are = if over == 1 { "is" } else { "are" };
                format!("{begun} {troubles}, and {over} {are} over")
            }
        };
        shortened(&format!("[{}] {what}", self.environment), 150)
    }

    /// A paragraph for each trouble.
    pub(super) fn paragraphs(&self) -> Vec<String> {
        let mut paragraphs: Vec<String> =
            self.news.iter().take(MOST_NAMED).map(paragraph).collect();
        let more = self.news.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            paragraphs.push(format!("And {more} more: see `keap-intercom-sync status`."));
        }
        paragraphs
    }

    /// The whole as plain text of at most so many characters.
    pub(super) fn text(&self, most_chars: usize) -> String {
        let link = self.page.as_ref().map(|page| format!("\n\n{page}")).unwrap_or_default();
        let body = [vec![self.title()], self.paragraphs()].concat().join("\n\n");
        let room = most_chars.saturating_sub(link.chars().count());
        format!("{}{link}", shortened(&body, room))
    }
}

fn paragraph(one: &AlarmMessage) -> String {
    let text = match one.over_at {
        None => format!("Since {}: {}. What to do: {}", stamp(one.since), one.what, one.todo),
        Some(over) => {
            format!("Over since {}: {}. It began {}.", stamp(over), one.what, stamp(one.since))
        }
    };
    shortened(&text, LONGEST_CHARS)
}

fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// The time in JSON.
pub(super) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// At most so many characters, with a mark where the rest was.
pub(super) fn shortened(text: &str, most_chars: usize) -> String {
    if text.chars().count() <= most_chars {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most_chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(code: &str, is_over: bool) -> AlarmMessage {
        let at = |second: i64| DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        AlarmMessage {
            code: code.into(),
            what: format!("{code} is wrong"),
            todo: "do something".into(),
            stops: true,
            since: at(0),
            over_at: is_over.then(|| at(3600)),
            version: 1,
        }
    }

    fn message(news: Vec<AlarmMessage>) -> Message {
        Message::new("production", None, news)
    }

    #[test]
    fn the_title_says_how_much_has_begun_and_how_much_is_over() {
        let title = |news| message(news).title();
        assert_eq!(title(vec![one("a", false)]), "[production] a is wrong");
        assert_eq!(title(vec![one("a", true)]), "[production] over: a is wrong");
        assert_eq!(title(vec![one("a", false), one("b", false)]), "[production] 2 troubles");
        assert_eq!(title(vec![one("a", true), one("b", true)]), "[production] 2 troubles are over");
        let both = title(vec![one("a", false), one("b", true)]);
        assert_eq!(both, "[production] 1 trouble, and 1 is over");
        assert!(title(Vec::new()).contains("test"));
    }

    #[test]
    fn a_text_is_never_longer_than_its_target_takes_and_keeps_the_link() {
        let long = AlarmMessage { what: "x".repeat(3000), ..one("a", false) };
        let mut message = message(vec![long; 40]);
        message.page = Some("https://sync.example.com/ui".parse().unwrap());

        let text = message.text(2000);

        assert!(text.chars().count() <= 2000, "{}", text.len());
        assert!(text.ends_with("\n\nhttps://sync.example.com/ui"), "{text}");
        assert_eq!(message.paragraphs().len(), MOST_NAMED + 1);
        assert!(message.paragraphs()[MOST_NAMED].contains("30 more"));
    }
}
