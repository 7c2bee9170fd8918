//! What a dry run counts of the writes to Keap: the fields, the calls, and the days that Keap's
//! quota makes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};

use crate::commands::look::{count, number, span};
use crate::contact::FieldName;
use crate::feed::day_left;
use crate::report::{DayQuota, Rates, calls_of, time_for};
use crate::sync::preview::Preview;

/// The writes to Keap that a dry run foresees.
pub(super) struct ToKeapCounts {
    rates: Rates,
    contacts: i64,
    by_field: BTreeMap<FieldName, i64>,
    /// Contacts with a field that was edited on both sides.
    conflicts: i64,
}

impl ToKeapCounts {
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, contacts: 0, by_field: BTreeMap::new(), conflicts: 0 }
    }

    pub(super) fn take(&mut self, preview: &Preview) {
        self.contacts += i64::from(!preview.to_keap.is_empty());
        self.conflicts += i64::from(!preview.conflicts.is_empty());
        for to in &preview.to_keap {
            *self.by_field.entry(to.field.clone()).or_default() += 1;
        }
    }

    fn time(&self, quota: Option<DayQuota>) -> Duration {
        let quota = quota.unwrap_or(DayQuota::OF_A_KEY);
        time_for(self.contacts, self.rates, quota, day_left(Utc::now()))
    }

    pub(super) fn print(&self, quota: Option<DayQuota>) {
        if self.contacts == 0 {
            outln!("To Keap: nothing would be written.");
            return;
        }
        let fields = self.by_field.iter();
        let fields = fields.map(|(name, times)| format!("{name} in {}", number(*times)));
        let fields = fields.collect::<Vec<_>>().join(", ");
        outln!("To Keap: {} would be written ({fields}).", count(self.contacts, "contact"));
        let calls = count(calls_of(self.contacts), "call");
        let quota_words = match quota {
            Some(DayQuota { limit, left }) => format!(
                "; Keap allows {} calls a day, of which {} are left",
                number(limit),
                number(left)
            ),
            None => String::new(),
        };
        outln!(
            "  As one large change, that takes {calls} and {}, {} contacts a minute{quota_words}.",
            span(self.time(quota)),
            number(self.rates.per_minute.into())
        );
        if self.conflicts > 0 {
            outln!("  {} edited on both sides.", count(self.conflicts, "contact"));
        }
    }

    pub(super) fn document(&self, quota: Option<DayQuota>) -> Value {
        let fields = self.by_field.iter().map(|(name, times)| (name.to_string(), json!(times)));
        let seconds = self.time(quota).as_secs();
        json!({
            "contacts": self.contacts, "fields": fields.collect::<serde_json::Map<_, _>>(),
            "conflicts": self.conflicts, "calls": calls_of(self.contacts), "seconds": seconds,
            "days": seconds.div_ceil(86_400),
            "callsADay": quota.map(|quota| quota.limit), "callsLeft": quota.map(|quota| quota.left),
        })
    }
}
