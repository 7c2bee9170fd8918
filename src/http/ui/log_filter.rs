//! The filters of the log as links: each leads to the same list with one choice changed.

use url::form_urlencoded::Serializer;

use super::form::Fields;
use crate::feed::Feed;
use crate::outcome::Action;

/// The names of all filters, in the order of an address.
const NAMES: [&str; 10] = [
    "contact",
    "status",
    "action",
    "direction",
    "feed",
    "reason",
    "run",
    "within",
    "since",
    "until",
];

/// The spans of time to choose from: their names, in words, and their hours.
pub(super) const WITHIN: [(&str, &str, i64); 4] = [
    ("hour", "the last hour", 1),
    ("day", "the last 24 hours", 24),
    ("week", "the last 7 days", 7 * 24),
    ("month", "the last 30 days", 30 * 24),
];

/// One value to choose.
pub(super) struct Choice {
    pub label: String,
    pub href: String,
    pub is_chosen: bool,
}

/// The choices of one filter.
pub(super) struct Group {
    pub label: &'static str,
    pub choices: Vec<Choice>,
}

/// All filters whose values are known.
pub(super) fn groups(query: &Fields) -> Vec<Group> {
    let same = |words: &[&'static str]| words.iter().map(|word| (*word, *word)).collect::<Vec<_>>();
    let directions =
        [("keap_to_intercom", "Keap to Intercom"), ("intercom_to_keap", "Intercom to Keap")];
    let within = WITHIN.iter().map(|(name, words, _)| (*name, *words)).collect();
    vec![
        group(query, ("status", "Status"), same(&["synced", "failed", "skipped", "pending"])),
        group(query, ("action", "Action"), same(&Action::ALL.map(Action::code))),
        group(query, ("direction", "Direction"), directions.to_vec()),
        group(query, ("feed", "Feed"), same(&Feed::ALL.map(Feed::as_str))),
        group(query, ("within", "Time"), within),
    ]
}

fn group(
    query: &Fields,
    (name, label): (&'static str, &'static str),
    values: Vec<(&'static str, &'static str)>,
) -> Group {
    let chosen = query.get(name);
    let any = Choice {
        label: "any".to_owned(),
        href: address("/ui/log", query, &[(name, "")]),
        is_chosen: chosen.is_none(),
    };
    let choice = |(value, words): (&'static str, &'static str)| Choice {
        label: words.to_owned(),
        href: address("/ui/log", query, &[(name, value)]),
        is_chosen: chosen == Some(value),
    };
    Group { label, choices: std::iter::once(any).chain(values.into_iter().map(choice)).collect() }
}

/// The address of the same list with these values; an empty one leaves the filter out.
pub(super) fn address(path: &str, query: &Fields, values: &[(&str, &str)]) -> String {
    let mut address = Serializer::new(String::new());
    let new = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    for name in NAMES {
        if let Some(value) = new(name).or_else(|| query.get(name)).filter(|value| !value.is_empty())
        {
            address.append_pair(name, value);
        }
    }
    // A place belongs to one list only.
    if let Some(after) = new("after") {
        address.append_pair("after", after);
    }
    let query = address.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_changes_one_filter_and_begins_at_the_newest_row() {
        let query = Fields::read(b"action=held&contact=7&after=2026_x&evil=1");
        let status = &groups(&query)[0];
        assert_eq!(status.choices[0].href, "/ui/log?contact=7&action=held");
        assert_eq!(status.choices[2].href, "/ui/log?contact=7&status=failed&action=held");
        assert!(status.choices[0].is_chosen);
        let action = &groups(&query)[1];
        assert_eq!(action.choices[0].href, "/ui/log?contact=7");
        let chosen: Vec<_> = action.choices.iter().filter(|choice| choice.is_chosen).collect();
        assert_eq!((chosen.len(), chosen[0].label.as_str()), (1, "held"));
    }
}
