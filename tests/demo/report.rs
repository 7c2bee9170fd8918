//! Prints the result at the end of the demo and checks it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::Snapshot;
use crate::cast::Cast;
use crate::process::{Log, Process};
use crate::sim::{Intercom, Keap};

/// Most writes that a kill can repeat, with the daemon's defaults: the calls under way and the
/// outcomes that wait to be recorded together.
const MOST_LOST_RECORDS: i64 = 64 + 2 * 250;
/// The actions in the log of outcomes, in the order in which they are printed.
const ACTIONS: [&str; 8] =
    ["created", "linked", "updated", "restored", "unchanged", "skipped", "held", "failed"];
/// The phase in which every contact is checked again.
pub(crate) const CHECK_OF_ALL: &str = "Check of every contact";

/// The calls of one phase, by kind.
struct Phase {
    name: &'static str,
    keap: usize,
    intercom: BTreeMap<&'static str, usize>,
}

pub(crate) struct Report {
    phases: Vec<Phase>,
    keap_before: usize,
    intercom_before: BTreeMap<&'static str, usize>,
    log: Vec<String>,
}

/// One line of the result.
pub(crate) struct Check {
    text: String,
    passed: bool,
}

impl Report {
    pub(crate) fn new(keap: &Keap, intercom: &Intercom) -> Report {
        Report {
            phases: Vec::new(),
            keap_before: keap.calls(),
            intercom_before: intercom.kinds(),
            log: Vec::new(),
        }
    }

    /// Ends a phase and notes the calls that it made.
    pub(crate) fn phase(&mut self, name: &'static str, keap: &Keap, intercom: &Intercom) {
        let (calls, kinds) = (keap.calls(), intercom.kinds());
        let made = kinds.iter().map(|(kind, count)| {
            (*kind, count - self.intercom_before.get(kind).copied().unwrap_or(0))
        });
        self.phases.push(Phase { name, keap: calls - self.keap_before, intercom: made.collect() });
        self.keap_before = calls;
        self.intercom_before = kinds;
    }

    pub(crate) fn keep_log(&mut self, log: &Log) {
        self.log.extend(log.lines());
    }

    /// Stops a daemon with SIGTERM and returns how long that took.
    pub(crate) async fn stop(&mut self, process: Process) -> anyhow::Result<Duration> {
        let log = Arc::clone(&process.log);
        let (status, took) = process.stop().await?;
        self.keep_log(&log);
        if status.success() {
            Ok(took)
        } else {
            Err(log.blame(&format!("the daemon failed while stopping: {status}")))
        }
    }

    /// Whether no line of the daemons' logs contains an e-mail or a token. Prints the answer.
    pub(crate) fn logs_are_clean(&self) -> bool {
        let dirty = self
            .log
            .iter()
            .find(|line| ["@example", "canary"].iter().any(|word| line.contains(word)));
        match dirty {
            Some(line) => {
                println!("✗ Logs: this line of the daemon contains an e-mail or a token: {line}");
            }
            None => println!(
                "✓ Logs: none of the daemon's {} lines contains an e-mail or a token.",
                self.log.len()
            ),
        }
        dirty.is_none()
    }

