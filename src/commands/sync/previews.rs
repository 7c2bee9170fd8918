//! The previews of a dry run, printed one by one, because an account may have a million contacts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::report::{line, print_counts};
use super::to_keap::{Created, ToKeapCounts};
use crate::commands::out;
use crate::contact::{FieldName, IntercomId};
use crate::feed::Counts;
use crate::outcome::Action;
use crate::report::DayQuota;
use crate::sync::preview::{Preview, ToKeap};

/// Prints the previews of a dry run.
pub(super) struct Previews {
    json: bool,
    verbose: bool,
    any: bool,
    /// In how many contacts each field would be written anew.
    by_field: BTreeMap<FieldName, u64>,
    /// The writes to Keap, where both directions are on.
    to_keap: Option<ToKeapCounts>,
}

impl Previews {
    pub(super) fn new(json: bool, verbose: bool, to_keap: Option<ToKeapCounts>) -> Self {
        if json {
            out!("{{\"dryRun\":true,\"contacts\":[");
        }
        Self { json, verbose, any: false, by_field: BTreeMap::new(), to_keap }
    }

    /// Prints one. False: nobody reads the output any more.
    pub(super) fn print(&mut self, preview: &Preview) -> bool {
        for field in &preview.differs {
            *self.by_field.entry(field.clone()).or_default() += 1;
        }
        if let Some(to_keap) = &mut self.to_keap {
            to_keap.take(preview);
        }
        if self.json {
            let document = document(preview, self.verbose);
            out!("{}{document}", if self.any { "," } else { "" });
            self.any = true;
        } else if preview.action != Action::Unchanged {
            outln!(
                "{}",
                line(
                    &preview.keap_contact_id.to_string(),
                    preview.action.code(),
                    preview.intercom.as_ref().map(IntercomId::as_str),
                    preview.reason.as_deref()
                )
            );
            if self.verbose {
                for (name, value) in &preview.fields {
                    print_field(preview, name, value.as_deref());
                }
                for to in &preview.to_keap {
                    print_to_keap(to);
                }
            }
        }
        if !self.json && self.verbose {
            print_remarks(preview);
        }
        !out::is_closed()
    }

    /// Takes in the users that would get a contact in Keap.
    pub(super) fn creates(&mut self, created: Created) {
        if let Some(to_keap) = &mut self.to_keap {
            to_keap.creates(created);
        }
    }

    /// Prints the end. `sweep`: the counts are those of a sweep.
    /// `quota`: what Keap allows in a day, as far as it has said so.
    pub(super) fn end(
        &self,
        counts: &Counts,
        sweep: bool,
        stopped: Option<&str>,
        quota: Option<DayQuota>,
    ) {
        if self.json {
            let by_field =
                self.by_field.iter().map(|(name, count)| (name.to_string(), json!(count)));
            let by_field: serde_json::Map<_, _> = by_field.collect();
            outln!(
                "],\"summary\":{},\"fields\":{},\"toKeap\":{},\"error\":{}}}",
                json!(counts),
                json!(by_field),
                json!(self.to_keap.as_ref().map(|to_keap| to_keap.document(quota))),
                json!(stopped)
            );
            return;
        }
        if let Some(to_keap) = &self.to_keap {
            to_keap.list_created();
        }
        outln!("Dry run, nothing was written.");
        if !self.by_field.is_empty() {
            let each = self.by_field.iter().map(|(name, count)| format!("{name} in {count}"));
            outln!("Fields that differ: {}", each.collect::<Vec<_>>().join(", "));
        }
        if let Some(to_keap) = self.to_keap.as_ref().filter(|_| !sweep) {
            to_keap.print(quota);
        }
        if let Some(why) = stopped {
            outln!("Not complete: {why}");
        }
        print_counts(counts, sweep, true);
    }
}

fn document(preview: &Preview, verbose: bool) -> Value {
    let mut document = json!({
        "keapContactId": preview.keap_contact_id, "action": preview.action.code(),
        "intercomContactId": preview.intercom.as_ref().map(IntercomId::as_str), "error": preview.reason, "fields": null,
        "differs": preview.differs.iter().map(FieldName::as_str).collect::<Vec<_>>(),
    });
    if verbose {
        let object = |fields: &mut dyn Iterator<Item = (&String, &Option<String>)>| {
            Value::Object(fields.map(|(name, value)| (name.clone(), json!(value))).collect())
        };
        document["fields"] = object(&mut preview.fields.iter().map(|(name, value)| (name, value)));
        document["before"] = object(&mut preview.before.iter());
        let to_keap = preview.to_keap.iter();
        let to_keap = to_keap
            .map(|to| (to.field.to_string(), json!({ "value": to.value, "before": to.before })));
        document["toKeap"] = Value::Object(to_keap.collect());
        document["conflicts"] =
            preview.conflicts.iter().map(FieldName::as_str).collect::<Vec<_>>().into();
    }
    document
}

/// Prints a field, unless Intercom shows the same already.
fn print_field(preview: &Preview, name: &str, value: Option<&str>) {
    let value_shown = value.unwrap_or("(cleared)");
    match preview.before.get(name) {
        Some(before) if before.as_deref() == value => {}
        Some(before) => {
            outln!("    {name}: {} → {value_shown}", before.as_deref().unwrap_or("(empty)"));
        }
        None => outln!("    {name}: {value_shown}"),
    }
}

/// Prints a field that Keap would get from Intercom.
fn print_to_keap(to: &ToKeap) {
    let shown = |value: &Option<String>, without: &str| value.clone().unwrap_or(without.to_owned());
    let (before, value) = (shown(&to.before, "(empty)"), shown(&to.value, "(cleared)"));
    outln!("    to Keap: {}: {before} → {value}", to.field);
}

/// Prints what else the decision says of the fields.
fn print_remarks(preview: &Preview) {
    for field in &preview.conflicts {
        outln!("    {field} was edited on both sides");
    }
    for field in &preview.held {
        outln!("    {field} stays as it is on both sides: the other side cannot take its value");
    }
}
