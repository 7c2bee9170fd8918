//! What a dry run counts of the writes to Keap, and of the contacts that would be created there:
//! the fields, the calls, and the days that Keap's quota makes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};

use crate::commands::look::{count, number, span};
use crate::contact::{FieldName, IntercomId};
use crate::feed::day_left;
use crate::report::{CALLS_OF_A_CREATE, DayQuota, Rates, calls_of, time_for, time_to_create};
use crate::sync::preview::Preview;

/// The writes to Keap that a dry run foresees.
pub(super) struct ToKeapCounts {
    rates: Rates,
    contacts: i64,
    by_field: BTreeMap<FieldName, i64>,
    /// Contacts with a field that was edited on both sides.
    conflicts: i64,
    created: Option<Created>,
}

/// The contacts that would be created in Keap.
pub(super) struct Created {
    pub users: Vec<IntercomId>,
    /// Not more of them in an hour.
    pub brake: i64,
}

impl ToKeapCounts {
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, contacts: 0, by_field: BTreeMap::new(), conflicts: 0, created: None }
    }

    pub(super) fn take(&mut self, preview: &Preview) {
        self.contacts += i64::from(!preview.to_keap.is_empty());
        self.conflicts += i64::from(!preview.conflicts.is_empty());
        for to in &preview.to_keap {
            *self.by_field.entry(to.field.clone()).or_default() += 1;
        }
    }

    /// Takes in the users that would get a contact in Keap.
    pub(super) fn creates(&mut self, created: Created) {
        self.created = Some(created);
    }

    /// Lists the users that would get a contact in Keap.
    pub(super) fn list_created(&self) {
        for user in self.created.iter().flat_map(|created| &created.users) {
            outln!("Intercom {user}: created in Keap");
        }
    }

    fn time(&self, quota: Option<DayQuota>) -> Duration {
        let quota = quota.unwrap_or(DayQuota::OF_A_KEY);
        time_for(self.contacts, self.rates, quota, day_left(Utc::now()))
    }

    pub(super) fn print(&self, quota: Option<DayQuota>) {
        if self.contacts > 0 {
            self.print_writes(quota);
        }
        let created = self.created.as_ref().filter(|created| !created.users.is_empty());
        match created {
            Some(created) => created.print(self.rates, quota),
            None if self.contacts == 0 => outln!("To Keap: nothing would be written."),
            None => {}
        }
    }

    fn print_writes(&self, quota: Option<DayQuota>) {
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
            "created": self.created.as_ref().map(|created| created.document(self.rates, quota)),
        })
    }
}

impl Created {
    fn contacts(&self) -> i64 {
        i64::try_from(self.users.len()).unwrap_or(i64::MAX)
    }

    /// The calls to Keap and to Intercom.
    fn calls(&self) -> (i64, i64) {
        let (keap, intercom) = CALLS_OF_A_CREATE;
        (self.contacts().saturating_mul(keap), self.contacts().saturating_mul(intercom))
    }

    fn time(&self, rates: Rates, quota: Option<DayQuota>) -> Duration {
        let quota = quota.unwrap_or(DayQuota::OF_A_KEY);
        time_to_create(self.contacts(), rates, quota, day_left(Utc::now()))
    }

    fn print(&self, rates: Rates, quota: Option<DayQuota>) {
        let contacts = self.contacts();
        outln!(
            "To Keap: {} would be created, or fewer: each address is looked for in Keap first.",
            count(contacts, "contact")
        );
        let (keap, intercom) = self.calls();
        outln!(
            "  That takes {} to Keap, {} to Intercom and {}.",
            count(keap, "call"),
            number(intercom),
            span(self.time(rates, quota))
        );
        if contacts > self.brake {
            outln!(
                "  The brake stops them after {} in an hour (intercom_to_keap.create_brake). If all of them belong in Keap, `keap-intercom-sync sync --audit --repair --force` lets them through.",
                number(self.brake)
            );
        }
    }

    fn document(&self, rates: Rates, quota: Option<DayQuota>) -> Value {
        let (keap, intercom) = self.calls();
        let seconds = self.time(rates, quota).as_secs();
        json!({
            "contacts": self.contacts(), "calls": keap, "intercomCalls": intercom,
            "seconds": seconds, "days": seconds.div_ceil(86_400), "createBrake": self.brake,
            "intercomContactIds": self.users.iter().map(IntercomId::as_str).collect::<Vec<_>>(),
        })
    }
}
