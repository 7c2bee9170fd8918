//! The log as CSV (RFC 4180): times, ids and codes only, so that a spreadsheet opens it as it is.

use std::borrow::Cow;

use chrono::SecondsFormat;
use csv::{Terminator, WriterBuilder};

use crate::outcome::Reason;
use crate::store::LogEntry;

/// The first line.
pub const HEAD: &str =
    "time,keap_contact_id,intercom_contact_id,status,action,direction,feed,reason,run_id\r\n";

/// The line of an outcome.
pub fn line(entry: &LogEntry) -> String {
    let reason = entry.reason.as_deref().and_then(Reason::code_of_text);
    let run = entry.run_id.map(|id| id.to_string());
    let cells = [
        &*entry.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        &entry.keap_contact_id,
        entry.intercom_contact_id.as_deref().unwrap_or_default(),
        &entry.status,
        entry.action.as_deref().unwrap_or_default(),
        &entry.direction,
        entry.feed.as_deref().unwrap_or_default(),
        reason.unwrap_or_default(),
        run.as_deref().unwrap_or_default(),
    ];
    record(cells)
}

fn record<const N: usize>(cells: [&str; N]) -> String {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(cells.map(cell).iter().map(AsRef::as_ref)).expect("memory takes any text");
    let line = writer.into_inner().expect("memory takes any text");
    String::from_utf8(line).expect("the cells are texts")
}

/// One cell. Rows of other programs may hold any text, and a spreadsheet takes a cell that begins
/// with one of these characters for a formula: an apostrophe before it makes it a text.
fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if is_formula { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> LogEntry {
        LogEntry {
            id: uuid::Uuid::nil(),
            at: "2026-11-25T04:05:54.5Z".parse().unwrap(),
            keap_contact_id: "12345".into(),
            status: "synced".into(),
            action: Some("created".into()),
            reason: None,
            intercom_contact_id: None,
            feed: Some("due".into()),
            run_id: None,
            direction: "keap_to_intercom".into(),
        }
    }

    #[test]
    fn a_line_has_a_cell_for_each_name_of_the_head() {
        let line = line(&entry());
        assert_eq!(
            line,
            "2026-11-25T04:05:54.500000Z,12345,,synced,created,keap_to_intercom,due,,\r\n"
        );
        assert_eq!(line.matches(',').count(), HEAD.matches(',').count());
    }

    #[test]
    fn a_reason_is_its_code_and_never_its_text() {
        let of = |reason: &str| {
            let entry = LogEntry { reason: Some(reason.into()), ..entry() };
            line(&entry).split(',').nth(7).unwrap().to_owned()
        };
        assert_eq!(
            of("several_users: more than one Intercom user has this e-mail"),
            "several_users"
        );
        assert_eq!(of("field_refused phone, email: Intercom does not take it"), "field_refused");
        assert_eq!(of("Keap answers 503, and =1+1"), "");
    }

    #[test]
    fn no_cell_is_a_formula_and_none_breaks_its_line() {
        for formula in ["=1+1", "+1", "-1", "@a", "\tx"] {
            assert_eq!(record([formula, "x"]), format!("'{formula},x\r\n"));
        }
        assert_eq!(record(["\r=1", "x"]), "\"'\r=1\",x\r\n");
        assert_eq!(record(["a\"b,c\nd", "x"]), "\"a\"\"b,c\nd\",x\r\n");
        assert_eq!(record(["6762f0dd", ""]), "6762f0dd,\r\n");
    }
}