    /// Prints the result and returns whether all checks passed.
    pub(crate) fn show(
        &self,
        snapshot: &Snapshot,
        intercom: &Intercom,
        strangers: (usize, usize),
        office: i64,
        more: Vec<Check>,
    ) -> bool {
        let Snapshot { verdict, recorded } = snapshot;
        println!("The result\n");
        row("People in Keap", verdict.keap_contacts);
        row("  in Intercom, with every field equal", verdict.equal);
        row("  skipped: no usable e-mail", recorded.skipped.len());
        row("  held until a person decides", recorded.held.len());
        for (id, why) in &recorded.held {
            println!("      {id}: {why}");
        }

        println!("\nRows in Postgres (keap_intercom_sync_logs), by action\n");
        for action in ACTIONS {
            let count =
                |(row, count): (&(String, String), &i64)| (row.1 == action).then_some(*count);
            let count: i64 = recorded.rows.iter().filter_map(count).sum();
            if count > 0 {
                row(&format!("  {action}"), count as usize);
            }
        }
        row("  updated in Keap", recorded.to_keap as usize);

        println!("\n{:<36}{:>8}{:>10}   kinds of Intercom calls", "Calls", "Keap", "Intercom");
        println!();
        for Phase { name, keap, intercom } in &self.phases {
            let mut kinds: Vec<_> = intercom.iter().filter(|(_, count)| **count > 0).collect();
            kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let kinds: Vec<String> =
                kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            println!(
                "  {name:<34}{keap:>8}{:>10}   {}",
                intercom.values().sum::<usize>(),
                kinds.join(", ")
            );
        }
        println!();

        let mut checks = self.checks(snapshot, intercom, strangers, office);
        checks.extend(more);
        for Check { text, passed } in &checks {
            println!("{} {text}", if *passed { "✓" } else { "✗" });
        }
        let unexplained: Vec<&str> = verdict
            .examples
            .iter()
            .filter(|id| !id.parse().is_ok_and(|id| recorded.held.contains_key(&id)))
            .map(String::as_str)
            .collect();
        if !unexplained.is_empty() {
            println!("  Keap ids of the people who differ: {}", unexplained.join(", "));
        }
        checks.iter().all(|check| check.passed)
    }

    fn checks(
        &self,
        snapshot: &Snapshot,
        intercom: &Intercom,
        (untouched, strangers): (usize, usize),
        office: i64,
    ) -> Vec<Check> {
        let Snapshot { verdict, recorded } = snapshot;
        let lost = verdict.missing + verdict.different - recorded.held.len().min(verdict.missing);
        let doubled = verdict.doubled + verdict.strangers + Cast::doubled_emails(intercom);
        let linked_wrongly = recorded
            .linked
            .iter()
            .filter(|(keap_id, intercom_id)| {
                let users = intercom.by_external_id(&keap_id.to_string());
                users.len() != 1 || users[0].id != **intercom_id
            })
            .count();
        let unlogged = recorded
            .linked
            .iter()
            .filter(|(keap_id, intercom_id)| {
                !recorded.synced.contains(&(keap_id.to_string(), (*intercom_id).clone()))
            })
            .count();
        let writes = intercom
            .ledger()
            .iter()
            .filter(|call| call.applied && matches!(call.kind, "create" | "update"))
            .count() as i64;
        let repeated = writes - recorded.rows_with("synced");
        let refused = intercom.statuses().get(&429).copied().unwrap_or(0);
        let idle = self.phases.iter().find(|phase| phase.name == CHECK_OF_ALL);
        let idle_calls = idle.map_or(0, |phase| phase.intercom.values().sum::<usize>());
        let held = recorded.held.keys().copied().collect::<Vec<_>>();
        vec![
            check(
                lost == 0 && recorded.linked.len() == verdict.equal,
                format!("Nothing lost: {lost} people differ or are missing without a reason."),
            ),
            check(
                doubled == 0,
                format!("Nothing doubled: {doubled} people have more than one Intercom user."),
            ),
            check(
                idle_calls == 0,
                format!("Nothing wasted: {idle_calls} Intercom calls to check every contact again."),
            ),
            check(
                linked_wrongly == 0 && unlogged == 0,
                format!(
                    "Postgres agrees: {} links lead to the right Intercom contact, and each has its row in the log.",
                    recorded.linked.len() - linked_wrongly.max(unlogged)
                ),
            ),
            check(
                (0..=MOST_LOST_RECORDS).contains(&repeated),
                format!(
                    "The kill lost the records of {repeated} writes, so the daemon made these writes again, with the same content."
                ),
            ),
            check(
                held == [office] && recorded.due == 0,
                "Held: only the person whose e-mail two Intercom users share. No other contact waits."
                    .to_owned(),
            ),
            check(
                untouched == strangers,
                format!("Intercom users that Keap does not know: {untouched} of {strangers} are unchanged."),
            ),
            check(
                refused == 0,
                format!("Limits: Intercom refused {refused} calls because of its limit (429)."),
            ),
        ]
    }
}

pub(crate) fn check(passed: bool, text: String) -> Check {
    Check { text, passed }
}

fn row(name: &str, count: usize) {
    println!("  {name:<40}{:>8}", thousands(count));
}

/// Writes 1234567 as 1,234,567.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
